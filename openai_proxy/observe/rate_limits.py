"""How much of its rate limits an upstream says is left: of each provider and model, the last that was said.

An answer's fields are kept as they came, and read when somebody asks for the numbers: parsing each answer
would cost more than the rest of what is counted of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final

from openai_proxy.observe.families import Families, Rows
from openai_proxy.wire.fields import Field

FORGET_SECONDS: Final = 600
"""What was said so long ago says nothing of now."""
LOOK_EVERY: Final = 16
"""Of as many answers of a provider that never said anything, one is looked at field by field."""
MOST_PAIRS: Final = 100
"""Providers times models. Those that come later are left out: a gauge of many in one means nothing."""

_FIELD: Final = re.compile(
    rb"x-ratelimit-(?P<kind>limit|remaining)-(?P<resource>requests|tokens)"
    rb"|anthropic-ratelimit-(?P<resource_2>requests|tokens)-(?P<kind_2>limit|remaining)",
    re.IGNORECASE,
)
_NUMBER: Final = re.compile(rb"\d{1,15}")

NAME: Final = "openai_proxy_upstream_ratelimit"

Pair = tuple[str, str]


@dataclass(slots=True)
class Said:
    """Of one resource; None: not said yet."""

    at_seconds: float = 0.0
    limit: int | None = None
    remaining: int | None = None


def said_in(fields: Sequence[Field]) -> dict[tuple[str, str], int]:
    """The numbers in an answer's fields by resource and kind, such as ``("tokens", "remaining")``."""
    said = {}
    for name, value in fields:
        match = _FIELD.fullmatch(name)
        if match is not None and _NUMBER.fullmatch(value):
            resource, kind = match["resource"] or match["resource_2"], match["kind"] or match["kind_2"]
            said[resource.decode().lower(), kind.decode().lower()] = int(value)
    return said


def place_in(fields: Sequence[Field]) -> int:
    """Where the first such field is; -1 if there is none."""
    for place, (name, _) in enumerate(fields):
        if _FIELD.fullmatch(name):
            return place
    return -1


class _Sender:
    """Where a provider puts its fields: it mostly is the place of the time before."""

    __slots__ = ("length", "name", "passed", "place")

    def __init__(self) -> None:
        self.place = -1
        self.name = b""
        self.length = -1
        self.passed = 0
        """Answers since the last look, none of whose fields was looked at."""

    def sends(self, fields: Sequence[Field]) -> bool:
        """Whether the fields are in this answer; without a look at each if nothing has changed."""
        length, place = len(fields), self.place
        if place >= 0:
            if place < length and fields[place][0] == self.name:
                return True
        elif length == self.length and self.passed < LOOK_EVERY:
            self.passed += 1
            return False
        self.length, self.passed = length, 0
        place = place_in(fields)
        if place >= 0:
            # An answer without them does not make us forget where they were.
            self.place, self.name = place, fields[place][0]
        return place >= 0


class RateLimits:
    """The three gauges; the reactor's thread keeps, the exporter's thread reads."""

    def __init__(self, families: Families, seconds: Callable[[], float]) -> None:
        """:param seconds: unix time."""
        self._families = families
        self._seconds = seconds
        self._senders: dict[Pair, _Sender] = {}
        self._fresh: dict[Pair, tuple[float, Sequence[Field]]] = {}
        self._said: dict[tuple[str, str, str], Said] = {}
        # Two scrapes can be read at once. The reactor's thread never takes it.
        self._lock = Lock()
        labels = ("provider", "model", "resource")
        families.gauge(
            f"{NAME}_remaining",
            "What the upstream last said is left of a rate limit.",
            labels,
            self._remaining,
        )
        families.gauge(f"{NAME}_limit", "The rate limit that the upstream last said.", labels, self._limits)
        families.gauge(
            f"{NAME}_updated_timestamp_seconds",
            "When the upstream last said something of a rate limit, in unix time.",
            labels,
            self._updated,
        )

    def keep(self, provider: str, model: str, fields: Sequence[Field]) -> None:
        """An answer has begun with these fields."""
        pair = (provider, model)
        sender = self._senders.get(pair)
        if sender is None:
            sender = self._add(pair)
            if sender is None:
                return
        if sender.sends(fields):
            self._fresh[pair] = (self._seconds(), fields)

    def _add(self, pair: Pair) -> _Sender | None:
        if len(self._senders) < MOST_PAIRS:
            return self._senders.setdefault(pair, _Sender())
        self._families.overflowed(f"{NAME}_remaining")
        return None

    def _current(self) -> list[tuple[tuple[str, str, str], Said]]:
        """What is known and not too old. The raw fields are let go of."""
        with self._lock:
            for pair in list(self._fresh):
                at_seconds, fields = self._fresh.pop(pair)
                for (resource, kind), value in said_in(fields).items():
                    said = self._said.setdefault((*pair, resource), Said())
                    setattr(said, kind, value)
                    said.at_seconds = at_seconds
            oldest = self._seconds() - FORGET_SECONDS
            self._said = {key: said for key, said in self._said.items() if said.at_seconds >= oldest}
            return list(self._said.items())

    def _remaining(self) -> Rows:
        return [(key, said.remaining) for key, said in self._current() if said.remaining is not None]

    def _limits(self) -> Rows:
        return [(key, said.limit) for key, said in self._current() if said.limit is not None]

    def _updated(self) -> Rows:
        return [(key, said.at_seconds) for key, said in self._current()]
