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


class Member(NamedTuple):
    """One member; ``begin`` and ``end`` are those of its value."""

    name: str
    begin: int
    end: int


def members(body: bytes, begin: int = 0) -> Iterator[Member]:
    """The members of the object that begins at ``begin`` or after white space there, in order.

    ``body`` must be valid JSON from there on. A name may come twice; the last one counts.
    """
    place = _after_space(body, begin) + 1
    while True:
        place = _after_space(body, place)
        if body[place] == 0x7D:  # }
            return
        name_end = _value_end(body, place)
        name = msgspec.json.decode(body[place:name_end], type=str)
        value = _after_space(body, _after_space(body, name_end) + 1)
        end = _value_end(body, value)
        yield Member(name, value, end)
        place = _after_space(body, end)
        if body[place] == 0x2C:  # ,
            place += 1


def _after_space(body: bytes, place: int) -> int:
    return _matched(_SPACE, body, place)


def _value_end(body: bytes, place: int) -> int:
    if body[place] not in _OPENING:
        return _matched(_SCALAR, body, place)
    depth = 0
    while True:
        depth += 1 if body[place] in _OPENING else -1
        place += 1
        if depth == 0:
            return place
        place = _matched(_TO_BRACKET, body, place)


def _matched(pattern: re.Pattern[bytes], body: bytes, place: int) -> int:
    match = pattern.match(body, place)
    if match is None:
        raise ValueError("not JSON")
    return match.end()
