"""The metrics of several processes are those of one."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from openai_proxy.observe.metrics import Metrics, new_registry
from openai_proxy.observe.snapshot import families_of
from openai_proxy.process.merging import CUMULATIVE, GAUGES, merged, retained
from openai_proxy.process.operations import Exemplar, Family, Sample

LABELS = st.sampled_from([(), (("model", "a"),), (("model", "b"),), (("model", "a"), ("code", "1"))])
NUMBERS = st.integers(0, 1 << 40).map(float)
EXEMPLARS = st.none() | st.builds(
    Exemplar, st.sampled_from([(("id", "1"),), (("id", "2"),)]), NUMBERS, st.none() | NUMBERS
)
TYPES = {
    "requests": "counter",
    "seconds": "histogram",
    "http_requests_in_flight": "gauge",
    "openai_proxy_circuit_state": "gauge",
    "process_max_fds": "gauge",
}


def family(name: str) -> st.SearchStrategy[Family]:
    """One of this name, with different series."""
    samples = st.lists(
        st.builds(Sample, st.sampled_from([name, f"{name}_sum"]), LABELS, NUMBERS, EXEMPLARS),
        unique_by=lambda sample: (sample.name, sample.labels),
    )
    return st.builds(Family, st.just(name), st.just(TYPES[name]), st.just("Some."), samples)


FAMILIES = st.lists(st.sampled_from(sorted(TYPES)), unique=True).flatmap(
    lambda names: st.tuples(*(family(name) for name in names)).map(list)
)


def as_set(families: list[Family]) -> Any:
    """Without their order."""
    return {
        one.name: (one.type, {(s.name, s.labels, s.value, s.exemplar) for s in one.samples})
        for one in families
    }


@settings(deadline=None)
@given(FAMILIES)
def test_one_alone_is_left_as_it_is(one: list[Family]) -> None:
    """There is nothing to do for one process, or for those that have said nothing yet."""
    assert merged([one]) == one
    assert merged([[], one, []]) == one


@settings(deadline=None)
@given(FAMILIES, FAMILIES)
def test_the_order_of_processes_does_not_matter(one: list[Family], other: list[Family]) -> None:
    """Whoever is asked first, the numbers are the same."""
    assert as_set(merged([one, other])) == as_set(merged([other, one]))


@settings(deadline=None)
@given(FAMILIES, FAMILIES, FAMILIES)
def test_a_sum_may_be_merged_again(one: list[Family], two: list[Family], three: list[Family]) -> None:
    """What was kept of some processes and the rest are the same as all at once."""
    at_once = merged([one, two, three])
    assert as_set(merged([merged([one, two]), three])) == as_set(at_once)
    assert as_set(merged([one, merged([two, three])])) == as_set(at_once)


@settings(deadline=None)
@given(FAMILIES)
def test_only_what_was_counted_is_retained(one: list[Family]) -> None:
    """Of a process that is gone no gauge is left, and all of the rest."""
    assert retained(one) == [family for family in one if family.type != "gauge"]


def _one(name: str, type_: str, *samples: Sample) -> Family:
    return Family(name, type_, "Some.", list(samples))


def test_each_kind_has_its_rule() -> None:
    """Counts are summed; a state that any process is in is shown; of what is left the least is."""
    one = [
        _one("requests", "counter", Sample("requests_total", (("a", "1"), ("b", "2")), 2)),
        _one("openai_proxy_circuit_state", "gauge", Sample("openai_proxy_circuit_state", (), 1)),
        _one("openai_proxy_upstream_ratelimit_remaining", "gauge", Sample("r", (), 10)),
        _one("openai_proxy_streams_open", "gauge", Sample("openai_proxy_streams_open", (), 4)),
    ]
    two = [
        _one("requests", "counter", Sample("requests_total", (("b", "2"), ("a", "1")), 3)),
        _one("openai_proxy_circuit_state", "gauge", Sample("openai_proxy_circuit_state", (), 0)),
        _one("openai_proxy_upstream_ratelimit_remaining", "gauge", Sample("r", (), 7)),
        _one("openai_proxy_streams_open", "gauge", Sample("openai_proxy_streams_open", (), 5)),
    ]
    assert [[sample.value for sample in family.samples] for family in merged([one, two])] == [
        [5],
        [1],
        [7],
        [9],
    ]


def test_the_latest_exemplar_is_kept() -> None:
    """Of two requests that fell into the same bucket the later one is named."""
    old, new = Exemplar((("id", "old"),), 1, 10), Exemplar((("id", "new"),), 1, 20)
    lists = [[_one("seconds", "histogram", Sample("seconds_bucket", (), 1, one))] for one in (new, None, old)]
    (family,) = merged(lists)
    assert family.samples == [Sample("seconds_bucket", (), 3, new)]


def test_every_gauge_has_a_stated_rule() -> None:
    """A new gauge is not summed because nobody thought of it; each rule is of one that there is."""
    families = families_of(Metrics(new_registry()).registry)
    gauges = {family.name for family in families if family.type not in CUMULATIVE}
    of_the_parent = {"openai_proxy_workers"}
    assert set(GAUGES) == gauges | of_the_parent
