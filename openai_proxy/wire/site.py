"""A ``twisted.web`` Site whose channels parse with llhttp."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.web.resource import IResource, getChildForRequest
from twisted.web.server import Site as ServerSite

from openai_proxy.config.settings import Limits
from openai_proxy.wire.body import HeldBodies
from openai_proxy.wire.channel import Channel
from openai_proxy.wire.client_watch import PAUSED_LOOK_SECONDS
from openai_proxy.wire.deadlines import Deadlines, interval_for
from openai_proxy.wire.heads import Head
from openai_proxy.wire.request import Request


class Site(ServerSite):
    """The resource tree, and what all of its connections share."""

    noisy = False

    def __init__(self, resource: IResource, clock: IReactorTime, limits: Limits) -> None:
        super().__init__(resource, reactor=clock)
        self.clock = clock
        self.limits = limits
        self.held_bodies = HeldBodies(limits.held_total_bytes)
        self.draining = False
        self.channels: set[Channel] = set()
        self._deadlines = Deadlines(
            clock,
            interval_for(
                PAUSED_LOOK_SECONDS * 2,
                limits.header_seconds,
                limits.keepalive_seconds,
                limits.write_stall_seconds,
            ),
        )

    def startFactory(self) -> None:
        """Nothing to start: the base class would format a log line's time every second."""

    def stopFactory(self) -> None:
        """Nothing to stop."""

    def buildProtocol(self, addr: IAddress | None) -> Any:
        return Channel(self)

    def request(self, channel: Channel, head: Head) -> Request:
        """A request for a head that is valid."""
        return Request(channel, head.method, head.target, head.fields, head.http11)

    def getResourceFor(self, request: Any) -> IResource:
        resource: IResource = getChildForRequest(self.resource, request)
        return resource

    def channel_opened(self, channel: Channel) -> None:
        """A client connected."""
        self.channels.add(channel)
        self._deadlines.add(channel.watch)

    def channel_closed(self, channel: Channel) -> None:
        """Its connection is gone."""
        self.channels.discard(channel)
        self._deadlines.discard(channel.watch)

    def rejected(self, status: int, duration_seconds: float) -> None:
        """A channel answered a request that no resource had: not valid HTTP, too large, too slow."""

    def call_soon(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call in the next turn of the reactor."""
        self.clock.callLater(0, function, *arguments)

    def let_idle_go(self, idle_seconds: float) -> None:
        """Close each connection that has been idle, between two requests or before the first, for so long."""
        now = self.clock.seconds()
        for channel in list(self.channels):
            if now - channel.idle_since >= idle_seconds:
                channel.loseConnection()

    def limit(self, limits: Limits) -> None:
        """Connections from now on have these limits."""
        self.limits = limits

    def abort_all(self) -> None:
        """Cut every connection."""
        for channel in list(self.channels):
            channel.cut()
