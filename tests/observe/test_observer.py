"""Whole answers, in pieces, as they are observed."""

from __future__ import annotations

import gzip
import json
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.observe import json_observer as module
from openai_proxy.observe import sse
from openai_proxy.observe.choice import observer_for, usage_unobserved
from openai_proxy.observe.include_usage import splice_include_usage
from openai_proxy.observe.intervals import IntervalCounts
from openai_proxy.observe.json_observer import JsonObserver
from openai_proxy.observe.observer import Observer
from openai_proxy.observe.stream_observer import StreamObserver
from openai_proxy.observe.usage import Usage, UsageMissing
from openai_proxy.observe.usage_event import UsageEventStripper
from openai_proxy.providers.mock.answers import answer
from openai_proxy.providers.mock.knobs import Knobs

SSE = b"text/event-stream; charset=utf-8"
JSON = b"application/json"
HEAD = b'data: {"id":"c","model":"gpt-4o","service_tier":"default","choices":['
ROLE = HEAD + b'{"delta":{"role":"assistant","content":""}}]}\n\n'
WORD = HEAD + b'{"delta":{"content":"a"}}]}\n\n'
THOUGHT = HEAD + b'{"delta":{"reasoning_content":"a"}}]}\n\n'
USAGE = HEAD + b'],"usage":{"prompt_tokens":7,"completion_tokens":3}}\n\n'
DONE = b"data: [DONE]\n\n"
SO_FAR = HEAD + b'{"delta":{"content":"a"}}],"usage":{"prompt_tokens":7,"completion_tokens":1}}\n\n'
EXPECTED = Usage(input_tokens=7, output_tokens=3, model="gpt-4o", service_tier="default")


def observed(
    *pieces: bytes,
    endpoint: str = "chat_completions",
    status: int = 200,
    content_type: bytes = SSE,
    encoding: bytes | None = None,
    dialect: str = "openai",
    whole: bool = True,
) -> Observer:
    """An observer after the pieces, a second each, from second 1 on."""
    observer = observer_for(endpoint, status, content_type, encoding, dialect)
    assert observer is not None
    for now, piece in enumerate(pieces, 1):
        observer.piece(piece, float(now))
    observer.end(whole)
    return observer


def test_a_stream() -> None:
    """The clocks run by tokens: not by roles, pings, usage or the end."""
    observer = observer_for("chat_completions", 200, SSE, None)
    assert isinstance(observer, StreamObserver)
    observer.intervals = counts = IntervalCounts((0.0, 0.5, 1.0))
    for now, piece in enumerate([ROLE, b": ping\n\n", THOUGHT, WORD, WORD + WORD, USAGE, DONE]):
        observer.piece(piece, float(now))
        assert observer.ended == (piece == DONE)
    observer.end()
    assert observer.is_stream
    assert (observer.first_token_at, observer.first_visible_at, observer.last_token_at) == (2.0, 3.0, 4.0)
    assert (observer.token_events, counts.counts) == (4, [1, 0, 2, 0])
    assert (observer.usage, observer.usage_missing) == (EXPECTED, None)
    assert (observer.model, observer.service_tier, observer.answer_id) == ("gpt-4o", "default", "c")
    assert observer.error is None


@given(st.lists(st.integers(0, 10000), max_size=20), st.booleans())
def test_any_split(cuts: list[int], zipped: bool) -> None:
    """The same is seen however the bytes come, compressed or not."""
    stream = ROLE + THOUGHT + b": ping\n\n" + WORD * 3 + USAGE + DONE
    data = gzip.compress(stream) if zipped else stream
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    observer = observed(*(data[i:j] for i, j in pairwise(places)), encoding=b"gzip" if zipped else None)
    assert (observer.usage, observer.token_events, observer.ended) == (EXPECTED, 4, True)


