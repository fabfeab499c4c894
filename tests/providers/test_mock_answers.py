"""What the mock provider answers, held against the types of the official SDK."""

from __future__ import annotations

import base64
import json
import math
import struct
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.completion import Completion
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from openai_proxy.providers.mock.answers import MAX_BODY_BYTES, Answer, answer, path_of
from openai_proxy.providers.mock.body import Events
from openai_proxy.providers.mock.knobs import Knobs
from openai_proxy.providers.mock.text import token_count
from openai_proxy.wire.fields import first_of

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
"""Examples share two busy cores: none has a time limit."""

HELLO = [{"role": "user", "content": "Hello"}]
STREAM_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def post(path: str, knobs: Knobs | None = None, **body: Any) -> Answer:
    uri = b"mock://mock/v1/" + path.encode()
    return answer(b"POST", uri, json.dumps({"model": "gpt-4o-mini", **body}).encode(), knobs or Knobs())


def get(path: str, method: bytes = b"GET") -> Answer:
    return answer(method, b"mock://mock" + path.encode(), b"", Knobs())


def whole(answered: Answer) -> bytes:
    """The body that is not streamed, as long as its Content-Length says."""
    assert isinstance(answered.body, bytes)
    assert first_of(answered.fields, b"content-type") == b"application/json"
    assert first_of(answered.fields, b"content-length") == b"%d" % len(answered.body)
    return answered.body


def events(answered: Answer) -> list[bytes]:
    """The events, as many as were announced."""
    assert isinstance(answered.body, Events)
    assert first_of(answered.fields, b"content-type") == b"text/event-stream; charset=utf-8"
    assert first_of(answered.fields, b"content-length") is None
    pieces = list(answered.body.pieces)
    assert len(pieces) == answered.body.count
    assert all(piece.endswith(b"\n\n") and piece.count(b"\n\n") == 1 for piece in pieces)
    return pieces


def data_of(event: bytes) -> bytes:
    return event.rstrip(b"\n").rpartition(b"\n")[2].removeprefix(b"data: ")


def chat_chunks(answered: Answer) -> list[ChatCompletionChunk]:
    *chunks, done = [data_of(event) for event in events(answered)]
    assert done == b"[DONE]"
    return [ChatCompletionChunk.model_validate_json(chunk, strict=True) for chunk in chunks]


def said(chunks: list[ChatCompletionChunk], index: int = 0) -> str:
    choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
    return "".join(choice.delta.content or "" for choice in choices)


def error_of(answered: Answer) -> dict[str, Any]:
    error = json.loads(whole(answered))["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"] and error["type"]
    return dict(error)


def test_chat_is_a_chat_completion() -> None:
    """A chat completion has the SDK's type, and usage by the four-byte rule."""
    completion = ChatCompletion.model_validate_json(whole(post("chat/completions", messages=HELLO)))
    content = completion.choices[0].message.content
    assert content
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage
    assert completion.usage.completion_tokens == len(content) / 4
    assert completion.usage.prompt_tokens == token_count(HELLO) > 0
    assert completion.usage.total_tokens == token_count(HELLO) + len(content) / 4


def test_chat_stream_says_the_same() -> None:
    """Role first, then the text of the whole answer under its id, a reason, and no usage unasked."""
    completion = ChatCompletion.model_validate_json(whole(post("chat/completions", messages=HELLO)))
    chunks = chat_chunks(post("chat/completions", messages=HELLO, stream=True))
    assert {chunk.id for chunk in chunks} == {completion.id}
    assert chunks[0].choices[0].delta.role == "assistant"
    assert said(chunks) == completion.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks[-2:]] == [None, "stop"]
    assert all("usage" not in chunk.model_fields_set for chunk in chunks)


def test_chat_stream_with_usage() -> None:
    """include_usage: a null in each chunk, and a last one with no choices and the whole answer's usage."""
    completion = ChatCompletion.model_validate_json(whole(post("chat/completions", messages=HELLO)))
    chunks = chat_chunks(
        post("chat/completions", messages=HELLO, stream=True, stream_options={"include_usage": True})
    )
    assert all("usage" in chunk.model_fields_set and chunk.usage is None for chunk in chunks[:-1])
    assert chunks[-1].choices == []
    assert chunks[-1].usage == completion.usage


def test_the_curl_of_the_readme() -> None:
    """No messages at all is answered too."""
    assert said(chat_chunks(post("chat/completions", messages=[], stream=True)))


