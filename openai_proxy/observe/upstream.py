"""The numbers of attempts and connections: what a provider did, before anybody looks into its answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar, Final, Protocol

from openai_proxy.observe.buckets import CONN, DUR, TTFT
from openai_proxy.observe.families import Counter, Families, Histogram, Rows
from openai_proxy.observe.record import Attempt, AttemptResult
from openai_proxy.wire.response import Timings

STALE_CONNECTION: Final = "stale_connection"
"""The reason of a retry: the kept connection had been closed when the request was sent on it."""

CONNECT_RESULTS: Final = ("ok", "timeout", "connect_error", "tls_error")


class PoolNumbers(Protocol):
    """The connections to one provider, as plain numbers that any thread may read."""

    @property
    def active(self) -> int:
        """Connections with a request, or being made."""

    @property
    def idle(self) -> int:
        """Connections that wait for a request."""

    @property
    def opened(self) -> dict[str, int]:
        """Attempts to connect so far, by ``CONNECT_RESULTS``."""


class NoConnections:
    """Of an upstream that nothing was sent to yet."""

    active = idle = 0
    opened: ClassVar[dict[str, int]] = {}


NO_CONNECTIONS: Final = NoConnections()


class Connections:
    """Children of one provider."""

    __slots__ = ("_metrics", "_phases", "_pool_wait", "_provider", "_requests", "_retries")

    def __init__(self, metrics: UpstreamMetrics, provider: str) -> None:
        self._metrics = metrics
        self._provider = provider
        requests = metrics.connection_requests
        self._requests = (requests.child(provider, "false"), requests.child(provider, "true"))
        self._retries = metrics.retries.child(provider, STALE_CONNECTION)
        self._pool_wait: Histogram | None = None
        self._phases: dict[str, Histogram] = {}

    def used(self, timings: Timings) -> None:
        """An answer came over a connection that came about so."""
        self._requests[timings.reused].value += 1
        pool_wait = self._pool_wait
        if pool_wait is None:
            pool_wait = self._pool_wait = self._metrics.pool_wait_seconds.child(self._provider)
        pool_wait.observe(timings.pool_wait_seconds)
        if not timings.reused:
            self._opened(timings)

    def repeated(self) -> None:
        """A request was sent again."""
        self._retries.value += 1

    def _opened(self, timings: Timings) -> None:
        if timings.lookup_seconds is not None:
            self._phase("dns").observe(timings.lookup_seconds)
        if timings.connect_seconds > 0:
            # 0 is no connection at all, such as the mock's.
            self._phase("tcp").observe(timings.connect_seconds)
        if timings.tls_seconds is not None:
            self._phase("tls").observe(timings.tls_seconds)

    def _phase(self, phase: str) -> Histogram:
        histogram = self._phases.get(phase)
        if histogram is None:
            histogram = self._phases[phase] = self._metrics.connect_seconds.child(self._provider, phase)
        return histogram


class Attempts:
    """Children of one provider and endpoint; those of a model are made when there is one."""

    __slots__ = (
        "_connections",
        "_durations",
        "_endpoint",
        "_first_byte",
        "_metrics",
        "_provider",
        "_results",
    )

    def __init__(self, metrics: UpstreamMetrics, provider: str, endpoint: str) -> None:
        self._metrics = metrics
        self._provider = provider
        self._endpoint = endpoint
        self._connections = metrics.connections_of(provider)
        self._results: dict[AttemptResult, Counter] = {}
        self._durations: dict[str, Histogram] = {}
        self._first_byte: Histogram | None = None

    def ended(self, attempt: Attempt, model: str) -> None:
        """One more, whatever became of it."""
        counter = self._results.get(attempt.result)
        if counter is None:
            counter = self.result(attempt.result)
        counter.value += 1
        duration = self._durations.get(model)
        if duration is None:
            duration = self._durations[model] = self._metrics.request_seconds.child(
                self._provider, self._endpoint, model
            )
        duration.observe(attempt.duration_seconds)
        if attempt.timings is not None:
            self._connections.used(attempt.timings)
        if attempt.repeated:
            self._connections.repeated()

    def result(self, result: AttemptResult) -> Counter:
        """The counter of one result."""
        counter = self._metrics.attempts.child(self._provider, self._endpoint, result.value)
        self._results[result] = counter
        return counter

    def first_byte(self, seconds: float) -> None:
        """The head of an answer came so late after the client's request."""
        histogram = self._first_byte
        if histogram is None:
            histogram = self._metrics.first_byte_seconds.child(self._provider, self._endpoint)
            self._first_byte = histogram
        histogram.observe(seconds)


