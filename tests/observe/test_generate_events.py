"""Gemini's own form: events, usage, errors and the end."""

from __future__ import annotations

import gzip
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.observe import elements_observer
from openai_proxy.observe import generate_events as module
from openai_proxy.observe.choice import observer_for
from openai_proxy.observe.elements_observer import ElementsObserver
from openai_proxy.observe.generate_events import GenerateEvents
from openai_proxy.observe.intervals import IntervalCounts
from openai_proxy.observe.json_elements import ElementSplitter
from openai_proxy.observe.observer import Observer
from openai_proxy.observe.said import SILENT, TOKEN, VISIBLE
from openai_proxy.observe.stream_observer import StreamObserver
from openai_proxy.observe.usage import Usage, UsageMissing

SSE = b"text/event-stream"
JSON = b"application/json; charset=UTF-8"


def event(*parts: dict[str, Any], finish: str | None = None, **others: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "modelVersion": "gemini-3-pro", "responseId": "r", **others}


def usage(candidates: int, thoughts: int) -> dict[str, int]:
    return {
        "promptTokenCount": 10,
        "cachedContentTokenCount": 4,
        "toolUsePromptTokenCount": 2,
        "candidatesTokenCount": candidates,
        "thoughtsTokenCount": thoughts,
        "totalTokenCount": 12 + candidates + thoughts,
    }


THOUGHT = event({"text": "hm", "thought": True}, usageMetadata=usage(0, 3))
WORD = event({"text": 'a "]}'}, usageMetadata=usage(1, 3))
CALL = event({"functionCall": {"name": "f", "args": {"x": []}}}, usageMetadata=usage(2, 3))
LAST = event({"text": "", "thoughtSignature": "s"}, finish="STOP", usageMetadata=usage(7, 3))
STREAM = [THOUGHT, WORD, WORD, CALL, LAST]
EXPECTED = Usage(
    input_tokens=12, cached_input_tokens=4, output_tokens=10, reasoning_tokens=3, model="gemini-3-pro"
)


def sse(*events: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(one).encode() + b"\r\n\r\n" for one in events)


def array(*events: Any) -> bytes:
    return b"[" + b",\r\n".join(json.dumps(one, indent=2).encode() for one in events) + b"\n]\n"


def observed(
    *pieces: bytes,
    content_type: bytes = SSE,
    status: int = 200,
    encoding: bytes | None = None,
    dialect: str = "openai",
    whole: bool = True,
) -> Observer:
    """An observer after the pieces, a second each, from second 1 on."""
    observer = observer_for("generate_content", status, content_type, encoding, dialect)
    assert observer is not None
    for now, piece in enumerate(pieces, 1):
        observer.piece(piece, float(now))
    observer.end(whole)
    return observer


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ({"text": "a"}, VISIBLE),
        ({"text": ""}, SILENT),
        ({"text": "a", "thought": True}, TOKEN),
        ({"text": "", "thoughtSignature": "abc"}, SILENT),
        ({"functionCall": {"name": "f"}}, TOKEN),
        ({"executableCode": {"language": "PYTHON", "code": "1"}}, TOKEN),
        ({"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}, SILENT),
        ({"inlineData": {"mimeType": "image/png", "data": "aaaa"}}, VISIBLE),
        ({"inlineData": {"mimeType": "image/png", "data": "aaaa"}, "thought": True}, TOKEN),
        ({}, SILENT),
    ],
)
def test_kinds(part: dict[str, Any], kind: int) -> None:
    """Text and images are visible, thoughts and calls are not, signatures and results are no tokens."""
    assert GenerateEvents().read(b"", json.dumps(event(part)).encode()) == kind


@pytest.mark.parametrize(
    "data", [b"{}", b"{", b"[]", b'{"candidates":null}', b'{"candidates":[{}]}', b'{"candidates":{}}']
)
def test_events_without_a_token(data: bytes) -> None:
    """Whatever has no part brings none."""
    assert GenerateEvents().read(b"", data) == SILENT


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
def test_a_stream_of_events(dialect: str) -> None:
    """The clocks run by tokens; the last usage counts; the end is a reason to have finished."""
    observer = observer_for("generate_content", 200, SSE, None, dialect)
    assert isinstance(observer, StreamObserver)
    observer.intervals = counts = IntervalCounts((0.0, 0.5, 1.0))
    for now, one in enumerate(STREAM):
        observer.piece(sse(one), float(now))
        assert observer.ended == (one is LAST)
    observer.end()
    assert (observer.first_token_at, observer.first_visible_at, observer.last_token_at) == (0.0, 1.0, 3.0)
    assert (observer.token_events, counts.counts, observer.has_reasoned) == (4, [0, 0, 3, 0], True)
    assert (observer.usage, observer.usage_missing, observer.error) == (EXPECTED, None, None)
    assert (observer.model, observer.answer_id) == ("gemini-3-pro", "r")


