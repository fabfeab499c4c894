"""A /metrics that has all that the contract promises, and more of it at each scrape."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest

from openai_proxy.observe.metrics import new_registry
from tests.deploy.contract import BUCKETS, FAMILIES, Family, values

CHOICES = {
    "provider": ("openai", "mock"),
    "endpoint": ("chat_completions", "embeddings"),
    "model": ("gpt-4o", "gpt-4o-mini"),
    "status": ("200", "500"),
    "status_class": ("2xx", "5xx"),
    "type": ("server_error",),
    "code": ("none",),
    "metric": ("http_requests",),
}
"""Enough values of each open label to tell series apart."""


class Exporter:
    """Every child of every family goes up by one when it is asked."""

    def __init__(self) -> None:
        self.registry: CollectorRegistry = new_registry()
        self._steps: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        for family in FAMILIES:
            if not family.name.startswith(("process_", "python_")):
                self._add(family)

    def scrape(self) -> bytes:
        """The next state, in OpenMetrics' form."""
        with self._lock:
            for step in self._steps:
                step()
            body: bytes = generate_latest(self.registry)
            return body

    def _add(self, family: Family) -> None:
        choices = [CHOICES.get(label) or values(family.name, label) or ("1",) for label in family.labels]
        made: Counter | Gauge | Histogram
        if family.kind == "counter":
            made = Counter(family.name, "A counter.", family.labels, registry=self.registry)
        elif family.kind == "gauge":
            made = Gauge(family.name, "A gauge.", family.labels, registry=self.registry)
        else:
            made = Histogram(
                family.name,
                "A histogram.",
                family.labels,
                buckets=BUCKETS[family.name],
                registry=self.registry,
            )
        for labels in product(*choices):
            child = made.labels(*labels) if labels else made
            if isinstance(child, Counter):
                self._steps.append(child.inc)
            elif isinstance(child, Histogram):
                middle = BUCKETS[family.name][5]
                self._steps.append(lambda child=child, middle=middle: child.observe(middle))  # type: ignore[misc]
            elif "timestamp" in family.name:
                self._steps.append(child.set_to_current_time)
            else:
                self._steps.append(lambda child=child: child.set(1 + time.time() % 5))  # type: ignore[misc]


@contextmanager
def exporting() -> Iterator[str]:
    """``host:port`` of a server whose every path is /metrics."""
    exporter = Exporter()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = exporter.scrape()
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE_LATEST)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
