"""The same event again and again is a few lines, and one that counts the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.logger import LogEvent, LogLevel, formatEvent

from openai_proxy.process.log_form import level_of

MOST: Final = 5
"""Of one kind in a minute; the others are counted."""
MINUTE: Final = 60.0
MOST_KINDS: Final = 1000
"""Kinds that are known at one time."""
MOST_SAID: Final = 300
"""Characters of an event in the line that counts it."""

Kind = tuple[Any, ...]


class _Count:
    __slots__ = ("began_at", "last", "more", "passed")

    def __init__(self, began_at: float) -> None:
        self.began_at = began_at
        self.passed = 0
        self.more = 0
        self.last: LogEvent = {}


def kind_of(event: LogEvent) -> Kind:
    """What makes two events the same: a warning's format and its failure's type; of less, the very words."""
    level, form = level_of(event), event.get("log_format")
    failure = event.get("log_failure")
    if level < LogLevel.warn or form in ("{log_io}", "{log_text}", None):
        return event.get("log_namespace"), level, formatEvent(event)
    return event.get("log_namespace"), level, form, getattr(failure, "type", None)


class Repeats:
    """Passes events on, but of one kind only so many in a minute; a critical one always.

    Other threads log too, and two that count at the same moment may count one: the price of no lock.
    """

    def __init__(
        self, give: Callable[[LogEvent], None], later: Callable[[float, Callable[[], None]], None]
    ) -> None:
        """:param give: takes what passes, and the lines that count.
        :param later: calls something so many seconds later, in whatever thread.
        """
        self._give = give
        self._later = later
        self._counts: dict[Kind, _Count] = {}
        self._is_awaited = False

    def __call__(self, event: LogEvent) -> None:
        """One event."""
        if level_of(event) >= LogLevel.critical:
            self._give(event)
            return
        kind = kind_of(event)
        now: float = event.get("log_time") or 0.0
        count = self._counts.get(kind)
        if count is None or not 0 <= now - count.began_at < MINUTE:
            self._sum_up(kind)
            if len(self._counts) >= MOST_KINDS:
                self.sum_up()
            count = self._counts[kind] = _Count(now)
        if count.passed < MOST:
            count.passed += 1
            self._give(event)
            return
        count.more += 1
        count.last = event
        if not self._is_awaited:
            self._is_awaited = True
            self._later(MINUTE, self.sum_up)

    def sum_up(self) -> None:
        """Say how many were not said, and begin anew."""
        self._is_awaited = False
        for kind in list(self._counts):
            self._sum_up(kind)

    def _sum_up(self, kind: Kind) -> None:
        count = self._counts.pop(kind, None)
        if count is None or not count.more:
            return
        last = count.last
        self._give(
            {
                "log_format": "{said} ... and {more:,} more like this in the last minute",
                "log_level": last.get("log_level"),
                "log_namespace": last.get("log_namespace"),
                "log_time": last.get("log_time"),
                "said": formatEvent(last).partition("\n")[0][:MOST_SAID],
                "more": count.more,
            }
        )
