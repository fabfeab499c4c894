"""The official SDK chats with a real server through the daemon, and what the daemon counts is right."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessageParam

from tests.real.llama import CONTEXT_TOKENS, KEY, LEFT, MODEL
from tests.real.ways import HAS_ROUTING, SECONDS, UNIFIED, Through, sdk
from tests.support.sockets import Message, Peer

TOKENS = 24
MESSAGES: list[ChatCompletionMessageParam] = [
    {"role": "user", "content": "Count from one to twenty in words."}
]
TOO_LONG: list[ChatCompletionMessageParam] = [{"role": "user", "content": "word " * CONTEXT_TOKENS}]
PROMPT = "One, two, three,"
OPTIONS: dict[str, Any] = {"max_tokens": TOKENS, "temperature": 0, "seed": 7}
"""The most likely token each time: the same question has the same answer."""


def chat(client: OpenAI, model: str, **more: Any) -> ChatCompletion:
    answer: ChatCompletion = client.chat.completions.create(
        model=model, messages=MESSAGES, **OPTIONS, extra_body=more
    )
    return answer


def streamed(client: OpenAI, model: str, **more: Any) -> list[ChatCompletionChunk]:
    with client.chat.completions.create(
        model=model, messages=MESSAGES, **OPTIONS, stream=True, extra_body=more
    ) as events:
        return list(events)


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def content_of(answer: ChatCompletion) -> str:
    """Of a warmed-up server: what it keeps of the question before must not be another's."""
    text = answer.choices[0].message.content
    assert text
    return text


def usage_of(usage: CompletionUsage | None) -> CompletionUsage:
    assert usage is not None
    return usage


def raised(ask: Callable[[OpenAI, str], object], client: OpenAI, model: str) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as caught:
        ask(client, model)
    return caught.value


def posted(peer: Peer, target: str, key: str, **body: Any) -> Message:
    """An answer, byte for byte, but for what each answer has of its own."""
    with peer:
        fields = ("Content-Type: application/json", f"Authorization: Bearer {key}")
        peer.send_request("POST", target, *fields, body=json.dumps(body).encode())
        answer = peer.read_answer("POST")
    answer.body = re.sub(rb'("id": ?)"[^"]+"|("created": ?)\d+', rb"\1\2", answer.body)
    return answer


def test_a_chat(through: Through) -> None:
    """The server's own text, and its own usage to the token; there is no price, and that is said."""
    chat(through.straight, MODEL)
    direct, answer = through.both(chat)
    assert content_of(answer) == content_of(direct)
    assert answer.choices[0].finish_reason == direct.choices[0].finish_reason == "length"
    usage = usage_of(answer.usage)
    assert usage == direct.usage
    assert usage.completion_tokens == TOKENS
    assert through.counted("openai_proxy_input_tokens_total", model=MODEL) == usage.prompt_tokens
    assert through.counted("openai_proxy_output_tokens_total", model=MODEL) == usage.completion_tokens
    assert through.counted("openai_proxy_unpriced_requests_total", model=MODEL) == 1
    assert through.counted("openai_proxy_cost_usd_total") == 0
    assert through.counted("openai_proxy_usage_missing_total") == 0
    assert through.counted("http_requests_total") == 1
    assert (
        through.counted(
            "http_requests_total", model=MODEL, endpoint="chat_completions", status="200", outcome="ok"
        )
        == 1
    )


