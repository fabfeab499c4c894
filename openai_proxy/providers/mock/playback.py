"""A body played back piece by piece, as a network would bring it."""

from __future__ import annotations

from twisted.internet.interfaces import IDelayedCall, IProtocol, IPushProducer, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from openai_proxy.providers.mock.body import Reel


@implementer(IPushProducer)
class Playback:
    """The transport of one answer's body: one piece a turn of the reactor, ``gap_seconds`` apart.

    While paused nothing is delivered, not even the end. After ``stopProducing`` (also under the
    names ``loseConnection`` and ``abortConnection``) nothing more is delivered, ``connectionLost``
    included, and no delayed call is left. At most one delayed call is pending at any time.
    """

    disconnecting = False

    def __init__(self, clock: IReactorTime, reel: Reel, gap_seconds: float) -> None:
        self._later = clock.callLater
        self._pieces = reel.pieces
        self._end = reel.end
        self._gap_seconds = gap_seconds
        self._ahead: bytes | None = None
        self._call: IDelayedCall | None = None
        self._paused = False
        self._due = False
        self._stopped = False
        self._protocol: IProtocol | None = None

    def deliver(self, protocol: IProtocol) -> None:
        """Begin; may be called once."""
        if self._protocol is not None or self._stopped:
            raise RuntimeError("the body was delivered already")
        self._protocol = protocol
        self._ahead = next(self._pieces, None)
        self._schedule(0)
        protocol.makeConnection(self)  # type: ignore[arg-type]

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        if self._due:
            self._due = False
            self._schedule(0)

    def stopProducing(self) -> None:
        self._stopped = True
        self._pieces = iter(())
        if self._call is not None:
            self._call.cancel()
            self._call = None

    loseConnection = abortConnection = stopProducing

    def _schedule(self, seconds: float) -> None:
        # A stall has no end to wait for, and so nothing that would wait.
        if not self._stopped and (self._ahead is not None or self._end is not None):
            self._call = self._later(seconds, self._turn)

    def _turn(self) -> None:
        self._call = None
        if self._paused:
            self._due = True
            return
        protocol, piece = self._protocol, self._ahead
        assert protocol is not None
        if piece is None:
            self._stopped = True
            protocol.connectionLost(Failure(self._end))
            return
        ahead = self._ahead = next(self._pieces, None)
        # Before the delivery: a protocol that stops us in dataReceived must find the call.
        self._schedule(self._gap_seconds if ahead is not None else 0)
        protocol.dataReceived(piece)
