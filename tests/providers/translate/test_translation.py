"""The facade: what is translated, and a whole request and answer each way."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openai_proxy.observe.sse import SseSplitter
from openai_proxy.providers.translate import converter as converter_module
from openai_proxy.providers.translate.converter import MOST_BRACKETS, Converter
from openai_proxy.providers.translate.estimate import estimated_input_tokens
from openai_proxy.providers.translate.event import CUT, data_event, named_event
from openai_proxy.providers.translate.to_chat.error import NO_MESSAGE
from openai_proxy.providers.translate.traits import ChatTraits, MessagesTraits, Sampling
from openai_proxy.providers.translate.translation import (
    Options,
    Translation,
    translation_for,
)
from openai_proxy.providers.translate.untranslatable import UnreadableAnswer, Untranslatable

Json = dict[str, Any]

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
CHAT = b"/v1/chat/completions"
MESSAGES = b"/v1/messages"
NOW = 1_700_000_000.5
SAID: Json = {"messages": [{"role": "user", "content": "Hello"}]}
MESSAGE: Json = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-opus-5",
    "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 3, "output_tokens": 1},
}
COMPLETION: Json = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-5",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"},
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1},
}


def test_a_body_of_brackets_is_not_translated() -> None:
    """Each may be a part: some millions of them would hold up everybody for seconds."""
    with pytest.raises(Untranslatable):
        completion(metadata=[[]] * MOST_BRACKETS)


def test_an_answer_of_brackets_is_not_translated() -> None:
    """It held up everybody for a second."""
    converter = message().body_converter(200, False, NOW)
    converter.feed(json.dumps(COMPLETION | {"more": [[]] * MOST_BRACKETS}).encode())
    with pytest.raises(UnreadableAnswer):
        converter.end(whole=True)


def completion(options: Options | None = None, **asked: Any) -> Translation:
    """Of a chat completion's client, at a Messages upstream."""
    kind = translation_for("openai", "anthropic", b"POST", CHAT)
    assert kind is not None
    body = json.dumps({"model": "mine"} | SAID | asked).encode()
    return kind.request(body, "claude-opus-5", options or Options())


def message(options: Options | None = None, **asked: Any) -> Translation:
    """Of a Messages client, at an upstream of chat completions."""
    kind = translation_for("anthropic", "openai", b"POST", MESSAGES + b"?beta=true")
    assert kind is not None
    body = json.dumps({"model": "mine", "max_tokens": 9} | SAID | asked).encode()
    return kind.request(body, "gpt-5", options or Options())


def whole(converter: Converter, body: Any) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    half = len(data) // 2
    said = converter.feed(data[:half]) + converter.feed(data[half:]) + converter.end(whole=True)
    return json.loads(said)


@pytest.mark.parametrize(
    ("client", "provider", "method", "path"),
    [
        ("openai", "openai", b"POST", CHAT),
        ("anthropic", "anthropic", b"POST", MESSAGES),
        ("anthropic", "anthropic", b"POST", CHAT),
        ("openai", "anthropic", b"POST", b"/v1/embeddings"),
        ("openai", "anthropic", b"POST", b"/v1/chat/completions/c1"),
        ("openai", "anthropic", b"GET", CHAT),
        ("anthropic", "openai", b"POST", b"/v1/messages/batches"),
        ("anthropic", "openai", b"GET", b"/v1/models"),
    ],
)
def test_what_is_not_translated(client: str, provider: str, method: bytes, path: bytes) -> None:
    """The same dialect, and what has no counterpart in the other."""
    assert translation_for(client, provider, method, path) is None


