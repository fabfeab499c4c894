"""What an answer's fields say of trying again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.policy.retry_fields import RetryFields, retry_fields_in

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([], RetryFields()),
        ([(b"Retry-After", b"3")], RetryFields(after_seconds=3.0)),
        ([(b"retry-after", b" 1.5 ")], RetryFields(after_seconds=1.5)),
        ([(b"retry-after", b"3"), (b"Retry-After-Ms", b"250")], RetryFields(after_seconds=0.25)),
        ([(b"retry-after", b"3"), (b"retry-after-ms", b"soon")], RetryFields(after_seconds=3.0)),
        ([(b"retry-after", b"Tue, 14 Nov 2023 22:13:30 GMT")], RetryFields(after_seconds=10.0)),
        ([(b"retry-after", b"Tue, 14 Nov 2023 22:13:00 GMT")], RetryFields(after_seconds=0.0)),
        ([(b"retry-after", b"-1")], RetryFields()),
        ([(b"retry-after", b"nan")], RetryFields()),
        ([(b"retry-after", b"1e9")], RetryFields()),
        ([(b"retry-after", b"9" * 5000)], RetryFields()),
        ([(b"x-should-retry", b"true")], RetryFields(should_retry=True)),
        ([(b"X-Should-Retry", b"False")], RetryFields(should_retry=False)),
        ([(b"x-should-retry", b"maybe")], RetryFields()),
        (
            [(b"x-ratelimit-remaining-requests", b"0"), (b"x-ratelimit-reset-requests", b"6m0s")],
            RetryFields(reset_seconds=360.0),
        ),
        (
            [(b"x-ratelimit-remaining-tokens", b"0"), (b"x-ratelimit-reset-tokens", b"12ms")],
            RetryFields(reset_seconds=0.012),
        ),
        (
            [(b"x-ratelimit-remaining-tokens", b"0"), (b"x-ratelimit-reset-tokens", b"1h2m3.5s")],
            RetryFields(reset_seconds=3723.5),
        ),
        ([(b"x-ratelimit-remaining-tokens", b"7"), (b"x-ratelimit-reset-tokens", b"5s")], RetryFields()),
        (
            [
                (b"anthropic-ratelimit-tokens-remaining", b"0"),
                (b"anthropic-ratelimit-tokens-reset", b"2023-11-14T22:13:50Z"),
                (b"anthropic-ratelimit-requests-remaining", b"0"),
                (b"anthropic-ratelimit-requests-reset", b"2023-11-14T22:13:21Z"),
            ],
            RetryFields(reset_seconds=30.0),
        ),
    ],
)
def test_read(fields: list[tuple[bytes, bytes]], expected: RetryFields) -> None:
    """In each known form; anything else says nothing."""
    assert retry_fields_in(fields, NOW) == expected


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        (RetryFields(), None),
        (RetryFields(after_seconds=0.0, reset_seconds=9.0), 0.0),
        (RetryFields(reset_seconds=9.0), 9.0),
    ],
)
def test_rest(fields: RetryFields, seconds: float | None) -> None:
    """What is meant for this answer goes before what is known of the limits."""
    assert fields.rest_seconds == seconds


@given(st.binary(max_size=80))
def test_any_bytes(value: bytes) -> None:
    """Whatever an upstream sends: a time that is not negative, or none."""
    names = (
        b"retry-after",
        b"retry-after-ms",
        b"x-ratelimit-reset-tokens",
        b"anthropic-ratelimit-tokens-reset",
    )
    fields = [(name, value) for name in names]
    fields += [(b"x-ratelimit-remaining-tokens", b"0"), (b"anthropic-ratelimit-tokens-remaining", b"0")]
    read = retry_fields_in(fields, NOW)
    assert all(seconds is None or seconds >= 0 for seconds in (read.after_seconds, read.reset_seconds))
