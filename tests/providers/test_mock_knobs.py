"""The request headers that set what the mock provider does."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openai_proxy.providers.mock.knobs import MAX_CHUNKS, MAX_DELAY_MS, BadKnob, Fault, Knobs, read_knobs

NAMES = [
    b"x-mock-delay-ms",
    b"x-mock-chunk-ms",
    b"x-mock-chunks",
    b"x-mock-status",
    b"x-mock-fault",
    b"x-mock-gzip",
]


def test_none() -> None:
    """Without knobs an answer comes at once and whole; unknown ones are left alone."""
    assert read_knobs([(b"Authorization", b"x"), (b"x-mock-other", b"y")]) == Knobs()


def test_all() -> None:
    """Names come in any case, and of several the first counts."""
    knobs = read_knobs(
        [
            (b"X-Mock-Delay-Ms", b"1500"),
            (b"x-mock-chunk-ms", b" 0.5 "),
            (b"X-MOCK-CHUNKS", b"7"),
            (b"x-mock-status", b"429"),
            (b"x-mock-fault", b"Stall"),
            (b"x-mock-chunks", b"bad, but second"),
        ]
    )
    assert knobs == Knobs(1.5, 0.0005, 7, 429, Fault.STALL)


@pytest.mark.parametrize("fault", ["reset", "truncate", "stall", "error-in-stream", "no-done"])
def test_faults(fault: str) -> None:
    """Each documented word is a fault."""
    assert read_knobs([(b"x-mock-fault", fault.encode())]).fault == Fault(fault.encode())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-mock-delay-ms", b"-1"),
        ("x-mock-delay-ms", b"600001"),
        ("x-mock-delay-ms", b"1e3"),
        ("x-mock-chunk-ms", b"600000.1"),
        ("x-mock-chunk-ms", b"nan"),
        ("x-mock-chunks", b"100001"),
        ("x-mock-chunks", b"1.5"),
        ("x-mock-chunks", b""),
        ("x-mock-status", b"199"),
        ("x-mock-status", b"600"),
        ("x-mock-fault", b"fire"),
        ("x-mock-gzip", b"2"),
        ("x-mock-gzip", b"yes"),
    ],
)
def test_bad(name: str, value: bytes) -> None:
    """A value out of its bounds is refused by the header's name, and is not repeated."""
    with pytest.raises(BadKnob, match=f"'{name}'") as caught:
        read_knobs([(name.encode(), value)])
    assert caught.value.name == name


@pytest.mark.parametrize(
    ("accepted", "allowed"),
    [
        ([], False),
        ([b""], False),
        ([b"identity, br"], False),
        ([b"gzip"], True),
        ([b"br", b" GZIP "], True),
        ([b"br;q=1.0, gzip;q=0.5"], True),
        ([b"gzip; q=0.001"], True),
        ([b"gzip;q=0"], False),
        ([b"gzip; Q=0.000, *"], False),
        ([b"*"], True),
        ([b"*;q=0"], False),
        ([b"gzipped"], False),
    ],
)
def test_gzip(accepted: list[bytes], allowed: bool) -> None:
    """Only to who asks for it and says that it can be read."""
    fields = [(b"Accept-Encoding", value) for value in accepted]
    assert read_knobs([*fields, (b"x-mock-gzip", b"1")]).gzip is allowed
    assert not read_knobs([*fields, (b"x-mock-gzip", b"0")]).gzip
    assert not read_knobs(fields).gzip


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(NAMES), st.binary(max_size=10) | st.from_regex(rb"[0-9.]{1,9}"))))
def test_any_value(fields: list[tuple[bytes, bytes]]) -> None:
    """Any bytes are either refused or within bounds."""
    try:
        knobs = read_knobs(fields)
    except BadKnob as bad:
        assert bad.name.encode() in NAMES
        return
    assert 0 <= knobs.delay_seconds <= MAX_DELAY_MS / 1000
    assert 0 <= knobs.gap_seconds <= MAX_DELAY_MS / 1000
    assert knobs.chunks is None or 0 <= knobs.chunks <= MAX_CHUNKS
    assert knobs.status is None or 200 <= knobs.status <= 599
