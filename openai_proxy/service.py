"""The object graph of one daemon: built once, started, stopped."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.application.service import MultiService
from twisted.internet import endpoints
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IAgent
from twisted.web.resource import IResource

from openai_proxy import __version__
from openai_proxy.config.settings import Settings
from openai_proxy.exchange.exchange import ExchangeContext
from openai_proxy.exchange.target import Target
from openai_proxy.observe.access_log import AccessLog
from openai_proxy.observe.line_writer import LineWriter
from openai_proxy.observe.log_counter import LogCounter
from openai_proxy.observe.log_file import LogFile
from openai_proxy.observe.metrics import Metrics, new_registry
from openai_proxy.observe.model import ModelNames
from openai_proxy.observe.reactor_watch import ReactorWatch
from openai_proxy.observe.record import Sink
from openai_proxy.observe.sinks import Sinks
from openai_proxy.observe.upstream import NO_CONNECTIONS
from openai_proxy.observe.yielding_registry import YieldingRegistry
from openai_proxy.policy.prices import Prices
from openai_proxy.providers.provider import Provider, tells_usage_unasked
from openai_proxy.relay.client import TransparentClient
from openai_proxy.web.exporter import Exporter
from openai_proxy.web.relay import Relay
from openai_proxy.web.root import ProxySite
from openai_proxy.wire.agent import Agent
from openai_proxy.wire.body import HeldBodies
from openai_proxy.wire.tls import trust_root_from_file

if TYPE_CHECKING:
    from openai_proxy.config.configuration import Configuration


def url_of(address: Any, scheme: str) -> str:
    """Where clients find a listening port: ``http://127.0.0.1:8080``, or ``unix:/run/proxy``."""
    if isinstance(address, IPv4Address):
        return f"{scheme}://{address.host}:{address.port}"
    if isinstance(address, IPv6Address):
        return f"{scheme}://[{address.host}]:{address.port}"
    return f"unix:{os.fsdecode(address.name or b'')}" if isinstance(address, UNIXAddress) else str(address)


def reason_of(error: BaseException | None) -> str:
    """Why listening failed, in the system's words where it has some: ``Address already in use``."""
    cause = error.socketError if isinstance(error, CannotListenError) else error
    return (cause.strerror if isinstance(cause, OSError) else None) or str(cause) or type(cause).__name__


def _nothing() -> None:
    """There are no keys that are fetched."""


