"""The official SDK through a running daemon: the mock, and a scripted upstream."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Iterator

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.support.daemon import Daemon
from tests.support.openai_upstream import (
    SPEECH,
    VECTOR,
    WORDS,
    OpenAIUpstream,
    answer,
    chat_events,
    error,
    hang_up,
    stream,
)

KEY = "sk-test"
SECONDS = 20
TEXT = "".join(WORDS)
CLASSES = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    409: openai.ConflictError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    503: openai.InternalServerError,
}


@pytest.fixture(scope="module")
def scripted() -> Iterator[OpenAIUpstream]:
    with OpenAIUpstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(scripted: OpenAIUpstream) -> OpenAIUpstream:
    """The scripted upstream, with no request seen yet."""
    scripted.forget()
    return scripted


@pytest.fixture(scope="module")
def daemon(scripted: OpenAIUpstream) -> Iterator[Daemon]:
    with Daemon("--upstream", scripted.url) as daemon:
        yield daemon
        assert daemon.stop() == 0
    assert "Traceback" not in daemon.output


def client_of(base_url: str, max_retries: int = 0) -> OpenAI:
    return OpenAI(api_key=KEY, base_url=base_url, max_retries=max_retries, timeout=SECONDS)


@pytest.fixture(params=["/v1", "/openai/v1"])
def client(daemon: Daemon, request: pytest.FixtureRequest) -> Iterator[OpenAI]:
    """A client of each route that leads to the scripted upstream."""
    with client_of(daemon.url + request.param) as client:
        yield client


@pytest.fixture
def one(daemon: Daemon) -> Iterator[OpenAI]:
    """A client of ``/v1`` that does not try again."""
    with client_of(daemon.url + "/v1") as client:
        yield client


@pytest.fixture
def mock(daemon: Daemon) -> Iterator[OpenAI]:
    """A client of the built-in provider."""
    with client_of(daemon.url + "/mock/v1") as client:
        yield client


MESSAGES: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello"}]


def ask(client: OpenAI, headers: dict[str, str] | None = None) -> openai.types.chat.ChatCompletion:
    return client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, extra_headers=headers)


def streamed(client: OpenAI, headers: dict[str, str] | None = None) -> str:
    text = ""
    with client.chat.completions.create(
        model="gpt-4o-mini", messages=MESSAGES, stream=True, extra_headers=headers
    ) as events:
        for chunk in events:
            text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
    return text


# The mock provider.


def test_the_mock_answers_a_chat_whole_and_streamed(mock: OpenAI) -> None:
    """The same text both ways, with usage, and no key that anybody knows."""
    whole = ask(mock)
    assert whole.choices[0].message.content
    assert whole.usage is not None
    assert whole.usage.total_tokens > 0
    assert whole._request_id
    assert streamed(mock) == whole.choices[0].message.content


def test_the_mock_answers_the_other_endpoints(mock: OpenAI) -> None:
    """Completions, responses, embeddings and models are read by the SDK's own types."""
    assert mock.completions.create(model="gpt-3.5-turbo-instruct", prompt="Say").choices[0].text
    whole = mock.responses.create(model="gpt-4o", input="Say hello")
    assert whole.output_text
    with mock.responses.create(model="gpt-4o", input="Say hello", stream=True) as events:
        seen = list(events)
    assert seen[-1].type == "response.completed"
    assert "".join(event.delta for event in seen if event.type == "response.output_text.delta") == (
        whole.output_text
    )
    vectors = mock.embeddings.create(model="text-embedding-3-small", input=["a", "b"])
    assert [len(one.embedding) for one in vectors.data] == [1536, 1536]
    assert "gpt-4o" in [model.id for model in mock.models.list()]
    assert mock.models.retrieve("gpt-4o").id == "gpt-4o"


def test_the_mock_answers_what_is_no_text(mock: OpenAI) -> None:
    """Moderations, speech, a transcription whole and streamed, and an image: as the SDK asks for them."""
    assert not mock.moderations.create(input="Say").results[0].flagged
    assert mock.audio.speech.create(model="tts-1", voice="alloy", input="Say").read().startswith(b"\xff\xfb")
    heard = mock.audio.transcriptions.create(model="whisper-1", file=("a.mp3", bytes(20_000)))
    assert heard.usage is not None and heard.usage.type == "duration"
    assert heard.usage.seconds == 2
    with mock.audio.transcriptions.create(
        model="gpt-4o-transcribe", file=("a.mp3", bytes(20_000)), stream=True
    ) as events:
        seen = list(events)
    assert seen[-1].type == "transcript.text.done"
    assert seen[-1].usage is not None and seen[-1].usage.input_tokens == 20
    made = mock.images.generate(model="gpt-image-1", prompt="A cat", quality="low")
    assert made.usage is not None and made.usage.output_tokens == 272


