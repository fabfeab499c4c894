"""A decoded copy of an answer that is compressed with gzip (RFC 1952)."""

from __future__ import annotations

import zlib
from typing import Final

MAX_INFLATED_BYTES: Final = 4 * 1024 * 1024
"""Out of one piece: some ten milliseconds of work. A piece of 64 KB can become 64 MB."""

_GZIP: Final = 16 + zlib.MAX_WBITS


class InflateError(Exception):
    """It is no gzip, or becomes too large."""


class Inflate:
    """Pieces of gzip in, plain pieces out; one member after another, as gzip allows."""

    __slots__ = ("_max", "_member")

    def __init__(self, max_bytes: int = MAX_INFLATED_BYTES) -> None:
        self._max = max_bytes
        self._member = zlib.decompressobj(_GZIP)

    def feed(self, data: bytes) -> bytes:
        """The plain bytes of ``data``. Raises :class:`InflateError`; then there is no going on."""
        plain: list[bytes] = []
        room = self._max
        while data:
            if self._member.eof:
                self._member = zlib.decompressobj(_GZIP)
            try:
                # One more than there is room for: a length of 0 would mean without limit.
                part = self._member.decompress(data, room + 1)
            except zlib.error as error:
                raise InflateError("not gzip") from error
            room -= len(part)
            if room < 0:
                raise InflateError("too large")
            plain.append(part)
            data = self._member.unused_data
        return plain[0] if len(plain) == 1 else b"".join(plain)