def test_a_completion_is_asked_for() -> None:
    """The upstream's own form, model and place; nothing of OpenAI's goes along."""
    made = completion(seed=7, stream=True)
    assert json.loads(made.body) == {
        "model": "claude-opus-5",
        "max_tokens": 64_000,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
        "stream": True,
    }
    assert (made.path, made.endpoint, made.dropped, made.answer) == (MESSAGES, "messages", ("seed",), None)
    fields = [
        (b"OpenAI-Organization", b"org"),
        (b"Accept-Encoding", b"gzip"),
        (b"content-type", b"text/plain"),
        (b"X-Api-Key", b"k"),
    ]
    assert made.request_fields(fields) == [
        (b"X-Api-Key", b"k"),
        (b"Content-Type", b"application/json"),
        (b"Accept-Encoding", b"identity"),
        (b"anthropic-version", b"2023-06-01"),
    ]


def test_betas_are_joined() -> None:
    """Those of the body and of the client's or the provider's fields; a version that is given holds."""
    made = completion(anthropic_beta=["a", "b"])
    fields = [(b"Anthropic-Beta", b"c"), (b"anthropic-beta", b"a"), (b"anthropic-version", b"2026-10-21")]
    assert made.request_fields(fields) == [
        (b"anthropic-version", b"2026-10-21"),
        (b"Content-Type", b"application/json"),
        (b"Accept-Encoding", b"identity"),
        (b"anthropic-beta", b"c,a,b"),
    ]


def test_a_message_is_asked_for() -> None:
    """The same the other way round."""
    made = message(stream=True, top_k=3)
    assert json.loads(made.body) == {
        "model": "gpt-5",
        "messages": [{"role": "user", "content": "Hello"}],
        "max_completion_tokens": 9,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert (made.path, made.endpoint, made.dropped) == (CHAT, "chat_completions", ("top_k",))
    fields = [(b"anthropic-version", b"2023-06-01"), (b"Anthropic-Beta", b"c"), (b"Authorization", b"k")]
    assert made.request_fields(fields) == [
        (b"Authorization", b"k"),
        (b"Content-Type", b"application/json"),
        (b"Accept-Encoding", b"identity"),
    ]


def test_options() -> None:
    """What the configuration knows holds before what the model's name says."""
    assert json.loads(completion(Options(max_output_tokens=100)).body)["max_tokens"] == 100
    takes_all = Options(messages_traits=MessagesTraits(sampling=Sampling.ALL))
    assert json.loads(completion(takes_all, temperature=1).body)["temperature"] == 1
    assert "stream_options" not in json.loads(message(Options(includes_usage=False), stream=True).body)
    old = Options(chat_traits=ChatTraits(max_tokens_name="max_tokens"))
    assert json.loads(message(old).body)["max_tokens"] == 9


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"\xff", b'{"a":NaN}', pytest.param(b'{"a":' * 100_000, id="deep")]
)
@pytest.mark.parametrize(
    ("client", "provider", "path"), [("openai", "anthropic", CHAT), ("anthropic", "openai", MESSAGES)]
)
def test_a_body_that_is_no_object(client: str, provider: str, path: bytes, body: bytes) -> None:
    """It is refused."""
    kind = translation_for(client, provider, b"POST", path)
    assert kind is not None
    with pytest.raises(Untranslatable) as caught:
        kind.request(body, "m")
    assert (caught.value.status, caught.value.param) == (400, None)


def test_half_an_emoji_is_no_reason_to_refuse() -> None:
    """Some clients cut texts by their code units."""
    kind = translation_for("openai", "anthropic", b"POST", CHAT)
    assert kind is not None
    made = kind.request(b'{"messages":[{"role":"user","content":"a\\ud83d"}]}', "claude-opus-5")
    assert json.loads(made.body)["messages"][0]["content"][0]["text"] == "a?"


def test_tokens_are_counted_here() -> None:
    """An estimate, for no server of OpenAI's dialect would say."""
    kind = translation_for("anthropic", "openai", b"POST", b"/v1/messages/count_tokens")
    assert kind is not None
    made = kind.request(json.dumps(SAID).encode(), "gpt-5")
    assert made.answer is not None
    assert json.loads(made.answer) == {"input_tokens": estimated_input_tokens(SAID)}
    with pytest.raises(Untranslatable):
        kind.request(b"no", "gpt-5")


