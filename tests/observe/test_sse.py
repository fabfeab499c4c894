"""Events out of any split of a stream, against the standard's own steps."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from openai_proxy.observe.sse import HEAD_BYTES, Event, SseSplitter

LIMIT = 300


def reference(stream: bytes, limit: int = 1 << 30) -> tuple[list[Event], int]:
    """WHATWG HTML section 9.2.6, step by step, on the whole stream; and how many were too long."""
    events: list[Event] = []
    oversized = 0
    name, data = b"", b""
    lines = re.split(rb"\r\n|\n|\r", stream.removeprefix(b"\xef\xbb\xbf"))
    for line in lines[:-1]:
        if line == b"":
            if data:
                data = data[:-1]
                if len(data) > limit:
                    oversized += 1
                    data = data[:HEAD_BYTES]
                events.append((name, data))
            name, data = b"", b""
            continue
        if line.startswith(b":"):
            continue
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            name = value[:HEAD_BYTES]
        elif field == b"data":
            data += value + b"\n"
    return events, oversized


def split(stream: bytes, cuts: list[int], limit: int = 1 << 30) -> tuple[list[Event], int]:
    splitter = SseSplitter(limit)
    events: list[Event] = []
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    for begin, end in pairwise(places):
        events += splitter.feed(stream[begin:end])
    return events, splitter.oversized


TOKENS = st.sampled_from(
    [
        *(b"\n", b"\n\n", b"\r", b"\r\n", b"\r\n\r\n", b"data", b"data:", b"data: ", b"data: {}\n\n"),
        *(b"event: a\ndata: {}\n\n", b"event", b"event: x", b"id: 7\n", b": ping\n\n", b":", b" ", b"x"),
        *(b"\xef\xbb\xbf", b"data: [DONE]\n\n", b"retry: 3\n", b"event: a\nid: 1\ndata: b\n\n", b"y" * 200),
        *(
            b"z" * 299,
            b"data: " + b"w" * 300 + b"\n\n",
            b"data: " + b"v" * 301 + b"\n\n",
            b"event: " + b"u" * 301,
        ),
    ]
)
STREAMS = st.lists(TOKENS, max_size=30).map(b"".join)
CUTS = st.lists(st.integers(0, 10000), max_size=20)


@given(STREAMS, CUTS)
@example(b"data: a\r\n\r\ndata: b\r\n\r\n", [8, 9, 10])
@example(b"\xef\xbb\xbfdata: a\n\n", [1, 2])
@example(b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [])
def test_any_split(stream: bytes, cuts: list[int]) -> None:
    """However a stream is cut, its events are those of the standard."""
    assert split(stream, cuts) == reference(stream)


@given(STREAMS, CUTS)
@example(b"data: " + b"v" * 300 + b"\ndata:\n\n", [])
@example(b"data: " + b"v" * 310 + b"\n\ndata: x\n\n", [3, 280, 309, 312])
@example(b"\xef\xbb\xbfdata: " + b"v" * 301 + b"\n\n", [309])
def test_too_long_events(stream: bytes, cuts: list[int]) -> None:
    """An event past the bound comes as its head and is counted, wherever the cuts are."""
    assert split(stream, cuts, LIMIT) == reference(stream, LIMIT)


@given(STREAMS)
@example(b"\xef\xbb\xbfevent: " + b"u" * 301 + b"\ndata: {}\n\n")
def test_byte_by_byte(stream: bytes) -> None:
    """The worst split there is."""
    assert split(stream, list(range(len(stream))), LIMIT) == reference(stream, LIMIT)


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
def test_large_events_in_pieces(end: bytes) -> None:
    """An event of a megabyte arrives whole, whatever ends its lines."""
    stream = b"data: " + b"x" * (1 << 20) + end
    assert split(stream, list(range(0, len(stream), 1400))) == ([(b"", b"x" * (1 << 20))], 0)


def test_memory_is_bounded() -> None:
    """A line, a comment or an event that never ends is not kept."""
    for opening, going in (
        (b"data: ", b"x" * 100),
        (b":", b"x" * 100),
        (b"", b"data: " + b"x" * 100 + b"\n"),
    ):
        splitter = SseSplitter(LIMIT)
        splitter.feed(opening)
        for _ in range(1000):
            assert splitter.feed(going) == []
        assert sum(map(len, splitter._partial)) + sum(map(len, splitter._data)) < 2 * LIMIT
        splitter.feed(b"\n\n")
        assert splitter.feed(b"data: x\n\n") == [(b"", b"x")]


@pytest.mark.parametrize("rest", [b"data: [DONE]", b"data: [DONE]\n", b"data: [DONE]\r"])
def test_finish(rest: bytes) -> None:
    """The last event may lack its blank line; after that there is nothing left."""
    splitter = SseSplitter()
    assert splitter.feed(b"data: a\n\n" + rest) == [(b"", b"a")]
    assert splitter.finish() == [(b"", b"[DONE]")]
    assert splitter.finish() == []
