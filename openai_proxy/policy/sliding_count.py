"""How much there was in the last seconds."""

from __future__ import annotations

from collections import deque
from typing import Final

BUCKETS: Final = 10


class SlidingCount:
    """A count over a sliding window, kept in ten buckets of time: exact to a tenth of the window.

    A clock that is set back does no harm: what it tells meanwhile is counted as now.
    """

    __slots__ = ("_bucket_seconds", "_buckets", "_total")

    def __init__(self, window_seconds: float) -> None:
        self._bucket_seconds = window_seconds / BUCKETS
        self._buckets: deque[tuple[int, int]] = deque()
        """``(number, count)``, the newest last; at most one more than ``BUCKETS``."""
        self._total = 0

    def add(self, now: float, count: int = 1) -> None:
        """``now`` is in seconds, of any clock."""
        number, before = self._forget(now), 0
        if self._buckets and self._buckets[-1][0] >= number:
            number, before = self._buckets.pop()
        self._buckets.append((number, before + count))
        self._total += count

    def total(self, now: float) -> int:
        """What was added in the window that ends now."""
        self._forget(now)
        return self._total

    def clear(self) -> None:
        """As if nothing had been added."""
        self._buckets.clear()
        self._total = 0

    def _forget(self, now: float) -> int:
        number = int(now // self._bucket_seconds)
        while self._buckets and self._buckets[0][0] <= number - BUCKETS:
            self._total -= self._buckets.popleft()[1]
        return number