def test_the_mock_answers_in_gzip(mock: OpenAI) -> None:
    """The SDK accepts gzip, and gets the same text both ways."""
    zipped = {"x-mock-gzip": "1"}
    raw = mock.chat.completions.with_raw_response.create(
        model="gpt-4o-mini", messages=MESSAGES, extra_headers=zipped
    )
    assert raw.headers["content-encoding"] == "gzip"
    assert raw.parse() == ask(mock)
    assert streamed(mock, zipped) == streamed(mock)
    with mock.responses.create(model="gpt-4o", input="Say", stream=True, extra_headers=zipped) as events:
        assert events.response.headers["content-encoding"] == "gzip"
        assert [event.type for event in events][-1] == "response.completed"


@pytest.mark.parametrize("status", CLASSES)
def test_the_mock_fails_as_told(mock: OpenAI, status: int) -> None:
    """``x-mock-status`` becomes the SDK's class for the status."""
    with pytest.raises(CLASSES[status]) as caught:
        ask(mock, {"x-mock-status": str(status)})
    assert isinstance(caught.value, openai.APIStatusError)
    assert caught.value.status_code == status
    assert isinstance(caught.value.body, dict)
    assert set(caught.value.body) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("reset", openai.InternalServerError),
        ("truncate", openai.APIConnectionError),
        ("error-in-stream", openai.APIError),
    ],
)
def test_a_fault_of_the_mock_is_an_error_to_the_sdk(mock: OpenAI, fault: str, kind: type[Exception]) -> None:
    """No fault looks like a short but good answer."""
    with pytest.raises(kind):
        streamed(mock, {"x-mock-fault": fault})


def test_a_missing_done_is_no_error(mock: OpenAI) -> None:
    """The SDK takes a clean end without ``[DONE]``, and so does the relay."""
    assert streamed(mock, {"x-mock-fault": "no-done"}) == streamed(mock)


# The scripted upstream.


def test_a_chat(client: OpenAI, upstream: OpenAIUpstream) -> None:
    """Text, id and members that no type knows come through; the key reaches the upstream."""
    whole = ask(client)
    assert whole.choices[0].message.content == TEXT
    assert whole._request_id == "req_scripted"
    assert (whole.model_extra or {})["a_member_of_next_year"] == {"kept": [1.0, 100.0]}
    (request,) = upstream.requests
    assert request.start == b"POST /v1/chat/completions HTTP/1.1"
    assert request.all("authorization") == [b"Bearer " + KEY.encode()]
    assert json.loads(request.body) == {"messages": MESSAGES, "model": "gpt-4o-mini"}


def test_a_chat_stream(client: OpenAI, upstream: OpenAIUpstream) -> None:
    """The deltas are those of the upstream."""
    assert streamed(client) == TEXT
    assert json.loads(upstream.requests[0].body)["stream"] is True


def test_a_response(client: OpenAI, upstream: OpenAIUpstream) -> None:
    """The Responses API, whole."""
    assert client.responses.create(model="gpt-4o", input="Say").output_text == TEXT
    assert upstream.requests[0].target == b"/v1/responses"


def test_a_response_stream(client: OpenAI, upstream: OpenAIUpstream) -> None:
    """The Responses API, event by event."""
    with client.responses.create(model="gpt-4o", input="Say", stream=True) as events:
        assert [event.type for event in events] == [
            "response.created",
            *["response.output_text.delta"] * len(WORDS),
            "response.completed",
        ]


def test_embeddings_in_base64(client: OpenAI, upstream: OpenAIUpstream) -> None:
    """The SDK asks for base64 without saying so to its caller, and decodes what comes."""
    made = client.embeddings.create(model="text-embedding-3-small", input="x")
    assert tuple(made.data[0].embedding) == VECTOR
    assert json.loads(upstream.requests[0].body)["encoding_format"] == "base64"


def test_the_models(client: OpenAI, upstream: OpenAIUpstream) -> None:
    """A list that the SDK pages through."""
    assert [model.id for model in client.models.list()] == ["gpt-4o"]
    assert upstream.requests[0].start == b"GET /v1/models HTTP/1.1"


@pytest.mark.parametrize("size", [100, 20 << 20])
def test_a_file_goes_up_and_comes_back(client: OpenAI, upstream: OpenAIUpstream, size: int) -> None:
    """A multipart upload, small or of 20 MB, and the download of its content."""
    content = os.urandom(size)
    made = client.files.create(file=("batch.jsonl", content), purpose="batch")
    assert made.bytes == size
    (request,) = upstream.requests
    assert len(request.body) == int(request.get("content-length") or 0)
    back = client.files.content(made.id).read()
    assert hashlib.sha256(back).digest() == hashlib.sha256(content).digest()


