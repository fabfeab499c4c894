"""An answer's header fields in the other dialect's names: its id, and what is left of the rate limits."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from openai_proxy.wire.fields import Field

_CHAT_LIMIT: Final = re.compile(rb"x-ratelimit-(limit|remaining|reset)-(requests|tokens)")
_MESSAGES_LIMIT: Final = re.compile(rb"anthropic-ratelimit-(requests|tokens)-(limit|remaining|reset)")
_DURATION_PART: Final = re.compile(rb"([\d.]+)(ms|h|m|s)")
_SECONDS: Final = {b"ms": 0.001, b"s": 1.0, b"m": 60.0, b"h": 3600.0}
_MAX_SECONDS: Final = 366 * 86400
"""A limit that is further away is no date that a client would wait for."""


def completion_fields(fields: list[Field], now: float) -> list[Field]:
    """Anthropic's in OpenAI's names; the others stay.

    :param now: Unix time in seconds: OpenAI says how long, where Anthropic says until when.
    """
    made: list[Field] = []
    for name, value in fields:
        lower = name.lower()
        match = _MESSAGES_LIMIT.fullmatch(lower)
        if lower == b"request-id":
            name = b"x-request-id"
        elif match is not None:
            name = b"x-ratelimit-%b-%b" % (match[2], match[1])
            value = _duration(value, now) if match[2] == b"reset" else value
        made.append((name, value))
    return made


def message_fields(fields: list[Field], now: float) -> list[Field]:
    """OpenAI's in Anthropic's names; the others stay. ``now`` as above."""
    made: list[Field] = []
    for name, value in fields:
        lower = name.lower()
        match = _CHAT_LIMIT.fullmatch(lower)
        if lower == b"x-request-id":
            name = b"request-id"
        elif match is not None:
            name = b"anthropic-ratelimit-%b-%b" % (match[2], match[1])
            value = _date(value, now) if match[1] == b"reset" else value
        made.append((name, value))
    return made


def _duration(date: bytes, now: float) -> bytes:
    """RFC 3339 to Go's form; what cannot be read stays."""
    try:
        left = datetime.fromisoformat(date.decode("ascii")).timestamp() - now
    except (ValueError, OverflowError):
        return date
    return b"%ds" % round(max(0.0, left))


def _date(duration: bytes, now: float) -> bytes:
    """Go's form, ``1m30.5s``, to RFC 3339; what cannot be read stays."""
    parts = _DURATION_PART.findall(duration)
    if not parts or b"".join(number + unit for number, unit in parts) != duration:
        return duration
    try:
        left = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    except ValueError:
        return duration
    if left > _MAX_SECONDS:
        return duration
    return datetime.fromtimestamp(round(now + left), UTC).strftime("%Y-%m-%dT%H:%M:%SZ").encode()