@pytest.mark.parametrize("asks", [None, True, False], ids=["unsaid", "usage", "no-usage"])
def test_a_stream(through: Through, asks: bool | None) -> None:
    """The text is that of the whole answer, token by token. The server never says what a stream used,
    though it is asked, and that is counted: nothing is made up.
    """
    more = {} if asks is None else {"stream_options": {"include_usage": asks}}
    chat(through.straight, MODEL)
    whole = chat(through.straight, MODEL)
    chunks = streamed(through.client, through.way.model, **more)
    assert text_of(chunks) == content_of(whole)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "length"
    assert not [chunk for chunk in chunks if chunk.usage is not None or not chunk.choices]
    assert through.counted("openai_proxy_time_to_first_token_seconds_count", model=MODEL) == 1
    assert through.counted("openai_proxy_stream_chunk_interval_seconds_count", model=MODEL) == TOKENS - 1
    assert through.counted("openai_proxy_usage_missing_total", reason="stream_without_usage") == 1
    assert through.counted("openai_proxy_output_tokens_total") == 0
    assert through.counted("openai_proxy_unpriced_requests_total") == 0
    assert through.counted("http_requests_total", status="200", outcome="ok") == 1


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_every_byte(through: Through, is_stream: bool) -> None:
    """Body and fields are the server's, but for ids, times and what belongs to one connection."""
    body = {"messages": MESSAGES, **OPTIONS, "stream": is_stream}
    posted(through.server.connect(), "/v1/chat/completions", KEY, model=MODEL, **body)
    direct = posted(through.server.connect(), "/v1/chat/completions", KEY, model=MODEL, **body)
    target = f"{through.way.path}/chat/completions"
    answer = posted(through.daemon.connect(), target, through.way.key, model=through.way.model, **body)
    assert (answer.status, answer.body) == (direct.status, direct.body)
    assert answer.get("content-type") == direct.get("content-type")
    assert answer.get("x-request-id")


def test_completions(through: Through) -> None:
    """The old form: whole with usage, streamed with the same text."""

    def complete(client: OpenAI, model: str) -> Any:
        return client.completions.create(model=model, prompt=PROMPT, **OPTIONS)

    complete(through.straight, MODEL)
    direct, answer = through.both(complete)
    assert (answer.choices, answer.usage) == (direct.choices, direct.usage)
    with through.client.completions.create(
        model=through.way.model, prompt=PROMPT, **OPTIONS, stream=True
    ) as events:
        assert "".join(event.choices[0].text for event in events) == answer.choices[0].text
    assert through.counted("openai_proxy_input_tokens_total", model=MODEL) == answer.usage.prompt_tokens
    assert through.counted("openai_proxy_output_tokens_total", model=MODEL) == answer.usage.completion_tokens
    assert through.counted("http_requests_total", endpoint="completions", outcome="ok") == 2


def test_embeddings(through: Through) -> None:
    """The server's own numbers, and its input tokens."""

    def embed(client: OpenAI, model: str) -> Any:
        return client.embeddings.create(model=model, input=["one", "two three"])

    embed(through.straight, MODEL)
    direct, answer = through.both(embed)
    assert answer.data == direct.data
    assert len(answer.data) == 2
    assert through.counted("openai_proxy_input_tokens_total", model=MODEL) == direct.usage.prompt_tokens
    assert through.counted("openai_proxy_output_tokens_total") == 0
    assert through.counted("http_requests_total", endpoint="embeddings", outcome="ok") == 1


def test_models(through: Through) -> None:
    """The list has the server's model, under the name by which this way asks for it."""
    assert through.way.model in [model.id for model in through.client.models.list()]


def bad_member(client: OpenAI, model: str) -> object:
    return chat(client, model, logprobs="neither")


def too_long(client: OpenAI, model: str) -> object:
    return client.chat.completions.create(model=model, messages=TOO_LONG, max_tokens=TOKENS)


def unknown_path(client: OpenAI, model: str) -> object:
    return client.moderations.create(model=model, input="x")


@pytest.mark.parametrize(
    ("ask", "kind", "status", "outcome"),
    [
        # Its own word for a request that is wrong.
        (bad_member, openai.InternalServerError, 500, "upstream_error"),
        (too_long, openai.BadRequestError, 400, "client_error"),
        (unknown_path, openai.NotFoundError, 404, "client_error"),
    ],
)
def test_an_error(
    through: Through,
    ask: Callable[[OpenAI, str], object],
    kind: type[openai.APIStatusError],
    status: int,
    outcome: str,
) -> None:
    """What the server says of a bad request, whatever its form, is what the client gets."""
    direct = raised(ask, through.straight, MODEL)
    error = raised(ask, through.client, through.way.model)
    assert (type(error), error.status_code) == (type(direct), direct.status_code) == (kind, status)
    assert (error.body, error.code) == (direct.body, direct.code)
    assert through.counted("http_requests_total", status=str(status), outcome=outcome) == 1
    assert through.counted("openai_proxy_usage_missing_total") == 0


