"""Our primitives say what prometheus_client's own would say."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from openai_proxy.observe.families import EXEMPLAR_LABEL, Families
from openai_proxy.observe.intervals import IntervalCounts
from openai_proxy.observe.metrics import new_registry
from openai_proxy.observe.model import OTHER
from openai_proxy.observe.yielding_registry import YieldingRegistry

BOUNDS = (0.001, 0.25, 1.0, 60.0)
OVERFLOW = "openai_proxy_metric_label_overflow_total"
HELP = 'Some "help" \\ of\ntwo lines.'

values = st.sampled_from(["a", "b", 'c"\\\n', "é"])
seconds = st.one_of(st.sampled_from(BOUNDS), st.floats(min_value=0, max_value=1e6))
observations = st.lists(st.tuples(values, values, seconds, st.sampled_from([None, "id-1", "id-2" * 40])))

Observed = list[tuple[str, str, float, str | None]]
Parse = Callable[[str], Iterable[Metric]]


def theirs(observed: Observed) -> CollectorRegistry:
    """The same in prometheus_client's own metrics."""
    new_registry()  # switches the _created series off
    registry = CollectorRegistry()
    overflow = Counter(OVERFLOW, "Over.", ("metric",), registry=registry)
    counter = Counter("requests", HELP, ("a", "b"), registry=registry)
    histogram = Histogram("seconds", HELP, ("a", "b"), buckets=BOUNDS, registry=registry)
    gauge = Gauge("now", "Now.", ("a",), registry=registry)
    assert overflow
    for a, b, value, request_id in observed:
        counter.labels(a, b).inc(3)
        exemplar = None if request_id is None else {EXEMPLAR_LABEL: request_id[:118]}
        histogram.labels(a, b).observe(value, exemplar)
        gauge.labels(a).set(value)
    return registry


def ours(observed: Observed) -> CollectorRegistry:
    """Our families with all that was observed."""
    registry = CollectorRegistry()
    families = Families(registry)
    counter = families.counter("requests", HELP, ("a", "b"))
    histogram = families.histogram("seconds", HELP, ("a", "b"), BOUNDS)
    now: dict[str, float] = {}
    families.gauge("now", "Now.", ("a",), lambda: [((a,), value) for a, value in now.items()])
    for a, b, value, request_id in observed:
        counter.child(a, b).value += 3
        if request_id is None:
            histogram.child(a, b).observe(value)
        else:
            histogram.child(a, b).observe_with_id(value, request_id, 1.5)
        now[a] = value
    return registry


def samples(text: bytes, parse: Parse) -> list[Sample]:
    """What a parser reads, without the help of our own overflow family and the exemplars' times."""
    return [
        sample._replace(exemplar=sample.exemplar and sample.exemplar._replace(timestamp=None))
        for family in parse(text.decode())
        for sample in family.samples
    ]


@settings(deadline=None)
@given(observations)
def test_both_formats_are_what_the_library_would_write(
    observed: Observed,
) -> None:
    """The text line by line; OpenMetrics but for the moment of an exemplar."""
    mine, other = YieldingRegistry(ours(observed), lambda _: None), theirs(observed)
    assert generate_latest(mine).split(b"\n")[2:] == generate_latest(other).split(b"\n")[2:]
    assert samples(generate_latest(mine), text_families) == samples(generate_latest(other), text_families)
    shown, expected = openmetrics.generate_latest(mine), openmetrics.generate_latest(other)
    assert samples(shown, openmetrics_families) == samples(expected, openmetrics_families)
    kinds = {
        family.name: (family.type, family.documentation) for family in openmetrics_families(shown.decode())
    }
    assert kinds["requests"] == ("counter", HELP) and kinds["seconds"] == ("histogram", HELP)


def test_an_exemplar_is_seen_in_openmetrics_only() -> None:
    """With its id, cut to what is allowed, its value and its time."""
    registry = ours([("a", "b", 0.5, "x" * 200)])
    (shown,) = [line for line in openmetrics.generate_latest(registry).splitlines() if b" # " in line]
    assert shown == b'seconds_bucket{a="a",b="b",le="1.0"} 1.0 # {request_id="%b"} 0.5 1.5' % (b"x" * 118)
    assert b"request_id" not in generate_latest(registry)


