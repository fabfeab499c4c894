"""How often which time passed between two chunks: counted by bucket, never listed."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


class IntervalCounts:
    """``observer.intervals = counts``; at the stream's end a histogram takes it all in."""

    __slots__ = ("_bounds", "counts", "total_seconds")

    def __init__(self, bounds: Sequence[float]) -> None:
        """:param bounds: upper bounds, ascending; one more bucket takes what is above the last."""
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """In each bucket alone, not cumulative."""
        self.total_seconds = 0.0

    def add(self, seconds: float) -> None:
        """One interval. A bound belongs to the bucket below it, as in Prometheus."""
        self.counts[bisect_left(self._bounds, seconds)] += 1
        self.total_seconds += seconds

    def add_zeros(self, count: int) -> None:
        """So many of no length, as of chunks that came together."""
        self.counts[bisect_left(self._bounds, 0.0)] += count
