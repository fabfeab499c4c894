"""Traces, as a daemon's settings want them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from openai_proxy.observe.trace import Traces
from openai_proxy.observe.trace_metrics import TraceMetrics
from openai_proxy.observe.trace_sink import Exporter, TraceSink

if TYPE_CHECKING:
    from openai_proxy.config.tracing import Tracing


class MadeTracing(NamedTuple):
    """Both halves."""

    traces: Traces
    """What decides which exchanges have spans: the context's."""
    sink: TraceSink
    """What sends them; to be started and stopped."""


def exporter_of(tracing: Tracing) -> Exporter:
    """What sends spans. Raises ValueError if it is not installed, or cannot be made of the settings."""
    try:
        from openai_proxy.observe.trace_export import OtlpExporter
    except ImportError:
        raise ValueError("tracing wants the extra: pip install openai_proxy[otel]") from None
    return OtlpExporter(tracing)


def tracing_of(
    tracing: Tracing, reactor: Any, metrics: TraceMetrics, unix_seconds: Callable[[], float], random: Random
) -> MadeTracing:
    """Raises ValueError as :func:`exporter_of`."""
    sink = TraceSink(exporter_of(tracing), reactor, metrics, unix_seconds)
    return MadeTracing(Traces(tracing.sample_ratio, random), sink)
