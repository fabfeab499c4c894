"""How much there was in the last seconds."""

from __future__ import annotations

from collections import deque
from typing import Final

BUCKETS: Final = 10


class SlidingCount:
    """A count over a sliding window, kept in ten buckets of time: exact to a tenth of the window.

    A clock that is set back does no harm: what it tells meanwhile is counted as now.
    """

    __slots__ = ("_bucket_seconds", "_buckets", "_newest", "_total")

    def __init__(self, window_seconds: float) -> None:
        self._bucket_seconds = window_seconds / BUCKETS
        self._buckets: deque[list[int]] = deque()
        """``[number, count]``, the newest last; at most one more than ``BUCKETS``."""
        self._newest: list[int] | None = None
        self._total = 0

    def add(self, now: float, count: int = 1) -> None:
        """``now`` is in seconds, of any clock."""
        number = int(now // self._bucket_seconds)
        newest = self._newest
        if newest is None or newest[0] < number:
            self._forget(number)
            newest = self._newest = [number, 0]
            self._buckets.append(newest)
        newest[1] += count
        self._total += count

    def total(self, now: float) -> int:
        """What was added in the window that ends now."""
        number = int(now // self._bucket_seconds)
        if self._newest is not None and self._newest[0] < number:
            self._forget(number)
        return self._total

    def clear(self) -> None:
        """As if nothing had been added."""
        self._buckets.clear()
        self._newest = None
        self._total = 0

    def _forget(self, number: int) -> None:
        """What is older than the window that ends with this bucket."""
        buckets = self._buckets
        while buckets and buckets[0][0] <= number - BUCKETS:
            self._total -= buckets.popleft()[1]
        if not buckets:
            self._newest = None
