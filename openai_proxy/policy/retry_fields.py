"""What an answer's fields say of trying again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

from msgspec import Struct

from openai_proxy.wire.fields import Field, first_of

_NUMBER: Final = re.compile(r"\d{1,9}(?:\.\d{1,9})?")
_LONGEST: Final = 64
_DURATION: Final = re.compile(
    r"(?:(?P<h>\d{1,6}(?:\.\d{1,9})?)h)?(?:(?P<m>\d{1,6}(?:\.\d{1,9})?)m(?!s))?"
    r"(?:(?P<s>\d{1,9}(?:\.\d{1,9})?)s)?(?:(?P<ms>\d{1,9}(?:\.\d{1,9})?)ms)?"
)
_UNIT_SECONDS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_RESETS: Final = (
    (b"x-ratelimit-remaining-requests", b"x-ratelimit-reset-requests"),
    (b"x-ratelimit-remaining-tokens", b"x-ratelimit-reset-tokens"),
    (b"anthropic-ratelimit-requests-remaining", b"anthropic-ratelimit-requests-reset"),
    (b"anthropic-ratelimit-tokens-remaining", b"anthropic-ratelimit-tokens-reset"),
    (b"anthropic-ratelimit-input-tokens-remaining", b"anthropic-ratelimit-input-tokens-reset"),
    (b"anthropic-ratelimit-output-tokens-remaining", b"anthropic-ratelimit-output-tokens-reset"),
)


class RetryFields(Struct, frozen=True, gc=False):
    """None: not said, or not in a known form."""

    after_seconds: float | None = None
    """``retry-after-ms``, or else Retry-After: seconds or a date (RFC 9110 section 10.2.3)."""
    should_retry: bool | None = None
    """``x-should-retry``, which the SDKs put above the status."""
    reset_seconds: float | None = None
    """Until the rate limits that are used up are there again."""

    @property
    def rest_seconds(self) -> float | None:
        """How long a target that answered 429 is to rest (``Breaker.rest``)."""
        return self.reset_seconds if self.after_seconds is None else self.after_seconds


def retry_fields_in(fields: Sequence[Field], unix_seconds: float) -> RetryFields:
    """:param unix_seconds: now, for what is a point in time."""
    should = _text(fields, b"x-should-retry").lower()
    return RetryFields(
        _after_seconds(fields, unix_seconds),
        {"true": True, "false": False}.get(should),
        _reset_seconds(fields, unix_seconds),
    )


def _after_seconds(fields: Sequence[Field], unix_seconds: float) -> float | None:
    milliseconds = _text(fields, b"retry-after-ms")
    if _NUMBER.fullmatch(milliseconds):
        return float(milliseconds) / 1000
    after = _text(fields, b"retry-after")
    if _NUMBER.fullmatch(after):
        return float(after)
    try:
        return max(0.0, parsedate_to_datetime(after).timestamp() - unix_seconds)
    except (ValueError, OverflowError):
        return None


def _reset_seconds(fields: Sequence[Field], unix_seconds: float) -> float | None:
    """The longest of those of which nothing is left."""
    spent = [
        _until(_text(fields, reset), unix_seconds)
        for remaining, reset in _RESETS
        if _text(fields, remaining) == "0"
    ]
    return max((seconds for seconds in spent if seconds is not None), default=None)


def _until(text: str, unix_seconds: float) -> float | None:
    """Seconds until a reset: ``6m0s`` and ``12ms`` (OpenAI), or a point in time (Anthropic, RFC 3339)."""
    match = _DURATION.fullmatch(text)
    if text and match is not None:
        return sum(float(match[unit] or 0) * seconds for unit, seconds in _UNIT_SECONDS.items())
    try:
        at = datetime.fromisoformat(text)
        return max(0.0, at.timestamp() - unix_seconds) if at.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _text(fields: Sequence[Field], name: bytes) -> str:
    value = first_of(fields, name)
    return value.strip().decode("latin-1") if value is not None and len(value) <= _LONGEST else ""
