"""What two processes of one daemon say to each other, over a socket that one has inherited from the other."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure

LINK: Final = "OPENAI_PROXY_LINK"
"""The variable that tells a process the descriptor of its link to the one that has started it."""

MAX_MESSAGE_BYTES: Final = 256 << 20
"""A snapshot of all metrics is some 20 bytes a sample; what is longer than this is not ours."""

_ASK, _TELL, _VALUE, _FAILURE = range(4)


class LinkEnded(Exception):
    """The other process is gone, and answers nothing more."""


class LinkFailed(Exception):
    """The other process could not do what it was asked for. Its text says why."""


class _Message(Struct, frozen=True, gc=False, array_like=True):
    kind: int
    number: int
    """Of the ask; its answer has the same. 0 for what is only told."""
    what: str
    """What is asked for or told; or why it failed."""
    body: Raw
    """Its argument, or its value, in MessagePack."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Message).decode
_NOTHING: Final = Raw(_encode(None))


class Link(Int32StringReceiver):
    """Asks, and answers. Messages arrive in the order in which they were sent; both sides are alike."""

    MAX_LENGTH = MAX_MESSAGE_BYTES
    _log = Logger()

    def __init__(self, answer: Callable[[str, Any], Any], ended: Callable[[], object]) -> None:
        """:param answer: is called with what the other side asks for or tells, and its argument (of plain
            types: ``msgspec.convert`` makes structs of them). Its value, or what its Deferred fires with,
            goes back. An exception goes back as its text; of what was only told, it is logged.
        :param ended: is called once when the other side is gone; not after :meth:`close`.
        """
        self._answer = answer
        self._ended = ended
        self._asked: dict[int, tuple[Deferred[Any], Any]] = {}
        self._number = 0
        self._is_open = True
        self._closed: Deferred[None] | None = None

    def ask(self, what: str, argument: Any = None, kind: Any = Any) -> Deferred[Any]:
        """What the other side answers, as a ``kind``: a type that ``msgspec`` can decode.

        Fails with LinkEnded, with LinkFailed, or with ``msgspec.MsgspecError`` if it is none of that kind.
        """
        if not self._is_open:
            failed: Deferred[Any] = Deferred()
            failed.errback(LinkEnded(f"{what}: the other process is gone"))
            return failed
        self._number += 1
        number = self._number
        asked: Deferred[Any] = Deferred(lambda _: self._forget(number))
        self._asked[number] = asked, kind
        self._send(_ASK, number, what, argument)
        return asked

    def _forget(self, number: int) -> None:
        self._asked.pop(number, None)

    def tell(self, what: str, argument: Any = None) -> None:
        """Say it, and expect nothing. One that cannot be told any more is let go of."""
        if self._is_open:
            self._send(_TELL, 0, what, argument)

    def close(self) -> Deferred[None]:
        """End it, when all that was said is with the other side. May be called again."""
        closed: Deferred[None] = Deferred()
        if self._closed is not None:
            self._closed.chainDeferred(closed)
            self._closed = closed
        elif self.transport is None or not self._is_open:
            closed.callback(None)
        else:
            self._closed = closed
            self._is_open = False
            self.transport.loseConnection()
        return closed

    def _send(self, kind: int, number: int, what: str, value: Any = None) -> None:
        body = _NOTHING if value is None else Raw(_encode(value))
        self.sendString(_encode(_Message(kind, number, what, body)))

    def stringReceived(self, string: bytes) -> None:  # noqa: N802 (Twisted's)
        """One message. What is not ours ends the link."""
        try:
            message = _decode(string)
        except msgspec.MsgspecError:
            self._log.error("A message of another process is not understood")
            self.transport.abortConnection()  # type: ignore[union-attr]
            return
        if message.kind in (_ASK, _TELL):
            self._asked_for(message)
        elif (pending := self._asked.pop(message.number, None)) is not None:
            self._answered(*pending, message)

    @staticmethod
    def _answered(asked: Deferred[Any], kind: Any, message: _Message) -> None:
        if message.kind == _FAILURE:
            asked.errback(LinkFailed(message.what))
            return
        try:
            value = msgspec.msgpack.decode(message.body, type=kind)
        except msgspec.MsgspecError:
            asked.errback()
        else:
            asked.callback(value)

    def _asked_for(self, message: _Message) -> None:
        argument = msgspec.msgpack.decode(message.body)
        answer = maybeDeferred(self._answer, message.what, argument)
        if message.kind == _ASK:
            answer.addCallback(self._say, message)
        answer.addErrback(self._fail, message)

    def _say(self, value: Any, message: _Message) -> None:
        if self._is_open:
            self._send(_VALUE, message.number, "", value)

    def _fail(self, failure: Failure, message: _Message) -> None:
        reason = str(failure.value) or type(failure.value).__name__
        self._log.warn("{what}, for another process: {reason}", what=message.what, reason=reason)
        if message.kind == _ASK and self._is_open:
            self._send(_FAILURE, message.number, reason)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Nothing that was asked for will be answered."""
        asked, self._asked = self._asked, {}
        self._is_open = False
        for one, _ in asked.values():
            one.errback(LinkEnded("the other process is gone"))
        if self._closed is None:
            self._ended()
        else:
            self._closed.callback(None)


def adopt(reactor: Any, fd: int, answer: Callable[[str, Any], Any], ended: Callable[[], object]) -> Link:
    """A link over a connected Unix socket, which it takes: ``fd`` itself is closed."""
    link = Link(answer, ended)
    factory: Any = Factory.forProtocol(lambda: link)
    factory.noisy = False
    os.set_blocking(fd, False)
    try:
        # It makes a descriptor of its own.
        reactor.adoptStreamConnection(fd, socket.AF_UNIX, factory)
    finally:
        os.close(fd)
    return link