def test_speech(client: OpenAI, upstream: OpenAIUpstream) -> None:
    """Bytes that are no text come as they are, whole and streamed."""
    asked = {"model": "tts-1", "voice": "alloy", "input": "Hello"}
    assert client.audio.speech.create(**asked).read() == SPEECH  # type: ignore[arg-type]
    with client.audio.speech.with_streaming_response.create(**asked) as response:  # type: ignore[arg-type]
        assert b"".join(response.iter_bytes(1000)) == SPEECH


@pytest.mark.parametrize("status", CLASSES)
def test_an_error_of_each_status(one: OpenAI, upstream: OpenAIUpstream, status: int) -> None:
    """Class, body, code, parameter and request id are those of the upstream."""
    upstream.planned.append(error(status, f"code_{status}"))
    with pytest.raises(CLASSES[status]) as caught:
        ask(one)
    failed = caught.value
    assert isinstance(failed, openai.APIStatusError)
    assert (failed.status_code, failed.code, failed.param) == (status, f"code_{status}", "p")
    assert failed.request_id == "req_scripted"
    assert failed.body == {
        "message": f"It is code_{status}.",
        "type": "test_error",
        "param": "p",
        "code": f"code_{status}",
    }
    assert len(upstream.requests) == 1


def test_an_error_that_is_no_json(one: OpenAI, upstream: OpenAIUpstream) -> None:
    """A gateway's page in HTML is passed on, and not made into something else."""
    upstream.planned.append(answer(502, b"<html>Bad gateway</html>", "text/html"))
    with pytest.raises(openai.InternalServerError) as caught:
        ask(one)
    assert caught.value.response.text == "<html>Bad gateway</html>"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_the_sdk_tries_again_and_the_daemon_does_not(
    daemon: Daemon, upstream: OpenAIUpstream, status: int
) -> None:
    """``retry-after-ms`` and the retry count pass; the upstream sees the SDK's tries and no more."""
    upstream.planned += [error(status, "again", retry_after_ms="1")] * 2
    with client_of(daemon.url + "/v1", max_retries=2) as client:
        assert ask(client).choices[0].message.content == TEXT
    counts = [request.get("x-stainless-retry-count") for request in upstream.requests]
    assert counts == [b"0", b"1", b"2"]


def test_retry_after_of_the_upstream_is_obeyed(daemon: Daemon, upstream: OpenAIUpstream) -> None:
    """The SDK does not try again at all if it is told to wait for more than two minutes."""
    upstream.planned.append(error(429, "later", retry_after="121"))
    with client_of(daemon.url + "/v1", max_retries=2) as client, pytest.raises(openai.RateLimitError):
        ask(client)
    assert len(upstream.requests) == 1


def test_x_should_retry_is_obeyed(daemon: Daemon, upstream: OpenAIUpstream) -> None:
    """The upstream's word against the status reaches the SDK."""
    upstream.planned.append(error(503, "no", x_should_retry="false"))
    with client_of(daemon.url + "/v1", max_retries=2) as client, pytest.raises(openai.InternalServerError):
        ask(client)
    assert len(upstream.requests) == 1


def test_raw_headers(client: OpenAI, upstream: OpenAIUpstream) -> None:
    """What users read from the answer's head is there."""
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=MESSAGES)
    assert raw.headers["x-ratelimit-limit-requests"] == "500"
    assert raw.headers["x-ratelimit-remaining-tokens"] == "149984"
    assert raw.headers["x-ratelimit-reset-requests"] == "120ms"
    assert raw.headers["openai-processing-ms"] == "17"
    assert raw.headers["openai-organization"] == "org-test"
    assert raw.parse().choices[0].message.content == TEXT
    assert upstream.requests[0].get("x-stainless-raw-response") == b"true"


def test_a_client_that_leaves_in_mid_stream(one: OpenAI, upstream: OpenAIUpstream) -> None:
    """The upstream sees its connection end: no more tokens are made for nobody."""
    upstream.planned.append(stream(*chat_events()[:1], then=upstream.wait_for_leave))
    events = one.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
    assert next(events).choices[0].delta.content == WORDS[0]
    events.close()
    assert upstream.left.get(timeout=SECONDS) in ("FIN", "RST")


