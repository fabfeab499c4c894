"""Sums over the last minutes, and quantiles of buckets."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.observe.window import Window, quantile

A, B = ("a",), ("b", "x")


def test_sums_and_the_time_that_they_are_of() -> None:
    """Exactly what was added, over exactly that time."""
    window = Window(300, 10)
    assert (window.sums(), window.covered_seconds) == ({}, 0.0)
    window.add(100, 110, {A: 1, B: 2})
    window.add(110, 120, {A: 4})
    assert (window.sums(), window.covered_seconds) == ({A: 5, B: 2}, 20)


def test_what_is_old_is_gone() -> None:
    """With the time that it was of."""
    window = Window(300, 10)
    for at in range(0, 600, 10):
        window.add(at, at + 10, {A: 1})
    assert (window.sums(), window.covered_seconds) == ({A: 30}, 300)
    window.add(600, 10_000, {B: 7})
    assert (window.sums(), window.covered_seconds) == ({B: 7}, 9400)
    window.clear()
    assert (window.sums(), window.covered_seconds) == ({}, 0.0)


@pytest.mark.parametrize("step", [1, 2, 5, 10, 7])
def test_small_steps_make_no_more_slots(step: int) -> None:
    """The memory is bounded by the slots' own length, whatever the steps."""
    window = Window(300, 10)
    for number in range(1000):
        window.add(number * step, (number + 1) * step, {A: 1})
    assert len(window.slots) <= 31
    assert window.sums()[A] == window.covered_seconds / step


BUCKETS = [(0.1, 10.0), (0.5, 40.0), (1.0, 90.0), (inf, 100.0)]


@pytest.mark.parametrize(
    ("q", "buckets", "expected"),
    [
        # What promql's histogram_quantile gives for them.
        (0.5, BUCKETS, 0.6),
        (0.05, BUCKETS, 0.05),
        (0.9, BUCKETS, 1.0),
        (0.95, BUCKETS, 1.0),
        (0.99, BUCKETS, 1.0),
        (0.5, [(0.1, 0.0), (0.5, 0.0), (1.0, 4.0), (inf, 4.0)], 0.75),
        (0.5, [(0.1, 0.0), (inf, 4.0)], 0.1),
        (0.5, [(0.1, 0.0), (inf, 0.0)], None),
        (0.5, [(inf, 3.0)], None),
        (0.5, [(0.1, 3.0), (0.2, 3.0)], None),
        (0.5, [], None),
    ],
)
def test_quantiles(q: float, buckets: list[tuple[float, float]], expected: float | None) -> None:
    """Linear within a bucket; the highest bound where there is none above."""
    found = quantile(q, buckets)
    assert found == (expected if expected is None else pytest.approx(expected))


@given(st.lists(st.integers(0, 50), min_size=2, max_size=12), st.floats(0, 1))
def test_a_quantile_is_within_its_bucket(counts: list[int], q: float) -> None:
    """Whatever was observed: between the bounds of a bucket with observations, and never None for some."""
    bounds = [*(2.0**number for number in range(len(counts) - 1)), inf]
    cumulative = [float(sum(counts[: number + 1])) for number in range(len(counts))]
    found = quantile(q, zip(bounds, cumulative, strict=True))
    if not sum(counts):
        assert found is None
        return
    assert found is not None and 0 <= found <= bounds[-2]


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 9)), max_size=8), st.floats(0, 1))
def test_buckets_that_do_not_fit_together(buckets: list[tuple[float, float]], q: float) -> None:
    """Numbers that were read while they changed: some answer, and no exception."""
    found = quantile(q, [*buckets, (inf, 5.0)])
    assert found is None or found >= 0
