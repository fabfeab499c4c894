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


@given(
    st.sampled_from(["chat_completions", "responses", "embeddings", "assistants", "other"]),
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
