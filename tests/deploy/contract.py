"""What /metrics promises: each family's type and labels, in one place for all that reads them.

The names, labels and buckets are a contract with those who made dashboards and alerts of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["counter", "gauge", "histogram"]

SUFFIXES: Final[dict[Kind, tuple[str, ...]]] = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
}


@dataclass(frozen=True, slots=True)
class Family:
    """One family, named as prometheus_client's registry names it: a counter without ``_total``."""

    name: str
    kind: Kind
    labels: tuple[str, ...] = ()

    def samples(self) -> Iterator[tuple[str, frozenset[str]]]:
        """Each sample's name, and its labels."""
        for suffix in SUFFIXES[self.kind]:
            more = {"le"} if suffix == "_bucket" else set()
            yield self.name + suffix, frozenset({*self.labels, *more})


def _families(kind: Kind, *lines: str) -> Iterator[Family]:
    for line in lines:
        name, *labels = line.split()
        yield Family(name, kind, tuple(labels))


FAMILIES: Final = (
    *_families(
        "counter",
        "openai_proxy_config_reloads result",
        "http_requests provider endpoint model status outcome",
        "http_request_body_bytes endpoint",
        "http_response_body_bytes endpoint",
        "openai_proxy_upstream_attempts provider endpoint result",
        "openai_proxy_retries provider reason",
        "openai_proxy_fallbacks from_provider to_provider reason",
        "openai_proxy_hedges provider result",
        "openai_proxy_hedge_wasted_cost_usd provider",
        "openai_proxy_circuit_transitions provider model to_state",
        "openai_proxy_client_retries endpoint",
        "openai_proxy_dropped_members provider member",
        "openai_proxy_client_disconnects endpoint phase",
        "openai_proxy_upstream_connections_opened provider result",
        "openai_proxy_upstream_connection_requests provider reused",
        "openai_proxy_errors provider source type code",
        "openai_proxy_input_tokens provider model",
        "openai_proxy_output_tokens provider model",
        "openai_proxy_input_cached_tokens provider model",
        "openai_proxy_input_cache_write_tokens provider model",
        "openai_proxy_output_reasoning_tokens provider model",
        "openai_proxy_audio_seconds provider model",
        "openai_proxy_usage_missing provider endpoint reason",
        "openai_proxy_cost_usd provider model",
        "openai_proxy_unpriced_requests provider model",
        "openai_proxy_metric_label_overflow metric",
        "openai_proxy_log_messages level",
        "openai_proxy_worker_restarts",
        "openai_proxy_trace_spans_exported result",
        "openai_proxy_trace_spans_dropped",
        "process_cpu_seconds",
        "python_gc_collections generation",
        "python_gc_objects_collected generation",
        "python_gc_objects_uncollectable generation",
    ),
    *_families(
        "gauge",
        "http_requests_in_flight endpoint",
        "openai_proxy_streams_open provider",
        "openai_proxy_upstream_connections provider state",
        "openai_proxy_circuit_state provider model state",
        "openai_proxy_target_resting provider model",
        "openai_proxy_client_connections",
        "openai_proxy_config_last_reload_successful",
        "openai_proxy_config_last_reload_success_timestamp_seconds",
        "openai_proxy_draining",
        "openai_proxy_drain_exchanges",
        "openai_proxy_workers",
        "openai_proxy_tls_certificate_expiry_timestamp_seconds listener",
        "openai_proxy_upstream_ratelimit_remaining provider model resource",
        "openai_proxy_upstream_ratelimit_limit provider model resource",
        "openai_proxy_upstream_ratelimit_updated_timestamp_seconds provider model resource",
        "openai_proxy_build_info version revision python_version twisted_version",
        "openai_proxy_reactor_last_tick_timestamp_seconds",
        "openai_proxy_reactor_delayed_calls",
        "openai_proxy_reactor_threadpool_threads state",
        "openai_proxy_reactor_threadpool_queue_length",
        "process_virtual_memory_bytes",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "process_open_fds",
        "process_max_fds",
        "python_info implementation major minor patchlevel version",
    ),
    *_families(
        "histogram",
        "http_request_duration_seconds provider endpoint model status_class",
        "openai_proxy_upstream_request_duration_seconds provider endpoint model",
        "openai_proxy_overhead_seconds endpoint",
        "openai_proxy_time_to_first_byte_seconds provider endpoint",
        "openai_proxy_time_to_first_token_seconds provider model",
        "openai_proxy_time_to_first_visible_token_seconds provider model",
        "openai_proxy_stream_chunk_interval_seconds provider model",
        "openai_proxy_time_per_output_token_seconds provider model",
        "openai_proxy_upstream_connect_duration_seconds provider phase",
        "openai_proxy_upstream_pool_wait_seconds provider",
        "openai_proxy_reactor_lag_seconds",
    ),
)