def test_fields_of_an_answer() -> None:
    """In the client's names; nothing of the upstream's bytes is said of ours."""
    fields = [
        (b"request-id", b"req_1"),
        (b"Content-Length", b"12"),
        (b"Content-Encoding", b"gzip"),
        (b"Content-Type", b"application/problem+json"),
        (b"Retry-After", b"3"),
    ]
    as_json = (b"Content-Type", b"application/json")
    assert completion().answer_fields(200, fields, NOW) == [
        (b"x-request-id", b"req_1"),
        (b"Retry-After", b"3"),
        as_json,
    ]
    fields[0] = (b"x-request-id", b"req_1")
    assert message().answer_fields(200, fields, NOW) == [
        (b"request-id", b"req_1"),
        (b"Retry-After", b"3"),
        as_json,
    ]
    events = [(b"content-type", b"text/event-stream; charset=utf-8")]
    assert message().answer_fields(200, events, NOW) == events
    assert message().answer_fields(500, events, NOW) == [as_json]


def test_answers() -> None:
    """Given whole at the end."""
    converter = completion().body_converter(200, False, NOW)
    said = whole(converter, MESSAGE)
    assert (said["object"], said["created"]) == ("chat.completion", 1_700_000_000)
    assert said["choices"][0]["message"]["content"] == "Hi"
    assert not converter.failed
    said = whole(message().body_converter(200, False, NOW), COMPLETION)
    assert (said["type"], said["content"]) == ("message", [{"type": "text", "text": "Hi"}])


def test_an_answer_that_is_zipped_unasked() -> None:
    """It is read nevertheless."""
    zipped = gzip.compress(json.dumps(MESSAGE).encode())
    assert whole(completion().body_converter(200, False, NOW), zipped)["id"] == "msg_1"


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b"\x1f\x8b\x08", pytest.param(b'{"a":' * 100_000, id="deep")]
)
@pytest.mark.parametrize("made", [completion(), message()])
def test_answers_that_cannot_be_read(made: Translation, body: bytes) -> None:
    """There is nothing to give; nothing was given before."""
    converter = made.body_converter(200, False, NOW)
    assert converter.feed(body) == b""
    with pytest.raises(UnreadableAnswer):
        converter.end(whole=True)


def test_an_answer_that_is_cut_or_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half an answer is none, and memory has an end."""
    converter = completion().body_converter(200, False, NOW)
    converter.feed(json.dumps(MESSAGE).encode())
    with pytest.raises(UnreadableAnswer):
        converter.end(whole=False)
    monkeypatch.setattr(converter_module, "MAX_ANSWER_BYTES", 10)
    converter = completion().body_converter(200, False, NOW)
    assert converter.feed(b" " * 10) == b""
    with pytest.raises(UnreadableAnswer):
        converter.feed(b" ")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", NO_MESSAGE),
        (b"<html>Bad gateway</html>", NO_MESSAGE),
        (b"[]", NO_MESSAGE),
        (b'{"error":"boom"}', "boom"),
        (b'{"detail":"boom"}', "boom"),
        (b'{"message":"boom"}', "boom"),
        (b'{"error":{"message":"boom","type":"x"}}', "boom"),
        (b'[{"error":{"message":"boom"}}]', "boom"),
        (b'{"type":"error","error":{"type":"api_error","message":"boom"}}', "boom"),
        (b'event: error\ndata: {"error":{"message":"boom"}}\n\n', "boom"),
        (b'data: {"error":{"message":"boom"}}\n\n', "boom"),
        (gzip.compress(b'{"error":{"message":"boom"}}'), "boom"),
    ],
)
@pytest.mark.parametrize("is_stream", [False, True])
def test_errors(body: bytes, text: str, is_stream: bool) -> None:
    """In the client's form, whatever the upstream sent."""
    converter = completion().body_converter(503, is_stream, NOW)
    said = whole(converter, body)
    assert said["error"]["message"] == text
    assert set(said["error"]) == {"message", "type", "param", "code"}
    assert converter.failed
    converter = message().body_converter(503, is_stream, NOW)
    assert whole(converter, body) == {"type": "error", "error": {"type": "api_error", "message": text}}
    assert converter.failed


