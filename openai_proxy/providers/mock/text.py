"""Deterministic text, and how many tokens a text has.

The rule for tokens: four bytes are one token, rounded up. A text counts its UTF-8 bytes, a list
of token numbers its length, anything else its compact JSON. Every word made here is four bytes
long, so a content delta is one token, and cutting at ``max_tokens`` is cutting at a delta.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import shake_128
from itertools import cycle, islice
from typing import Any

import msgspec

BYTES_PER_TOKEN = 4

_WORDS = tuple(
    word + b" "
    for word in (
        b"the and our one two sea sky sun day way map key log bit web net "
        b"low mid top new old far dry wet red dim raw odd all few any own "
        b"fox owl bee cat dog ant elm oak ash ivy fig pea tea rye oat ham "
        b"ran saw met led won put set cut got had was did may can let say"
    ).split()
)


def default_count(seed: bytes) -> int:
    """How many words an answer has where nobody asks for a number: 8 to 31."""
    return 8 + seed[0] % 24


def words(seed: bytes, choice: int, count: int, whole: bool) -> Iterator[bytes]:
    """``count`` content deltas of four bytes each, safe inside a JSON string, made as they are taken.

    ``whole`` ends the last with a full stop; without it the text was cut.
    """
    if not count:
        return
    digest = shake_128(seed + choice.to_bytes(4, "big")).digest(256)
    table = [_WORDS[byte & 63] for byte in digest]
    last = table[(count - 1) & 255]
    if count == 1:
        last = last.title()
    else:
        yield table[0].title()
        yield from islice(cycle(table), 1, count - 1)
    yield last[:3] + b"." if whole else last


def token_count(value: Any) -> int:
    """Tokens of a prompt, by the rule above."""
    if isinstance(value, str):
        return -(-len(value.encode()) // BYTES_PER_TOKEN)
    if isinstance(value, list) and value and isinstance(value[0], int):
        return len(value)
    return -(-len(msgspec.json.encode(value)) // BYTES_PER_TOKEN)
