"""The numbers in Prometheus: a sink of records over a registry that is passed in."""

from collections.abc import Sequence
from functools import partial

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from twisted.internet.interfaces import IReactorTime

from openai_proxy.observe.endpoint import ENDPOINTS, OTHER
from openai_proxy.observe.model import NONE
from openai_proxy.observe.outcome import Outcome
from openai_proxy.observe.record import Record
from openai_proxy.wire.fields import Field

DURATION_BUCKETS_SECONDS = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600,
)  # fmt: skip
"""To 600 s, the SDKs' own time limit: a reasoning call of minutes must not fall in +Inf."""

STATUSES = frozenset(range(100, 600))


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

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._requests = Counter(
            "http_requests_total",
            "Client requests that ended, however they ended.",
            ("provider", "endpoint", "model", "status", "outcome"),
            registry=registry,
        )
        self._durations = Histogram(
            "http_request_duration_seconds",
            "From a client request's first byte to its answer's last.",
            ("provider", "endpoint", "model", "status_class"),
            buckets=DURATION_BUCKETS_SECONDS,
            registry=registry,
        )
        in_flight = Gauge(
            "http_requests_in_flight",
            "Client requests accepted and not ended.",
            ("endpoint",),
            registry=registry,
        )
        # Two calls less in each request than a gauge's own inc and dec.
        self._in_flight = dict.fromkeys(ENDPOINTS, 0)
        for endpoint in ENDPOINTS:
            in_flight.labels(endpoint).set_function(partial(self._in_flight.__getitem__, endpoint))
        self._delayed_calls = Gauge(
            "openai_proxy_reactor_delayed_calls",
            "Calls that the reactor has been asked to make later.",
            registry=registry,
        )
        # labels() costs more than inc(): each child is looked up once.
        self._bound: dict[tuple[str, str, str, int, Outcome], tuple[Counter, Histogram]] = {}

    def watch(self, reactor: IReactorTime) -> None:
        """Show this reactor's delayed calls: a number that only grows is a leak."""
        self._delayed_calls.set_function(lambda: len(reactor.getDelayedCalls()))

    wants_ids = False

    def answer_began(self, provider: str, model: str, fields: Sequence[Field], is_stream: bool) -> None:
        """See ``Sink``."""

    def exchange_began(self, endpoint: str) -> None:
        self._in_flight[endpoint] += 1

    def exchange_ended(self, record: Record) -> None:
        self._in_flight[record.endpoint] -= 1
        self._count(
            (record.provider, record.endpoint, record.model, record.status, record.outcome),
            record.duration_seconds,
        )

    def request_refused(self, status: int, duration_seconds: float) -> None:
        outcome = Outcome.CLIENT_ERROR if status < 500 or status in (501, 505) else Outcome.PROXY_ERROR
        self._count((NONE, OTHER, NONE, status, outcome), duration_seconds)

    def _count(self, key: tuple[str, str, str, int, Outcome], duration_seconds: float) -> None:
        bound = self._bound.get(key)
        if bound is None:
            bound = self._bound[key] = self._bind(*key)
        counter, histogram = bound
        counter.inc()
        histogram.observe(duration_seconds)

    def _bind(
        self, provider: str, endpoint: str, model: str, status: int, outcome: Outcome
    ) -> tuple[Counter, Histogram]:
        known = status in STATUSES
        return (
            self._requests.labels(provider, endpoint, model, str(status) if known else OTHER, outcome.value),
            self._durations.labels(provider, endpoint, model, f"{status // 100}xx" if known else OTHER),
        )