def test_an_error_that_comes_as_a_success() -> None:
    """It is said as one, and told to whoever may still say another status."""
    for made in (completion(), message()):
        converter = made.body_converter(200, False, NOW)
        assert whole(converter, {"error": {"message": "boom"}})["error"]["message"] == "boom"
        assert converter.failed


def test_an_error_that_is_cut() -> None:
    """The status says enough."""
    converter = message().body_converter(529, False, NOW)
    converter.feed(b'{"error":')
    assert json.loads(converter.end(whole=False))["error"]["type"] == "overloaded_error"


def message_events() -> bytes:
    start = named_event({"type": "message_start", "message": MESSAGE | {"content": []}})
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    delta = {"type": "text_delta", "text": "Hi"}
    ended = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}}
    return (
        start
        + named_event(block)
        + named_event({"type": "content_block_delta", "index": 0, "delta": delta})
        + named_event({"type": "content_block_stop", "index": 0})
        + named_event(ended)
        + named_event({"type": "message_stop"})
    )


def chunks() -> bytes:
    said = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5"}
    deltas: list[tuple[Json, str | None]] = [
        ({"role": "assistant"}, None),
        ({"content": "Hi"}, None),
        ({}, "stop"),
    ]
    made = [
        data_event(said | {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})
        for delta, reason in deltas
    ]
    usage = data_event(said | {"choices": [], "usage": COMPLETION["usage"]})
    return b"".join(made) + usage + b"data: [DONE]\n\n"


def test_streams() -> None:
    """Event for event, with usage as the client asked for it, and the estimate at the beginning."""
    made = completion(stream=True, stream_options={"include_usage": True})
    converter = made.body_converter(200, True, NOW)
    said = SseSplitter().feed(converter.feed(message_events()) + converter.end(whole=True))
    assert said[-1][1] == b"[DONE]"
    assert json.loads(said[-2][1])["usage"]["total_tokens"] == 4
    converter = message(stream=True).body_converter(200, True, NOW)
    said = SseSplitter().feed(converter.feed(chunks()) + converter.end(whole=True))
    assert json.loads(said[0][1])["message"]["usage"]["input_tokens"] == estimated_input_tokens(SAID)
    assert said[-1][0] == b"message_stop"


def is_clean(said: bytes) -> bool:
    return b"[DONE]" in said or b"message_stop" in said


def cut(made: Translation, stream: bytes, place: int) -> None:
    converter = made.body_converter(200, True, NOW)
    said = converter.feed(stream[:place])
    assert not is_clean(said)
    said += converter.end(whole=False)
    assert not is_clean(said)
    assert converter.failed
    assert json.loads(SseSplitter().feed(said)[-1][1])["error"]["message"] == CUT


@relaxed
@given(st.integers(0, message_events().rindex(b"event: ")))
def test_a_message_that_is_cut(place: int) -> None:
    """Wherever it is: an error at the end, never a clean one."""
    cut(completion(), message_events(), place)


@relaxed
@given(st.integers(0, chunks().rindex(b"data: ")))
def test_a_completion_that_is_cut(place: int) -> None:
    """After its reason to finish too, for its usage did not come."""
    cut(message(), chunks(), place)


def test_a_stream_that_is_zipped_ends_in_an_error() -> None:
    """It cannot be read as it comes."""
    for made, stream in ((completion(), message_events()), (message(), chunks())):
        converter = made.body_converter(200, True, NOW)
        said = converter.feed(gzip.compress(stream)) + converter.end(whole=True)
        assert CUT.encode() in said and not is_clean(said)
        assert converter.failed