@pytest.mark.parametrize(
    ("pieces", "whole", "missing"),
    [
        ([ROLE, WORD, DONE], True, UsageMissing.STREAM_WITHOUT_USAGE),
        ([ROLE, WORD], True, UsageMissing.STREAM_WITHOUT_USAGE),
        ([ROLE, WORD, DONE], False, UsageMissing.STREAM_WITHOUT_USAGE),
        ([ROLE, WORD, USAGE[:60]], False, UsageMissing.DISCONNECT),
        ([], False, UsageMissing.DISCONNECT),
        ([ROLE, b"data: {\n\n", DONE], True, UsageMissing.UNPARSABLE),
        ([ROLE, HEAD + b'],"usage":{"prompt_tokens":-1}}\n\n', DONE], True, UsageMissing.UNPARSABLE),
        ([ROLE, USAGE], False, None),
        ([SO_FAR], False, UsageMissing.DISCONNECT),
        ([SO_FAR], True, UsageMissing.DISCONNECT),
        ([SO_FAR, DONE], False, None),
        ([b'data: {"error":{"type":"server_error"}}\n\n', DONE], True, None),
        ([WORD, b'data: {"error":{"type":"server_error"}}\n\n'], True, UsageMissing.STREAM_WITHOUT_USAGE),
    ],
)
def test_why_a_stream_has_no_usage(pieces: list[bytes], whole: bool, missing: UsageMissing | None) -> None:
    """One reason of the closed set."""
    assert observed(*pieces, whole=whole).usage_missing == missing


def test_an_error_inside_a_stream() -> None:
    """A 200 that failed, in each dialect."""
    chat = observed(ROLE, b'data: {"error":{"type":"server_error","code":"c"}}\n\n')
    assert (chat.error, chat.ended) == (("server_error", "c"), False)
    failed = b'event: response.failed\ndata: {"type":"response.failed","response":{"error":{"code":"c"}}}\n\n'
    responses = observed(failed, endpoint="responses")
    assert (responses.error, responses.ended) == ((None, "c"), True)
    error = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n'
    messages = observed(error, endpoint="other", dialect="anthropic")
    assert (messages.error, messages.ended) == (("overloaded_error", None), False)


@pytest.mark.parametrize("rest", [b"data: [DONE]", b"data: [DONE]\n"])
def test_an_end_without_a_blank_line(rest: bytes) -> None:
    """Meant as an end, if the body is whole."""
    assert observed(ROLE, rest).ended
    assert not observed(ROLE, rest, whole=False).ended


CHAT: dict[str, Any] = {
    "id": "c",
    "model": "gpt-4o",
    "service_tier": "default",
    "choices": [{"message": {"content": "x", "usage": {"prompt_tokens": 99}}}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3},
}


@pytest.mark.parametrize("endpoint", ["chat_completions", "completions", "responses"])
def test_streamed_or_not(endpoint: str) -> None:
    """The mock's answers: the same usage, and after the splice and the stripper no trace of it."""
    path = b"/v1/" + endpoint.replace("_", "/").encode()
    asked = {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "hi"}],
        "prompt": "hi",
        "input": "hi",
    }
    whole = answer(b"POST", path, msgspec.json.encode(asked), Knobs()).body
    assert isinstance(whole, bytes)
    usage = observed(whole, endpoint=endpoint, content_type=JSON).usage
    assert usage is not None and usage.output_tokens and usage.model == "gpt-4o"

    body = msgspec.json.encode({**asked, "stream": True})
    spliced = splice_include_usage(body)
    assert spliced is not None
    events = answer(b"POST", path, body if endpoint == "responses" else spliced, Knobs()).body
    assert not isinstance(events, bytes)
    pieces = list(events.pieces)
    observer = observed(*pieces, endpoint=endpoint)
    assert (observer.usage, observer.ended) == (usage, True)
    assert observer.token_events == usage.output_tokens

    stripper = UsageEventStripper()
    sent = [stripper.feed(piece) for piece in pieces]
    if endpoint == "responses":
        assert sent == pieces
    else:
        assert sent == [*pieces[:-2], b"", pieces[-1]]


def test_a_json_answer() -> None:
    """Decoded once, when it is whole: by what it is, not by what was asked for."""
    body = msgspec.json.encode(CHAT)
    observer = observed(body[:30], body[30:], content_type=JSON)
    assert isinstance(observer, JsonObserver)
    assert (observer.usage, observer.ended, observer.is_stream) == (EXPECTED, True, False)
    assert observer.first_token_at is None
    zipped = gzip.compress(body)
    assert observed(zipped[:9], zipped[9:], content_type=JSON, encoding=b"GZIP").usage == EXPECTED