@settings(deadline=None)
@given(st.lists(seconds))
def test_a_whole_stream_is_the_same_as_its_intervals(intervals: list[float]) -> None:
    """``add_counts`` is ``observe`` of each."""
    families = Families(CollectorRegistry())
    histogram = families.histogram("seconds", "S.", ("a",), BOUNDS)
    one, other = histogram.child("one"), histogram.child("other")
    counted = IntervalCounts(BOUNDS)
    for interval in intervals:
        one.observe(interval)
        counted.add(interval)
    other.add_counts(counted)
    assert one.counts == other.counts
    assert one.total == other.total


def test_a_counter_of_small_units_is_exact() -> None:
    """Ten times ten cents are a dollar, and not a bit less."""
    registry = CollectorRegistry()
    cost = Families(registry).counter("cost_usd", "C.", (), per_unit=10**12)
    for _ in range(10):
        cost.child().value += 10**11
    assert registry.get_sample_value("cost_usd_total") == 1


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("xyz"), st.integers(0, 99).map(str)), max_size=200))
def test_a_full_family_loses_labels_and_no_count(observed: list[tuple[str, str]]) -> None:
    """Past the cap a model is ``other``; each refused set of labels is counted."""
    registry = CollectorRegistry()
    families = Families(registry)
    counter = families.counter("requests", "R.", ("outcome", "model"), cap=8)
    refused = 0
    for number, (outcome, model) in enumerate(observed):
        known = dict(counter.children())
        refused += (outcome, model) not in known and len(known) >= 8
        counter.child(outcome, model).value += 1
        assert sum(child.value for _, child in counter.children()) == number + 1
    children = counter.children()
    assert len(children) <= counter.bound == 11
    for outcome in "xyz":
        of_outcome = sum(child.value for values, child in children if values[0] in (outcome, OTHER))
        assert of_outcome >= [one for one, _ in observed].count(outcome)
    assert (registry.get_sample_value(OVERFLOW, {"metric": "requests_total"}) or 0) == refused


def test_a_family_whose_labels_were_thought_closed_is_bounded_too() -> None:
    """A guard against our own mistakes: in the end all labels are ``other``."""
    families = Families(CollectorRegistry())
    histogram = families.histogram("seconds", "S.", ("endpoint", "model"), BOUNDS, cap=8)
    for number in range(1000):
        histogram.child(str(number), "m").observe(1)
    assert len(histogram.children()) == histogram.bound == 11
    assert histogram.children()[-1][0] == (OTHER, OTHER)


def test_a_family_may_grow_while_it_is_read() -> None:
    """The exporter's thread reads while the reactor counts."""
    families = Families(CollectorRegistry())
    histogram = families.histogram("seconds", "S.", ("a",), BOUNDS)
    child = histogram.child("0")
    read = histogram.samples()
    next(read)
    for number in range(10):
        histogram.child(str(number)).observe(0.0)
    rest = list(read)
    assert {sample.labels["a"] for sample in rest} == {"0"}
    assert {sample.value for sample in rest} == {0}
    assert child.counts[0] == 1


def test_a_name_is_registered_once() -> None:
    """Two families of one name would be an exposition that Prometheus refuses."""
    families = Families(CollectorRegistry())
    families.counter("requests", "R.", ())
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        families.counter("requests", "R.", ())
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        families.gauge("requests_total", "R.", (), list)


def test_what_others_count_is_read_when_it_is_asked_for() -> None:
    """A counter over plain ints has its suffix."""
    registry = CollectorRegistry()
    counts = {"ok": 1}
    families = Families(registry)
    families.counted("opened", "O.", ("result",), lambda: [((key,), n) for key, n in counts.items()])
    counts["ok"] = 5
    assert registry.get_sample_value("opened_total", {"result": "ok"}) == 5


def test_families_are_collectors() -> None:
    """Whatever reads a registry can read them."""
    family = Families(CollectorRegistry()).counter("requests", "R.", ())
    collector: Collector = family
    family.child().value += 1
    (metric,) = collector.collect()
    assert [sample.value for sample in metric.samples] == [1]
