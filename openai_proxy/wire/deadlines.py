"""Deadlines for many connections at the price of one timer.

A timer of its own per request costs more than parsing the request. Here a connection sets an
attribute, and one sweep over all of them, a few times a second at the most, finds those that
are late: at most ``interval_seconds`` after their deadline.
"""

from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

NEVER = float("inf")


class Member(Protocol):
    """Something that can be late."""

    deadline: float
    """When it is late, on the reactor's clock; ``NEVER`` while it waits for nothing."""

    def deadline_passed(self, now: float) -> None:
        """Called in each sweep that finds it late: it moves its deadline, or leaves."""


class Deadlines:
    """The members that are watched; the timer runs only while there are any."""

    def __init__(self, clock: IReactorTime, interval_seconds: float = 0.25) -> None:
        self._clock = clock
        self._interval_seconds = interval_seconds
        self._members: set[Member] = set()
        self._timer: IDelayedCall | None = None

    def add(self, member: Member) -> None:
        """Watch ``member`` until it is discarded."""
        self._members.add(member)
        if self._timer is None:
            self._timer = self._clock.callLater(self._interval_seconds, self._sweep)

    def discard(self, member: Member) -> None:
        """Watch ``member`` no more."""
        self._members.discard(member)
        if not self._members and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        now = self._clock.seconds()
        self._timer = self._clock.callLater(self._interval_seconds, self._sweep)
        for member in [member for member in self._members if member.deadline <= now]:
            member.deadline_passed(now)


def interval_for(*deadlines_seconds: float) -> float:
    """A sweep interval that keeps the shortest of these deadlines to within a quarter of it."""
    return min(0.25, *(seconds / 4 for seconds in deadlines_seconds if seconds > 0))
