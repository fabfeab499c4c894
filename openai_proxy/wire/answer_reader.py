"""An answer on its way in: llhttp's callbacks, and what is made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from httptools import HttpResponseParser
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import UNKNOWN_LENGTH

from openai_proxy.wire.answer import MAX_HEAD_BYTES, MAX_INTERIM, Head, head_bytes, reuse_seconds
from openai_proxy.wire.call import Call
from openai_proxy.wire.deadlines import NEVER
from openai_proxy.wire.errors import InvalidResponse
from openai_proxy.wire.fields import Field, Fields, tokens, values_of
from openai_proxy.wire.response import Response
from openai_proxy.wire.tunnel import Tunnel
from openai_proxy.wire.upload import Upload

if TYPE_CHECKING:
    from openai_proxy.wire.pool import Pool

_log = Logger()

IDLE, HEAD, BODY, DONE, SWITCHING, TUNNEL, CLOSING, DEAD = range(8)
"""Unused; sent and waiting; in the body; all of it parsed; 101 parsed; after a 101;
``loseConnection`` called; aborted or lost."""

_LINGERING_LINE_ENDS = (b"\r", b"\n\n", b"\n\r\n\r\n")
"""llhttp swallows line ends after an answer, without a word."""


def ignore(piece: bytes) -> None:
    """Where pieces go that nobody wants any more."""


class AnswerReader(Protocol):
    """The reading half of a connection: from bytes to the call's head and pieces.

    llhttp goes on calling after an abort in a callback: the state says who still listens.
    """

    __slots__ = (
        "_call",
        "_feed",
        "_feeding",
        "_fields",
        "_flush",
        "_idle_seconds",
        "_interim",
        "_keep_seconds",
        "_last",
        "_length",
        "_parser",
        "_parser_done",
        "_paused",
        "_phrase",
        "_pieces",
        "_pool",
        "_reused",
        "_seconds",
        "_sink",
        "_state",
        "_surplus",
        "_to_close",
        "_unproductive",
        "_upload",
        "_waits_for_body",
        "deadline",
        "on_body",
    )

    transport: Any

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._seconds = pool.reactor.seconds
        self._idle_seconds = pool.timeouts.idle_seconds
        self.deadline = NEVER
        self._state = IDLE
        self._call: Call | None = None
        self._upload: Upload | None = None
        self._reused = False
        self._paused = False
        self._sink: Callable[[bytes], None] = ignore
        self._flush: Callable[[], None] | None = None
        """Tells the reader that it was given all that one read brought."""
        self._feeding = False
        self._fields: list[Field] = []
        self._phrase = b""
        self._pieces: list[bytes] = []
        """What the parser has found of the body in this read: a list's own method is its callback, for
        one of ours at each chunk would be the larger part of what reading a stream costs."""
        self.on_body = self._pieces.append
        self._last = b""
        """The last piece of the body."""
        self._unproductive = 0
        """Bytes since the request, or since the last piece of the body."""
        self._interim = 0
        self._keep_seconds = 0.0
        self._length: int | None = None
        self._to_close = False
        self._surplus = False
        self._waits_for_body = False
        self._new_parser()

    def _new_parser(self) -> None:
        self._parser = HttpResponseParser(self)
        self._feed = self._parser.feed_data
        self._parser_done = False

    def fail(self, error: Exception | Failure) -> None:
        """Abort, and end the call with ``error``."""
        raise NotImplementedError

    def on_message_begin(self) -> None:
        if self._state == DONE:
            self._surplus = True
            self._sink = ignore

    def on_status(self, phrase: bytes) -> None:
        self._phrase += phrase

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._state != HEAD:
            # A trailer: kept, it would be a field of the next answer, to another client.
            return
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        fields, self._fields = self._fields, []
        phrase, self._phrase = self._phrase, b""
        call = self._call
        if call is None or self._state != HEAD:
            return
        parser = self._parser
        code = parser.get_status_code()
        if 100 <= code < 200 and code != 101:
            self._interim += 1
            if self._interim > MAX_INTERIM:
                self.fail(InvalidResponse("too many interim answers"))
            return
        head = Head(code, phrase, fields, parser, call.headless)
        if self._unproductive > MAX_HEAD_BYTES and head_bytes(fields) > MAX_HEAD_BYTES:
            head.fault = "the head is too large"
        if head.fault is not None:
            self.fail(InvalidResponse(head.fault))
        elif code == 101:
            self._switching(call, head)
        else:
            self._answered(call, head)

    def _answered(self, call: Call, head: Head) -> None:
        self._state = BODY
        self._unproductive = 0
        self._surplus = False
        self._length = head.length
        self._to_close = head.to_close
        self._keep_seconds = reuse_seconds(head, self._pool.timeouts.pool_idle_seconds)
        length = UNKNOWN_LENGTH if head.length is None else head.length
        call.answered(
            Response(
                head.code, head.phrase, Fields(raw=head.fields), call.deliver, length, version=head.version
            ),
            self._reused,
        )
        if call.headless and self._state == BODY:
            # llhttp does not know that the request was HEAD, and waits for a body.
            self._state = DONE
            self._sink = self._unwanted
            self._waits_for_body = head.awaited

    def _unwanted(self, piece: bytes) -> None:
        self._surplus = True

    def _give_pieces(self) -> None:
        """What has come together goes on together."""
        pieces = self._pieces
        if pieces:
            self._unproductive = 0
            self._last = pieces[-1]
            data = b"".join(pieces)
            pieces.clear()
            try:
                self._sink(data)
            except Exception:
                failure = Failure()
                _log.failure("the reader of a body failed", failure)
                self.fail(failure)

    def on_message_complete(self) -> None:
        if self._state == BODY:
            # Now: bytes behind the answer are not its own.
            self._give_pieces()
            if self._state == BODY:
                self._state = DONE
        elif self._state == DONE:
            # After a HEAD: llhttp has waited for no body, or one has come.
            self._parser_done = True
            if self._waits_for_body:
                self._surplus = True

    def _switching(self, call: Call, head: Head) -> None:
        if not call.upgrade or not self._parser.should_upgrade():
            self.fail(InvalidResponse("101 without being asked"))
        elif b"websocket" not in tokens(values_of(head.fields, b"upgrade")):
            # RFC 9110 section 7.8: a server switches to what was asked for, and we ask for this only.
            self.fail(InvalidResponse("101 to another protocol"))
        elif self._upload is not None and not self._upload.ended:
            self.fail(InvalidResponse("101 before the request was sent"))
        else:
            self._state = SWITCHING
            self._fields = head.fields
            self._phrase = head.phrase

    def _switch(self, rest: bytes) -> None:
        call = self._call
        assert call is not None
        self._state = TUNNEL
        self.deadline = self._seconds() + self._idle_seconds
        fields, self._fields = self._fields, []
        phrase, self._phrase = self._phrase, b""
        call.transport = Tunnel(self.transport, call, self.active)
        response = Response(101, phrase, Fields(raw=fields), call.deliver)
        if rest:
            call.keep(rest)
        call.answered(response, self._reused)
        if call.unread and self._state == TUNNEL:
            self._paused = True
            self.transport.pauseProducing()

    def active(self) -> None:
        """Something was written into a tunnel: it is not idle."""
        if not self._paused and self._state == TUNNEL:
            self.deadline = self._seconds() + self._idle_seconds

    def _line_ends_left(self, data: bytes) -> bool:
        if self._length and self._last:
            return data[-1:] in b"\r\n" and not data.endswith(self._last)
        return data.endswith(_LINGERING_LINE_ENDS)
