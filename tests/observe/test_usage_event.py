"""The one event that we asked for leaves the stream; every other byte of it stays."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.observe.usage_event import MAX_USAGE_EVENT_BYTES, UsageEventStripper, is_usage_event

DELTA = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"a \\"usage\\":{} b"}}],"usage":null}\n\n'
SPACED = b'data: {"id": "c", "choices": [{"index": 0, "delta": {"content": "a"}}], "usage": {"a": 1}}\n\n'
AZURE = b'data: {"id":"","choices":[],"usage":{"x":1},"prompt_filter_results":[{"prompt_index":0}]}\n\n'
USAGE = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","service_tier":"default",'
    b'"system_fingerprint":null,"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2},"obfuscation":"x"}\n\n'
)
USAGE_SPACED = b': ping\nid: 3\ndata: {"choices": [ ], "usage": {"prompt_tokens": 1}, "x": null, "y": []}\n\n'
USAGE_IN_LINES = b'data: {"choices":[],\ndata: "usage":{"prompt_tokens":1}}\n\n'
DONE = b"data: [DONE]\n\n"
LARGE = b'data: {"choices":[],"usage":{"x":"' + b"y" * MAX_USAGE_EVENT_BYTES + b'"}}\n\n'
TOO_MANY = b'data: {"a":"' + b"y" * MAX_USAGE_EVENT_BYTES + b'","choices":[{}],"usage":{}}\n\n'
OURS = {USAGE, USAGE_SPACED, USAGE_IN_LINES}
EVENTS = st.sampled_from(
    [DELTA, SPACED, AZURE, *OURS, DONE, b": ping\n\n", b"\n", b"event: a\n\n", LARGE, TOO_MANY]
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
CUTS = st.lists(st.integers(0, 1 << 20), max_size=20)


def stripped(stream: bytes, places: list[int]) -> bytes:
    stripper = UsageEventStripper()
    return b"".join(stripper.feed(stream[i:j]) for i, j in pairwise(places)) + stripper.end()


@given(
    st.lists(EVENTS, max_size=8),
    ENDS,
    CUTS,
    st.sampled_from([b"", b'data: {"choices":[],"usage":{', b"data"]),
)
def test_any_split(events: list[bytes], end: bytes, cuts: list[int], rest: bytes) -> None:
    """However the stream is cut and its lines end, the event is gone and the rest is the same."""
    stream = b"".join(events).replace(b"\n", end) + rest
    expected = b"".join(event for event in events if event not in OURS).replace(b"\n", end) + rest
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    assert stripped(stream, places) == expected


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_byte_by_byte(end: bytes) -> None:
    """The worst split there is."""
    events = [DELTA, b"\n", USAGE, DELTA, USAGE_SPACED, b": p\n\n", USAGE_IN_LINES, AZURE, DONE]
    stream = b"".join(events).replace(b"\n", end)
    expected = b"".join(event for event in events if event not in OURS).replace(b"\n", end)
    assert stripped(stream, list(range(len(stream) + 1))) == expected


@given(
    st.lists(
        st.sampled_from([b"\n", b"\r", b"\r\n", b"data: x", b":", USAGE[:-2], b'"choices":[{']), max_size=20
    ),
    CUTS,
)
def test_splits_agree(tokens: list[bytes], cuts: list[int]) -> None:
    """Whatever the line ends are, the cuts change nothing."""
    stream = b"".join(tokens)
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    assert stripped(stream, places) == stripped(stream, [0, len(stream)])


@pytest.mark.parametrize(
    "piece",
    [DELTA, DELTA + DELTA, SPACED, AZURE, DONE, b": ping\n\n", DELTA.replace(b"\n", b"\r\n"), DELTA[:80]],
)
def test_the_same_object(piece: bytes) -> None:
    """What is not touched is not copied, nor held."""
    assert UsageEventStripper().feed(piece) is piece


def test_only_what_may_be_it_waits() -> None:
    """Events before it in the same piece go at once, and so does one that turns out another."""
    stripper = UsageEventStripper()
    assert stripper.feed(DELTA + USAGE[:30]) == DELTA
    assert stripper.feed(USAGE[30:] + DONE) == DONE
    assert stripper.feed(DELTA[:20]) == b""
    assert stripper.feed(DELTA[20:60]) == DELTA[:60]
    assert stripper.feed(DELTA[60:]) == DELTA[60:]
    assert stripper.stripped == 1


def test_memory_is_bounded() -> None:
    """An event that never ends is held up to the bound, and then goes on as it comes."""
    stripper = UsageEventStripper()
    sent = sum(len(stripper.feed(b"data: " + b"x" * 1000)) for _ in range(100))
    assert sent == 100 * 1006
    assert stripper.end() == b""


@pytest.mark.parametrize(
    "members",
    [
        b'"usage":{"a":1}',
        b'"choices":[],"usage":null',
        b'"choices":null,"usage":{}',
        b'"choices":[],"usage":{},"error":{"code":1}',
        b'"choices":[],"usage":{},"moderation":{"a":1}',
        b'"choices":[{"index":0}],"usage":{}',
        b'"choices":[],"usage":{}}{',
    ],
)
def test_events_that_stay(members: bytes) -> None:
    """Usage alone, with choices or with something else to say: not what we asked for."""
    assert not is_usage_event(b"data: {" + members + b"}\n\n")
