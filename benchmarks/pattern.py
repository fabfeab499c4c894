"""The bytes that are sent up and down: they never repeat at a power of two, unlike zeros."""

import random
from collections.abc import Iterator

_PERIOD = 1_000_003
_SOURCE = random.Random(1).randbytes(_PERIOD) * 2
BLOCK_BYTES = 65536


def blocks(length: int) -> Iterator[bytes]:
    """``length`` bytes in pieces of 64 KiB; the same bytes at every call."""
    position = 0
    while position < length:
        size = min(BLOCK_BYTES, length - position)
        start = position % _PERIOD
        yield _SOURCE[start : start + size]
        position += size