def test_a_stream_in_an_array() -> None:
    """The same without ``alt=sse``: known as a stream by its first byte."""
    pieces = [b"[", *(array(one)[1:-3] + b"," for one in STREAM)]
    observer = observed(*pieces[:-1], pieces[-1].rstrip(b",") + b"]", content_type=JSON)
    assert observer.is_stream
    assert (observer.first_token_at, observer.first_visible_at, observer.last_token_at) == (2.0, 3.0, 5.0)
    assert (observer.token_events, observer.ended, observer.lost_track) == (4, True, False)
    assert (observer.usage, observer.usage_missing) == (EXPECTED, None)


def test_an_answer_alone() -> None:
    """It has no clocks, and its end is that of its JSON."""
    for finish in ("STOP", None):
        body = event({"text": "a"}, finish=finish, usageMetadata=usage(7, 3))
        observer = observed(json.dumps(body, indent=2).encode(), content_type=JSON)
        assert (observer.is_stream, observer.ended, observer.first_token_at) == (False, True, None)
        assert (observer.usage, observer.usage_missing, observer.token_events) == (EXPECTED, None, 0)


@given(
    st.lists(st.integers(0, 10000), max_size=20), st.sampled_from(["sse", "array", "alone"]), st.booleans()
)
def test_any_split(cuts: list[int], form: str, zipped: bool) -> None:
    """The same is seen however the bytes come, compressed or not."""
    whole = {"sse": sse(*STREAM), "array": array(*STREAM), "alone": json.dumps(LAST).encode()}[form]
    data = gzip.compress(whole) if zipped else whole
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    observer = observed(
        *(data[i:j] for i, j in pairwise(places)),
        content_type=SSE if form == "sse" else JSON,
        encoding=b"gzip" if zipped else None,
    )
    assert (observer.usage, observer.usage_missing, observer.ended) == (EXPECTED, None, True)
    assert observer.token_events == (0 if form == "alone" else 4)
    assert observer.is_stream == (form != "alone")


@given(st.binary(max_size=100), st.sampled_from([SSE, JSON]), st.booleans())
def test_any_bytes(data: bytes, content_type: bytes, whole: bool) -> None:
    """No answer is a fault of its observer."""
    for begin in (b"", b"[", b'data: {"candidates":', b'{"usageMetadata":'):
        assert observed(begin, data, content_type=content_type, whole=whole).usage is None


@pytest.mark.parametrize("content_type", [SSE, JSON])
def test_a_stream_that_is_cut(content_type: bytes) -> None:
    """Its usage is that of a beginning; it is told that there was more to come."""
    data = sse(THOUGHT, WORD) if content_type == SSE else array(THOUGHT, WORD)[:-2]
    for whole in (True, False):
        observer = observed(data, content_type=content_type, whole=whole)
        assert (observer.ended, observer.usage_missing) == (False, UsageMissing.DISCONNECT)
        assert observer.usage is not None and observer.usage.output_tokens == 4


@pytest.mark.parametrize(
    ("body", "whole", "missing"),
    [
        (b'{"candidates":[]}', True, UsageMissing.NONE_IN_ANSWER),
        (b'{"usageMetadata":{}}', True, UsageMissing.NONE_IN_ANSWER),
        (b'{"usageMetadata":{"promptTokenCount":', True, UsageMissing.UNPARSABLE),
        (b'{"usageMetadata":{"promptTokenCount":', False, UsageMissing.DISCONNECT),
        (b'{"usageMetadata":{"promptTokenCount":-1}}', True, UsageMissing.UNPARSABLE),
        (b'{"usageMetadata" 1}', True, UsageMissing.UNPARSABLE),
        (b"[]", True, UsageMissing.STREAM_WITHOUT_USAGE),
        (b'[{"candidates":[', True, UsageMissing.UNPARSABLE),
        (b"", True, UsageMissing.UNPARSABLE),
        (b"", False, UsageMissing.DISCONNECT),
        (b" ", True, UsageMissing.UNPARSABLE),
        (b"<html>", True, UsageMissing.UNPARSABLE),
    ],
)
def test_why_json_has_no_usage(body: bytes, whole: bool, missing: UsageMissing) -> None:
    """One reason of the closed set."""
    observer = observed(body, content_type=JSON, whole=whole)
    assert (observer.usage, observer.usage_missing) == (None, missing)


ERROR = {"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED", "details": []}}


@pytest.mark.parametrize("body", [ERROR, [ERROR]])
@pytest.mark.parametrize("content_type", [SSE, JSON])
def test_errors(body: Any, content_type: bytes) -> None:
    """As an answer or inside one, in a list or not."""
    name = ("RESOURCE_EXHAUSTED", "429")
    if content_type == JSON:
        error = observed(json.dumps(body).encode(), content_type=JSON, status=429)
        assert (error.error, error.usage_missing) == (name, None)
        assert observed(json.dumps(body).encode(), content_type=JSON).error == name
        assert observed(array(WORD, ERROR), content_type=JSON).error == name
    else:
        inside = observed(sse(WORD, body))
        assert (inside.error, inside.ended) == (name, False)
        assert observed(sse(body)).usage_missing is None


