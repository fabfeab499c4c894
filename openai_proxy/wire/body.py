"""A client's request body: held whole for who must read it, or sent on as it comes."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

HIGH_WATER_BYTES = 64 * 1024
"""What nobody reads yet: beyond it the client is paused."""

FIRST_BYTES = 4096
"""What :meth:`RequestBody.keep_first` keeps: the fields of a form stand before its files."""


class BodyLost(Exception):
    """The body will not become whole: its client left, or broke its framing."""


class HeldBodiesFull(Exception):
    """The memory for held bodies is used up; the client may try again."""


class HeldBodies:
    """The sum of all bodies held in memory, kept below ``total_bytes``."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self.held_bytes = 0

    def has_room(self, size: int) -> bool:
        """Whether ``size`` bytes more would be let in now."""
        return self.held_bytes + size <= self.total_bytes

    def take(self, size: int) -> bool:
        """Reserve ``size`` bytes, or refuse."""
        if not self.has_room(size):
            return False
        self.held_bytes += size
        return True

    def release(self, size: int) -> None:
        """Give back what was taken."""
        self.held_bytes -= size


class BodySource(Protocol):
    """The connection that a body comes from."""

    def body_wanted(self) -> None:
        """Somebody reads: a ``100 Continue`` may be due (RFC 9110 section 10.1.1)."""

    def pause_body(self) -> None:
        """Read no more from the client for now."""

    def resume_body(self) -> None:
        """Read on."""


