"""The numbers of a parent of workers."""

from __future__ import annotations

from collections.abc import Callable

from openai_proxy.observe.families import Families


class WorkerMetrics:
    """The families that only a daemon of several processes has."""

    def __init__(self, families: Families, serving: Callable[[], int]) -> None:
        """:param serving: how many workers there are that serve; called in the exporter's thread."""
        self.restarts = 0
        families.gauge(
            "openai_proxy_workers",
            "Workers that serve.",
            (),
            lambda: [((), float(serving()))],
        )
        families.counted(
            "openai_proxy_worker_restarts",
            "Workers that were started in place of one that had ended by itself.",
            (),
            lambda: [((), float(self.restarts))],
        )
