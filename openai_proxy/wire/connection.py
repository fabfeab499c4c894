"""A client connection: one request at a time, its answer parsed by llhttp and checked."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHandshakeListener, IProtocol
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from openai_proxy.wire.answer import MAX_HEAD_BYTES
from openai_proxy.wire.answer_reader import (
    BODY,
    CLOSING,
    DEAD,
    DONE,
    HEAD,
    IDLE,
    SWITCHING,
    TUNNEL,
    AnswerReader,
    ignore,
)
from openai_proxy.wire.call import Call, stopped
from openai_proxy.wire.deadlines import NEVER
from openai_proxy.wire.errors import (
    ConnectionClosed,
    HeadTimedOut,
    IdleTimedOut,
    InvalidResponse,
    Truncated,
)
from openai_proxy.wire.upload import Upload
from openai_proxy.wire.writing import write_now

if TYPE_CHECKING:
    from openai_proxy.wire.dial import Dial
    from openai_proxy.wire.pool import Pool

_log = Logger()

_CLOSING_SECONDS = 5.0
"""What TLS may take for its close; a peer that does not take part would keep the socket."""
_RESPONSE_DONE = Failure(ResponseDone())
_ENDED_BY_CLOSE = Failure(PotentialDataLoss())


def _whole(producer: IBodyProducer | None) -> bytes | None:
    """A body that needs no upload; None from a producer that knows of no such thing."""
    whole = getattr(producer, "whole", None)
    return None if whole is None else whole()


@implementer(IHandshakeListener)
class ClientConnection(AnswerReader):
    """A connection of a pool. It belongs to its dial until it is ready, then to a call or to
    the pool's idle ones; ``pool.lost`` is told when it is gone.
    """

    __slots__ = ("_poll", "dial")

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self.dial: Dial | None = None
        self._poll: select.poll | None = None

    # The pool's side.

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self._poll = select.poll()
        self._poll.register(self.transport.fileno(), select.POLLIN)

    def handshakeCompleted(self) -> None:
        if self.dial is not None:
            self.dial.ready()

    @property
    def quiet(self) -> bool:
        """Nothing waits in the socket: neither a close nor bytes that nobody asked for.

        The reactor may not have come to it yet; such bytes would be the next call's answer.
        """
        assert self._poll is not None
        return self._state == IDLE and not self._poll.poll(0)

    def send(self, call: Call, reused: bool) -> None:
        """Begin ``call`` on this connection."""
        self._call = call
        call.connection = self
        call.dial = None
        self._reused = reused
        self._state = HEAD
        self._unproductive = 0
        self._interim = 0
        self._last = b""
        self._sink = call.keep
        self._flush = None
        timeouts = call.timeouts
        self._idle_seconds = timeouts.idle_seconds
        self.deadline = self._seconds() + timeouts.head_seconds
        producer = call.producer
        whole = _whole(producer)
        if producer is None or whole is not None:
            write_now(self.transport, call.head + whole if whole else call.head)
        else:
            upload = self._upload = Upload(self.transport, producer, self.fail)
            upload.start(call.head)

    def close(self) -> None:
        """End it in good manners; aborted if that takes too long."""
        if self._state < CLOSING:
            self._state = CLOSING
            self.deadline = self._seconds() + _CLOSING_SECONDS
            self.transport.loseConnection()

    def abort(self) -> None:
        """End it at once; what it was at work on is not told."""
        if self._state == DEAD:
            return
        self._state = DEAD
        self._sink = ignore
        self.deadline = NEVER
        if self._upload is not None:
            self._upload.stopProducing()
        self.transport.abortConnection()

    def fail(self, error: Exception | Failure) -> None:
        """Abort, and end the call with ``error``."""
        call, self._call = self._call, None
        self.abort()
        if call is not None:
            call.end(error if isinstance(error, Failure) else Failure(error))

    # The call's side.

    def stop(self) -> None:
        """Abort; the call is told when the connection is gone."""
        self.abort()

    def pause(self) -> None:
        if self._state == BODY or self._state == TUNNEL:
            self.deadline = NEVER
            if not self._paused:
                self._paused = True
                self.transport.pauseProducing()

    def resume(self) -> None:
        if self._paused and (self._state == BODY or self._state == TUNNEL):
            self._paused = False
            self.transport.resumeProducing()
            self.deadline = self._seconds() + self._idle_seconds

    def reader_is_here(self, reader: IProtocol) -> None:
        """From now on the pieces go straight to ``reader``."""
        assert self._call is not None
        if self._state == BODY or self._state == TUNNEL:
            self._sink = reader.dataReceived
            self._flush = getattr(reader, "flush", None)
            if self._flush is not None and not self._feeding:
                self._flush()
        if not self._call.paused:
            self.resume()

    # The socket's side.

    def dataReceived(self, data: bytes) -> None:
        if IDLE < self._state < DONE:
            self._unproductive += len(data)
            self._feeding = True
            try:
                self._feed(data)
            except (HttpParserError, HttpParserUpgrade) as stopped:
                self._parser_stopped(stopped, data)
            if self._pieces:
                self._give_pieces()
            self._feeding = False
            if self._state == DONE:
                self._finish(data)
            else:
                self._wait()
        else:
            self._unparsed(data)

    def _unparsed(self, data: bytes) -> None:
        if self._state == TUNNEL:
            if not self._paused:
                self.deadline = self._seconds() + self._idle_seconds
            self._sink(data)
        elif self._state == IDLE:
            # An answer to nothing: it must never be taken for the next call's.
            self.abort()

    def _wait(self) -> None:
        """Between two reads, with the answer not whole."""
        if self._state > BODY:
            return
        if self._unproductive > MAX_HEAD_BYTES:
            self.fail(InvalidResponse("too many bytes without an answer's head or data"))
        elif self._state == BODY:
            if self._flush is not None:
                self._flush()
            assert self._call is not None
            if not self._paused:
                self.deadline = self._seconds() + self._idle_seconds
            if self._call.unread:
                self._keep_waiting()

    def _keep_waiting(self) -> None:
        """Nobody has asked for the body yet: no more of it, and not for ever."""
        self.deadline = self._seconds() + self._idle_seconds
        if not self._paused:
            self._paused = True
            self.transport.pauseProducing()

    def _parser_stopped(self, stopped: Exception, data: bytes) -> None:
        if self._state == BODY and self._pieces:
            # What was valid before is the reader's still.
            self._give_pieces()
        if isinstance(stopped, HttpParserCallbackError):
            # Somebody's code raised, at the head or at the end.
            failure = Failure(stopped.__context__ or stopped)
            _log.failure("a callback of the parser failed", failure)
            self.fail(failure)
        elif isinstance(stopped, HttpParserUpgrade) and self._state == SWITCHING:
            self._switch(data[stopped.args[0] :])
        elif self._state == DONE:
            self._surplus = True
        elif self._state != DEAD:
            self.fail(InvalidResponse("not a valid HTTP/1.1 answer"))

    def _finish(self, data: bytes) -> None:
        """The answer is whole: the connection goes back to the pool, or away."""
        call, self._call = self._call, None
        upload, self._upload = self._upload, None
        assert call is not None
        # From here on the connection may be another call's: this one must not stop it.
        call.connection = None
        self._sink = ignore
        if not self._reused:
            self._pool.remember_session(self.transport)
        if (
            self._keep_seconds > 0
            and not self._surplus
            and (upload is None or upload.ended)
            and not self._line_ends_left(data)
        ):
            if self._paused:
                self._paused = False
                self.transport.resumeProducing()
            if call.headless and not self._parser_done:
                self._new_parser()
            self._parser_done = False
            self._state = IDLE
            self.deadline = self._seconds() + self._keep_seconds
            self._pool.release(self)
        elif upload is not None and not upload.ended:
            upload.stopProducing()
            self.abort()
        else:
            self.close()
        call.end(_RESPONSE_DONE)

    # The end.

    def deadline_passed(self, now: float) -> None:
        """Late, for whatever it waits for now."""
        self.deadline = NEVER
        if self._state == IDLE:
            self._pool.expire(self)
        elif self._state == HEAD and self._upload is not None and self._upload.has_moved():
            # A long upload is not a slow answer.
            assert self._call is not None
            self.deadline = now + self._call.timeouts.head_seconds
        elif self._state == HEAD:
            self.fail(HeadTimedOut("no answer's head in time"))
        elif self._state == CLOSING:
            self.abort()
        else:
            self.fail(IdleTimedOut("no piece of the answer's body in time"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        state, self._state = self._state, DEAD
        self.deadline = NEVER
        self._sink = ignore
        # The parser knows this connection: a cycle, with a reader and a last piece on it.
        del self._parser, self._feed
        self._flush = None
        self._last = b""
        call, self._call = self._call, None
        upload, self._upload = self._upload, None
        if upload is not None:
            upload.stopProducing()
        dial, self.dial = self.dial, None
        if dial is not None:
            dial.lost()
            return
        again = self._again(state, call)
        self._pool.lost(self, again)
        if call is not None and again is None:
            call.end(self._reason(state, reason))

    def _again(self, state: int, call: Call | None) -> Call | None:
        if call is None or state != HEAD or not self._reused or self._unproductive or self._interim:
            return None
        return call if call.repeatable else None

    def _reason(self, state: int, reason: Failure) -> Failure:
        if state == DEAD:
            return stopped()
        if state in (HEAD, SWITCHING):
            return Failure(ConnectionClosed("the connection was closed before the answer's head was whole"))
        if (state == TUNNEL or self._to_close) and reason.check(ConnectionDone) is not None:
            return _ENDED_BY_CLOSE
        return Failure(Truncated("the answer was cut off"))
