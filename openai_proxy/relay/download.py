"""The answer's way: an upstream's body to the client, piece by piece."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from zope.interface import implementer

from openai_proxy.wire.request import Request

_END_OF_STREAM = re.compile(rb"data: ?\[DONE\]\s*$")
_CLEAN_ENDS = frozenset({ResponseDone, PotentialDataLoss})
_DRAINED_BYTES = 64 * 1024
_TAIL_BYTES = 32
"""What is kept of a body's end: the last event, though it may have come in two pieces."""


class Reader(Protocol):
    """Reads a body on its way."""

    @property
    def has_ended(self) -> bool:
        """Whether the last event of a stream has come."""

    def piece(self, data: bytes) -> bytes:
        """All that one read brought, in; what goes to the client of it, out."""


class Unread:
    """Of a body that nobody reads: only its last bytes are looked at."""

    __slots__ = ("_before", "_last")

    def __init__(self) -> None:
        self._before = self._last = b""

    @property
    def has_ended(self) -> bool:
        """Whether the last event was ``[DONE]``."""
        tail = self._before[-_TAIL_BYTES:] + self._last[-_TAIL_BYTES:]
        return _END_OF_STREAM.search(tail) is not None

    def piece(self, data: bytes) -> bytes:
        """See :class:`Reader`."""
        self._before, self._last = self._last, data
        return data


@implementer(IProtocol)
class Drain:
    """Takes the rest of an answer that nobody wants: a short one leaves its connection fit for use."""

    __slots__ = ("_left_bytes", "transport")

    def __init__(self) -> None:
        self._left_bytes = _DRAINED_BYTES
        self.transport: Any = None

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport

    def connectionMade(self) -> None:
        """Nothing: ``makeConnection`` did it all."""

    def dataReceived(self, data: bytes) -> None:
        self._left_bytes -= len(data)
        transport = self.transport
        if self._left_bytes < 0 and transport is not None:
            self.transport = None
            transport.stopProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.transport = None


@implementer(IProtocol)
class Download:
    """Gives each piece to the client when it comes; the client's pauses pause the upstream.

    What one read of the upstream brought goes through the reader, and out, as one piece.
    ``ended`` is called once: with None at the end of the body, or with the Failure that cut it
    off, an ``UpstreamError`` or, behind :meth:`cancel`, ``CancelledError``.

    Until it has a client its reader alone has the pieces; what the reader gives back is nobody's then.
    """

    __slots__ = ("_ended", "_flushed_by_transport", "_pieces", "_read", "_request", "transport")

    def __init__(
        self, request: Request | None, reader: Reader, ended: Callable[[Failure | None], object]
    ) -> None:
        self._request = request
        self._read = reader.piece
        self._ended: Callable[[Failure | None], object] | None = ended
        self._pieces: list[bytes] = []
        self._flushed_by_transport = False
        self.transport: Any = None

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self._flushed_by_transport = getattr(transport, "flushes_reader", False)
        if self._request is not None:
            self._attach(self._request, transport)

    def _attach(self, request: Request, transport: Any) -> None:
        request.producer = transport
        if not self._flushed_by_transport:
            request.flush()
        if request.channel.watch.write_blocked:
            transport.pauseProducing()

    def give_to(self, request: Request, reader: Reader) -> None:
        """This client has what comes from now on, by this reader; the head of its answer was begun.

        What the former reader is about to give back, if it calls this, is the client's too.
        """
        self._request = request
        self._read = reader.piece
        if self.transport is not None:
            self._attach(request, self.transport)

    @property
    def heard_at(self) -> float | None:
        """When the last piece came, where that is known."""
        return getattr(self.transport, "heard_at", None)

    def connectionMade(self) -> None:
        """Nothing: ``makeConnection`` did it all."""

    def dataReceived(self, data: bytes) -> None:
        self._pieces.append(data)
        if not self._flushed_by_transport:
            self.flush()

    def flush(self) -> None:
        """All that one read of the upstream brought was given: now it goes out, in one write."""
        self._give()
        if self._request is not None:
            self._request.flush()

    def _give(self) -> None:
        pieces = self._pieces
        if pieces:
            data = b"".join(pieces)
            pieces.clear()
            out = self._read(data)
            if self._request is not None:
                self._request.send(out)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.transport = None
        self._give()
        self._end(None if reason.type in _CLEAN_ENDS else reason)

    def cancel(self) -> None:
        """Abort the upstream: nobody wants the rest."""
        transport, self.transport = self.transport, None
        if transport is not None:
            transport.stopProducing()
        self._end(Failure(CancelledError()))

    def _end(self, failure: Failure | None) -> None:
        if self._request is not None:
            self._request.producer = None
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(failure)
