"""The transport of a connection that has become another protocol's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IAddress, IPushProducer, ITransport
from zope.interface import implementer

from openai_proxy.wire.writing import write_now

if TYPE_CHECKING:
    from openai_proxy.wire.call import Call


@implementer(ITransport, IPushProducer)
class Tunnel:
    """Bytes to the upstream after its 101; those from it go to the reader of the body."""

    __slots__ = ("_active", "_call", "_transport")

    def __init__(self, transport: Any, call: Call, active: Callable[[], None]) -> None:
        self._transport = transport
        self._call = call
        self._active = active

    @property
    def disconnecting(self) -> bool:
        """``loseConnection`` was called."""
        return bool(self._transport.disconnecting)

    def write(self, data: bytes) -> None:
        self._active()
        write_now(self._transport, data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self._active()
        self._transport.writeSequence(data)

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """``producer`` is paused while the socket to the upstream is full."""
        self._transport.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """The end of ``registerProducer``."""
        self._transport.unregisterProducer()

    def pauseProducing(self) -> None:
        self._call.pauseProducing()

    def resumeProducing(self) -> None:
        self._call.resumeProducing()

    def stopProducing(self) -> None:
        """Abort, as ``abortConnection``."""
        self._call.stopProducing()

    def abortConnection(self) -> None:
        """Reset the connection; the reader's ``connectionLost`` follows."""
        self._call.stopProducing()

    def loseConnection(self) -> None:
        """Close when all that was written is sent; the reader's ``connectionLost`` follows."""
        # A peer that does not read, or over TLS does not answer, would keep it for ever.
        self._call.pauseProducing()
        self._call.resumeProducing()
        self._transport.loseConnection()

    def getPeer(self) -> IAddress:
        """The upstream's address."""
        peer: IAddress = self._transport.getPeer()
        return peer

    def getHost(self) -> IAddress:
        """Our own address."""
        host: IAddress = self._transport.getHost()
        return host