def test_each_candidate_has_its_end() -> None:
    """One that goes on is not over when another is; what a finished one adds changes nothing."""

    def of(index: int, finish: str | None) -> bytes:
        one = {"content": {"parts": [{"text": "a"}]}, "index": index}
        return json.dumps(
            {"candidates": [one if finish is None else {**one, "finishReason": finish}]}
        ).encode()

    events = GenerateEvents()
    ended = []
    for index, finish in [(0, None), (1, None), (0, "STOP"), (1, "MAX_TOKENS"), (0, None)]:
        events.read(b"", of(index, finish))
        ended.append(events.said.ended)
    assert ended == [False, False, False, True, True]


def test_a_prompt_that_is_blocked() -> None:
    """It has no candidate, and is whole nevertheless."""
    blocked = {
        "promptFeedback": {"blockReason": "SAFETY"},
        "usageMetadata": {"promptTokenCount": 5, "totalTokenCount": 5},
    }
    observer = observed(sse(blocked))
    assert (observer.ended, observer.error, observer.usage_missing) == (True, None, None)
    assert observer.usage == Usage(input_tokens=5, output_tokens=0)
    assert not observed(sse({"promptFeedback": {"safetyRatings": []}})).ended


def test_usage_without_a_count_hides_none() -> None:
    """Vertex AI's events have the traffic's type alone but for one."""
    traffic = event({"text": "a"}, usageMetadata={"trafficType": "ON_DEMAND"})
    assert observed(sse(traffic, LAST)).usage == EXPECTED
    assert observed(sse(LAST, traffic)).usage == EXPECTED
    assert observed(sse(traffic)).usage_missing == UsageMissing.STREAM_WITHOUT_USAGE


def test_a_large_event() -> None:
    """An image is seen, and its usage, its end and its error are not lost."""
    image = event({"inlineData": {"data": "x" * module.MAX_PARTS_BYTES}}, usageMetadata=usage(7, 3))
    events = GenerateEvents()
    ended = []
    for finish in (None, "STOP"):
        image["candidates"][0]["finishReason"] = finish
        assert events.read(b"", json.dumps(image).encode()) == VISIBLE
        ended.append(events.said.ended)
    assert ended == [False, True]
    assert events.said.usage() == EXPECTED
    assert observed(json.dumps(image).encode(), content_type=JSON).usage == EXPECTED
    padded = {"error": {"status": "INTERNAL", "message": "x" * module.MAX_PARTS_BYTES}}
    assert observed(sse(padded)).error == ("INTERNAL", None)


def test_usage_that_is_too_large() -> None:
    """It could take long, and is none."""
    details: list[Any] = [{}] * module.MAX_PARTS_BYTES
    large = event(finish="STOP", usageMetadata={**usage(7, 3), "promptTokensDetails": details})
    observer = observed(json.dumps(large).encode(), content_type=JSON)
    assert (observer.usage, observer.usage_missing) == (None, UsageMissing.UNPARSABLE)


def test_candidates_of_another_form() -> None:
    """They hide neither usage nor the end."""
    odd = {"candidates": [{"content": "text", "finishReason": "STOP"}], "usageMetadata": usage(7, 3)}
    observer = observed(sse(odd))
    assert (observer.ended, observer.usage_missing) == (True, None)


def test_done() -> None:
    """Some that stand in for Gemini send it; it is no event that could not be read."""
    observer = observed(sse(WORD) + b"data: [DONE]\n\n")
    assert (observer.ended, observer.usage_missing) == (True, None)


def test_an_object_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is let go, and told: what it said is not known."""
    observer = observer_for("generate_content", 200, JSON, None)
    assert isinstance(observer, ElementsObserver)
    observer._splitter = ElementSplitter(max_bytes=50)
    observer.piece(array(WORD), 1.0)
    observer.end()
    assert (observer.lost_track, observer.usage_missing) == (True, UsageMissing.UNPARSABLE)
    monkeypatch.setattr(elements_observer, "MAX_JSON_BYTES", 50)
    alone = observed(json.dumps(LAST).encode(), b" ", content_type=JSON)
    assert isinstance(alone, ElementsObserver)
    assert (alone.lost_track, alone.usage_missing, alone._pieces) == (True, UsageMissing.UNPARSABLE, [])


def test_a_bomb() -> None:
    """An array of nothing but brackets is let go, and what it had said is not taken for all."""
    observer = observed(array(WORD)[:-2], b"[[" * (64 << 10), content_type=JSON)
    assert (observer.lost_track, observer.ended) == (True, False)
