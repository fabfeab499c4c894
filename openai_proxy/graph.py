"""All that is made of one configuration: built whole, used whole, let go of behind its last exchange."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.web.iweb import IAgent
from twisted.web.resource import IResource

from openai_proxy.config.settings import Settings
from openai_proxy.exchange.exchange import ExchangeContext
from openai_proxy.exchange.target import Target
from openai_proxy.observe.access_log import AccessLog
from openai_proxy.observe.line_writer import LineWriter
from openai_proxy.observe.log_file import LogFile
from openai_proxy.observe.metrics import Metrics
from openai_proxy.observe.model import ModelNames
from openai_proxy.observe.record import Sink
from openai_proxy.observe.sinks import Sinks
from openai_proxy.observe.upstream import NO_CONNECTIONS, PoolNumbers
from openai_proxy.policy.prices import Prices
from openai_proxy.providers.provider import Provider, tells_usage_unasked
from openai_proxy.relay.client import TransparentClient
from openai_proxy.web.relay import Relay
from openai_proxy.wire.agent import Agent
from openai_proxy.wire.body import HeldBodies
from openai_proxy.wire.tls import trust_root_from_file

if TYPE_CHECKING:
    from openai_proxy.config.configuration import Configuration
    from openai_proxy.observe.tracing import MadeTracing
    from openai_proxy.policy.stickiness import Stickiness
    from openai_proxy.targets import Wiring


@dataclass(frozen=True, slots=True)
class Lasting:
    """What one process has all its life, whatever its configuration."""

    reactor: Any
    metrics: Metrics
    sinks: tuple[Sink, ...]
    """Besides the metrics."""
    models: ModelNames
    held_bodies: HeldBodies
    held_answers: HeldBodies


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Something that has to be stopped, unless the next graph goes on with it."""

    made_of: object
    """Equal, for two that can stand in for each other."""
    it: Any
    stop: Callable[[], Any]


