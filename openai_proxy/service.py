"""The object graph of one daemon: built once, started, stopped."""

from __future__ import annotations

import sys
from typing import Any

from twisted.application.service import MultiService
from twisted.internet import endpoints
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.web.iweb import IAgent
from twisted.web.resource import IResource

from openai_proxy import __version__
from openai_proxy.config.settings import Settings
from openai_proxy.exchange.exchange import Surroundings
from openai_proxy.exchange.target import Target
from openai_proxy.observe.metrics import Metrics, new_registry
from openai_proxy.providers.mock.agent import MockAgent
from openai_proxy.providers.provider import Provider
from openai_proxy.relay.client import TransparentClient
from openai_proxy.web.relay import Relay
from openai_proxy.web.root import ProxySite
from openai_proxy.wire.agent import Agent
from openai_proxy.wire.tls import trust_root_from_file


class ProxyService(MultiService):
    """Listens, serves, and lets go of everything when it is stopped."""

    _log = Logger()

    def __init__(self, settings: Settings, reactor: Any) -> None:
        super().__init__()
        # prometheus_client.twisted installs the default reactor when it is imported, so it
        # must not be imported before twistd has chosen one.
        from prometheus_client.twisted import MetricsResource

        self.settings = settings
        self.reactor = reactor
        self.metrics = Metrics(new_registry())
        self.site = ProxySite(reactor, settings.limits, self.metrics)
        self.around = Surroundings(reactor, self.metrics, self.site.held_bodies, settings.limits)
        trust_root = trust_root_from_file(settings.ca_file) if settings.ca_file else None
        self.agent = Agent(reactor, settings.timeouts, settings.pool, trust_root)
        self.site.add({**self._routes(), b"metrics": MetricsResource(self.metrics.registry)})
        self.port: IListeningPort | None = None

    def _routes(self) -> dict[bytes, IResource]:
        openai = self._target("openai", self.settings.upstream.rstrip("/").encode("ascii"), self.agent)
        routes: dict[bytes, IResource] = {
            b"openai": Relay(openai, b"/openai", self.around),
            b"v1": Relay(openai, b"", self.around),
        }
        if self.settings.mock:
            mock = self._target("mock", b"mock://mock", MockAgent(self.reactor))
            routes[b"mock"] = Relay(mock, b"/mock", self.around)
        return routes

    @staticmethod
    def _target(name: str, base_url: bytes, agent: IAgent) -> Target:
        return Target(Provider(name, base_url), TransparentClient(agent))

    def privilegedStartService(self) -> None:
        """Listen; a port that cannot be had ends the daemon with one line."""
        super().privilegedStartService()
        endpoint = endpoints.serverFromString(self.reactor, self.settings.listen)
        listening: Deferred[IListeningPort] = endpoint.listen(self.site)
        listening.addCallbacks(self._listening, self._cannot_listen)

    def _listening(self, port: IListeningPort) -> None:
        self.port = port
        self._log.info(
            "openai_proxy {version} serves on {address}", version=__version__, address=port.getHost()
        )

    def _cannot_listen(self, failure: Any) -> None:
        failure.trap(CannotListenError)
        error = failure.value
        print(
            f"openai_proxy: cannot listen on {self.settings.listen}: {error.socketError}",
            file=sys.__stderr__,
            flush=True,
        )
        raise SystemExit(1)

    async def _close(self) -> None:
        self.site.draining = True
        if self.port is not None:
            await maybeDeferred(self.port.stopListening)
        self.site.abort_all()
        await self.agent.close()

    def stopService(self) -> Deferred[None]:
        """Stop listening, then cut what is left."""
        super().stopService()
        return Deferred.fromCoroutine(self._close())
