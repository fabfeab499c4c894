"""What /metrics may have."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from openai_proxy.observe.families import Families
from openai_proxy.observe.metrics import Metrics, new_registry
from openai_proxy.observe.worker_metrics import WorkerMetrics


def registries() -> tuple[CollectorRegistry, CollectorRegistry]:
    """Of every daemon; and besides, of the parent of one with workers."""
    of_workers = CollectorRegistry()
    WorkerMetrics(Families(of_workers), int)
    return Metrics(new_registry()).registry, of_workers
