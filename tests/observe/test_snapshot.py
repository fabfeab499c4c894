"""Metrics that have gone through another process are rendered as before."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from openai_proxy.observe.metrics import Metrics, new_registry
from openai_proxy.observe.snapshot import collector, families_of
from openai_proxy.observe.yielding_registry import YieldingRegistry
from openai_proxy.process.operations import Family


def sent(families: list[Family]) -> list[Family]:
    """As they come out at the other end of a link."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(families), type=list[Family])


def a_registry() -> CollectorRegistry:
    """Some of each kind, with exemplars and labels that need escapes."""
    registry = CollectorRegistry()
    counter = Counter("requests", "Requests.", ("path",), registry=registry)
    histogram = Histogram("seconds", 'Seconds "quoted" \\ and\nlines.', ("a",), registry=registry)
    for number in range(40):
        counter.labels(f'p"\\\n{number}é').inc(number, {"trace_id": str(number)})
        histogram.labels(str(number)).observe(number / 10, {"trace_id": "t"})
    Gauge("nothing", "No child yet.", ("a",), registry=registry)
    Gauge("plain", "Without labels.", registry=registry).set(float("inf"))
    return registry


def test_the_text_is_the_same() -> None:
    """In both formats, byte for byte, as often as it is asked for."""
    registry = a_registry()
    pauses: list[float] = []
    shown = collector(sent(families_of(registry)), pauses.append)
    for _ in range(2):
        assert generate_latest(shown) == generate_latest(registry)
        assert openmetrics.generate_latest(shown) == openmetrics.generate_latest(registry)
    assert pauses


def test_only_what_is_asked_for_is_shown() -> None:
    """``?name[]=`` selects as in a registry."""
    registry = a_registry()
    shown = collector(families_of(registry), lambda _: None).restricted_registry(["plain"])  # type: ignore[attr-defined]
    assert generate_latest(shown) == generate_latest(registry.restricted_registry(["plain"]))


def test_only_some_families() -> None:
    """By the names that they have in the registry; the samples of the others are not made."""
    metrics = Metrics(new_registry())
    wanted = {"http_requests", "openai_proxy_streams_open", "no_such_family"}
    families = families_of(YieldingRegistry(metrics.registry, lambda _: None), wanted)
    assert {family.name for family in families} == wanted - {"no_such_family"}
    assert families == [family for family in families_of(metrics.registry) if family.name in wanted]


def test_the_daemon_s_own_families_survive() -> None:
    """Also those that make their samples when they are read, and through the registry that pauses."""
    registry = Metrics(new_registry()).registry
    families = families_of(YieldingRegistry(registry, lambda _: None))

    def names(families: Iterable[Family]) -> list[tuple[str, int]]:
        return [(family.name, len(family.samples)) for family in families]

    assert names(families) == names(sent(families_of(registry)))
    assert b"openai_proxy_build_info{" in generate_latest(collector(families, lambda _: None))