@pytest.mark.parametrize("count", [0, 1, 4])
def test_a_cut_stream_is_an_error(one: OpenAI, upstream: OpenAIUpstream, count: int) -> None:
    """Whatever was streamed before the upstream went, the SDK does not take it for all."""
    upstream.planned.append(stream(*chat_events()[:count], then=hang_up))
    with pytest.raises(openai.APIConnectionError):
        streamed(one)


def test_a_cut_answer_is_an_error(one: OpenAI, upstream: OpenAIUpstream) -> None:
    """The same for an answer that is not a stream."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"

    def cut(peer: object, request: object) -> None:
        peer.send(head + b'{"id":')  # type: ignore[attr-defined]
        raise ConnectionError

    upstream.planned.append(cut)
    with pytest.raises(openai.APIConnectionError):
        ask(one)


def test_an_error_event_in_a_stream(one: OpenAI, upstream: OpenAIUpstream) -> None:
    """The upstream's own error event is raised by the SDK, with its code."""
    event = b'data: {"error":{"message":"late","type":"server_error","param":null,"code":"late"}}\n\n'
    upstream.planned.append(stream(chat_events()[0], event))
    with pytest.raises(openai.APIError) as caught:
        streamed(one)
    assert caught.value.code == "late"


def test_an_upstream_that_is_not_there() -> None:
    """502 in OpenAI's form, which the SDK knows as its InternalServerError."""
    with OpenAIUpstream() as gone:
        url = gone.url
    with Daemon("--upstream", url) as daemon, client_of(daemon.url + "/v1") as client:
        with pytest.raises(openai.InternalServerError) as caught:
            ask(client)
        assert (caught.value.status_code, caught.value.code) == (502, "upstream_connect_error")
        assert caught.value.request_id


def test_what_the_sdk_sends_arrives_as_it_would_without_the_daemon(
    one: OpenAI, upstream: OpenAIUpstream
) -> None:
    """Request line, fields in order and body are equal but for Host and Connection.

    Accept-Encoding has only what can be read of an answer, where the answer is read.
    """
    with client_of(upstream.url + "/v1") as straight:
        for client in (straight, one):
            ask(client)
            client.models.list()
            client.responses.with_raw_response.create(model="gpt-4o", input="a", extra_query={"beta": "true"})
    direct, relayed = upstream.requests[:3], upstream.requests[3:]
    for first, second in zip(direct, relayed, strict=True):
        assert second.start == first.start
        assert second.body == first.body
        hop = (b"host", b"connection")
        read = first.start.startswith(b"POST")
        assert [field for field in second.fields if field[0].lower() not in hop] == [
            (name, b"gzip" if read and name.lower() == b"accept-encoding" else value)
            for name, value in first.fields
            if name.lower() not in hop
        ]


def test_the_base_url_from_the_environment(
    daemon: Daemon, upstream: OpenAIUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OPENAI_BASE_URL and nothing else sends an application through the daemon."""
    monkeypatch.setenv("OPENAI_BASE_URL", daemon.url + "/v1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with OpenAI() as client:
        assert ask(client).choices[0].message.content == TEXT
    assert len(upstream.requests) == 1


def test_the_async_sdk(daemon: Daemon, upstream: OpenAIUpstream) -> None:
    """Whole and streamed, ten at a time, over connections that are kept."""

    async def one_stream(client: AsyncOpenAI) -> str:
        events = await client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in events])

    async def one_response(client: AsyncOpenAI) -> str:
        return (await client.responses.create(model="gpt-4o", input="Say")).output_text

    async def main() -> list[str]:
        url = daemon.url + "/v1"
        async with AsyncOpenAI(api_key=KEY, base_url=url, max_retries=0, timeout=SECONDS) as client:
            asked = [one_stream(client) for _ in range(10)] + [one_response(client) for _ in range(10)]
            return await asyncio.gather(*asked)

    assert asyncio.run(main()) == [TEXT] * 20
    assert len(upstream.requests) == 20


def test_the_async_sdk_and_its_failures(daemon: Daemon, upstream: OpenAIUpstream) -> None:
    """An error is an error, and a task that is cancelled ends its upstream."""

    async def main() -> None:
        url = daemon.url + "/v1"
        async with AsyncOpenAI(api_key=KEY, base_url=url, max_retries=0, timeout=SECONDS) as client:
            upstream.planned.append(error(429, "slow_down"))
            with pytest.raises(openai.RateLimitError):
                await client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
            upstream.planned.append(stream(chat_events()[0], then=upstream.wait_for_leave))
            events = await client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
            await anext(events)
            await events.close()
            assert await asyncio.to_thread(upstream.left.get, True, SECONDS) in ("FIN", "RST")

    asyncio.run(main())
