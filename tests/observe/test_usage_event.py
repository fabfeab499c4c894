"""The one event that we asked for leaves the stream; every other byte of it stays."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.observe.usage_event import MAX_USAGE_EVENT_BYTES, UsageEventStripper, is_usage_line

DELTA = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"a \\"usage\\":{} b"}}],"usage":null}\n\n'
SPACED = b'data: {"id": "c", "choices": [{"index": 0, "delta": {"content": "a"}}], "usage": {"a": 1}}\n\n'
AZURE = b'data: {"id":"","choices":[],"usage":{"x":1},"prompt_filter_results":[{"prompt_index":0}]}\n\n'
USAGE = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","service_tier":"default",'
    b'"system_fingerprint":null,"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2},"obfuscation":"x"}\n\n'
)
USAGE_SPACED = b'data:{"choices": [ ], "usage": {"prompt_tokens": 1}, "x": null, "y": []}\n\n'
USAGE_ALONE = b'data: {"usage":{"prompt_tokens":1}}\n\n'
WITH_FIELDS = b': ping\nid: 3\ndata: {"choices":[],"usage":{"prompt_tokens":1}}\n\n'
FIELD_AFTER = b'data: {"choices":[],"usage":{"prompt_tokens":1}}\nretry: 3\n\n'
IN_LINES = b'data: {"choices":[],\ndata: "usage":{"prompt_tokens":1}}\n\n'
DONE = b"data: [DONE]\n\n"
LARGE = b'data: {"choices":[],"usage":{"x":"' + b"y" * MAX_USAGE_EVENT_BYTES + b'"}}\n\n'
TOO_MANY = b'data: {"a":"' + b"y" * MAX_USAGE_EVENT_BYTES + b'","choices":[{}],"usage":{}}\n\n'
OURS = [USAGE, USAGE_SPACED, USAGE_ALONE]
KEPT = [DELTA, SPACED, AZURE, WITH_FIELDS, FIELD_AFTER, IN_LINES, DONE]
EVENTS = st.sampled_from([*OURS, *KEPT, b": ping\n\n", b"\n", b"event: a\n\n", LARGE, TOO_MANY])
TOKENS = st.sampled_from(
    [
        *(b"\n", b"\r", b"\r\n", b"data: x", b":", b"data", b'"usage"', USAGE[:-2], USAGE_ALONE[:-2]),
        *(b'"choices":[{', b'data: {"choices": [{', USAGE, USAGE_ALONE.replace(b"\n", b"\r\n"), DELTA[:-1]),
    ]
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
    events = [DELTA, b"\n", USAGE, DELTA, USAGE_SPACED, b": p\n\n", *KEPT, USAGE_ALONE, DONE]
    stream = b"".join(events).replace(b"\n", end)
    expected = b"".join(event for event in events if event not in OURS).replace(b"\n", end)
    assert stripped(stream, list(range(len(stream) + 1))) == expected


@given(st.lists(TOKENS, max_size=20), CUTS)
def test_splits_agree(tokens: list[bytes], cuts: list[int]) -> None:
    """Whatever the line ends are, the cuts change nothing."""
    stream = b"".join(tokens)
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    assert stripped(stream, places) == stripped(stream, [0, len(stream)])
    assert stripped(stream, places) == stripped(stream, list(range(len(stream) + 1)))


@given(st.lists(TOKENS, max_size=20), CUTS, st.sampled_from([b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r"]))
def test_what_is_not_it_comes_out(tokens: list[bytes], cuts: list[int], blank: bytes) -> None:
    """After a blank line nothing waits; what is missing are so many whole events as are counted."""
    stream = b"".join(tokens) + blank
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    stripper = UsageEventStripper()
    out = b"".join(stripper.feed(stream[i:j]) for i, j in pairwise(places))
    assert stripper.end() == b""
    assert stripper.stripped or out == stream
    left = iter(stream)
    assert all(byte in left for byte in out)
    missing = len(stream) - len(out)
    assert missing >= stripper.stripped * (len(USAGE_ALONE) - 1)
    assert missing <= stripper.stripped * (len(USAGE) + 2)


@pytest.mark.parametrize(
    "piece",
    [*KEPT, DELTA + DELTA, b": ping\n\n", DELTA.replace(b"\n", b"\r\n"), DELTA[:80], b": p", b"data: ["],
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


@pytest.mark.parametrize(
    "piece",
    [
        *(b": ping\n", b":", b"event: error\n", b"event", b"id: 1\n", b"x", b"dataset"),
        *(b"data: [", b"data: [DONE]\n", b"data: x", b"data:  {", b"data\n", b"\xef\xbb\xbfdata: {"),
        *(
            b'data: {"error":{"message":"x"}}\n',
            b'data: {"choices":[{',
            b'data: {"choices": [{',
            b"data: {\n",
        ),
        *(b'data:{"choices" : [ {', b'data: {"choices":["', USAGE[:-1] + b"data: x", AZURE[:-1]),
    ],
)
def test_what_cannot_become_it_goes_at_once(piece: bytes) -> None:
    """Without waiting for the end of the line or of the event; and what follows in it, too."""
    stripper = UsageEventStripper()
    assert stripper.feed(piece) == piece
    assert stripper.feed(b'a"usage":{') == b'a"usage":{'
    bytewise = UsageEventStripper()
    assert b"".join(bytewise.feed(bytes([byte])) for byte in piece) == piece


@pytest.mark.parametrize("size", [1, 5, 6, 7, 20, len(USAGE) - 2, len(USAGE) - 1])
def test_what_may_become_it_waits(size: int) -> None:
    """From its first byte to its blank line."""
    stripper = UsageEventStripper()
    assert stripper.feed(USAGE[:size]) == b""
    assert stripper.inside
    assert stripper.end() == USAGE[:size]


class Measured(bytes):
    """Counts the bytes that are copied out of it, and the calls of its searches."""

    copied = 0
    calls = 0

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        self.copied += len(found) if isinstance(key, slice) else 1
        self.calls += 1
        return found

    def find(self, *args: Any) -> int:
        self.calls += 1
        return super().find(*args)

    def rfind(self, *args: Any) -> int:
        self.calls += 1
        return super().rfind(*args)


@pytest.mark.parametrize(
    "unit",
    [
        *(b"a\n\n", b"a\r\n\r\n", b"a\r\r", b"\n", b"\r", b":\n\r"),
        *(b'"usage"\n', b'"usage"\r', b'"usage"\r\n\r\n', b'data: {"usage"\n\n', b'data: {"usage":\r\n\r\n'),
        *(USAGE, USAGE.replace(b"\n", b"\r\n"), AZURE, SPACED.replace(b"\n", b"\r"), WITH_FIELDS),
    ],
)
@pytest.mark.parametrize("before", [b"", b"x", b"data: {", USAGE[:-1]])
@pytest.mark.parametrize("after", [b"", b"b", b"data: {"])
def test_the_work_is_linear(unit: bytes, before: bytes, after: bytes) -> None:
    """No byte of a piece is copied more than a few times, and what names no usage costs no calls."""
    data = Measured(unit * 500 + after)
    stripper = UsageEventStripper()
    stripper.feed(before)
    stripper.feed(data)
    assert data.copied <= 3 * len(data) + MAX_USAGE_EVENT_BYTES
    assert data.calls <= 30 + 10 * data.count(b'"usage"')


def test_holding_is_linear() -> None:
    """A line that comes byte by byte is not searched from its beginning each time."""
    stripper = UsageEventStripper()
    assert all(stripper.feed(byte) == b"" for byte in (b"data: {", *[b'"'] * (MAX_USAGE_EVENT_BYTES - 7)))
    assert len(stripper.feed(b'"')) == MAX_USAGE_EVENT_BYTES + 1


def test_memory_is_bounded() -> None:
    """An event that never ends is held up to the bound, and then goes on as it comes."""
    stripper = UsageEventStripper()
    sent = sum(len(stripper.feed(b"data: " + b"x" * 1000)) for _ in range(100))
    assert sent == 100 * 1006
    assert stripper.end() == b""


@pytest.mark.parametrize(
    "members",
    [
        b'"a":1',
        b'"choices":[],"usage":null',
        b'"choices":[],"usage":[]',
        b'"choices":[],"usage":5',
        b'"choices":{},"usage":{}',
        b'"choices":[{}],"choices":[],"usage":{}',
        b'"choices":[{"index":0}],"usage":{}',
        b'"choices":[],"usage":{}}{',
        b'"choices":[],"usage":{},"error":{"code":1}',
        b'"choices":[],"usage":{},"moderation":{"a":1}',
        b'"choices":[],"usage":{},"credits_left":42',
        b'"choices":[],"usage":{},"x":0',
        b'"choices":[],"usage":{},"x":false',
        b'"choices":[],"usage":{},"id":{"error":"boom"}',
        b'"choices":[],"usage":{},"model":["m"]',
        b'"choices":[],"usage":{},"system_fingerprint":{"x":"y"}',
        b'"choices":[],"usage":{},"obfuscation":{"content":"y"}',
        b'"choices":[],"usage":{},"created":"now"',
        b'"choices":[],"usage":{},"x_groq":{"id":"r","error":"e"}',
        b'"choices":[],"usage":{},"time_info":{"note":"n"}',
    ],
)
def test_events_that_stay(members: bytes) -> None:
    """No usage, or choices, or something else to say: not what we asked for."""
    event = b"data: {" + members + b"}\n\n"
    assert not is_usage_line(event[:-2])
    assert stripped(event, [0, len(event)]) == event


@pytest.mark.parametrize(
    "members",
    [
        b'"usage":{}',
        b'"choices":null,"usage":{"a":1}',
        b'"usage":{},"choices":[ ],"error":null,"x":"","y":[],"z":{}',
        b'"usage":{},"id":null,"object":"o","created":1.5,"model":"m","system_fingerprint":"","service_tier":null',
        b'"choices":[],"usage":{},"x_groq":{"id":"r","usage":{"a":1}}',
        b'"choices":[],"usage":{},"time_info":{"queue_time":0.1,"created":1}',
        b'"choices":[],"usage":{},"timings":{"prompt_n":1,"prompt_ms":2.5}',
        b'"choices":[],"usage":{},"provider":"p"',
    ],
)
def test_events_that_go(members: bytes) -> None:
    """Usage without choices, with names, times and members that are empty."""
    event = b"data: {" + members + b"}\n\n"
    assert is_usage_line(event[:-2])
    assert stripped(event, [0, len(event)]) == b""


@pytest.mark.parametrize(
    "line",
    [b'event: a\ndata: {"usage":{}}', b'data:  {"usage":{}}', b'{"usage":{}}', b'data: {"usage":{}}\nid: 1'],
)
def test_lines_that_stay(line: bytes) -> None:
    """One line of data with an object, and no other line."""
    assert stripped(line + b"\n\n", [0, len(line) + 2]) == line + b"\n\n"
