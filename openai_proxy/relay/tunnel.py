"""After a 101: bytes both ways, until either side ends it (RFC 9110 section 7.8)."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol, IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse
from zope.interface import implementer

from openai_proxy.wire.fields import end_to_end, first_of, raw_fields
from openai_proxy.wire.request import Request
from openai_proxy.wire.writing import write_now


class Tunnel:
    """The two ends of an upgraded exchange, joined: each is read only as fast as the other takes.

    A side that closes (FIN) has what it sent flushed to the other, which is closed then. A side
    that aborts (RST, or a limit of ours) aborts the other: bytes may be missing, and the other
    must not take that for an end. Between two bytes, of either direction, there may be
    ``Timeouts.idle_seconds``; a client that does not read has ``Limits.write_stall_seconds``.
    """

    __slots__ = ("_finished", "_upstream", "received_bytes", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.received_bytes = 0
        """From the client; those to it are the request's ``sent_bytes``."""
        self._upstream: Any = None
        self._finished: Deferred[None] = Deferred()

    def run(self, response: IResponse) -> Deferred[None]:
        """Pass the 101 on and join the two.

        Fires when either side has closed. Fails with ``CancelledError`` if the client's
        connection was aborted, with an ``UpstreamError`` if the upstream's was, or was idle;
        the client's is then still to be aborted.
        """
        finished = self._finished
        fields = raw_fields(response.headers)
        upgrade = first_of(fields, b"upgrade") or b"websocket"
        self.request.begin_upgrade([*end_to_end(fields), (b"Connection", b"Upgrade"), (b"Upgrade", upgrade)])
        # What its segment brought behind the 101 is written to the client here.
        response.deliverBody(_FromUpstream(self))
        return finished

    def begin(self, upstream: Any) -> None:
        """Both sides are there; the client may have sent bytes before (RFC 6455 section 4.1 forbids
        it to, and some do).
        """
        self._upstream = upstream
        client = _FromClient(self)
        channel = self.request.channel
        early = channel.start_tunnel(client, upstream)
        upstream.registerProducer(client, True)
        if early:
            client.dataReceived(early)

    def to_upstream(self, data: bytes) -> None:
        """The client sent something."""
        if self._upstream is not None:
            self.received_bytes += len(data)
            self._upstream.write(data)

    def to_client(self, data: bytes) -> None:
        """The upstream sent something."""
        if self._upstream is not None:
            self.request.sent_bytes += len(data)
            write_now(self.request.transport, data)

    def client_ended(self, reason: Failure) -> None:
        """The client's connection is gone."""
        upstream, self._upstream = self._upstream, None
        if upstream is None:
            return
        upstream.unregisterProducer()
        if reason.check(ConnectionDone):
            upstream.loseConnection()
            self._finished.callback(None)
        else:
            upstream.abortConnection()
            self._finished.errback(CancelledError("the client's connection was aborted"))

    def upstream_ended(self, reason: Failure) -> None:
        """The upstream's connection is gone."""
        upstream, self._upstream = self._upstream, None
        if upstream is None:
            return
        if reason.check(PotentialDataLoss):
            self.request.channel.end_tunnel()
            self._finished.callback(None)
        else:
            self._finished.errback(reason)


@implementer(IProtocol, IPushProducer)
class _FromClient:
    """Reads the client's connection; paused while the upstream does not take what came."""

    __slots__ = ("_tunnel",)

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel

    def makeConnection(self, transport: Any) -> None:
        """Nothing: the channel is connected since long."""

    def connectionMade(self) -> None:
        """Nothing, as above."""

    def dataReceived(self, data: bytes) -> None:
        self._tunnel.to_upstream(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._tunnel.client_ended(reason)

    def pauseProducing(self) -> None:
        # Not by the channel's watch, which cuts a paused client that has sent its FIN: here
        # the bytes before the FIN are wanted still.
        self._tunnel.request.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self._tunnel.request.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The upstream's connection goes; its own end is told to :class:`_FromUpstream`."""


@implementer(IProtocol)
class _FromUpstream:
    """Reads the upstream's connection; the channel pauses it while the client does not read."""

    __slots__ = ("_tunnel",)

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel

    def makeConnection(self, transport: Any) -> None:
        self._tunnel.begin(transport)

    def connectionMade(self) -> None:
        """Nothing: ``makeConnection`` did it all."""

    def dataReceived(self, data: bytes) -> None:
        self._tunnel.to_client(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._tunnel.upstream_ended(reason)
