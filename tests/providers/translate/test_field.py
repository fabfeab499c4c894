"""Header fields of answers, in the other dialect's names."""

from __future__ import annotations

import pytest

from openai_proxy.providers.translate.field import completion_fields, message_fields

NOW = 1_792_540_800.0  # 2026-10-21T00:00:00Z


@pytest.mark.parametrize(
    ("anthropic", "openai"),
    [
        ((b"request-id", b"req_1"), (b"x-request-id", b"req_1")),
        ((b"anthropic-ratelimit-requests-limit", b"50"), (b"x-ratelimit-limit-requests", b"50")),
        ((b"anthropic-ratelimit-tokens-remaining", b"9"), (b"x-ratelimit-remaining-tokens", b"9")),
        (
            (b"anthropic-ratelimit-tokens-reset", b"2026-10-21T00:01:30Z"),
            (b"x-ratelimit-reset-tokens", b"90s"),
        ),
        ((b"retry-after", b"3"), (b"retry-after", b"3")),
        (
            (b"anthropic-ratelimit-input-tokens-limit", b"7"),
            (b"anthropic-ratelimit-input-tokens-limit", b"7"),
        ),
        (
            (b"anthropic-ratelimit-requests-reset", b"soon"),
            (b"x-ratelimit-reset-requests", b"soon"),
        ),
    ],
)
def test_both_ways(anthropic: tuple[bytes, bytes], openai: tuple[bytes, bytes]) -> None:
    """The same thing has each side's name and form; what only one side knows stays."""
    assert completion_fields([anthropic], NOW) == [openai]
    assert message_fields([openai], NOW) == [anthropic]


@pytest.mark.parametrize(
    ("duration", "date"),
    [
        (b"12ms", b"2026-10-21T00:00:00Z"),
        (b"6m0s", b"2026-10-21T00:06:00Z"),
        (b"1h0m1.5s", b"2026-10-21T01:00:02Z"),
        (b"", b""),
        (b"5", b"5"),
        (b"-1s", b"-1s"),
        (b"1..2s", b"1..2s"),
        (b"9999999999h", b"9999999999h"),
    ],
)
def test_durations(duration: bytes, date: bytes) -> None:
    """Go's form; what cannot be read is not guessed at."""
    assert message_fields([(b"X-RateLimit-Reset-Tokens", duration)], NOW) == [
        (b"anthropic-ratelimit-tokens-reset", date)
    ]


@pytest.mark.parametrize(
    ("date", "duration"),
    [(b"2026-10-20T00:00:00Z", b"0s"), (b"2026-10-21T02:00:00+02:00", b"0s"), (b"\xff", b"\xff"), (b"", b"")],
)
def test_dates(date: bytes, duration: bytes) -> None:
    """One that is past is now."""
    assert completion_fields([(b"Anthropic-Ratelimit-Tokens-Reset", date)], NOW) == [
        (b"x-ratelimit-reset-tokens", duration)
    ]
