"""Anthropic's dialect of the mock, held against our own reader of it."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

import pytest

from openai_proxy.observe.choice import observer_for
from openai_proxy.observe.observer import Observer
from openai_proxy.observe.usage import Usage
from openai_proxy.providers.mock.answers import Answer, answer
from openai_proxy.providers.mock.body import Events, reel
from openai_proxy.providers.mock.knobs import Fault, Knobs
from openai_proxy.wire.fields import first_of
from tests.providers.test_mock_answers import HELLO, data_of, events, post, whole

ASKED: dict[str, Any] = {"model": "claude-sonnet-4-5", "messages": HELLO, "max_tokens": 100}


def message(knobs: Knobs | None = None, **asked: Any) -> Answer:
    return post("messages", knobs, **{**ASKED, **asked})


def decoded(answered: Answer) -> dict[str, Any]:
    return dict(json.loads(whole(answered)))


def observed(answered: Answer, pieces: list[bytes]) -> Observer:
    """What is read of an answer that came in these pieces."""
    content_type, encoding = (
        first_of(answered.fields, name) for name in (b"content-type", b"content-encoding")
    )
    observer = observer_for("other", answered.status, content_type, encoding, "anthropic")
    assert observer is not None
    for now, piece in enumerate(pieces, 1):
        observer.piece(piece, float(now))
    observer.end()
    return observer


def test_message() -> None:
    """One block of text, a reason, and usage by the four-byte rule."""
    answered = decoded(message())
    (block,) = answered["content"]
    assert (answered["type"], answered["role"], answered["model"]) == ("message", "assistant", ASKED["model"])
    assert (answered["stop_reason"], answered["stop_sequence"]) == ("end_turn", None)
    assert block["type"] == "text"
    assert answered["usage"]["output_tokens"] == len(block["text"]) / 4
    assert answered["usage"]["input_tokens"] > 0
    assert answered["usage"]["cache_read_input_tokens"] == 0
    assert answered["usage"]["service_tier"] == "standard"


def test_the_system_prompt_counts() -> None:
    """It is input as the messages are."""
    plain, more = (decoded(answered)["usage"] for answered in (message(), message(system="four" * 7)))
    assert more["input_tokens"] == plain["input_tokens"] + 7


def test_message_events() -> None:
    """The documented sequence, each event named by its type, with the whole answer's text and end."""
    direct = decoded(message(Knobs(chunks=3)))
    raw = events(message(Knobs(chunks=3), stream=True))
    parsed = [json.loads(data_of(event)) for event in raw]
    assert [event.split(b"\n")[0].decode() for event in raw] == [f"event: {one['type']}" for one in parsed]
    assert [one["type"] for one in parsed] == [
        "message_start",
        "content_block_start",
        "ping",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    begun = parsed[0]["message"]
    assert (begun["content"], begun["stop_reason"]) == ([], None)
    assert {**begun, "content": 0, "stop_reason": 0, "usage": 0} == {
        **direct,
        "content": 0,
        "stop_reason": 0,
        "usage": 0,
    }
    assert begun["usage"] == {**direct["usage"], "output_tokens": 1}
    assert "".join(one["delta"]["text"] for one in parsed[3:6]) == direct["content"][0]["text"]
    assert parsed[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert parsed[-2]["usage"] == {"output_tokens": 3}


def test_a_cut_message() -> None:
    """max_tokens cuts the text and is the reason, streamed or not."""
    answered = decoded(message(max_tokens=5))
    assert (answered["stop_reason"], answered["usage"]["output_tokens"]) == ("max_tokens", 5)
    delta = json.loads(data_of(events(message(max_tokens=5, stream=True))[-2]))
    assert delta["delta"]["stop_reason"] == "max_tokens"


@pytest.mark.parametrize("count", [0, 1, 20])
@pytest.mark.parametrize("content", ["Hello", "long" * 5000])
def test_what_is_read_of_it(content: str, count: int) -> None:
    """Our reader gets the same usage of both forms: what came from the cache is input too."""
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": content}]}
    direct, streamed = (message(Knobs(chunks=count), **asked, stream=stream) for stream in (False, True))
    observer = observed(direct, [whole(direct)])
    usage = observer.usage
    assert isinstance(usage, Usage)
    said = decoded(direct)["usage"]
    assert usage.input_tokens == said["input_tokens"] + said["cache_read_input_tokens"]
    assert usage.cached_input_tokens == said["cache_read_input_tokens"]
    assert (usage.cached_input_tokens >= 1024) == (len(content) > 5)
    assert usage.output_tokens == count
    assert (usage.model, usage.service_tier) == (ASKED["model"], "standard")
    observer = observed(streamed, events(streamed))
    assert (observer.usage, observer.ended, observer.token_events) == (usage, True, count)


def test_what_is_read_of_it_in_gzip() -> None:
    """Compressed, each event is read when it is there."""
    plain, packed = (message(knobs, stream=True) for knobs in (Knobs(), Knobs(gzip=True)))
    assert isinstance(packed.body, Events)
    observer = observed(packed, list(reel(packed.body, None, gzip=True).pieces))
    expected = observed(plain, events(plain))
    assert observer.usage == expected.usage
    assert (observer.first_token_at, observer.token_events) == (4.0, expected.token_events)


@pytest.mark.parametrize(
    ("answered", "status", "type_", "named"),
    [
        (post("messages", max_tokens=1), 400, "invalid_request_error", "messages"),
        (post("messages", messages=HELLO), 400, "invalid_request_error", "max_tokens"),
        (post("messages", messages=HELLO, max_tokens="1"), 400, "invalid_request_error", "max_tokens"),
        (answer(b"POST", b"/v1/messages?beta=true", b"{", Knobs()), 400, "invalid_request_error", "JSON"),
        (answer(b"GET", b"/v1/messages", b"", Knobs()), 405, "invalid_request_error", "POST"),
        (message(Knobs(status=401)), 401, "authentication_error", "key"),
        (message(Knobs(status=429)), 429, "rate_limit_error", "Rate limit"),
        (message(Knobs(status=500)), 500, "api_error", "error"),
        (message(Knobs(status=529)), 529, "overloaded_error", "error"),
    ],
)
def test_refused(answered: Answer, status: int, type_: str, named: str) -> None:
    """An error in Anthropic's form, with the request's id under Anthropic's name."""
    body = decoded(answered)
    assert (answered.status, body["type"], body["error"]["type"]) == (status, "error", type_)
    assert set(body["error"]) == {"type", "message"}
    assert named in body["error"]["message"]
    assert first_of(answered.fields, b"request-id") == first_of(answered.fields, b"x-request-id")


def test_error_in_stream() -> None:
    """The fault error-in-stream is an event of this dialect."""
    answered, plain = message(stream=True), events(message(stream=True))
    assert isinstance(answered.body, Events)
    *half, error = reel(answered.body, Fault.ERROR_IN_STREAM).pieces
    assert half == list(islice(plain, len(plain) // 2))
    assert error.startswith(b"event: error\n")
    observer = observed(answered, [*half, error])
    assert observer.error == ("api_error", None)
    assert not observer.ended


def test_no_done() -> None:
    """The fault no-done leaves out message_stop."""
    answered = message(stream=True)
    assert isinstance(answered.body, Events)
    assert list(reel(answered.body, Fault.NO_DONE).pieces) == events(message(stream=True))[:-1]
