"""Where the members of a JSON object stand in its bytes, so that one can be changed in place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

# Possessive (*+): what a string or a gap has taken is never tried again in another way.
_STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_SPACE: Final = re.compile(rb"[ \t\n\r]*+")
_SCALAR: Final = re.compile(_STRING + rb"|[^\[\]{},: \t\n\r]++", re.DOTALL)
_TO_BRACKET: Final = re.compile(rb'[^"\[\]{}]*+(?:' + _STRING + rb'[^"\[\]{}]*+)*+', re.DOTALL)
_OPENING: Final = b"[{"

MOST_STEPS: Final = 400_000
"""Of one walk, some 100 ms: a bracket is a step. A few MB of text have some thousands."""
_MEMBER_STEPS: Final = 8
"""What a member takes, by the time of a bracket."""


class TangledJson(ValueError):
    """More brackets and members than anybody means: the way through them would hold up everybody else."""


class Member(NamedTuple):
    """One member; ``begin`` and ``end`` are those of its value."""

    name: str
    begin: int
    end: int


def members(body: bytes, begin: int = 0) -> Iterator[Member]:
    """The members of the object that begins at ``begin`` or after white space there, in order.

    ``body`` must be valid JSON from there on. A name may come twice; the last one counts. Raises
    :class:`TangledJson` behind ``MOST_STEPS``.
    """
    place = _after_space(body, begin) + 1
    steps = 0
    while True:
        place = _after_space(body, place)
        if body[place] == 0x7D:  # }
            return
        name_end = _matched(_SCALAR, body, place)
        name = msgspec.json.decode(body[place:name_end], type=str)
        value = _after_space(body, _after_space(body, name_end) + 1)
        end, passed = _value_end(body, value, MOST_STEPS - steps)
        steps += passed + _MEMBER_STEPS
        if steps > MOST_STEPS:
            raise TangledJson("too many brackets and members")
        yield Member(name, value, end)
        place = _after_space(body, end)
        if body[place] == 0x2C:  # ,
            place += 1


def _after_space(body: bytes, place: int) -> int:
    return _matched(_SPACE, body, place)


def _value_end(body: bytes, place: int, most_steps: int) -> tuple[int, int]:
    """Where a value ends, and how many brackets it has."""
    if body[place] not in _OPENING:
        return _matched(_SCALAR, body, place), 0
    depth = 0
    for step in range(1, most_steps + 1):
        depth += 1 if body[place] in _OPENING else -1
        place += 1
        if depth == 0:
            return place, step
        place = _matched(_TO_BRACKET, body, place)
    raise TangledJson("too many brackets and members")


def _matched(pattern: re.Pattern[bytes], body: bytes, place: int) -> int:
    match = pattern.match(body, place)
    if match is None:
        raise ValueError("not JSON")
    return match.end()
