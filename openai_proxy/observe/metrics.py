"""The numbers in Prometheus: a sink of records over a registry that is passed in."""

from __future__ import annotations

import re
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

from openai_proxy.observe.buckets import DUR, OVER
from openai_proxy.observe.endpoint import ENDPOINTS, OTHER
from openai_proxy.observe.errors import ErrorMetrics
from openai_proxy.observe.families import Counter, Families, Histogram
from openai_proxy.observe.generation import GenerationMetrics
from openai_proxy.observe.key_like import is_key_like
from openai_proxy.observe.model import NONE
from openai_proxy.observe.outcome import CLIENT_CLOSED_REQUEST, Outcome, outcome_of_refusal
from openai_proxy.observe.process import ProcessMetrics
from openai_proxy.observe.rate_limits import RateLimits
from openai_proxy.observe.record import SLOW_SECONDS, DisconnectPhase, Record
from openai_proxy.observe.upstream import PoolNumbers, UpstreamMetrics
from openai_proxy.wire.fields import Field

_NOT_PLAIN: Final = re.compile(rb"[^\w.:/+=@~-]")
"""Not in an id: it may be an upstream's text, and not each reader of OpenMetrics knows escapes."""

STATUSES: Final = frozenset(range(100, 600))

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


def shown_id(request_id: bytes) -> str:
    """As it is in an exemplar; ``other`` if it may be a key that an upstream repeated."""
    text = _NOT_PLAIN.sub(b"_", request_id).decode("ascii")
    return OTHER if is_key_like(text) else text


class OfEndpoint:
    """Children of one endpoint."""

    __slots__ = ("_disconnects", "_endpoint", "_metrics", "_overhead", "_received", "_sent")

    def __init__(self, metrics: HttpMetrics, endpoint: str) -> None:
        self._metrics = metrics
        self._endpoint = endpoint
        self._received = metrics.request_bytes.child(endpoint)
        self._sent = metrics.response_bytes.child(endpoint)
        self._overhead: Histogram | None = None
        self._disconnects: dict[DisconnectPhase, Counter] = {}

    def ended(self, record: Record) -> None:
        """One exchange."""
        self._received.value += record.received_bytes
        self._sent.value += record.sent_bytes
        if record.overhead_seconds is not None:
            overhead = self._overhead
            if overhead is None:
                overhead = self._overhead = self._metrics.overhead_seconds.child(self._endpoint)
            overhead.observe(record.overhead_seconds)
        if record.phase is not None:
            self.disconnects(record.phase).value += 1

    def disconnects(self, phase: DisconnectPhase) -> Counter:
        """The counter of clients that left in this phase."""
        counter = self._disconnects.get(phase)
        if counter is None:
            counter = self._metrics.disconnects.child(self._endpoint, phase.value)
            self._disconnects[phase] = counter
        return counter


class OfRequest:
    """Children of one provider, endpoint and model: a look-up of labels costs more than a count."""

    __slots__ = ("_counters", "_durations", "_labels", "_metrics", "endpoint")

    def __init__(self, metrics: HttpMetrics, provider: str, endpoint: str, model: str) -> None:
        self._metrics = metrics
        self._labels = (provider, endpoint, model)
        self._counters: dict[tuple[int, Outcome], Counter] = {}
        self._durations: dict[int, Histogram] = {}
        self.endpoint = metrics.of_endpoint(endpoint)

    def ended(self, status: int, outcome: Outcome, duration_seconds: float, request_id: bytes = b"") -> None:
        """One request; ``request_id`` only if it is to be found again."""
        counter = self._counters.get((status, outcome))
        if counter is None:
            counter = self.counter(status, outcome)
        counter.value += 1
        status_class = status // 100
        duration = self._durations.get(status_class)
        if duration is None:
            duration = self._durations[status_class] = self._metrics.request_seconds.child(
                *self._labels, f"{status_class}xx" if status in STATUSES else OTHER
            )
        if request_id:
            text = shown_id(request_id)
            duration.observe_with_id(duration_seconds, text, self._metrics.seconds())
        else:
            duration.observe(duration_seconds)

    def counter(self, status: int, outcome: Outcome) -> Counter:
        """The counter of one end."""
        text = str(status) if status in STATUSES else OTHER
        counter = self._metrics.requests.child(*self._labels, text, outcome.value)
        self._counters[status, outcome] = counter
        return counter


class HttpMetrics:
    """The families of requests as clients see them."""

    def __init__(self, families: Families, seconds: Callable[[], float]) -> None:
        self.seconds = seconds
        self.in_flight = dict.fromkeys(ENDPOINTS, 0)
        self.streams_open: dict[str, int] = {}
        self._endpoints: dict[str, OfEndpoint] = {}
        self.requests = families.counter(
            "http_requests",
            "Client requests that ended, however they ended.",
            ("provider", "endpoint", "model", "status", "outcome"),
            cap=2500,
        )
        self.request_seconds = families.histogram(
            "http_request_duration_seconds",
            "From a client request's first byte to its answer's last.",
            ("provider", "endpoint", "model", "status_class"),
            DUR,
            cap=600,
        )
        families.gauge(
            "http_requests_in_flight",
            "Client requests accepted and not ended.",
            ("endpoint",),
            lambda: [((endpoint,), count) for endpoint, count in list(self.in_flight.items())],
        )
        self._add_families(families)

    def _add_families(self, families: Families) -> None:
        of_endpoint = ("endpoint",)
        self.request_bytes = families.counter(
            "http_request_body_bytes", "Bytes of the bodies that clients sent.", of_endpoint, cap=20
        )
        self.response_bytes = families.counter(
            "http_response_body_bytes", "Bytes of the bodies that clients were sent.", of_endpoint, cap=20
        )
        self.overhead_seconds = families.histogram(
            "openai_proxy_overhead_seconds",
            "Our own share of a request, without the waits for upstream and client.",
            of_endpoint,
            OVER,
            cap=20,
        )
        self.disconnects = families.counter(
            "openai_proxy_client_disconnects",
            "Clients that left before they had their answer.",
            ("endpoint", "phase"),
            cap=60,
        )
        families.gauge(
            "openai_proxy_streams_open",
            "Streamed answers that have begun and not ended.",
            ("provider",),
            lambda: [((provider,), count) for provider, count in list(self.streams_open.items())],
        )

    def of_endpoint(self, endpoint: str) -> OfEndpoint:
        """The children of an endpoint."""
        found = self._endpoints.get(endpoint)
        if found is None:
            found = self._endpoints[endpoint] = OfEndpoint(self, endpoint)
        return found


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
        self.generation = GenerationMetrics(families)
        self.errors = ErrorMetrics(families)
        self.rate_limits = RateLimits(families, seconds)
        self.process = ProcessMetrics(families)
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
        self.generation.expect(provider, endpoints)
        self.errors.expect(provider)

    def watch_pool(self, provider: str, read: Callable[[], PoolNumbers]) -> None:
        """Show this provider's connections. ``read`` is called in the exporter's thread."""
        self.upstream.watch_pool(provider, read)

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
        bound.endpoint.ended(record)
        upstream = self.upstream
        for attempt in record.attempts:
            upstream.of(attempt.provider, endpoint).ended(attempt, model)
        if record.first_byte_seconds is not None:
            upstream.of(provider, endpoint).first_byte(record.first_byte_seconds)
        if record.generation is not None:
            self.generation.ended(provider, endpoint, record.generation)
        if record.error is not None:
            self.errors.told(provider, record.error)

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
