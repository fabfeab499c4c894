"""JSON objects out of a byte stream: the elements of an array, or one alone, however it is cut."""

from __future__ import annotations

import re
from typing import Final

MAX_OBJECT_BYTES: Final = 16 * 1024 * 1024
"""A whole answer with its images in base64 fits; what is longer is not worth its memory."""

# Possessive (*+): what a string has taken is never tried again in another way.
_IN_STRING: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_TO_BRACKET: Final = re.compile(rb'[^"\[\]{}]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"\[\]{}]*+)*+', re.DOTALL)
"""Strings are passed by whole; it ends at a bracket, at a string that goes on in the next piece, or
at the end.
"""
_BACKSLASH: Final = 0x5C
_OPENING: Final = frozenset({b"[", b"{"})
_CLOSING: Final = frozenset({b"]", b"}"})


class ObjectSplitter:
    """Pieces go in by :meth:`feed`, whole objects come out; the bytes are only read.

    Nothing is decoded: an object is what stands between two brackets that match. One with more than
    ``max_bytes`` does not come out, and is counted in ``oversized``. Memory stays below about twice
    ``max_bytes``; each byte is looked at no more than twice.
    """

    __slots__ = (
        "_base",
        "_depth",
        "_escaped",
        "_held",
        "_in_string",
        "_max",
        "_size",
        "is_array",
        "oversized",
    )

    def __init__(self, max_bytes: int = MAX_OBJECT_BYTES) -> None:
        self.oversized = 0
        self.is_array = False
        """Whether it is an array of objects: known from its first byte on."""
        self._max = max_bytes
        self._base = 0
        """How many brackets are open around an object."""
        self._depth = 0
        self._in_string = False
        self._escaped = False
        """Whether the last piece ended behind a backslash in a string."""
        self._held = bytearray()
        self._size = 0

    @property
    def inside(self) -> bool:
        """Whether an object, or a string, has begun and not ended."""
        return self._depth > self._base or self._in_string

    def feed(self, data: bytes) -> list[bytes]:
        """The objects that end in ``data``, in order."""
        objects: list[bytes] = []
        place = begin = 0
        size = len(data)
        while place < size:
            if self._in_string:
                place = self._through_string(data, place)
                continue
            place = _end_of(_TO_BRACKET, data, place)
            bracket = data[place : place + 1]
            place += 1
            if bracket == b'"':
                self._in_string = True
            elif bracket in _OPENING:
                if self._opens(bracket):
                    begin = place - 1
            elif bracket in _CLOSING and self._closes():
                self._hold(data[begin:place])
                self._release(objects)
        if self._depth > self._base:
            self._hold(data[begin:])
        return objects

    def _opens(self, bracket: bytes) -> bool:
        """Whether this opening bracket is an object's first."""
        self._depth += 1
        if self._depth > self._base + 1:
            return False
        if bracket == b"[" and not self._base:
            # That of the array which is all.
            self.is_array = True
            self._base = 1
            return False
        return True

    def _closes(self) -> bool:
        """Whether this closing bracket is an object's last."""
        if self._depth > self._base:
            self._depth -= 1
            return self._depth == self._base
        # The array's own; or one too many, and that is no JSON.
        self._depth = self._base = 0
        return False

    def _through_string(self, data: bytes, place: int) -> int:
        """Where the string ends, or ``data`` does."""
        if self._escaped:
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

    def _release(self, objects: list[bytes]) -> None:
        if self._size <= self._max:
            objects.append(bytes(self._held))
        else:
            self.oversized += 1
        self._held = bytearray()
        self._size = 0


def _end_of(pattern: re.Pattern[bytes], data: bytes, place: int) -> int:
    match = pattern.match(data, place)
    assert match is not None, "each of them matches nothing as well"
    return match.end()
