"""What is copied of events that are alike is what a careful reading gives."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from openai_proxy.observe.sse import MAX_EVENT_BYTES
from openai_proxy.providers.translate.alike import Form, Forms
from openai_proxy.providers.translate.to_chat.stream import CompletionStream
from openai_proxy.providers.translate.to_messages.stream import MessageStream

Json = dict[str, Any]
Stream = CompletionStream | MessageStream

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

START = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"m1","model":"c","usage":{}}}\n\n'
)
DELTA = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
    b'"delta":{"type":"text_delta","text":"%b"}}\n\n'
)
ODD_EVENTS = [
    b'event: ping\ndata: {"type":"ping"}\n\n',
    b": comment\n\n",
    b'data: {"type":"content_block_delta","delta":{"type":"thinking_delta","thinking":"hm"}}\n\n',
    b'data: {"type":"content_block_start","content_block":{"type":"tool_use","id":"t","name":"f"}}\n\n',
    b'data: {"type":"content_block_delta","delta":{"type":"input_json_delta","partial_json":"{}"}}\n\n',
    b'data: {"type":"content_block_start","content_block":{"type":"text","text":"so"}}\n\n',
    b'data: {"text":"no","type":"content_block_delta","delta":{"type":"text_delta","text":"yes"}}\n\n',
    b'data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"a","text":"b"}}\n\n',
    b'data: {"type":"content_block_delta","delta":{"type":"citations_delta","citation":{"url":"u"}}}\n\n',
    b'data: {"type":"content_block_delta","delta":{"type":"text_delta",\r\ndata: "text":"cr"}}\n\n',
    b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"}}\n\n',
    b'data: {"type":"message_stop"}\n\n',
    b'data: {"type":"error","error":{"message":"no"}}\n\n',
]
CHUNK = (
    b'data: {"id":"c1","model":"g","choices":[{"index":%d,"delta":{"content":"%b"},'
    b'"finish_reason":null}]}\n\n'
)
FILLED = (
    b'data: {"id":"c1","model":"g","choices":[{"index":%d,"delta":{"content":"%b"},"finish_reason":null}],'
    b'"usage":null,"obfuscation":"aB3"}\n\n'
)
ODD_CHUNKS = [
    b": comment\n\n",
    b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"content":"a","reasoning":"hm"}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"reasoning":"hm"}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"content":"a"}},{"index":0,"delta":{"content":"b"}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"content":"a"}}],"usage":{"prompt_tokens":1}}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"refusal":"no"}}]}\n\n',
    b'event: error\ndata: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n',
    b'data: {"choices":[],"obfuscation":", \\"obfuscation\\":\\"x"}\n\n',
    b"data: [DONE]\n\n",
]


def written(text: str, form: int) -> bytes:
    """The inside of a JSON string, as servers write it; some do not write JSON at all."""
    if form == 0:
        return json.dumps(text, ensure_ascii=False)[1:-1].encode("utf-8", "surrogatepass")
    if form == 1:
        return json.dumps(text)[1:-1].encode()
    if form == 2:
        return json.dumps(text)[1:-1].replace("/", "\\/").replace("a", "\\u0061").encode()
    return text.encode("utf-8", "surrogatepass")


TEXTS = st.builds(
    written,
    st.text(st.sampled_from('abc ,/"\\\n\r\tüß話😀\x00\x1b\x7f\u2028\ud83d'), max_size=5),
    st.sampled_from([0, 0, 1, 1, 2, 3]),
)
PLACES = st.sampled_from([0, 0, 0, 0, 0, 1])


def one_of(forms: list[bytes], odd: list[bytes]) -> st.SearchStrategy[bytes]:
    alike = st.builds(lambda form, place, text: form % (place, text), st.sampled_from(forms), PLACES, TEXTS)
    return st.integers(0, 7).flatmap(lambda dice: alike if dice else st.sampled_from(odd))


EVENTS = st.lists(one_of([DELTA], ODD_EVENTS), max_size=12)
CHUNKS = st.lists(one_of([CHUNK, CHUNK, FILLED], ODD_CHUNKS), max_size=12)
SIZES = st.lists(st.integers(1, 4), min_size=12, max_size=12)


def carefully(stream: Stream, events: list[bytes]) -> bytes:
    """Each event in two pieces: none of them begins and ends between two."""
    said = b"".join(stream.feed(event[:1]) + stream.feed(event[1:]) for event in events)
    return said + stream.end()


def quickly(stream: Stream, events: list[bytes], sizes: list[int]) -> bytes:
    left = list(events)
    said = b""
    for size in sizes:
        said += stream.feed(b"".join(left[:size]))
        left = left[size:]
    return said + stream.end()


@relaxed
@given(EVENTS, SIZES)
@example([DELTA % (0, b"a"), DELTA % (0, b"b\\u0061"), DELTA % (0, b""), DELTA % (1, b"c")], [1] * 12)
@example([DELTA % (0, b"a"), DELTA % (0, b"b"), DELTA % (0, b'"'), DELTA % (0, b"c")], [1, 3] * 6)
def test_events(events: list[bytes], sizes: list[int]) -> None:
    """However many come together, and whatever is between them."""
    events = [START, *events]
    one, other = CompletionStream("m", 7), CompletionStream("m", 7)
    assert quickly(one, events, [1, *sizes]) == carefully(other, events)
    assert (one.failed, one.ended) == (other.failed, other.ended)


@relaxed
@given(CHUNKS, SIZES)
@example([FILLED % (0, b"a"), FILLED % (0, b"b"), FILLED % (0, b"c"), CHUNK % (0, b"d")], [1, 2] * 6)
def test_chunks(events: list[bytes], sizes: list[int]) -> None:
    """The other way round."""
    one, other = MessageStream("m"), MessageStream("m")
    assert quickly(one, events, sizes) == carefully(other, events)
    assert (one.failed, one.ended) == (other.failed, other.ended)


def test_citations_point_to_the_right_place() -> None:
    """The characters that were copied are counted, not their bytes."""
    stream = CompletionStream("m", 7)
    stream.feed(START)
    for text in (b"a", b"b\\n", "話😀".encode(), b"\\\\\\u00fc"):
        stream.feed(DELTA % (0, text))
    stream.feed(b'data: {"type":"content_block_start","content_block":{"type":"text"}}\n\n')
    stream.feed(DELTA % (0, b"x") + DELTA % (0, b"y"))
    said = stream.feed(ODD_EVENTS[8])
    cited = json.loads(said.removeprefix(b"data: "))["choices"][0]["delta"]["annotations"][0]["url_citation"]
    assert (cited["start_index"], cited["end_index"]) == (7, 9)


def text_of(data: bytes) -> str | None:
    said = json.loads(data).get("text")
    return said if isinstance(said, str) else None


def learned(data: bytes) -> Form | None:
    forms = Forms(text_of)
    forms.learn(data)
    return forms.form


@pytest.mark.parametrize(
    "data",
    [
        b'data: {"text":"a"}\n',
        b'data: {"text":"a"}\r\n\n',
        b'data: {\ndata: "text":"a"}\n\n',
        b'data:{"text":"a"}\n\n',
        b'data: {"a":{"text":"a"}}\n\n',
        b'data: {"a":{"text":"a"},"text":"b"}\n\n',
        b'data: {"a":"\\"text\\":\\"a\\""}\n\n',
        b'{"text":"a"}\n\n',
        b"\n\n",
        b'data: {"text":"%b"}\n\n' % (b"x" * MAX_EVENT_BYTES),
    ],
)
def test_no_form(data: bytes) -> None:
    """What is not one line of data with one text in it is always read with care."""
    assert learned(data) is None


def test_a_form() -> None:
    """Of the last event; it takes events that are like it to the last byte, and nothing else."""
    form = learned(b'data: 7\n\nevent: e\ndata: {"text":"a","b":1}\n\n')
    assert form is not None
    one = b'event: e\ndata: {"text":"%b","b":1}\n\n'
    assert form.texts(one % b"x" + one % b"\\u0079\\/" + one % b"\\n") == ([b"x", b"y/", b"\\n"], 4)
    assert form.texts(one % "ü".encode()) == (["ü".encode()], 1)
    for said in (b"", b'"', b"\\", b"\\x", b"\n", b"\xff", b"\\ud83d", b'a","c":"d'):
        assert form.texts(one % said) is None
    assert form.texts((one % b"x")[:-1]) is None
    assert form.texts(one % b"x" + b": comment\n\n" + one % b"y") is None
    assert form.texts(one % b"x" + b"data: ") is None
    assert form.texts(b"") is None


def test_forms_are_looked_for_ever_more_rarely() -> None:
    """A stream without a form costs no more for it."""
    tried = []

    def text_of_none(data: bytes) -> str | None:
        tried.append(data)
        return None

    forms = Forms(text_of_none)
    for number in range(1000):
        forms.learn(b'data: {"text":"a","n":%d}\n\n' % number)
    assert len(tried) == 10