class ProxyService(MultiService):
    """Listens, serves, and lets go of everything when it is stopped."""

    _log = Logger()

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        configuration: Configuration | None = None,
        listen_places: Sequence[str] = (),
    ) -> None:
        """:param configuration: what a file says of providers and routes; None: there is no file.
        :param listen_places: where each of ``settings.listen`` was said, if not all as ``--port``.
        """
        super().__init__()
        self.settings = settings
        self._configuration = configuration
        self._listen_places = listen_places or ["--port"] * len(settings.listen)
        self.reactor = reactor
        self.metrics = Metrics(new_registry())
        self._reactor_watch = ReactorWatch(reactor, self.metrics)
        self._log_counter = LogCounter(self.metrics)
        self.access_log: LineWriter | None = None
        sink = self._sink()
        self.site = ProxySite(reactor, settings.limits, sink)
        self.metrics.watch_clients(lambda: len(self.site.channels))
        prices = Prices.load(settings.observation.prices_file)
        self.context = ExchangeContext(
            reactor,
            sink,
            self.site.held_bodies,
            HeldBodies(settings.limits.held_total_bytes),
            settings.limits,
            ModelNames(prices.known_name),
            prices,
        )
        trust_root = trust_root_from_file(settings.ca_file) if settings.ca_file else None
        self._stop_keys: Callable[[], None] = _nothing
        self.agent = Agent(reactor, settings.timeouts, settings.pool, trust_root)
        self._exporter = Exporter(YieldingRegistry(self.metrics.registry), reactor)
        self.site.add({**self._routes(), b"metrics": self._exporter.resource})
        self.ports: list[IListeningPort] = []

    def _sink(self) -> Sink:
        settings, reactor = self.settings, self.reactor
        if settings.access_log is None:
            return self.metrics
        self.access_log = LineWriter(LogFile(settings.access_log), reactor, reactor.callFromThread)
        lines = AccessLog(self.access_log.line, reactor.seconds, settings.access_log_sample)
        return Sinks((self.metrics, lines))

    def _routes(self) -> dict[bytes, IResource]:
        if self._configuration is None:
            base_url = self.settings.upstream.encode("ascii")
            openai = self._target("openai", base_url, self.agent)
            self._watch_pool("openai", base_url)
            routes: dict[bytes, IResource] = {
                b"openai": Relay(openai, b"/openai", self.context),
                b"v1": Relay(openai, b"", self.context),
            }
        else:
            routes = self._configured_routes(self._configuration)
        if self.settings.mock:
            # A third of a megabyte that --no-mock spares.
            from openai_proxy.providers.mock.agent import MockAgent

            # It answers to any name, and would teach us nonsense.
            agent = MockAgent(self.reactor)
            mock = self._target("mock", b"mock://mock", agent, priced_as="openai", names_models=False)
            routes[b"mock"] = Relay(mock, b"/mock", self.context)
        return routes

    def _configured_routes(self, configuration: Configuration) -> dict[bytes, IResource]:
        # What only a file asks for is memory that a daemon without one is spared.
        from openai_proxy.targets import Wiring

        wiring = Wiring(configuration, self.settings, self.agent, self.reactor, self.metrics)
        for name, target in wiring.targets.items():
            self.metrics.expect(name)
            self._watch_pool(name, target.provider.base_url)
        self._stop_keys = wiring.stop
        return wiring.routes(self.context)

    def _watch_pool(self, name: str, base_url: bytes) -> None:
        self.metrics.watch_pool(name, lambda: self.agent.pool_of(base_url) or NO_CONNECTIONS)

    def _target(self, name: str, base_url: bytes, agent: IAgent, **more: Any) -> Target:
        self.metrics.expect(name)
        observation = self.settings.observation
        asks = observation.include_usage and not tells_usage_unasked(base_url)
        provider = Provider(name, base_url, observes=observation.answers, includes_usage=asks, **more)
        return Target(provider, TransparentClient(agent))

    def privilegedStartService(self) -> None:
        """Listen; a port that cannot be had ends the daemon with one line and status 1."""
        super().privilegedStartService()
        for one, place in zip(self.settings.listen, self._listen_places, strict=True):
            self._listen(one.description, place)

    def _listen(self, description: str, place: str) -> None:
        endpoint = endpoints.serverFromString(self.reactor, description)
        failures: list[Failure] = []
        endpoint.listen(self.site).addCallback(self._listening, description).addErrback(failures.append)
        # Twisted's endpoints listen at once. A SystemExit raised in a callback would stay in
        # the Deferred, and the daemon would run on without a port.
        for failure in failures:
            reason = reason_of(failure.value)
            print(f"openai_proxy: {place} {description}: {reason}", file=sys.__stderr__, flush=True)
            raise SystemExit(1)

    def startService(self) -> None:
        """Open the access log, as the user that will write it; one that cannot be opened ends the daemon."""
        if self.access_log is not None:
            try:
                self.access_log.start()
            except OSError as error:
                reason, path = reason_of(error), self.settings.access_log
                print(f"openai_proxy: --access-log {path}: {reason}", file=sys.__stderr__, flush=True)
                raise SystemExit(1) from None
        super().startService()
        self._exporter.start()
        self._log_counter.start()
        self._reactor_watch.start()

    def _listening(self, port: IListeningPort, description: str) -> None:
        self.ports.append(port)
        scheme = "https" if description.startswith("ssl:") else "http"
        url = url_of(port.getHost(), scheme)
        self._log.info("openai_proxy {version} serves on {url}", version=__version__, url=url)

    async def _close(self) -> None:
        self.site.draining = True
        for port in self.ports:
            await maybeDeferred(port.stopListening)
        self.site.abort_all()
        # A transport aborts in the next turn. Without it the process's exit would close the
        # sockets, and an answer without a length would seem to have ended.
        await deferLater(self.reactor, 0)
        await self.agent.close()
        await self._exporter.stop()
        if self.access_log is not None:
            # Last: what was cut off just now has its lines too.
            await self.access_log.stop()

    def stopService(self) -> Deferred[None]:
        """Stop listening, then cut what is left."""
        super().stopService()
        self._stop_keys()
        self._reactor_watch.stop()
        self._log_counter.stop()
        return Deferred.fromCoroutine(self._close())