class Graph:
    """Made first, with nothing begun and nothing shown; then started, then used, at last retired."""

    def __init__(
        self,
        settings: Settings,
        configuration: Configuration | None,
        lasting: Lasting,
        before: Graph | None = None,
    ) -> None:
        """Raises ValueError or OSError: files that it names cannot be used.

        :param configuration: what a file says of providers and routes; None: there is no file.
        :param before: what of it has not changed is kept: connections, keys, breakers, logs.
        """
        self.settings = settings
        self.configuration = configuration
        self._lasting = lasting
        self._before = before
        self._prices = self._price_list()
        self._parts: list[Part] = []
        self._pools: list[tuple[str, bytes]] = []
        self.agent: Agent = self._agent()
        self.access_log: LineWriter | None = self._access_log()
        self._tracing: MadeTracing | None = self._made_tracing()
        self.context = ExchangeContext(
            lasting.reactor,
            self._sink(),
            lasting.held_bodies,
            lasting.held_answers,
            settings.limits,
            lasting.models,
            self._prices,
            traces=None if self._tracing is None else self._tracing.traces,
            wall_seconds=time.time,  # noqa: TID251 (of the day: for prices and dates)
        )
        self._wiring: Wiring | None = None
        self.routes = self._routes()
        """By their first segment."""
        self._before = None

    def _kept(self, made_of: object, make: Callable[[], tuple[Any, Callable[[], Any]]]) -> Any:
        """A part of the graph before, if it was made of the same; else a new one."""
        part = None if self._before is None else self._before.part_of(made_of)
        if part is None:
            part = Part(made_of, *make())
        self._parts.append(part)
        return part.it

    @property
    def made(self) -> Stickiness | None:
        """Which provider has made which object; None: there is no choice of providers."""
        return None if self._wiring is None else self._wiring.gateway.stickiness

    def part_of(self, made_of: object) -> Part | None:
        """The part that was made of it."""
        return next((part for part in self._parts if part.made_of == made_of), None)

    def _price_list(self) -> Prices:
        path, before = self.settings.observation.prices_file, self._before
        if path is None and before is not None and before.settings.observation.prices_file is None:
            return before._prices
        return Prices.load(path)

    def _agent(self) -> Agent:
        settings, reactor = self.settings, self._lasting.reactor
        ca_file = settings.ca_file

        trust_root = None if ca_file is None else trust_root_from_file(ca_file)

        def make() -> tuple[Agent, Callable[[], Any]]:
            agent = Agent(reactor, settings.timeouts, settings.pool, trust_root)
            return agent, agent.close

        trusted = None if ca_file is None else Path(ca_file).read_bytes()
        agent: Agent = self._kept(("agent", settings.timeouts, settings.pool, trusted), make)
        return agent

    def _access_log(self) -> LineWriter | None:
        path, reactor = self.settings.access_log, self._lasting.reactor
        if path is None:
            return None

        def make() -> tuple[LineWriter, Callable[[], Any]]:
            writer = LineWriter(LogFile(path), reactor, reactor.callFromThread)
            return writer, lambda: Deferred.fromCoroutine(writer.stop())

        writer: LineWriter = self._kept(("access log", path), make)
        return writer

    def _made_tracing(self) -> MadeTracing | None:
        tracing, lasting = self.settings.tracing, self._lasting
        if tracing is None:
            return None
        # OpenTelemetry is memory that a daemon without traces is spared.
        from openai_proxy.observe.tracing import tracing_of

        def make() -> tuple[MadeTracing, Callable[[], Any]]:
            metrics = lasting.metrics
            made = tracing_of(tracing, lasting.reactor, metrics.traces, metrics.seconds, Random())
            return made, lambda: Deferred.fromCoroutine(made.sink.stop())

        made: MadeTracing = self._kept(("tracing", tracing), make)
        return made

    def _sink(self) -> Sink:
        sinks: tuple[Sink, ...] = (self._lasting.metrics, *self._lasting.sinks)
        if self.access_log is not None:
            # The time of day, which the reactor's clock is not.
            wall = time.time  # noqa: TID251
            sinks += (AccessLog(self.access_log.line, wall, self.settings.access_log_sample),)
        if self._tracing is not None:
            sinks += (self._tracing.sink,)
        return sinks[0] if len(sinks) == 1 else Sinks(sinks)

    def _routes(self) -> dict[bytes, IResource]:
        if self.configuration is None:
            base_url = self.settings.upstream.encode("ascii")
            openai = self._target("openai", base_url, self.agent)
            self._pools.append(("openai", base_url))
            routes: dict[bytes, IResource] = {
                b"openai": Relay(openai, b"/openai", self.context),
                b"v1": Relay(openai, b"", self.context),
            }
        else:
            routes = self._configured_routes(self.configuration)
        if self.settings.mock:
            # A third of a megabyte that --no-mock spares.
            from openai_proxy.providers.mock.agent import MockAgent

            # It answers to any name, and would teach us nonsense.
            agent = MockAgent(self._lasting.reactor)
            mock = self._target("mock", b"mock://mock", agent, priced_as="openai", names_models=False)
            routes[b"mock"] = Relay(mock, b"/mock", self.context)
        return routes

    def _configured_routes(self, configuration: Configuration) -> dict[bytes, IResource]:
        # What only a file asks for is memory that a daemon without one is spared.
        from openai_proxy.targets import Wiring

        before = None if self._before is None else self._before._wiring
        lasting = self._lasting
        wiring = self._wiring = Wiring(
            configuration, self.settings, self.agent, lasting.reactor, lasting.metrics, before
        )
        self._pools += [(name, target.provider.base_url) for name, target in wiring.targets.items()]
        self._parts += [Part(None, one, one.stop) for one in wiring.fetching]
        return wiring.routes(self.context)

    def _target(self, name: str, base_url: bytes, agent: IAgent, **more: Any) -> Target:
        observation = self.settings.observation
        asks = observation.include_usage and not tells_usage_unasked(base_url)
        provider = Provider(name, base_url, observes=observation.answers, includes_usage=asks, **more)
        return Target(provider, TransparentClient(agent))

    def start(self) -> None:
        """Open what is written to, as the user that will write it. Raises OSError."""
        if self.access_log is not None and not self.access_log.is_open:
            self.access_log.start()
        if self._tracing is not None:
            self._tracing.sink.start()

    def use(self) -> None:
        """From now on its numbers are shown, and its limits hold."""
        lasting, metrics, limits = self._lasting, self._lasting.metrics, self.settings.limits
        lasting.held_bodies.total_bytes = lasting.held_answers.total_bytes = limits.held_total_bytes
        lasting.models.know(self._prices.known_name)
        metrics.forget_targets()
        for name, base_url in self._pools:
            metrics.expect(name)
            metrics.watch_pool(name, partial(self._pool_of, base_url))
        if self.settings.mock:
            metrics.expect("mock")
        if self._wiring is not None:
            self._wiring.watch()

    def _pool_of(self, base_url: bytes) -> PoolNumbers:
        return self.agent.pool_of(base_url) or NO_CONNECTIONS

    def uses(self, it: Any) -> bool:
        """Whether a part of another graph is one of its own too."""
        return any(part.it is it for part in self._parts)

    def to_stop(self, others: list[Graph]) -> Iterator[Callable[[], Any]]:
        """Stops each part that none of the others goes on with; the logs last."""
        for part in sorted(self._parts, key=lambda part: part.it is self.access_log):
            if not any(other.uses(part.it) for other in others):
                yield part.stop

    async def stop(self, others: list[Graph]) -> None:
        """Let go of all that nobody else goes on with."""
        for stop in self.to_stop(others):
            await maybeDeferred(stop)