def test_several_choices() -> None:
    """Each of n choices has a text of its own, streamed or not, and all are counted."""
    completion = ChatCompletion.model_validate_json(whole(post("chat/completions", messages=HELLO, n=3)))
    texts = [choice.message.content for choice in completion.choices]
    chunks = chat_chunks(post("chat/completions", messages=HELLO, n=3, stream=True))
    assert [said(chunks, index) for index in range(3)] == texts
    assert len(set(texts)) == 3
    assert completion.usage
    assert completion.usage.completion_tokens == sum(len(text or "") for text in texts) / 4


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_max_tokens_cuts(name: str) -> None:
    """The text is cut at the limit, and finish_reason is length, streamed or not."""
    limited: dict[str, Any] = {"messages": HELLO, name: 5}
    completion = ChatCompletion.model_validate_json(whole(post("chat/completions", **limited)))
    assert completion.choices[0].finish_reason == "length"
    assert completion.usage
    assert completion.usage.completion_tokens == 5
    chunks = chat_chunks(post("chat/completions", stream=True, **limited))
    assert said(chunks) == completion.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == "length"


@relaxed
@given(st.integers(0, 400), st.integers(1, 4))
def test_chunks_set_the_deltas(count: int, choices: int) -> None:
    """x-mock-chunks is the number of content deltas of each choice, and of tokens."""
    knobs = Knobs(chunks=count)
    chunks = chat_chunks(post("chat/completions", knobs, messages=HELLO, n=choices, stream=True))
    for index in range(choices):
        deltas = [
            one for chunk in chunks for one in chunk.choices if one.index == index and one.delta.content
        ]
        assert len(deltas) == count
        assert len(said(chunks, index)) == 4 * count


def test_completion() -> None:
    """A legacy completion has the SDK's type, and the stream says the same."""
    completion = Completion.model_validate_json(whole(post("completions", prompt="Hello")))
    *chunks, done = [data_of(event) for event in events(post("completions", prompt="Hello", stream=True))]
    parsed = [Completion.model_validate_json(json.dumps(_reasoned(json.loads(chunk)))) for chunk in chunks]
    assert done == b"[DONE]"
    assert "".join(chunk.choices[0].text for chunk in parsed) == completion.choices[0].text
    assert json.loads(chunks[-1])["choices"][0]["finish_reason"] == "stop"
    assert completion.usage
    assert completion.usage.prompt_tokens == 2


def _reasoned(chunk: dict[str, Any]) -> dict[str, Any]:
    """The SDK's type has no null for a finish_reason, though the API sends it in all chunks but one."""
    chunk["choices"][0]["finish_reason"] = chunk["choices"][0]["finish_reason"] or "stop"
    return chunk


@pytest.mark.parametrize(("prompt", "choices"), [([1, 2, 3], 2), (["a", "b"], 4), ([[1], [2], [3]], 6)])
def test_completion_for_each_prompt(prompt: list[Any], choices: int) -> None:
    """Each prompt of a list gets its n choices; a list of token numbers is one prompt."""
    completion = Completion.model_validate_json(whole(post("completions", prompt=prompt, n=2)))
    assert [choice.index for choice in completion.choices] == list(range(choices))


def test_response() -> None:
    """A response has the SDK's type, echoes what was asked, and counts its usage."""
    asked: dict[str, Any] = {
        "input": "Hello",
        "instructions": "Be brief",
        "metadata": {"a": "b"},
        "temperature": 0.5,
    }
    response = Response.model_validate_json(whole(post("responses", **asked)))
    assert response.status == "completed"
    assert (response.instructions, response.metadata) == ("Be brief", {"a": "b"})
    assert response.usage
    assert response.usage.output_tokens == len(response.output_text) / 4
    assert response.usage.input_tokens == 4


def test_response_events() -> None:
    """The documented sequence, numbered from 0, each event named by its type, ending in the whole answer."""
    raw = events(post("responses", Knobs(chunks=3), input="Hello", stream=True))
    parsed = [STREAM_EVENT.validate_json(data_of(event)) for event in raw]
    assert [event.sequence_number for event in parsed] == list(range(len(parsed)))
    assert [event.split(b"\n")[0].decode() for event in raw] == [f"event: {one.type}" for one in parsed]
    assert [event.type.removeprefix("response.") for event in parsed] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        *["output_text.delta"] * 3,
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert parsed[0].response.usage is None
    direct = Response.model_validate_json(whole(post("responses", Knobs(chunks=3), input="Hello")))
    assert parsed[-1].response == direct
    assert "".join(event.delta for event in parsed[4:7]) == parsed[7].text == direct.output_text


def test_response_cut() -> None:
    """max_output_tokens makes a response incomplete, and so the last event."""
    response = Response.model_validate_json(whole(post("responses", input="Hello", max_output_tokens=4)))
    assert response.status == "incomplete"
    assert response.incomplete_details
    assert response.incomplete_details.reason == "max_output_tokens"
    last = STREAM_EVENT.validate_json(
        data_of(events(post("responses", input="Hello", max_output_tokens=4, stream=True))[-1])
    )
    assert last.type == "response.incomplete"
    assert last.response == response