class UpstreamMetrics:
    """The families of attempts and connections."""

    def __init__(self, families: Families) -> None:
        self._attempts: dict[tuple[str, str], Attempts] = {}
        self._connections: dict[str, Connections] = {}
        self._pools: dict[str, Callable[[], PoolNumbers]] = {}
        self.attempts = families.counter(
            "openai_proxy_upstream_attempts",
            "Requests to upstreams that ended, however they ended.",
            ("provider", "endpoint", "result"),
            cap=1500,
        )
        self.request_seconds = families.histogram(
            "openai_proxy_upstream_request_duration_seconds",
            "From a request's sending to its upstream's last byte, or to what ended it.",
            ("provider", "endpoint", "model"),
            DUR,
            cap=300,
        )
        self.first_byte_seconds = families.histogram(
            "openai_proxy_time_to_first_byte_seconds",
            "From a client request's last byte to the head of its upstream's answer.",
            ("provider", "endpoint"),
            TTFT,
        )
        self.retries = families.counter(
            "openai_proxy_retries",
            "Requests that were sent to an upstream again.",
            ("provider", "reason"),
            cap=300,
        )
        self._add_connection_families(families)

    def _add_connection_families(self, families: Families) -> None:
        self.connect_seconds = families.histogram(
            "openai_proxy_upstream_connect_duration_seconds",
            "How long each step to a new connection took.",
            ("provider", "phase"),
            CONN,
            cap=100,
        )
        self.connection_requests = families.counter(
            "openai_proxy_upstream_connection_requests",
            "Answers of upstreams, by whether their connection had been used before.",
            ("provider", "reused"),
            cap=70,
        )
        self.pool_wait_seconds = families.histogram(
            "openai_proxy_upstream_pool_wait_seconds",
            "How long a request waited for a free connection.",
            ("provider",),
            CONN,
            cap=35,
        )
        families.counted(
            "openai_proxy_upstream_connections_opened",
            "Attempts to connect to an upstream, by how they ended.",
            ("provider", "result"),
            self._opened,
        )
        families.gauge(
            "openai_proxy_upstream_connections",
            "Connections to upstreams that are open or being made.",
            ("provider", "state"),
            self._open,
        )

    def of(self, provider: str, endpoint: str) -> Attempts:
        """The children of a provider and an endpoint."""
        key = (provider, endpoint)
        attempts = self._attempts.get(key)
        if attempts is None:
            attempts = self._attempts[key] = Attempts(self, provider, endpoint)
        return attempts

    def connections_of(self, provider: str) -> Connections:
        """The children of a provider."""
        connections = self._connections.get(provider)
        if connections is None:
            connections = self._connections[provider] = Connections(self, provider)
        return connections

    def expect(self, provider: str, endpoints: Iterable[str]) -> None:
        """Make the children whose first failure has to be seen."""
        for endpoint in endpoints:
            for result in AttemptResult:
                self.of(provider, endpoint).result(result)

    def watch_pool(self, provider: str, read: Callable[[], PoolNumbers]) -> None:
        """``read`` is called in the exporter's thread."""
        self._pools[provider] = read

    def forget_pools(self) -> None:
        """Show no provider's connections any more."""
        self._pools = {}

    def _opened(self) -> Rows:
        for provider, numbers in self._numbers():
            opened = numbers.opened
            for result in CONNECT_RESULTS:
                yield (provider, result), opened.get(result, 0)

    def _open(self) -> Rows:
        for provider, numbers in self._numbers():
            yield (provider, "active"), numbers.active
            yield (provider, "idle"), numbers.idle

    def _numbers(self) -> Iterator[tuple[str, PoolNumbers]]:
        for provider, read in list(self._pools.items()):
            yield provider, read()
