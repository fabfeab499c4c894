"""What /metrics may have."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from openai_proxy.observe.certificates import show_certificates
from openai_proxy.observe.families import Families
from openai_proxy.observe.metrics import Metrics, new_registry
from openai_proxy.observe.worker_metrics import WorkerMetrics


def registries() -> tuple[CollectorRegistry, CollectorRegistry]:
    """Of every daemon; and besides, of one that has workers or TLS for its clients."""
    of_some = CollectorRegistry()
    families = Families(of_some)
    WorkerMetrics(families, int)
    show_certificates(families, {})
    return Metrics(new_registry()).registry, of_some
