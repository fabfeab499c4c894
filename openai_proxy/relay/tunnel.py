"""After a 101: bytes both ways, until either side ends it (RFC 9110 section 7.8)."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IPushProducer, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.iweb import IResponse
from zope.interface import implementer

from openai_proxy.wire.fields import end_to_end, first_of, raw_fields
from openai_proxy.wire.request import Request


@implementer(IProtocol)
class _End:
    """One side: what it receives is written to the other."""

    def __init__(self, tunnel: Tunnel, counts_sent: bool) -> None:
        self.tunnel = tunnel
        self.counts_sent = counts_sent
        self.transport: Any = None
        self.other: Any = None

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport

    def connectionMade(self) -> None:
        """Nothing to do: ``makeConnection`` gave the transport."""

    def dataReceived(self, data: bytes) -> None:
        if self.counts_sent:
            self.tunnel.request.sent_bytes += len(data)
        else:
            self.tunnel.received_bytes += len(data)
        self.other.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.tunnel.ended()


@implementer(IPushProducer)
class _Pauses:
    """Pauses one side when the other's buffer is full."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def pauseProducing(self) -> None:
        self._transport.pauseProducing()

    def resumeProducing(self) -> None:
        self._transport.resumeProducing()

    def stopProducing(self) -> None:
        """The consuming side goes; ``connectionLost`` ends both."""


class Tunnel:
    """The two ends of an upgraded exchange."""

    def __init__(self, request: Request, clock: IReactorTime) -> None:
        self.request = request
        self.received_bytes = 0
        self._clock = clock
        self._finished: Deferred[None] = Deferred(lambda _: self.ended())
        self._client = _End(self, counts_sent=False)
        self._upstream = _End(self, counts_sent=True)
        self._over = False

    def run(self, response: IResponse) -> Deferred[None]:
        """Pass the 101 on and join the two; fires when either side has ended."""
        request = self.request
        raw = raw_fields(response.headers)
        upgrade = first_of(raw, b"upgrade") or b"websocket"
        head = [*end_to_end(raw), (b"Connection", b"Upgrade"), (b"Upgrade", upgrade)]
        request.begin_upgrade(head)
        response.deliverBody(self._upstream)
        client, upstream = request.transport, self._upstream.transport
        self._client.transport = client
        self._client.other, self._upstream.other = upstream, client
        early = request.channel.start_tunnel(self._client)
        client.registerProducer(_Pauses(upstream), True)
        upstream.registerProducer(_Pauses(client), True)
        if early:
            self._client.dataReceived(early)
        return self._finished

    def ended(self) -> None:
        """Close both sides, after what was written to them has gone out."""
        if self._over:
            return
        self._over = True
        for transport in (self._client.transport, self._upstream.transport):
            if transport is not None:
                transport.unregisterProducer()
                transport.loseConnection()
        if not self._finished.called:
            self._finished.callback(None)