@implementer(IBodyProducer)
class RequestBody:
    """Pieces come in by ``piece`` and ``complete``; one reader takes them out.

    The reader is either :meth:`hold` or, as an ``IBodyProducer``, the upstream connection;
    after a ``hold`` the producer begins with what was held.
    """

    __slots__ = (
        "_consumer",
        "_finished",
        "_first",
        "_held_by",
        "_hold_limit",
        "_holding",
        "_lost",
        "_paused",
        "_pieces",
        "_replaced_by",
        "_reserved",
        "_source",
        "buffered_bytes",
        "completed_at",
        "is_complete",
        "length",
        "received_bytes",
    )

    def __init__(self, source: BodySource, length: int | object) -> None:
        self.length: int | object = length
        """Bytes, or ``UNKNOWN_LENGTH`` for a chunked body."""
        self.received_bytes = 0
        self.buffered_bytes = 0
        self.is_complete = False
        self.completed_at = 0.0
        """When the last byte came, on the reactor's clock."""
        self._source = source
        self._pieces: list[bytes] = []
        self._paused = False
        self._lost = False
        self._consumer: IConsumer | None = None
        self._finished: Deferred[None] | None = None
        self._holding: Deferred[bytes | None] | None = None
        self._hold_limit = 0
        self._held_by: HeldBodies | None = None
        self._reserved = 0
        self._replaced_by = 0
        self._first: bytes | None = None

    # What the connection says.

    def piece(self, data: bytes) -> None:
        """Some bytes came."""
        size = len(data)
        self.received_bytes += size
        if self._first is not None:
            self._first += data[: FIRST_BYTES - len(self._first)]
        if self._consumer is not None:
            self._keep_while_short(data, size)
            self._consumer.write(data)
            return
        if self._lost:
            return
        self._pieces.append(data)
        self.buffered_bytes += size
        if self._holding is not None:
            self._hold_more(size)
        elif self.buffered_bytes > HIGH_WATER_BYTES:
            self._pause()

    def _keep_while_short(self, data: bytes, size: int) -> None:
        """Keep what was sent, while it is short: a stale connection may need it a second time."""
        if self.buffered_bytes + size == self.received_bytes and self.received_bytes <= HIGH_WATER_BYTES:
            self._pieces.append(data)
            self.buffered_bytes += size
        elif self._pieces:
            self._pieces = []
            self.buffered_bytes = 0

    def complete(self) -> None:
        """The last byte came."""
        self.is_complete = True
        if self._holding is not None:
            self._end_hold(self._joined())
        elif self._consumer is not None:
            self._end_sending()

    def lost(self) -> None:
        """No more will come: tell whoever waits, once."""
        if self._lost:
            return
        self._lost = True
        holding, self._holding = self._holding, None
        finished, self._finished, self._consumer = self._finished, None, None
        self.discard()
        if holding is not None:
            holding.errback(BodyLost())
        elif finished is not None:
            finished.errback(BodyLost())

    # Held whole.

    def held(self, limit_bytes: int, held_bodies: HeldBodies) -> bytes | None:
        """As :meth:`hold`, for a body that is complete; raises :class:`HeldBodiesFull`."""
        if self.buffered_bytes > limit_bytes:
            return None
        self._held_by = held_bodies
        if not self._reserve(self.buffered_bytes):
            raise HeldBodiesFull
        return self._joined()

    def hold(self, limit_bytes: int, held_bodies: HeldBodies, first_bytes: int = 0) -> Deferred[bytes | None]:
        """The whole body; or None if it is longer than the limit, and then it can only be sent on.

        Of one that is known to be longer, so many ``first_bytes`` are waited for: see ``beginning``.

        Fails with :class:`HeldBodiesFull` or :class:`BodyLost`. The memory is counted in
        ``held_bodies`` until :meth:`discard`.
        """
        if self._lost:
            return fail(BodyLost())
        if self.is_complete:
            return maybeDeferred(self.held, limit_bytes, held_bodies)
        known = self.length if isinstance(self.length, int) else None
        if (self.buffered_bytes if known is None else known) > limit_bytes:
            if self.buffered_bytes >= first_bytes:
                return succeed(None)
            # It is given up as soon as these are here, and needs no more room.
            limit_bytes, known = min(first_bytes, limit_bytes) - 1, None
        self._held_by = held_bodies
        if not held_bodies.has_room(known or 0) or not self._reserve(self.buffered_bytes):
            return fail(HeldBodiesFull())
        self._hold_limit = limit_bytes
        holding: Deferred[bytes | None] = Deferred(self._hold_cancelled)
        self._holding = holding
        self._source.body_wanted()
        self._resume()
        return holding

    def _hold_cancelled(self, _: object) -> None:
        self._holding = None

    def _hold_more(self, size: int) -> None:
        # Counted as it comes: who only announces a large body would take the others' room.
        if not self._reserve(size):
            holding, self._holding = self._holding, None
            assert holding is not None
            holding.errback(HeldBodiesFull())
        elif self.buffered_bytes > self._hold_limit:
            self._end_hold(None)

    def _end_hold(self, body: bytes | None) -> None:
        holding, self._holding = self._holding, None
        assert holding is not None
        if body is None:
            self._pause()
        holding.callback(body)

    def _reserve(self, size: int) -> bool:
        if self._held_by is None or not self._held_by.take(size):
            return False
        self._reserved += size
        return True

    def _joined(self) -> bytes:
        if len(self._pieces) != 1:
            self._pieces = [b"".join(self._pieces)]
        return self._pieces[0]

    @property
    def beginning(self) -> bytes:
        """What is here of it now."""
        return self._joined()

    def keep_first(self) -> None:
        """Keep a copy of the first ``FIRST_BYTES``, whoever reads the body; before it is sent."""
        self._first = self._joined()[:FIRST_BYTES] if self._pieces else b""

    @property
    def first(self) -> bytes:
        """As much of them as has come; nothing if they were not to be kept."""
        return self._first or b""

    def replace(self, body: bytes) -> None:
        """Send ``body`` in the stead of what is held whole."""
        self._pieces = [body]
        self._replaced_by = len(body) - self.buffered_bytes
        self.buffered_bytes = len(body)
        if isinstance(self.length, int):
            self.length = len(body)

    def discard(self) -> None:
        """Forget what is held, and give its memory back. May be called at any time, and again."""
        self._pieces = []
        self.buffered_bytes = 0
        if self._reserved and self._held_by is not None:
            self._held_by.release(self._reserved)
            self._reserved = 0

    # Sent on: IBodyProducer.

    @property
    def restartable(self) -> bool:
        """Whether ``startProducing`` could be called anew and would give every byte again."""
        return self.buffered_bytes == self.received_bytes + self._replaced_by and not self._lost

    def whole(self) -> bytes | None:
        """All of it, if it is here, is short, and its length was told: it can leave with the head."""
        if not self.is_complete or self._lost or self.buffered_bytes != self.length:
            return None
        return self._joined() if self.buffered_bytes <= HIGH_WATER_BYTES else None

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        if self._lost:
            return fail(BodyLost())
        if self.is_complete:
            # Kept, not taken out: a stale connection may need it a second time.
            for data in self._pieces:
                if data:
                    consumer.write(data)
            return succeed(None)
        pieces = list(self._pieces)
        if self.buffered_bytes > HIGH_WATER_BYTES:
            self._pieces = []
            self.buffered_bytes = 0
        self._consumer = consumer
        finished: Deferred[None] = Deferred(self._sending_cancelled)
        self._finished = finished
        for data in pieces:
            consumer.write(data)
        self._source.body_wanted()
        self._resume()
        return finished

    def _sending_cancelled(self, _: object) -> None:
        self.stopProducing()

    def _end_sending(self) -> None:
        finished, self._finished, self._consumer = self._finished, None, None
        if finished is not None:
            finished.callback(None)

    def pauseProducing(self) -> None:
        self._pause()

    def resumeProducing(self) -> None:
        self._resume()

    def stopProducing(self) -> None:
        """The reader wants no more. What still comes is kept up to the high-water mark."""
        self._consumer = None
        self._finished = None

    def _pause(self) -> None:
        if not self._paused and not self.is_complete:
            self._paused = True
            self._source.pause_body()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self._source.resume_body()