def test_embeddings() -> None:
    """Vectors of length one, the same as floats and as base64 float32, different for different texts."""
    floats = CreateEmbeddingResponse.model_validate_json(
        whole(post("embeddings", input=["Hello", "World"], dimensions=64))
    )
    coded = json.loads(
        whole(post("embeddings", input=["Hello", "World"], dimensions=64, encoding_format="base64"))
    )
    assert [len(one.embedding) for one in floats.data] == [64, 64]
    assert floats.data[0].embedding != floats.data[1].embedding
    for one, other in zip(floats.data, coded["data"], strict=True):
        assert math.isclose(math.hypot(*one.embedding), 1, abs_tol=1e-5)
        decoded = struct.unpack("<64f", base64.b64decode(other["embedding"]))
        assert decoded == struct.unpack("<64f", struct.pack("<64f", *one.embedding))
    assert floats.usage.prompt_tokens == floats.usage.total_tokens == 4


@pytest.mark.parametrize(
    ("model", "length"), [("text-embedding-3-small", 1536), ("text-embedding-3-large", 3072)]
)
def test_embedding_length(model: str, length: int) -> None:
    """Without dimensions a vector is as long as the model's are; token numbers are one input."""
    answered = whole(post("embeddings", model=model, input=[1, 2, 3]))
    one = CreateEmbeddingResponse.model_validate_json(answered)
    assert [len(data.embedding) for data in one.data] == [length]
    assert one.usage.total_tokens == 3


def test_models() -> None:
    """The list of models, and each of them by its id."""
    listed = [Model.model_validate(one) for one in json.loads(whole(get("/v1/models")))["data"]]
    assert "gpt-4o-mini" in [one.id for one in listed]
    for one in listed:
        assert Model.model_validate_json(whole(get(f"/v1/models/{one.id}?x=y"))) == one


def test_head_has_no_body() -> None:
    """HEAD has the head of GET, Content-Length included, and no body."""
    headed, gotten = get("/v1/models", b"HEAD"), get("/v1/models")
    assert headed.body == b""
    assert first_of(headed.fields, b"content-length") == first_of(gotten.fields, b"content-length")


@pytest.mark.parametrize(
    ("answered", "status", "code", "param"),
    [
        (get("/v1/nothing"), 404, "unknown_url", None),
        (get("/"), 404, "unknown_url", None),
        (get("/v1/models/"), 404, "unknown_url", None),
        (get("/v1/models/none"), 404, "model_not_found", "model"),
        (get("/v1/chat/completions"), 405, "method_not_supported", None),
        (post("models"), 405, "method_not_supported", None),
        (post("chat/completions"), 400, "missing_required_parameter", "messages"),
        (post("chat/completions", model=None), 400, None, None),
        (post("chat/completions", model=1), 400, "invalid_type", "model"),
        (post("chat/completions", model="m" * 300), 404, "model_not_found", "model"),
        (post("chat/completions", messages=[], n=0), 400, "integer_below_min_value", "n"),
        (post("chat/completions", messages=[], n=129), 400, "integer_above_max_value", "n"),
        (post("chat/completions", messages=[], n="1"), 400, "invalid_type", "n"),
        (post("chat/completions", messages=[], max_tokens=True), 400, "invalid_type", "max_tokens"),
        (post("chat/completions", Knobs(chunks=100_000), messages=[], n=2), 400, "invalid_value", "n"),
        (post("completions", Knobs(chunks=0), prompt=[""] * 1000, n=128), 400, "invalid_value", "n"),
        (post("embeddings"), 400, "missing_required_parameter", "input"),
        (post("embeddings", input=[]), 400, None, "input"),
        (post("embeddings", input=[{}]), 400, None, "input"),
        (post("embeddings", input=["a"] * 2049), 400, "array_above_max_length", "input"),
        (post("embeddings", input=["a"] * 2000, dimensions=3000), 400, "array_above_max_length", "input"),
        (post("embeddings", input="a", encoding_format="x"), 400, "invalid_value", "encoding_format"),
    ],
)
def test_refused(answered: Answer, status: int, code: str | None, param: str | None) -> None:
    """What cannot be answered gets an error in OpenAI's form."""
    error = error_of(answered)
    assert (answered.status, error["type"]) == (status, "invalid_request_error")
    assert (error["code"], error["param"]) == (code, param)


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"1", b"null", b'{"a":NaN}', b"\xff", b"[" * 100_000, b'{"a":' * 100_000]
)
def test_not_an_object(raw: bytes) -> None:
    """A body that is not a JSON object is a 400, whatever else it is."""
    answered = answer(b"POST", b"mock://mock/v1/chat/completions", raw, Knobs())
    assert answered.status == 400
    assert "parse the JSON body" in error_of(answered)["message"]


