"""What tests of the client side need: an agent, bodies to send, readers of bodies."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer, IResponse
from zope.interface import implementer


class Reader(Protocol):
    """Collects a body; ``done`` fires at its end, whatever that is."""

    transport: Any

    def __init__(self, paused: bool = False, stop_after: int | None = None) -> None:
        self.pieces: list[bytes] = []
        self.reason: Failure | None = None
        self.done: Deferred[None] = Deferred()
        self._paused = paused
        self._stop_after = stop_after
        self._waiting: list[tuple[int, Deferred[None]]] = []

    @property
    def body(self) -> bytes:
        """All of it so far."""
        return b"".join(self.pieces)

    async def until(self, count: int) -> None:
        """Wait for ``count`` bytes in all."""
        if len(self.body) < count:
            waiting: Deferred[None] = Deferred()
            self._waiting.append((count, waiting))
            await waiting

    def connectionMade(self) -> None:
        if self._paused:
            self.transport.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        assert self.reason is None
        self.pieces.append(data)
        if self._stop_after is not None and len(self.pieces) >= self._stop_after:
            self.transport.stopProducing()
        size = len(self.body)
        ready = [waiting for waiting in self._waiting if waiting[0] <= size]
        self._waiting = [waiting for waiting in self._waiting if waiting[0] > size]
        for _, deferred in ready:
            deferred.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        assert self.reason is None, "two ends"
        self.reason = reason
        self.done.callback(None)


async def read(response: IResponse) -> bytes:
    """The body, whole; raises what ended it if that was not ``ResponseDone``."""
    reader = await ended(response)
    assert reader.reason is not None
    if not reader.reason.check(ResponseDone):
        reader.reason.raiseException()
    return reader.body


async def ended(response: IResponse) -> Reader:
    """A reader that has seen the body's end."""
    reader = Reader()
    response.deliverBody(reader)
    await reader.done
    return reader


@implementer(IBodyProducer)
class Body:
    """A body that is there at once."""

    def __init__(
        self, *pieces: bytes, length: Any = None, chunked: bool = False, restartable: bool = False
    ) -> None:
        self.pieces = pieces
        self.length: Any = sum(map(len, pieces)) if length is None else length
        if chunked:
            self.length = UNKNOWN_LENGTH
        self.restartable = restartable
        self.started = 0
        self.stopped = 0

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        self.started += 1
        for piece in self.pieces:
            consumer.write(piece)
        return succeed(None)

    def pauseProducing(self) -> None:
        pass

    def resumeProducing(self) -> None:
        pass

    def stopProducing(self) -> None:
        self.stopped += 1


@implementer(IBodyProducer)
class SlowBody:
    """A body whose pieces a test writes: ``consumer.write``, then ``finished.callback``."""

    consumer: IConsumer

    def __init__(self, length: Any = UNKNOWN_LENGTH, restartable: bool = False) -> None:
        self.length = length
        self.restartable = restartable
        self.finished: Deferred[None] = Deferred()
        self.events: list[str] = []

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        self.events.append("start")
        self.consumer = consumer
        self.finished = Deferred()
        return self.finished

    def pauseProducing(self) -> None:
        self.events.append("pause")

    def resumeProducing(self) -> None:
        self.events.append("resume")

    def stopProducing(self) -> None:
        self.events.append("stop")
