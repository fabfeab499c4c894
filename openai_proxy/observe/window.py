"""Sums over the last minutes, and what is computed of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from math import inf

from msgspec import Struct

Series = tuple[str, ...]
"""What is summed: its kind, then its labels."""


class Slot(Struct):
    """What was counted between two times."""

    began_seconds: float
    ended_seconds: float
    increments: dict[Series, float]


class Window:
    """The increments of the last ``seconds``, in slots of at least ``slot_seconds``."""

    def __init__(self, seconds: float, slot_seconds: float) -> None:
        self._seconds = seconds
        self._slot_seconds = slot_seconds
        self.slots: deque[Slot] = deque()

    def add(self, began_seconds: float, ended_seconds: float, increments: Mapping[Series, float]) -> None:
        """What was counted in this time, which begins where the last one ended."""
        slots = self.slots
        if slots and slots[-1].ended_seconds - slots[-1].began_seconds < self._slot_seconds:
            last = slots[-1]
            last.ended_seconds = ended_seconds
            for series, value in increments.items():
                last.increments[series] = last.increments.get(series, 0) + value
        else:
            slots.append(Slot(began_seconds, ended_seconds, dict(increments)))
        while slots and slots[0].ended_seconds <= ended_seconds - self._seconds:
            slots.popleft()

    def clear(self) -> None:
        """Begin anew."""
        self.slots.clear()

    @property
    def covered_seconds(self) -> float:
        """How long that is which is summed: less than the whole window at first, a slot more later."""
        return self.slots[-1].ended_seconds - self.slots[0].began_seconds if self.slots else 0.0

    def sums(self) -> dict[Series, float]:
        """Of each series that was counted."""
        total: dict[Series, float] = {}
        for slot in self.slots:
            for series, value in slot.increments.items():
                total[series] = total.get(series, 0) + value
        return total


def quantile(q: float, buckets: Iterable[tuple[float, float]]) -> float | None:
    """The value that the part ``q`` of observations does not exceed; None without observations.

    As Prometheus' ``histogram_quantile``: linear within a bucket, the lowest of which begins at 0; in the
    bucket without a bound it is the highest bound.

    :param buckets: upper bound and cumulative count, the last of them ``inf``.
    """
    ordered = sorted(buckets)
    if len(ordered) < 2 or ordered[-1][0] != inf or not ordered[-1][1] > 0:
        return None
    rank = q * ordered[-1][1]
    lower, below = 0.0, 0.0
    for bound, count in ordered:
        if count >= rank and count > 0:
            if bound == inf:
                return lower
            # What was copied while it was counted may not be quite cumulative.
            inside = count - below
            return lower + (bound - lower) * (rank - below) / inside if inside > 0 else bound
        lower, below = bound, max(below, count)
    return lower
