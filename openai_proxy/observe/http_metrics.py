"""The numbers of requests as clients see them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from openai_proxy.observe.buckets import DUR, OVER
from openai_proxy.observe.endpoint import ENDPOINTS, OTHER
from openai_proxy.observe.families import Counter, Families, Histogram
from openai_proxy.observe.key_like import is_key_like
from openai_proxy.observe.outcome import Outcome
from openai_proxy.observe.record import DisconnectPhase, Record
from openai_proxy.observe.upstream import Attempts

_NOT_PLAIN: Final = re.compile(rb"[^\w.:/+=@~-]")
"""Not in an id: it may be an upstream's text, and not each reader of OpenMetrics knows escapes."""

STATUSES: Final = frozenset(range(100, 600))


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

    __slots__ = ("_counters", "_durations", "_labels", "_metrics", "attempts", "endpoint")

    def __init__(self, metrics: HttpMetrics, provider: str, endpoint: str, model: str) -> None:
        self._metrics = metrics
        self._labels = (provider, endpoint, model)
        self._counters: dict[tuple[int, Outcome], Counter] = {}
        self._durations: dict[int, Histogram] = {}
        self.endpoint = metrics.of_endpoint(endpoint)
        self.attempts: Attempts | None = None
        """Those at the same provider; None until there was one, for that makes series."""

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
