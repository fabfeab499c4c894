"""One request of the client and its answer, on whichever connection it gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IProtocol, IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer, IResponse
from zope.interface import implementer

from openai_proxy.wire.deadlines import NEVER
from openai_proxy.wire.errors import PoolExhausted, UpstreamError
from openai_proxy.wire.response import Response, Timings

if TYPE_CHECKING:
    from openai_proxy.config.settings import Timeouts
    from openai_proxy.wire.connection import ClientConnection
    from openai_proxy.wire.dial import Dial
    from openai_proxy.wire.pool import Pool
    from openai_proxy.wire.tunnel import Tunnel

_log = Logger()
_ENDED = Failure(CancelledError("it has ended"))
"""That the end was told, where the reason itself is not kept."""
_REUSED = Timings(reused=True)


class CancelledAgain(CancelledError):
    """It was cancelled after it had been sent a second time."""

    repeated = True


def stopped() -> Failure:
    """Why the reader of a body that was aborted gets no more.

    A new one each time: raised in a coroutine it would hold that coroutine's frames.
    """
    return Failure(CancelledError("stopped by its reader"))


@implementer(IPushProducer)
class Call:
    """From the pool's queue to the answer's last byte; the transport of the body's reader.

    It ends once: by the Deferred's errback, or by the reader's ``connectionLost``.
    """

    flushes_reader = True

    __slots__ = (
        "_end",
        "_has_head",
        "_pieces",
        "_pool",
        "_reader",
        "_stopped",
        "connection",
        "deadline",
        "deferred",
        "dial",
        "dialled",
        "disconnecting",
        "head",
        "headless",
        "paused",
        "producer",
        "queued_at",
        "repeated",
        "timeouts",
        "transport",
        "unread",
        "upgrade",
        "wait_seconds",
    )

    def __init__(
        self,
        pool: Pool,
        head: bytes,
        headless: bool,
        producer: IBodyProducer | None,
        upgrade: bool,
        timeouts: Timeouts | None = None,
    ) -> None:
        self._pool = pool
        self.timeouts = timeouts or pool.timeouts
        """Of its head, and between the pieces of its body."""
        self.head = head
        self.headless = headless
        """A HEAD request: its answer has no body."""
        self.producer = producer
        self.upgrade = upgrade
        self.deferred: Deferred[IResponse] = Deferred(self._cancelled)
        self._has_head = False
        self.transport: Tunnel | None = None
        """What its reader writes to, after a 101."""
        self.connection: ClientConnection | None = None
        self.dial: Dial | None = None
        self.repeated = False
        self.queued_at = 0.0
        self.wait_seconds = 0.0
        self.dialled: tuple[float | None, float, float | None] = (None, 0.0, None)
        """Seconds of the name's look-up, of TCP and of TLS."""
        self.deadline = NEVER
        self.disconnecting = False
        self._reader: IProtocol | None = None
        self._pieces: list[bytes] | None = None
        self.unread = True
        """Nobody has asked for the body yet."""
        self.paused = False
        """The reader wants no more for now."""
        self._stopped = False
        self._end: Failure | None = None

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent a second time, when nothing of an answer came."""
        if self.repeated:
            return False
        return self.producer is None or bool(getattr(self.producer, "restartable", False))

    @property
    def heard_at(self) -> float | None:
        """When the last piece of its body came; None: that is not known, for nothing is waited for now."""
        if not self._has_head or self.connection is None or self.connection.deadline == NEVER:
            return None
        return self.connection.deadline - self.timeouts.idle_seconds

    def answered(self, response: Response, reused: bool) -> None:
        """The answer's head is here."""
        if reused and not self.wait_seconds:
            response.timings = _REUSED
        else:
            response.timings = Timings(reused, self.repeated, self.wait_seconds, *self.dialled)
        # Not kept: the response knows this call, and a cycle is work for the collector.
        self._has_head = True
        self.deferred.callback(response)

    def keep(self, piece: bytes) -> None:
        """A piece of the body that came before its reader; the rest of one read at the most."""
        if self._pieces is None:
            self._pieces = []
        self._pieces.append(piece)

    def deliver(self, reader: IProtocol) -> None:
        """``Response.deliverBody``: now, or where the body has ended already, all at once."""
        if self._reader is not None:
            raise RuntimeError("deliverBody was called before")
        self._reader = reader
        self.unread = False
        reader.makeConnection(self.transport or self)  # type: ignore[arg-type]
        pieces, self._pieces = self._pieces, None
        for piece in pieces or ():
            if self._stopped:
                break
            reader.dataReceived(piece)
        if self._end is not None:
            reader.connectionLost(stopped() if self._stopped else self._end)
        elif self.connection is not None:
            self.connection.reader_is_here(reader)

    def end(self, failure: Failure) -> None:
        """Tell whoever waits for it that it is over."""
        self.connection = None
        if not self._has_head:
            if not self.deferred.called:
                if self.repeated and isinstance(failure.value, UpstreamError):
                    failure.value.repeated = True
                self.deferred.errback(failure)
            return
        if self._end is not None:
            return
        self._end = failure
        if self._reader is not None:
            # Not kept: raised in the reader's coroutine it knows that coroutine's frame, which
            # knows the response, which knows this call.
            self._end = _ENDED
            self.transport = None
            try:
                self._reader.connectionLost(failure)
            except Exception:
                # It may run in the connection's own reading: a raise would cost the
                # connection, which may be at work for another call.
                _log.failure("the reader of a body failed at its end")

    def pauseProducing(self) -> None:
        self.paused = True
        if self.connection is not None:
            self.connection.pause()

    def resumeProducing(self) -> None:
        self.paused = False
        if self.connection is not None:
            self.connection.resume()

    def stopProducing(self) -> None:
        """Abort; the reader's ``connectionLost`` follows when the connection is gone."""
        self._stopped = True
        if self.connection is not None:
            self.connection.stop()

    loseConnection = abortConnection = stopProducing

    def deadline_passed(self, now: float) -> None:
        """It waited in the queue for too long."""
        # In one sweep it may have been given a connection just before.
        if self._pool.leave_queue(self):
            self.end(Failure(PoolExhausted("no connection became free in time")))

    def _cancelled(self, deferred: Deferred[IResponse]) -> None:
        if self.connection is not None:
            self.connection.stop()
        elif self.dial is not None:
            self.dial.cancel()
        else:
            self._pool.leave_queue(self)
        if self.repeated and not deferred.called:
            deferred.errback(CancelledAgain())
