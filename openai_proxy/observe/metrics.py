"""The numbers in Prometheus: a sink of records over a registry that is passed in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from openai_proxy.observe.certificates import show_certificates
from openai_proxy.observe.circuits import CircuitMetrics
from openai_proxy.observe.endpoint import OTHER
from openai_proxy.observe.errors import ErrorMetrics
from openai_proxy.observe.families import Families
from openai_proxy.observe.generation import GenerationMetrics
from openai_proxy.observe.http_metrics import HttpMetrics, OfRequest
from openai_proxy.observe.last_errors import LastErrors
from openai_proxy.observe.model import NONE
from openai_proxy.observe.operating import OperatingMetrics
from openai_proxy.observe.outcome import CLIENT_CLOSED_REQUEST, Outcome, outcome_of_refusal
from openai_proxy.observe.process import ProcessMetrics
from openai_proxy.observe.rate_limits import RateLimits
from openai_proxy.observe.record import SLOW_SECONDS, DisconnectPhase, Record
from openai_proxy.observe.routing_metrics import RoutingMetrics, first_at_last_target
from openai_proxy.observe.trace_metrics import TraceMetrics
from openai_proxy.observe.upstream import PoolNumbers, UpstreamMetrics
from openai_proxy.wire.fields import Field

MAIN_ENDPOINTS: Final = ("chat_completions", "responses", "embeddings")
"""Those whose failures have a series before there is one."""

USUAL_STATUS: Final = {
    Outcome.OK: 200,
    Outcome.CLIENT_ERROR: 400,
    Outcome.CLIENT_DISCONNECT: CLIENT_CLOSED_REQUEST,
    Outcome.CLIENT_AUTH: 401,
    Outcome.UPSTREAM_ERROR: 500,
    Outcome.UPSTREAM_TIMEOUT: 504,
    Outcome.UPSTREAM_CONNECT_ERROR: 502,
    Outcome.UPSTREAM_RATE_LIMITED: 429,
    Outcome.UPSTREAM_STREAM_ERROR: 200,
    Outcome.PROXY_ERROR: 500,
    Outcome.PROXY_OVERLOAD: 503,
    Outcome.PROXY_CIRCUIT_OPEN: 503,
}
"""Of the outcomes that there can be by now: the status that a first failure mostly has."""

MOST_BOUND: Final = 4096
"""Provider, endpoint and model triples whose children are kept; a guard, for all are of closed sets."""


def new_registry() -> CollectorRegistry:
    """An empty registry with the process's own families."""
    # One more series for each counter and histogram, which no query of ours reads.
    disable_created_metrics()
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class Metrics:
    """Counts every exchange once. Label values are closed sets, so the series are bounded."""

    wants_ids = False
    """Those of slow and failed requests, which every record has, are enough."""

    def __init__(
        self,
        registry: CollectorRegistry,
        seconds: Callable[[], float] = time.time,  # noqa: TID251 (shown as it is, never a difference)
    ) -> None:
        """:param seconds: unix time, of exemplars, rate limits and ticks."""
        self.registry = registry
        self.seconds = seconds
        families = Families(registry)
        self.http = HttpMetrics(families, seconds)
        self.upstream = UpstreamMetrics(families)
        self.routing = RoutingMetrics(families, self.upstream.retries)
        self.circuits = CircuitMetrics(families)
        self.generation = GenerationMetrics(families)
        self.errors = ErrorMetrics(families)
        self.rate_limits = RateLimits(families, seconds)
        self.process = ProcessMetrics(families)
        self.operating = OperatingMetrics(families, seconds)
        self.last_errors = LastErrors(seconds)
        self.certificates: dict[str, Callable[[], float]] = {}
        """By listener, when what clients are shown expires; see :func:`show_certificates`."""
        show_certificates(families, self.certificates)
        self.traces = TraceMetrics(families)
        self._read_clients: Callable[[], int] | None = None
        families.gauge(
            "openai_proxy_client_connections",
            "Connections of clients that are open.",
            (),
            lambda: [((), 0 if self._read_clients is None else self._read_clients())],
        )
        self._bound: dict[tuple[str, str, str], OfRequest] = {}
        self._refused = OfRequest(self.http, NONE, OTHER, NONE)
        for phase in DisconnectPhase:
            for endpoint in MAIN_ENDPOINTS:
                self.http.of_endpoint(endpoint).disconnects(phase)

    def expect(self, provider: str, endpoints: Iterable[str] = MAIN_ENDPOINTS) -> None:
        """Make the series of ``provider`` whose first failure has to be seen.

        A series that begins with 1 has not risen for ``rate()``.
        """
        for endpoint in endpoints:
            bound = self._bind(provider, endpoint, NONE)
            for outcome, status in USUAL_STATUS.items():
                bound.counter(status, outcome)
        self.http.streams_open.setdefault(provider, 0)
        self.upstream.expect(provider, endpoints)
        self.routing.expect(provider, endpoints)
        self.generation.expect(provider, endpoints)
        self.errors.expect(provider)

    def expect_route(self, providers: Sequence[str]) -> None:
        """Make the series of the moves within a route; ``providers`` are its targets', in their order.

        Of a route whose targets come in any order, call it for each order that is likely.
        """
        self.routing.expect_route(providers)

    def know_members(self, names: Iterable[str]) -> None:
        """Names of members of a request that may be labels when a target is not sent them.

        Of the code or of the configuration only; any other is ``other``.
        """
        self.routing.know_members(names)

    def watch_circuit(self, provider: str, model: str, read: Callable[[], str]) -> None:
        """Show a target's breaker; ``model`` as configured, empty: any. ``read`` is called in the
        exporter's thread and tells one of ``circuits.STATES``.
        """
        self.circuits.watch(provider, model, read)

    def circuit_changed(self, provider: str, model: str, to_state: str) -> None:
        """A target's breaker came to this state."""
        self.circuits.changed(provider, model, to_state)

    def watch_rest(self, provider: str, model: str, read: Callable[[], bool]) -> None:
        """Show whether a target rests; the same of ``model`` and ``read``."""
        self.circuits.watch_rest(provider, model, read)

    def watch_pool(self, provider: str, read: Callable[[], PoolNumbers]) -> None:
        """Show this provider's connections. ``read`` is called in the exporter's thread."""
        self.upstream.watch_pool(provider, read)

    def forget_targets(self) -> None:
        """Watch no circuits, rests and pools any more: there are others now."""
        self.circuits.forget()
        self.upstream.forget_pools()

    def watch_clients(self, read: Callable[[], int]) -> None:
        """Show how many clients are connected. ``read`` is called in the exporter's thread."""
        self._read_clients = read

    def exchange_began(self, endpoint: str) -> None:
        self.http.in_flight[endpoint] += 1

    def answer_began(self, provider: str, model: str, fields: Sequence[Field], is_stream: bool) -> None:
        """See ``Sink``."""
        if is_stream:
            streams_open = self.http.streams_open
            streams_open[provider] = streams_open.get(provider, 0) + 1
        self.rate_limits.keep(provider, model, fields)

    def exchange_ended(self, record: Record) -> None:
        provider, endpoint, model = key = (record.provider, record.endpoint, record.model)
        bound = self._bound.get(key)
        if bound is None:
            bound = self._bind(provider, endpoint, model)
        http = self.http
        http.in_flight[endpoint] -= 1
        if record.is_stream:
            http.streams_open[provider] -= 1
        outcome, duration_seconds = record.outcome, record.duration_seconds
        if outcome is Outcome.OK and duration_seconds < SLOW_SECONDS:
            bound.ended(record.status, outcome, duration_seconds)
        else:
            bound.ended(record.status, outcome, duration_seconds, record.request_id)
            self.last_errors.exchange_ended(record)
        bound.endpoint.ended(record)
        self._tried(bound, record)
        if record.generation is not None:
            self.generation.ended(provider, endpoint, record.generation)
        if record.error is not None:
            self.errors.told(provider, record.error)

    def _tried(self, bound: OfRequest, record: Record) -> None:
        """The attempts: nearly always one, at the first target."""
        attempts = record.attempts
        if len(attempts) == 1 and attempts[0].move is None and attempts[0].provider == record.provider:
            here = bound.attempts
            if here is None:
                here = bound.attempts = self.upstream.of(record.provider, record.endpoint)
            here.ended(attempts[0], record.model)
            if record.first_byte_seconds is not None:
                here.first_byte(record.first_byte_seconds)
        else:
            self._tried_several(record)
        if record.client_retry or record.dropped:
            self._asked(record)

    def _tried_several(self, record: Record) -> None:
        """Any number of them, or one that was not the first choice."""
        upstream, endpoint, attempts = self.upstream, record.endpoint, record.attempts
        known = first_at_last_target(attempts)
        for index, attempt in enumerate(attempts):
            # What it was asked for has another name there: with this one it would be a model that the
            # provider does not have.
            model = record.model if index >= known else OTHER
            upstream.of(attempt.provider, endpoint).ended(attempt, model)
        if record.first_byte_seconds is not None:
            upstream.of(record.provider, endpoint).first_byte(record.first_byte_seconds)
        self.routing.tried(attempts)

    def _asked(self, record: Record) -> None:
        """What is not so of most requests."""
        if record.client_retry:
            self.routing.client_retried(record.endpoint)
        if record.dropped:
            self.routing.dropped(record.provider, record.dropped)

    def request_refused(self, status: int, duration_seconds: float) -> None:
        self._refused.ended(status, outcome_of_refusal(status), duration_seconds)
        self.errors.refused(status)

    def _bind(self, provider: str, endpoint: str, model: str) -> OfRequest:
        if len(self._bound) >= MOST_BOUND:
            model = OTHER
        key = (provider, endpoint, model)
        bound = self._bound.get(key)
        if bound is None:
            bound = self._bound[key] = OfRequest(self.http, *key)
            for outcome, status in USUAL_STATUS.items():
                # Not of `other`, which anybody can ask for at any endpoint.
                if model != OTHER and outcome.startswith("upstream_"):
                    bound.counter(status, outcome)
        return bound
