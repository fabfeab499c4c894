"""The registry that the exporter reads: the same text, in portions."""

from __future__ import annotations

import random

import pytest
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily
from prometheus_client.openmetrics import exposition as openmetrics

from openai_proxy.observe.yielding_registry import PORTION_SAMPLES, YieldingRegistry


class Custom:
    """A collector that is no metric of the library's own."""

    def collect(self) -> list[CounterMetricFamily]:
        return [CounterMetricFamily("custom", "Custom.", value=3)]


@pytest.fixture
def registry() -> CollectorRegistry:
    """Some of each kind, with labels that need escapes, exemplars, and no children."""
    chosen = random.Random(7)
    registry = CollectorRegistry()
    counter = Counter("requests", "Requests.", ("path",), registry=registry)
    histogram = Histogram("seconds", 'Seconds "quoted" \\ and\nlines.', ("a", "b"), registry=registry)
    for number in range(50):
        counter.labels(f'p"\\\n{number}é').inc(number, {"trace_id": str(number)})
        histogram.labels(str(number), "x").observe(chosen.random(), {"trace_id": "t"})
    Gauge("nothing", "No child yet.", ("a",), registry=registry)
    Gauge("plain", "Without labels.", registry=registry).set(-1.5)
    Info("build", "Build.", registry=registry).info({"version": "1"})
    registry.register(Custom())
    return registry


def test_the_text_is_the_same(registry: CollectorRegistry) -> None:
    """In both formats it is, byte for byte, what the registry itself gives."""
    yielding = YieldingRegistry(registry, lambda _: None)
    assert generate_latest(yielding) == generate_latest(registry)
    assert openmetrics.generate_latest(yielding) == openmetrics.generate_latest(registry)


def test_the_second_scrape_has_what_the_first_had() -> None:
    """A collector that gives the same family each time is not used up, and not cut by ``?name[]=``."""
    registry = CollectorRegistry()
    PlatformCollector(registry=registry)
    yielding = YieldingRegistry(registry, lambda _: None)
    expected = generate_latest(registry)
    assert b"python_info{" in expected
    assert not list(yielding.restricted_registry(["another"]).collect())
    assert [generate_latest(yielding) for _ in range(2)] == [expected, expected]


def test_it_pauses_between_portions(registry: CollectorRegistry) -> None:
    """No portion is longer than promised."""
    pauses: list[float] = []
    generate_latest(YieldingRegistry(registry, pauses.append))
    samples = sum(len(metric.samples) for metric in registry.collect())
    assert len(pauses) >= samples // PORTION_SAMPLES - 5


def test_only_the_asked_names(registry: CollectorRegistry) -> None:
    """``?name[]=`` gives these samples and no other."""
    restricted = YieldingRegistry(registry, lambda _: None).restricted_registry(["plain", "requests_total"])
    expected = generate_latest(registry.restricted_registry(["plain", "requests_total"]))
    assert sorted(generate_latest(restricted).splitlines()) == sorted(expected.splitlines())