_DURATION = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
_FIRST = (0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 20, 30, 60, 120, 300)
_BETWEEN = (
    0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 5, 10, 30,
)  # fmt: skip
_OVERHEAD = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_CONNECT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LAG = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

BUCKETS: Final[dict[str, tuple[float, ...]]] = {
    "http_request_duration_seconds": _DURATION,
    "openai_proxy_upstream_request_duration_seconds": _DURATION,
    "openai_proxy_time_to_first_byte_seconds": _FIRST,
    "openai_proxy_time_to_first_token_seconds": _FIRST,
    "openai_proxy_time_to_first_visible_token_seconds": _FIRST,
    "openai_proxy_stream_chunk_interval_seconds": _BETWEEN,
    "openai_proxy_time_per_output_token_seconds": _BETWEEN,
    "openai_proxy_overhead_seconds": _OVERHEAD,
    "openai_proxy_upstream_connect_duration_seconds": _CONNECT,
    "openai_proxy_upstream_pool_wait_seconds": _CONNECT,
    "openai_proxy_reactor_lag_seconds": _LAG,
}
"""The bounds of each histogram, without +Inf."""

_VALUES: Final[dict[str, tuple[str, ...]]] = {
    "outcome": (
        "ok", "client_error", "client_disconnect", "client_auth", "upstream_error", "upstream_timeout",
        "upstream_connect_error", "upstream_rate_limited", "upstream_stream_error", "proxy_error",
        "proxy_overload", "proxy_throttled", "proxy_circuit_open",
    ),
    "status_class": ("1xx", "2xx", "3xx", "4xx", "5xx", "other"),
    "source": ("client", "proxy", "upstream"),
    "reused": ("true", "false"),
    "resource": ("requests", "tokens"),
    "level": ("debug", "info", "warn", "error", "critical"),
    "openai_proxy_upstream_attempts result": (
        "ok", "http_4xx", "http_429", "http_5xx", "timeout", "connect_error", "tls_error", "protocol_error",
        "stream_error", "aborted",
    ),
    "openai_proxy_upstream_connections_opened result": ("ok", "timeout", "connect_error", "tls_error"),
    "openai_proxy_client_disconnects phase": ("before_upstream", "before_first_byte", "mid_stream"),
    "openai_proxy_upstream_connect_duration_seconds phase": ("dns", "tcp", "tls"),
    "openai_proxy_upstream_connections state": ("active", "idle"),
    "openai_proxy_reactor_threadpool_threads state": ("working", "idle"),
    "openai_proxy_usage_missing reason": (
        "stream_without_usage", "disconnect", "unparsable", "none_in_answer", "not_in_api", "no_answer",
        "background",
    ),
    "openai_proxy_retries reason": (
        "stale_connection", "http_4xx", "http_429", "http_5xx", "timeout", "connect_error", "tls_error",
        "protocol_error", "stream_error",
    ),
    "openai_proxy_fallbacks reason": (
        "circuit_open", "rate_limited", "http_4xx", "http_429", "http_5xx", "timeout", "connect_error",
        "tls_error", "protocol_error", "stream_error",
    ),
    "openai_proxy_hedges result": ("won", "lost"),
    "openai_proxy_config_reloads result": ("success", "failure"),
    "openai_proxy_trace_spans_exported result": ("ok", "failed"),
    "openai_proxy_circuit_state state": ("closed", "open", "half_open"),
    "openai_proxy_circuit_transitions to_state": ("closed", "open", "half_open"),
}  # fmt: skip
"""By label, or by family and label where each family has values of its own."""

OF_SOME_DAEMONS: Final = (
    "openai_proxy_workers",
    "openai_proxy_worker_restarts_total",
    "openai_proxy_tls_certificate_expiry_timestamp_seconds",
)
"""Samples that only a daemon with workers has, or one with TLS for its clients."""

TARGET_LABELS: Final = frozenset({"job", "instance"})
"""What Prometheus adds to every sample."""

FAMILY_OF: Final = {name: family.name for family in FAMILIES for name, _ in family.samples()}
"""The family of each sample's name."""

SAMPLES: Final = {name: labels for family in FAMILIES for name, labels in family.samples()}
"""The labels of each sample that /metrics has."""


def values(family: str, label: str) -> tuple[str, ...]:
    """The closed set of values that a query may name; none where the label is open."""
    return _VALUES.get(f"{family} {label}") or _VALUES.get(label, ())


FROM_PROMETHEUS: Final[dict[str, frozenset[str]]] = {
    "up": frozenset(),
    "scrape_duration_seconds": frozenset(),
    "scrape_samples_scraped": frozenset(),
    "ALERTS": frozenset({"alertname", "alertstate", "severity"}),
}
"""What Prometheus itself says of a target."""