def test_too_large() -> None:
    """A body of which the end was thrown away is a 413, not a guess."""
    answered = answer(b"POST", b"mock://mock/v1/responses", b"{", Knobs(), MAX_BODY_BYTES + 1)
    assert answered.status == 413
    assert error_of(answered)


@relaxed
@given(
    st.sampled_from(
        [
            "chat/completions",
            "completions",
            "responses",
            "embeddings",
            "moderations",
            "images/generations",
            "audio/speech",
            "audio/transcriptions",
            "messages",
            "x",
        ]
    ),
    st.dictionaries(
        st.sampled_from(
            [
                "model",
                "messages",
                "prompt",
                "input",
                "instructions",
                "n",
                "max_tokens",
                "dimensions",
                "stream",
                "max_output_tokens",
                "stream_options",
                "tools",
                "metadata",
                "temperature",
                "service_tier",
                "system",
                "quality",
                "partial_images",
            ]
        ),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-5, 200)
            | st.floats(allow_nan=False)
            | st.text(max_size=20),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
            ),
            max_leaves=8,
        ),
    ),
)
def test_any_object_is_answered(path: str, body: dict[str, Any]) -> None:
    """Any JSON object is answered, the same way twice, and each event is one."""
    raw = json.dumps(body).encode()
    first, second = (answer(b"POST", b"/v1/" + path.encode(), raw, Knobs()) for _ in range(2))
    assert first.fields == second.fields
    if isinstance(first.body, Events):
        assert events(first) == events(second)
    elif first_of(first.fields, b"content-type") == b"audio/mpeg":
        assert first.body == second.body
    else:
        assert json.loads(whole(first)) == json.loads(whole(second))


@relaxed
@given(st.binary(max_size=200), st.sampled_from([b"GET", b"POST", b"\xff"]), st.binary(max_size=50))
def test_any_bytes_are_answered(raw: bytes, method: bytes, target: bytes) -> None:
    """No body, method or target raises."""
    assert answer(method, b"mock://mock/" + target, raw, Knobs()).status in (200, 400, 404, 405)
    assert answer(b"POST", b"/v1/chat/completions", raw, Knobs()).status == 400


@relaxed
@given(st.text(min_size=1, max_size=40))
def test_any_model_name(model: str) -> None:
    """A model's name comes back as it was, in JSON and in events."""
    completion = ChatCompletion.model_validate_json(whole(post("chat/completions", messages=[], model=model)))
    chunks = chat_chunks(post("chat/completions", messages=[], model=model, stream=True))
    assert {completion.model} | {chunk.model for chunk in chunks} == {model}


def test_status() -> None:
    """x-mock-status is answered in OpenAI's form, whatever the body; 304 has none."""
    for status in range(300, 600):
        answered = answer(b"POST", b"/v1/chat/completions", b"no JSON", Knobs(status=status))
        assert answered.status == status
        assert (first_of(answered.fields, b"retry-after") is not None) == (status == 429)
        if status == 304:
            assert answered.body == b""
        else:
            assert (error_of(answered)["type"] == "server_error") == (status >= 500), status


def test_status_of_success() -> None:
    """A status of 2xx goes with the plain answer; 204 has no body."""
    created = post("chat/completions", Knobs(status=201), messages=HELLO)
    assert created.status == 201
    assert ChatCompletion.model_validate_json(whole(created))
    empty = post("chat/completions", Knobs(status=204), messages=HELLO, stream=True)
    assert (empty.status, empty.body) == (204, b"")
    assert first_of(empty.fields, b"content-length") is None


def test_fields() -> None:
    """The fields that OpenAI's users read are there, the same for the same request."""
    answered = post("chat/completions", messages=HELLO)
    assert answered.fields == post("chat/completions", messages=HELLO).fields
    names = {name.lower() for name, _ in answered.fields}
    limits = {f"x-ratelimit-{a}-{b}" for a in ("limit", "remaining", "reset") for b in ("requests", "tokens")}
    assert names >= {name.encode() for name in limits}
    assert names >= {b"x-request-id", b"openai-processing-ms", b"openai-version"}


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        (b"mock://mock/v1/models?a=b#c", "/v1/models"),
        (b"mock://mock", "/"),
        (b"/v1/models?u=http://a/b", "/v1/models"),
        (b"/v1/models", "/v1/models"),
        (b"mock://mock?a=http://b/c", "/"),
        (b"/v1/models/http://a/b", "/v1/models/http://a/b"),
    ],
)
def test_path_of(uri: bytes, path: str) -> None:
    """A path is found in an absolute URI and in a target, without query and fragment."""
    assert path_of(uri) == path