@pytest.mark.skipif(HAS_ROUTING, reason="the client's key is not the one that goes to the server")
def test_a_wrong_key(through: Through) -> None:
    """401 in the server's own form, and the SDK knows it."""
    with sdk(through.daemon.url + through.way.path, "sk-wrong") as client:
        error = raised(chat, client, through.way.model)
    assert isinstance(error, openai.AuthenticationError)
    assert through.counted("http_requests_total", status="401", outcome="client_auth") == 1


def test_a_stream_that_fails_after_its_head(through: Through) -> None:
    """The server ends it without an event or ``[DONE]``, as if all were well: the client gets that, and the
    daemon says that the upstream failed.
    """
    with through.client.chat.completions.create(
        model=through.way.model, messages=TOO_LONG, max_tokens=TOKENS, stream=True
    ) as events:
        assert list(events) == []
    assert through.counted("http_requests_total", status="200", outcome="upstream_stream_error") == 1
    assert through.counted("openai_proxy_time_to_first_token_seconds_count") == 0


def test_a_client_that_leaves(through: Through) -> None:
    """The server stops generating, and answers the next one as ever."""
    chat(through.straight, MODEL)
    whole = chat(through.straight, MODEL)
    lines = through.server.line_count
    more = {**OPTIONS, "max_tokens": CONTEXT_TOKENS // 2}
    with through.client.chat.completions.create(
        model=through.way.model, messages=MESSAGES, **more, stream=True
    ) as events:
        assert [next(events).choices[0].delta.role, next(events).choices[0].delta.role] == ["assistant", None]
    through.server.wait_for(LEFT, SECONDS, after=lines)
    assert content_of(chat(through.client, through.way.model)) == content_of(whole)
    assert through.counted("http_requests_total", outcome="client_disconnect") == 1
    assert through.counted("openai_proxy_usage_missing_total", reason="disconnect") == 1
    assert through.counted("openai_proxy_output_tokens_total") == TOKENS


def test_several_at_once(through: Through) -> None:
    """The server takes one at a time: the others wait, and each is whole."""

    async def one(client: AsyncOpenAI) -> str:
        events = await client.chat.completions.create(
            model=through.way.model, messages=MESSAGES, **OPTIONS, stream=True
        )
        return text_of([chunk async for chunk in events])

    async def main() -> list[str]:
        url = through.daemon.url + through.way.path
        async with AsyncOpenAI(
            api_key=through.way.key, base_url=url, max_retries=0, timeout=SECONDS
        ) as client:
            return await asyncio.gather(*(one(client) for _ in range(4)))

    chat(through.straight, MODEL)
    whole = chat(through.straight, MODEL)
    assert asyncio.run(main()) == [content_of(whole)] * 4
    assert through.counted("http_requests_total", outcome="ok") == 4
    assert through.counted("openai_proxy_time_to_first_token_seconds_count", model=MODEL) == 4


@pytest.mark.parametrize("through", UNIFIED, ids=lambda way: way.name, indirect=True)
def test_anthropics_sdk(through: Through) -> None:
    """It has the same text by translation, whole and streamed, with the server's own usage."""
    anthropic = pytest.importorskip("anthropic")
    asked = {"model": through.way.model, "messages": MESSAGES, "max_tokens": TOKENS, "temperature": 0}
    chat(through.straight, MODEL)
    whole = chat(through.straight, MODEL)
    usage = usage_of(whole.usage)
    with anthropic.Anthropic(
        api_key=through.way.key, base_url=through.daemon.url, max_retries=0, timeout=SECONDS
    ) as client:
        message = client.messages.create(**asked)
        with client.messages.stream(**asked) as events:
            text = "".join(events.text_stream)
    assert message.content[0].text == text == content_of(whole)
    assert (message.usage.input_tokens, message.usage.output_tokens) == (
        usage.prompt_tokens,
        usage.completion_tokens,
    )
    assert message.stop_reason == "max_tokens"
    assert through.counted("openai_proxy_output_tokens_total") == usage.completion_tokens
    assert through.counted("openai_proxy_usage_missing_total", reason="stream_without_usage") == 1
