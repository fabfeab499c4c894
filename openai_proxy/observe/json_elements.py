"""The elements of a JSON array out of a byte stream, however it is cut."""

from __future__ import annotations

import re
from typing import Final

MAX_ELEMENT_BYTES: Final = 16 * 1024 * 1024
"""A whole answer with its images in base64 fits; what is longer is not worth its memory."""
MAX_BRACKETS: Final = 32 * 1024
"""In one piece: some tens of milliseconds of work. A piece of compressed ones can become millions."""

# Possessive (*+): what a string has taken is never tried again in another way.
_IN_STRING: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_TO_BRACKET: Final = re.compile(rb'[^"\[\]{}]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"\[\]{}]*+)*+', re.DOTALL)
"""Strings are passed by whole; it ends at a bracket, at a string that goes on in the next piece, or
at the end.
"""
_BACKSLASH: Final = 0x5C
_OPENING: Final = frozenset({b"[", b"{"})
_CLOSING: Final = frozenset({b"]", b"}"})


class ElementSplitter:
    """Pieces go in by :meth:`feed`, whole elements come out; the bytes are only read.

    Nothing is decoded: an element is what stands between two brackets that match, and numbers and
    strings are none. One with more than ``max_bytes`` does not come out, and is counted in
    ``oversized``. Memory stays below about twice ``max_bytes``; each byte is looked at no more than
    twice.
    """

    __slots__ = ("_depth", "_escaped", "_held", "_in_string", "_max", "_size", "is_lost", "oversized")

    def __init__(self, max_bytes: int = MAX_ELEMENT_BYTES) -> None:
        self.oversized = 0
        self.is_lost = False
        """Whether a piece had more than ``MAX_BRACKETS``: what comes then cannot be told apart."""
        self._max = max_bytes
        self._depth = 0
        """How many brackets are open; the array's own is the first."""
        self._in_string = False
        self._escaped = False
        """Whether the last piece ended behind a backslash in a string."""
        self._held = bytearray()
        self._size = 0

    @property
    def inside(self) -> bool:
        """Whether an element, or a string, has begun and not ended."""
        return self._depth > 1 or self._in_string

    def feed(self, data: bytes) -> list[bytes]:
        """The elements that end in ``data``, in order."""
        elements: list[bytes] = []
        place = begin = 0
        size = len(data)
        for _ in range(MAX_BRACKETS):
            place = self._to_bracket(data, place)
            bracket = data[place : place + 1]
            place += 1
            if bracket in _OPENING:
                self._depth += 1
                if self._depth == 2:
                    begin = place - 1
            elif bracket in _CLOSING:
                if self._closes():
                    self._hold(data[begin:place])
                    self._release(elements)
            elif bracket:
                self._in_string = True
            else:
                break
        self.is_lost |= place < size
        if self._depth > 1:
            self._hold(data[begin:])
        return elements

    def _closes(self) -> bool:
        """Whether this closing bracket is an element's last."""
        # One too many is no JSON.
        self._depth = max(0, self._depth - 1)
        return self._depth == 1

    def _to_bracket(self, data: bytes, place: int) -> int:
        """Where the next bracket is, or the quote of a string that does not end, or else the end."""
        if self._in_string:
            place = self._through_string(data, place)
        return _end_of(_TO_BRACKET, data, place)

    def _through_string(self, data: bytes, place: int) -> int:
        """Where the string ends, or ``data`` does."""
        if self._escaped and place < len(data):
            self._escaped = False
            place += 1
        end = _end_of(_IN_STRING, data, place)
        if end == len(data):
            return end
        if data[end] == _BACKSLASH:
            self._escaped = True
        else:
            self._in_string = False
        return end + 1

    def _hold(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= self._max:
            self._held += data
        else:
            self._held = bytearray()

    def _release(self, elements: list[bytes]) -> None:
        if self._size <= self._max:
            elements.append(bytes(self._held))
        else:
            self.oversized += 1
        self._held = bytearray()
        self._size = 0


def _end_of(pattern: re.Pattern[bytes], data: bytes, place: int) -> int:
    match = pattern.match(data, place)
    assert match is not None, "each of them matches nothing as well"
    return match.end()