def test_a_message() -> None:
    """Anthropic's, not streamed."""
    usage = {"input_tokens": 1, "cache_read_input_tokens": 2, "output_tokens": 3, "service_tier": "standard"}
    body = msgspec.json.encode({"type": "message", "id": "m", "model": "claude", "usage": usage})
    observer = observed(body, endpoint="other", dialect="anthropic", content_type=JSON)
    assert observer.usage == Usage(
        input_tokens=3, cached_input_tokens=2, output_tokens=3, model="claude", service_tier="standard"
    )


@pytest.mark.parametrize(
    ("body", "whole", "missing"),
    [
        (b'{"model":"dall-e-3","data":[]}', True, UsageMissing.NONE_IN_ANSWER),
        (b'{"usage":null}', True, UsageMissing.NONE_IN_ANSWER),
        (b'{"usage":{"input_tokens":', False, UsageMissing.DISCONNECT),
        (b'{"usage":{"input_tokens":', True, UsageMissing.UNPARSABLE),
        (b'{"usage":{"input_tokens":"a"}}', True, UsageMissing.UNPARSABLE),
        (b"", True, UsageMissing.UNPARSABLE),
    ],
)
def test_why_json_has_no_usage(body: bytes, whole: bool, missing: UsageMissing) -> None:
    """One reason of the closed set."""
    observer = observed(body, endpoint="images", content_type=JSON, whole=whole)
    assert (observer.usage, observer.usage_missing) == (None, missing)


@pytest.mark.parametrize(
    ("body", "missing"),
    [
        (b'{"id":"r","status":"queued","usage":null}', UsageMissing.BACKGROUND),
        (
            b'{"id":"r","status":"in_progress","usage":{"input_tokens":1,"output_tokens":0}}',
            UsageMissing.BACKGROUND,
        ),
        (b'{"status":"failed","error":{"code":"server_error"},"usage":null}', None),
        (b'{"status":"cancelled","error":null,"usage":null}', None),
        (b'{"status":"completed","usage":null}', UsageMissing.NONE_IN_ANSWER),
        (b'{"error":{"code":"server_error"}}', None),
    ],
)
def test_responses_without_usage(body: bytes, missing: UsageMissing | None) -> None:
    """What is made in the background says its usage later; of what failed none is due."""
    observer = observed(body, endpoint="responses", content_type=JSON)
    assert (observer.usage, observer.usage_missing) == (None, missing)


def test_a_run_has_its_usage_at_its_end() -> None:
    """What an unfinished one says is said again."""
    body = b'{"status":"%b","usage":{"prompt_tokens":7,"completion_tokens":3}}'
    for status, counts in ((b"requires_action", False), (b"completed", True), (b"failed", True)):
        observer = observed(body % status, endpoint="assistants", content_type=JSON)
        assert ((observer.usage is not None), observer.usage_missing) == (counts, None)


@pytest.mark.parametrize("value", [b"false", b"0", b'""', b"null", b"{}", b"[]"])
def test_an_error_that_is_none(value: bytes) -> None:
    """Some say so in each answer."""
    usage = b'{"error":%b,"usage":{"prompt_tokens":7,"completion_tokens":3}}' % value
    observer = observed(usage, content_type=JSON)
    assert observer.error is None
    assert observer.usage is not None


