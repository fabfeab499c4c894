"""What is told by comparison is what reading with care tells."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from openai_proxy.observe import templates
from openai_proxy.observe.choice import observer_for
from openai_proxy.observe.intervals import IntervalCounts
from openai_proxy.observe.said import TOKEN, VISIBLE
from openai_proxy.observe.stream_observer import StreamObserver
from openai_proxy.observe.templates import Template, data_of, text_template
from openai_proxy.observe.usage_event import UsageEventStripper

SSE = b"text/event-stream"
BOUNDS = (0.0, 0.5, 1.0, 2.0)
HEAD = '{"id":"c","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":'
DONE = b"data: [DONE]\n\n"
ROLE = f'data: {HEAD}{{"role":"assistant","content":""}}}}]}}\n\n'.encode()
USAGE = b'data: {"id":"c","model":"m","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}\n\n'

CHAT_FORMS = [
    HEAD + '{"content":"@"},"logprobs":null,"finish_reason":null}]}',
    HEAD + '{"content":"@"},"finish_reason":null}],"usage":null}',
    HEAD + '{"content":"@"}}],"usage": null ,"obfuscation":"#"}',
    HEAD + '{"content":"@"}}],"usage":{}}',
    HEAD + '{"content":"@"}}],"usage":{"prompt_tokens":5,"completion_tokens":4}}',
    HEAD + '{"content":"@"}}],"error":null}',
    HEAD + '{"content":"@"}}],"error":{"code":"@"}}',
    HEAD + '{"content":"@"}}],"x_groq":{"usage":{"prompt_tokens":9}}}',
    HEAD + '{"content":"@"}}],"model":"other","id":"@"}',
    HEAD + '{"content":"@","content":"#"}}]}',
    HEAD + '{"x\\"content":"@","content":"#"}}]}',
    HEAD + '{"role":"@","content":""}}]}',
    HEAD + '{"content":null,"reasoning_content":"@"}}]}',
    HEAD + '{"content":"","reasoning":"@","reasoning_details":[{"type":"reasoning.text","text":"#"}]}}]}',
    HEAD + '{"tool_calls":[{"index":0,"function":{"arguments":"@"}}]}}]}',
    HEAD + '{"content":[{"type":"thinking","thinking":[{"type":"text","text":"@"}]}]}}]}',
    HEAD + '{"content":[{"type":"text","text":"@"}]}}]}',
    HEAD + '{"content":"@"},"logprobs":{"content":[{"token":"@","logprob":-1}]}}]}',
    HEAD + '{"content":"@"}},{"index":1,"delta":{"content":"#"}}]}',
    '{"model":"m","content":"@","choices":[]}',
    '{"choices":[{"index":0,"delta":{"content":"@"}}]}',
    '{"model": "m", "choices": [{"index": 0, "delta": {"content": "@"}}], "usage": null, "obfuscation": "#"}',
    '{"model":"m","obfuscation":"#","choices":[{"text":"@","index":0}]}',
    HEAD + '{"content":"@"}}],}',
]
TYPED_FORMS = [
    '{"type":"response.output_text.delta","sequence_number":3,"delta":"@","obfuscation":"#"}',
    '{"type":"response.output_text.delta","delta":""}',
    '{"type":"response.reasoning_text.delta","delta":"@"}',
    '{"type":"response.function_call_arguments.delta","delta":"@",',
    '{"type":"response.output_text.done","text":"@"}',
    '{"type":"response.completed","response":{"model":"@","usage":{"input_tokens":1,"output_tokens":2}}}',
    '{"delta":"@","type":"response.output_text.delta"}',
    '{"type":"error","code":"@"}',
]
MESSAGE_FORMS = [
    '{"type":"message_start","message":{"id":"m","model":"c","usage":{"input_tokens":5,"output_tokens":1}}}',
    '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"@"}}',
    '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":""}}',
    '{"type":"content_block_delta","index":1,"delta":{"type":"thinking_delta","thinking":"@"}}',
    '{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"@"}}',
    '{"type":"content_block_delta","index":1,"delta":{"type":"signature_delta","signature":"@"}}',
    '{"type":"content_block_delta","delta":{"text":"@","type":"text_delta"},"usage":{"output_tokens":"@"}}',
    '{"type":"content_block_start","content_block":{"type":"tool_use","text":"@"}}',
    '{"type":"message_delta","delta":{"text":"@"},"usage":{"output_tokens":9}}',
    '{"type":"message_stop"}',
]
FORMS = {"chat_completions": CHAT_FORMS, "responses": TYPED_FORMS, "messages": MESSAGE_FORMS}
PLAIN = [" a", "word", ".", "", "{", ",", "é", "日本", "\n\n", '"', "\\", 'a"', "\x7f", "😀"]
NASTY = [
    '","content":"',
    '"usage":{',
    '"},"finish_reason":null}]}\n\ndata: {"model":"m"}',
    '"content":""',
    ',"obfuscation":"',
    "\u2028",
    "\r",
    "\x00",
    '"delta":{"type":"text_delta","text":"',
    "]}\n\n",
]
RAW = [
    rb"\ud83d",
    rb"\ud83d\ude00",
    rb"\u00e9",
    rb"\U",
    rb"\x",
    b"\\",
    rb"\\",
    b'"',
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\n",
    b"\r",
    b"\n\n",
    b"\t",
    b'","content":"b',
    b'"},"x":{"y":"',
    rb"\"content\":\"b",
]
TEXTS = (
    (st.sampled_from(PLAIN) | st.sampled_from(NASTY) | st.text(max_size=5)).map(
        lambda text: json.dumps(text)[1:-1].encode()
    )
    | st.sampled_from(PLAIN + NASTY).map(lambda text: json.dumps(text, ensure_ascii=False)[1:-1].encode())
    | st.sampled_from(RAW)
    | st.lists(st.sampled_from([*RAW, b"a"]), max_size=3).map(b"".join)
)
SHAPES = st.sampled_from(
    [
        b"data: %b\n\n",
        b"data: %b\n\n",
        b"event: e\ndata: %b\n\n",
        b"event: error\ndata: %b\n\n",
        b"data:%b\n\n",
        b"data: %b\r\n\r\n",
        b"data: %b\ndata: \n\n",
        b": ping\ndata: %b\n\n",
        b"data: %b\n\n\n",
        b"id: 1\ndata: %b\n\n",
    ]
)
OTHERS = st.sampled_from([ROLE, USAGE, DONE, b": ping\n\n", b"\n", b": c\n", b"data: {\n\n", b"event: x\n"])


def filled(shape: bytes, form: str, texts: list[tuple[bytes, bytes]]) -> list[bytes]:
    """Events of one form with each text in turn."""
    base = form.encode()
    return [shape.replace(b"%b", base).replace(b"@", text).replace(b"#", fill) for text, fill in texts]


NAMED_AGAIN = filled(b"data: %b\n\n", CHAT_FORMS[5], [(b"a", b"")] * 3)
"""With an error that is null, and each names its model anew."""


def runs(forms: list[str]) -> st.SearchStrategy[list[bytes]]:
    """Several events of one form."""
    texts = st.lists(
        st.tuples(st.just(b" ok") | TEXTS, st.sampled_from([b"", b"Ab1", b'"', b"\\", b"\n", b" "]) | TEXTS),
        min_size=1,
        max_size=6,
    )
    plain = st.lists(st.tuples(st.sampled_from([b"a", b" b", b"."]), st.just(b"x")), min_size=3, max_size=6)
    return st.builds(
        filled,
        st.just(b"data: %b\n\n") | SHAPES,
        st.sampled_from(forms[:4]) | st.sampled_from(forms),
        plain | texts,
    )


@st.composite
def streams(draw: st.DrawFn) -> tuple[str, list[bytes]]:
    """An endpoint and its pieces: cut between events, and then some anywhere."""
    endpoint = draw(st.sampled_from(sorted(FORMS)))
    run = runs(FORMS[endpoint]) | OTHERS.map(lambda event: [event])
    # What is said between two events that are alike is not to be forgotten, nor said again.
    around = st.tuples(run, run).map(lambda pair: pair[0] + pair[1] + pair[0])
    groups = draw(st.lists(run | around, min_size=1, max_size=5))
    events = [ROLE] * draw(st.integers(0, 1)) + [event for group in groups for event in group]
    together = draw(st.lists(st.integers(1, 5), min_size=1, max_size=5))
    pieces: list[bytes] = []
    while events:
        size = together[len(pieces) % len(together)]
        pieces.append(b"".join(events[:size]))
        events = events[size:]
    stream = b"".join(pieces)
    cuts = draw(st.lists(st.integers(0, 1 << 16), max_size=3))
    places = {0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)}
    if draw(st.booleans()):
        place = 0
        for piece in pieces:
            place += len(piece)
            places.add(place)
    ordered = sorted(places)
    return endpoint, [stream[i:j] for i, j in pairwise(ordered)]


def seen(endpoint: str, with_templates: bool) -> StreamObserver:
    """An observer that counts intervals."""
    is_messages = endpoint == "messages"
    observer = observer_for(
        "other" if is_messages else endpoint, 200, SSE, None, "anthropic" if is_messages else "openai"
    )
    assert isinstance(observer, StreamObserver)
    observer.intervals = IntervalCounts(BOUNDS)
    if not with_templates:
        observer._events = Careful(observer._events)
    return observer


class Careful:
    """Reads every event."""

    def __init__(self, events: Any) -> None:
        self.said = events.said
        self.read = events.read

    def template(self, block: bytes) -> Template | None:
        return None


def state(observer: StreamObserver) -> tuple[object, ...]:
    said = observer.said
    assert observer.intervals is not None
    return (
        (observer.token_events, observer.first_token_at, observer.first_visible_at, observer.last_token_at),
        (observer.intervals.counts, observer.intervals.total_seconds),
        (said.model, said.service_tier, said.answer_id, said.error, said.ended, said.unread),
        said.usage(),
        observer._splitter.between,
    )


@given(streams())
@example(("chat_completions", [*NAMED_AGAIN, USAGE.replace(b'"m"', b'"other"'), NAMED_AGAIN[0]]))
@example(("chat_completions", [filled(b"data: %b\n\n", CHAT_FORMS[0], [(b"a", b"")] * 3)[0]] * 4))
def test_the_same_is_seen(stream: tuple[str, list[bytes]]) -> None:
    """After each piece, whatever is in the texts and however the stream is cut."""
    endpoint, pieces = stream
    fast, careful = seen(endpoint, True), seen(endpoint, False)
    told, asked = UsageEventStripper(), UsageEventStripper()
    for now, piece in enumerate(pieces):
        plain = fast.piece(piece, float(now))
        assert not careful.piece(piece, float(now))
        assert state(fast) == state(careful)
        assert (piece if plain and not told.inside else told.feed(piece)) == asked.feed(piece)
    fast.end()
    careful.end()
    assert state(fast) == state(careful)
    assert (fast.usage, fast.usage_missing) == (careful.usage, careful.usage_missing)


@pytest.mark.parametrize(
    ("endpoint", "form", "kind"),
    [
        *(("chat_completions", form, VISIBLE) for form in CHAT_FORMS[:3]),
        ("chat_completions", CHAT_FORMS[12], TOKEN),
        ("chat_completions", CHAT_FORMS[14], TOKEN),
        ("chat_completions", CHAT_FORMS[21], VISIBLE),
        ("responses", TYPED_FORMS[0], VISIBLE),
        ("responses", TYPED_FORMS[2], TOKEN),
        ("messages", MESSAGE_FORMS[1], VISIBLE),
        ("messages", MESSAGE_FORMS[3], TOKEN),
        ("messages", MESSAGE_FORMS[4], TOKEN),
    ],
)
def test_the_usual_events_fit(endpoint: str, form: str, kind: int) -> None:
    """Each provider's common events are told by their template, alone and together."""
    texts = [b" a", b".", b"word", b'\\"', b"\\n\\n", "é".encode(), b"\\u00e9", b"a b, c"]
    shape = b"data: %b\n\n" if endpoint == "chat_completions" else b"event: e\ndata: %b\n\n"
    events = filled(shape, form, [(text, b"x" * (number % 3)) for number, text in enumerate(texts)])
    observer = seen(endpoint, True)
    observer.piece(ROLE + events[0], 1.0)
    assert all(observer.piece(event, 2.0) for event in events)
    assert observer.piece(b"".join(events), 3.0)
    assert observer.token_events == 2 * len(events) + 1
    assert (observer.first_visible_at is not None) == (kind == VISIBLE)
    assert observer.intervals is not None and observer.intervals.counts[0] == 2 * len(events) - 2


