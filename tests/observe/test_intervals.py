"""Counts of intervals."""

from openai_proxy.observe.intervals import IntervalCounts


def test_counts() -> None:
    """A bound belongs to the bucket below it, and what is above all has one more."""
    counts = IntervalCounts((0.1, 1.0))
    for seconds in (0.0, 0.1, 0.2, 1.0, 5.0):
        counts.add(seconds)
    assert counts.counts == [2, 2, 1]
    assert counts.total_seconds == 6.3
