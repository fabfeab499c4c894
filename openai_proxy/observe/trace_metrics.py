"""What became of spans, in numbers."""

from __future__ import annotations

from typing import Final

from openai_proxy.observe.families import Families

EXPORT_RESULTS: Final = ("ok", "failed")


class TraceMetrics:
    """Counted by whoever exports; 0 where nothing is traced."""

    def __init__(self, families: Families) -> None:
        self.exported = dict.fromkeys(EXPORT_RESULTS, 0)
        """By what became of their batch; the exporting thread counts."""
        self.dropped = 0
        """Not exported, for too many waited; the reactor's thread counts."""
        families.counted(
            "openai_proxy_trace_spans_exported",
            "Spans that were sent to the collector.",
            ("result",),
            lambda: [((result,), count) for result, count in list(self.exported.items())],
        )
        families.counted(
            "openai_proxy_trace_spans_dropped",
            "Spans that were not sent, for too many waited.",
            (),
            lambda: [((), self.dropped)],
        )