def test_error_bodies() -> None:
    """Of every endpoint; no usage is missing. A 200 can be one as well."""
    body = b'{"error":{"type":"invalid_request_error","code":"model_not_found"}}'
    observer = observed(body, endpoint="models", status=404, content_type=b"application/problem+json")
    assert (observer.error, observer.usage_missing) == (("invalid_request_error", "model_not_found"), None)
    assert observed(body, content_type=JSON).error == ("invalid_request_error", "model_not_found")
    assert observed(b'[{"error":{"code":429}}]', status=429, content_type=JSON).error == (None, "429")


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too long, or a bomb, is let go: usage is unknown, and the relay does not notice."""
    monkeypatch.setattr(module, "MAX_JSON_BYTES", 1000)
    observer = observed(b'{"a":"' + b"x" * 900, b"x" * 200, b'"}', content_type=JSON)
    assert isinstance(observer, JsonObserver)
    assert (observer.usage_missing, observer._pieces) == (UsageMissing.UNPARSABLE, [])
    bomb = gzip.compress(b"\n" * (8 << 20))
    assert observed(bomb, DONE, encoding=b"gzip").usage_missing == UsageMissing.UNPARSABLE
    assert observed(b"no gzip", encoding=b"gzip").usage_missing == UsageMissing.UNPARSABLE


def test_a_fault_of_the_observer(nothing_left: list[Any]) -> None:
    """It is logged once, and stays here."""
    observer = observer_for("chat_completions", 200, SSE, None)
    assert observer is not None

    class Failing(IntervalCounts):
        def add(self, seconds: float) -> None:
            raise RuntimeError

    observer.intervals = Failing(())
    for now in range(5):
        observer.piece(WORD, float(now))
    observer.end()
    assert observer.usage_missing == UsageMissing.UNPARSABLE
    assert len(nothing_left) == 1
    nothing_left.clear()


_BEGUN = b'{"model":"claude","usage":{"input_tokens":5,"output_tokens":1}}'
START = b'data: {"type":"message_start","message":%b}\n\n' % _BEGUN
TEXT = b'data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"a"}}\n\n'
DELTA = b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9}}\n\n'
STOP = b'data: {"type":"message_stop"}\n\n'


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
def test_the_form_is_the_endpoints(dialect: str) -> None:
    """Messages are messages on every provider, and chat is chat."""
    messages = observed(START, TEXT, DELTA, STOP, endpoint="messages", dialect=dialect)
    assert messages.usage == Usage(input_tokens=5, output_tokens=9, model="claude")
    assert (messages.ended, messages.usage_missing) == (True, None)
    chat = observed(ROLE, WORD, USAGE, DONE, dialect=dialect)
    assert (chat.usage, chat.ended, chat.usage_missing) == (EXPECTED, True, None)
    assert observed(json.dumps(CHAT).encode(), content_type=JSON, dialect=dialect).usage == EXPECTED


def test_the_beginning_of_a_message_is_not_all_of_it() -> None:
    """What is known is counted, and that it is not all."""
    cut = observed(START, TEXT, endpoint="messages", whole=False)
    assert cut.usage == Usage(input_tokens=5, output_tokens=1, model="claude")
    assert cut.usage_missing is UsageMissing.DISCONNECT
    assert observed(START, TEXT, DELTA, endpoint="messages", whole=False).usage_missing is None


def test_whether_reasoning_came() -> None:
    """In each form; arguments of tools are none."""
    call = HEAD + b'{"delta":{"tool_calls":[{"function":{"name":"f"}}]}}]}\n\n'
    assert not observed(WORD, call).has_reasoned
    assert observed(WORD, THOUGHT).has_reasoned
    for kind, reasons in ((b"reasoning_text", True), (b"output_text", False), (b"mcp_call_arguments", False)):
        event = b'data: {"type":"response.%b.delta","delta":"a"}\n\n' % kind
        assert observed(event, endpoint="responses").has_reasoned is reasons
    thinking = TEXT.replace(b'"text_delta","text"', b'"thinking_delta","thinking"')
    assert observed(thinking, endpoint="messages").has_reasoned
    assert not observed(TEXT, endpoint="messages").has_reasoned


def test_what_may_have_hidden_the_end() -> None:
    """An event that makes no sense does not; one too long to be read does, and a coding that breaks."""
    assert not observed(WORD, b"data: hello\n\n").lost_track
    assert observed(WORD, b"data: " + b"x" * (sse.MAX_EVENT_BYTES + 1) + b"\n\n").lost_track
    assert observed(b"no gzip", encoding=b"gzip").lost_track


def test_a_clock_that_is_set_back() -> None:
    """No time is below 0."""
    observer = observer_for("chat_completions", 200, SSE, None)
    assert observer is not None
    observer.intervals = counts = IntervalCounts((0.0, 1.0))
    for now in (5.0, 3.0, 4.0):
        observer.piece(WORD, now)
    assert (counts.counts, counts.total_seconds) == ([1, 1, 0], 1.0)


@given(
    st.sampled_from(["chat_completions", "responses", "embeddings", "assistants", "messages", "other"]),
    st.sampled_from([SSE, JSON]),
    st.sampled_from([None, b"gzip"]),
    st.sampled_from(["openai", "anthropic"]),
    st.lists(
        st.binary(max_size=50) | st.sampled_from([WORD, b"data: ", b"\n\n", b'{"choices":', b"{", b"null"])
    ),
)
def test_any_bytes(
    endpoint: str, content_type: bytes, encoding: bytes | None, dialect: str, pieces: list[bytes]
) -> None:
    """Nothing that an upstream sends makes an observer fail (a failure would be logged)."""
    observer = observer_for(endpoint, 200, content_type, encoding, dialect)
    if observer is not None:
        for piece in pieces:
            observer.piece(piece, 0.0)
        observer.end()
        observer.end()
        assert observer.usage is None


@pytest.mark.parametrize(
    ("endpoint", "status", "content_type", "encoding", "missing"),
    [
        ("models", 200, JSON, None, None),
        ("files", 200, b"application/octet-stream", None, None),
        ("chat_completions", 200, SSE, b"br", UsageMissing.UNPARSABLE),
        ("audio_transcriptions", 200, b"text/plain", None, UsageMissing.NONE_IN_ANSWER),
        ("chat_completions", 200, None, None, UsageMissing.NONE_IN_ANSWER),
        ("audio_speech", 200, b"audio/mpeg", None, UsageMissing.NOT_IN_API),
        ("audio_speech", 400, b"text/plain", None, None),
        ("audio_translations", 200, JSON, None, UsageMissing.NOT_IN_API),
        ("chat_completions", 502, b"text/html", None, None),
        ("chat_completions", 500, JSON, b"zstd", None),
        ("messages", 200, SSE, b"br", UsageMissing.UNPARSABLE),
        ("chat_completions", 204, None, None, None),
    ],
)
def test_not_observed(
    endpoint: str,
    status: int,
    content_type: bytes | None,
    encoding: bytes | None,
    missing: UsageMissing | None,
) -> None:
    """Answers that say nothing, or in a way that is not read; and why there is no usage."""
    assert observer_for(endpoint, status, content_type, encoding) is None
    assert usage_unobserved(endpoint, status, encoding) == missing


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        (SSE, StreamObserver),
        (b"TEXT/Event-Stream", StreamObserver),
        (JSON, JsonObserver),
        (b"application/json;a", JsonObserver),
    ],
)
def test_chosen_by_content_type(content_type: bytes, kind: type[Observer]) -> None:
    """Whatever its case and parameters."""
    assert isinstance(observer_for("chat_completions", 200, content_type, b"identity"), kind)


MEMBERS = st.fixed_dictionaries(
    {},
    optional={
        "usage": st.sampled_from(
            [
                None,
                "null",
                {},
                [],
                "",
                5,
                {"prompt_tokens": 1, "completion_tokens": 2.0},
                {"prompt_tokens": "3"},
                {"prompt_tokens": -1},
                {"input_tokens": 1, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 1}},
                {"input_tokens": 1, "input_tokens_details": 7},
            ]
        ),
        "error": st.sampled_from([None, "", "boom", {"type": "t", "code": 5}, {}]),
        "model": st.sampled_from([None, "", "m", "null", 7, 1.5, [], "é" * 300, "é" * 253, "x" * 253]),
        "service_tier": st.sampled_from([None, "default", 3, {}]),
        "id": st.sampled_from([None, "a", 12, "x" * 254]),
        "choices": st.just([{"usage": {"prompt_tokens": 1}}]),
    },
)


@given(
    st.sampled_from(["chat_completions", "responses", "embeddings", "models"]),
    st.sampled_from([200, 400]),
    MEMBERS,
    st.sampled_from(["", "}", " "]),
    st.booleans(),
)
def test_decoded_in_one_go(
    endpoint: str, status: int, members: dict[str, Any], rest: str, ascii_only: bool
) -> None:
    """An answer in the expected form says what careful reading would have found."""
    body = (json.dumps(members, ensure_ascii=ascii_only) + rest).encode()
    seen: list[tuple[object, ...]] = []
    for careful in (False, True):
        observer = observer_for(endpoint, status, JSON, None)
        if observer is None:
            return
        assert isinstance(observer, JsonObserver)
        if careful:
            observer._answers = None
        observer.piece(body, 1.0)
        observer.end()
        said = observer.said
        seen.append((observer.usage, observer.usage_missing, observer.error, observer.ended))
        seen.append((said.unread, said.model, said.service_tier, said.answer_id))
    assert seen[:2] == seen[2:]