def test_in_one_read() -> None:
    """A template found in a read serves in the rest of it, and what is unlike is read as ever."""
    events = filled(b"data: %b\n\n", CHAT_FORMS[0], [(b"a", b"")] * 20)
    observer = seen("chat_completions", True)
    read: list[bytes] = []
    reads = observer._events.read

    class Watched(Careful):
        def template(self, block: bytes) -> Template | None:
            return original.template(block)

        def read(self, name: bytes, data: bytes) -> int:
            read.append(data)
            return reads(name, data)

    original = observer._events
    watched = Watched.__new__(Watched)
    watched.said = original.said
    observer._events = watched
    assert not observer.piece(b"".join([ROLE, *events, USAGE, DONE]), 1.0)
    assert (observer.token_events, len(read), observer.ended) == (20, 4, True)


def test_what_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A template is for no event that the splitter would cut."""
    monkeypatch.setattr(templates, "MAX_EVENT_BYTES", 300)
    (event,) = filled(b"data: %b\n\n", CHAT_FORMS[0], [(b"a" * 300, b"")])
    assert data_of(event) is None
    template = text_template(filled(b"data: %b\n\n", CHAT_FORMS[0], [(b"a", b"")])[0], VISIBLE)
    assert template is not None and template.fit(event, 0) == (0, 0)


@pytest.mark.parametrize(
    ("block", "data"),
    [
        (b"data: a\n\n", b"a"),
        (b"event: e\ndata: a\n\n", b"a"),
        (b"data: a\n", None),
        (b"data: a\ndata: b\n\n", None),
        (b"event: e\ndata: a\ndata: b\n\n", None),
        (b"event: e\n\n", None),
        (b"data: a\r\n\n", None),
        (b": c\n\n", None),
    ],
)
def test_data_of(block: bytes, data: bytes | None) -> None:
    """Only of the usual form."""
    assert data_of(block) == data
