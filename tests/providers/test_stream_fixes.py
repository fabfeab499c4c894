"""Streams in OpenAI's form: what is wrong in them is put right, and no other byte is touched."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openai_proxy.config.provider import Quirks
from openai_proxy.providers.completion_splices import MAX_CHOICES
from openai_proxy.providers.stream_fixes import MAX_LINE_BYTES, StreamFixes, fixed_completion, stream_fixes_of

BOTH = Quirks(fix_tool_index=True, fix_finish_reason=True)
INDEX = Quirks(fix_tool_index=True)
REASON = Quirks(fix_finish_reason=True)
DONE = b"data: [DONE]\n\n"
TEXT = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"\\"tool_calls\\""}}],"usage":null}\n\n'
STOP = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'
CALLED = STOP.replace(b'"stop"', b'"tool_calls"')


def event(calls: str, reason: str = "null", index: int = 0) -> bytes:
    """A chunk with tool calls, as a provider writes it."""
    return (
        f'data: {{"choices" : [ {{"delta": {{"role":"assistant", "tool_calls":[{calls}]}},'
        f' "finish_reason":{reason},"index":{index}}}],"x":1.50}}\n\n'
    ).encode()


def fixed(stream: bytes, quirks: Quirks = BOTH, places: list[int] | None = None) -> bytes:
    fixes = StreamFixes(quirks)
    places = places if places is not None else [0, len(stream)]
    return b"".join(fixes.feed(stream[i:j]) for i, j in pairwise(places)) + fixes.end()


def indices(stream: bytes) -> list[Any]:
    """The index of each tool call, in order."""
    found: list[Any] = []
    for line in stream.splitlines():
        if line.startswith(b"data: {"):
            for choice in json.loads(line[6:])["choices"]:
                found += [call.get("index") for call in choice["delta"].get("tool_calls") or []]
    return found


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        # Gemini: whole calls, none with an index.
        (['{"id":"a"},{"id":"b"}', '{"id":"c"}'], [0, 1, 2]),
        # Ollama: whole calls, all with the same.
        (['{"index":0,"id":"a"}', '{"index":0,"id":"b"}', '{"index":0,"id":"c"}'], [0, 1, 2]),
        (['{"index":0,"id":"a"},{"index":0,"id":"b"}'], [0, 1]),
        # Pieces, of which only the first has an id.
        (['{"index":0,"id":"a"}', '{"index":0}', '{"index":0,"id":"b"}', '{"index":0}'], [0, 0, 1, 1]),
        (['{"id":"a"}', "{}", '{"id":"b"}', '{"id":""}', '{"id":null}'], [0, 0, 1, 1, 1]),
        # Each piece has the id.
        (['{"id":"a"}', '{"id":"b"}', '{"id":"a"}', '{"id":"b"}'], [0, 1, 0, 1]),
        (['{"index":0,"id":"a"}', '{"index":0,"id":"b"}', '{"index":0,"id":"a"}'], [0, 1, 0]),
        # No ids at all: what names a function is a new one.
        (['{"function":{"name":"f"}}', '{"function":{"x":"{"}}', '{"function":{"name":"f"}}'], [0, 0, 1]),
        # No index can be that.
        (['{"index":null,"id":"a"}', '{"index":"1","id":"b"}', '{"index":-1,"id":"c"}'], [0, 1, 2]),
        (['{"index":true,"id":"a"}', '{"index":0.0,"id":"b"}'], [0, 1]),
        # A right one after a wrong one.
        (['{"index":0,"id":"a"},{"index":0,"id":"b"}', '{"index":1,"id":"c"}', '{"index":1}'], [0, 1, 2, 2]),
        # Right from the beginning.
        (['{"index":0,"id":"a"}', '{"index":1,"id":"b"}', '{"index":0}', '{"index":1}'], [0, 1, 0, 1]),
        # An id that comes late.
        (['{"index":0}', '{"index":0,"id":"a"}', '{"index":0}', '{"index":0,"id":"b"}'], [0, 0, 0, 1]),
        (['{"index":3,"id":"a"}', '{"index":1,"id":"a"}', '{"id":"b"}'], [3, 1, 4]),
    ],
)  # fmt: skip
def test_numbered_by_id(chunks: list[str], expected: list[int]) -> None:
    """The calls of a choice have one number each, whatever was said of it."""
    stream = b"".join(event(chunk) for chunk in chunks) + DONE
    out = fixed(stream)
    assert indices(out) == expected
    if indices(stream) == expected:
        assert out == stream


def test_the_bytes_around_it() -> None:
    """Only the number is put in or replaced: order, spaces and odd members stay."""
    given_on = event(
        '{ "id":"a","extra_content":{"google":{"thought_signature":"s=="}}},{}, {"index" :7e0,"id":"b"}'
    )
    assert fixed(given_on) == event(
        '{"index":0, "id":"a","extra_content":{"google":{"thought_signature":"s=="}}},{"index":0},'
        ' {"index" :1,"id":"b"}'
    )


def test_each_choice_has_its_own_numbers() -> None:
    """And its own end."""
    stream = event('{"id":"a"}', index=0) + event('{"id":"b"}', index=1)
    assert indices(fixed(stream)) == [0, 0]
    stream = event('{"index":0,"id":"a"}', index=1) + STOP
    assert fixed(stream) == stream
    stream = event('{"index":0,"id":"a"}', index=0) + STOP
    assert fixed(stream) == stream.replace(b'"stop"', b'"tool_calls"')


def test_two_choices_in_one_chunk() -> None:
    """They may both be wrong, in both ways."""
    one = '{"index":%d,"delta":{"tool_calls":[{"id":"a"},{"id":"b"}]},"finish_reason":"stop"}'
    right = one.replace('{"id"', '{"index":0,"id"', 1).replace(',{"id"', ',{"index":1,"id"')
    right = right.replace('"stop"', '"tool_calls"')
    line = 'data: {"choices":[%s,null,%s]}\n\n'
    assert fixed((line % (one % 0, one % 1)).encode()) == (line % (right % 0, right % 1)).encode()


def test_the_reason_in_the_chunk_of_the_calls() -> None:
    """As Gemini sends it."""
    call = '{"index":0,"id":"a","function":{"name":"stop","arguments":"{\\"a\\":\\"stop\\"}"}}'
    assert fixed(event(call, '"stop"')) == event(call, '"tool_calls"')


def test_a_stop_without_calls_is_one() -> None:
    """As is any other reason."""
    for stream in (TEXT + STOP, event("") + STOP, event('{"index":0,"id":"a"}', '"length"') + DONE):
        assert fixed(stream) == stream


@pytest.mark.parametrize(
    ("quirks", "expected"),
    [
        (INDEX, event('{"index":0,"id":"a"}') + STOP),
        (REASON, event('{"id":"a"}') + CALLED),
        (BOTH, event('{"index":0,"id":"a"}') + CALLED),
    ],
)
def test_each_for_itself(quirks: Quirks, expected: bytes) -> None:
    """A provider gets one of them wrong, or both."""
    assert fixed(event('{"id":"a"}') + STOP, quirks) == expected
    assert stream_fixes_of(quirks) is not None


def test_a_whole_completion() -> None:
    """Its reason is put right for those that get it wrong; its calls have no index."""
    body = b'{"choices":[{"message":{"tool_calls":[{"id":"a"}]},"finish_reason":"stop"}]}'
    assert fixed_completion(body, BOTH) == body.replace(b'"stop"', b'"tool_calls"')
    assert fixed_completion(body, INDEX) is body


def test_for_those_that_need_nothing() -> None:
    """There is nothing to run."""
    assert stream_fixes_of(Quirks()) is None


ODD = [
    *(b'data: {"tool_calls":1}\n\n', b'data: "tool_calls"\n\n', b'data: {"choices":{"tool_calls":[{}]}}\n\n'),
    *(
        b'data: {"choices":[{"delta":["tool_calls"]}]}\n\n',
        b'data: {"choices":[{"delta":{"tool_calls":{}}}]}\n\n',
    ),
    *(b'data: {"choices":[7,"tool_calls"]}\n\n', b'data: {"choices":[{"delta":{"tool_calls":[1]}}]}\n\n'),
    *(
        b'data: {"choices":[{"delta":{"tool_calls":[{"id":"a"}\n\n',
        b'data: {"choices":[{"tool_calls":"\xff"}]}\n\n',
    ),
    *(
        b': "tool_calls"\n\n',
        b'event: "tool_calls"\ndata: {}\n\n',
        b'dat\n: "tool_calls"',
        b'"tool_calls"\n\n',
    ),
    b"data: " + b"[" * 3000 + b'"tool_calls"' + b"]" * 3000 + b"\n\n",
]


@pytest.mark.parametrize("odd", ODD)
def test_what_is_no_such_chunk_goes_through(odd: bytes) -> None:
    """Whatever it is."""
    assert fixed(odd + TEXT + STOP) == odd + TEXT + STOP


RIGHT = [
    *(TEXT, DONE, b": ping\n\n", b"\n", b"id: 3\nevent: x\n", b'data: {"error":{"message":"stop"}}\n\n'),
    event('{"index":0,"id":"a","function":{"name":"f","arguments":""}}'),
    event('{"index":0,"function":{"arguments":"{\\"x\\":"}}'),
    event('{"index":1,"id":"b"},{"index":0}'),
    event('{"index":0}', '"tool_calls"'),
    event('{"index":2,"id":"c"}', index=1),
    CALLED,
]
CUTS = st.lists(st.integers(0, 1 << 20), max_size=20)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


def places_of(stream: bytes, cuts: list[int]) -> list[int]:
    return sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})


@settings(deadline=None)
@given(st.lists(st.sampled_from(RIGHT), max_size=8), ENDS, CUTS, st.sampled_from([b"", TEXT[:40], b"da"]))
def test_what_is_right_stays(events: list[bytes], end: bytes, cuts: list[int], rest: bytes) -> None:
    """Byte for byte, however it is cut and its lines end."""
    stream = b"".join(events).replace(b"\n", end) + rest
    assert fixed(stream, BOTH, places_of(stream, cuts)) == stream


WRONG = [event('{"id":"a"}'), event('{"index":0,"id":"b"},{"id":"c"}', '"stop"'), STOP]


@settings(deadline=None)
@given(st.lists(st.sampled_from([*RIGHT, *WRONG, *ODD[:-1]]), max_size=8), ENDS, CUTS)
def test_splits_agree(events: list[bytes], end: bytes, cuts: list[int]) -> None:
    """What is put right does not hang on where the pieces end, nor does what is written around it."""
    stream = b"".join(events).replace(b"\n", end)
    whole = fixed(stream)
    assert fixed(stream, BOTH, places_of(stream, cuts)) == whole
    assert fixed(stream, BOTH, list(range(len(stream) + 1))) == whole
    lines = zip(stream.splitlines(), whole.splitlines(), strict=True)
    assert all(line == out or out.startswith(b'data: {"choices"') for line, out in lines)


@pytest.mark.parametrize("piece", [TEXT, TEXT + DONE, b": ping\n\n", *RIGHT[-4:], TEXT.replace(b"\n", b"\r")])
def test_the_same_object(piece: bytes) -> None:
    """What is not touched is not copied, nor held."""
    fixes = StreamFixes(BOTH)
    assert fixes.feed(piece) is piece
    assert not fixes.inside


def test_only_a_line_of_data_waits() -> None:
    """No client could use a part of it; all else goes on at once."""
    fixes = StreamFixes(BOTH)
    inside = []
    for piece, given_on in ((TEXT + TEXT[:9], TEXT), (TEXT[9:-1], TEXT[:-1]), (b"\n: pi", b"\n: pi")):
        assert fixes.feed(piece) == given_on
        inside.append(fixes.inside)
    assert inside == [True, False, True]
    assert fixes.feed(b"ng\nd") == b"ng\n"
    assert fixes.feed(b"o") == b"do"
    assert fixes.feed(b"x\ndata: {") == b"x\n"
    assert fixes.end() == b"data: {"


def test_a_line_that_is_too_long_goes_through() -> None:
    """As it is, in pieces and whole; what follows is put right again."""
    long = event('{"id":"%s"}' % ("x" * MAX_LINE_BYTES))
    for places in ([0, len(long)], [0, 3, 50, len(long)], [0, 50, len(long) - 30, len(long)]):
        assert fixed(long + STOP[:0], BOTH, places) == long
    fixes = StreamFixes(BOTH)
    assert fixes.feed(long[:100]) == b""
    assert fixes.feed(long[100:-10]) == long[:-10]
    assert fixes.feed(long[-10:] + event('{"id":"a"}')) == long[-10:] + event('{"index":0,"id":"a"}')


def test_memory_is_bounded() -> None:
    """Choices without end are not remembered."""
    fixes = StreamFixes(BOTH)
    for index in range(2 * MAX_CHOICES):
        out = fixes.feed(event('{"id":"a"}', index=index))
        assert indices(out) == [0 if index < MAX_CHOICES else None]
