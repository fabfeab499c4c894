"""The official SDK chats with real servers through the daemon, and what the daemon counts is right."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI

from tests.real.llama import CONTEXT_TOKENS, KEY, MODEL, LlamaCppPython
from tests.real.questions import (
    MESSAGES,
    OPTIONS,
    PROMPT,
    assert_counted,
    chat,
    content_of,
    streamed,
    text_of,
    usage_of,
)
from tests.real.ways import SECONDS, UNIFIED, Through
from tests.support.sockets import Message, Peer

OWN = re.compile(rb'"id": ?"[^"]+"|"created": ?\d+|,"timings":\{[^}]*\}')
"""What each answer has of its own. llama-server puts ``timings`` into the last event: that is the one with
the usage if it is asked for it, and goes with that where the client did not ask.
"""


def posted(peer: Peer, target: str, key: str, **body: Any) -> Message:
    """An answer, byte for byte, but for what each answer has of its own."""
    with peer:
        fields = ("Content-Type: application/json", f"Authorization: Bearer {key}")
        peer.send_request("POST", target, *fields, body=json.dumps(body).encode())
        answer = peer.read_answer("POST")
    answer.body = OWN.sub(b"", answer.body)
    return answer


def test_a_chat(through: Through) -> None:
    """The server's own text, and its own usage to the token; there is no price, and that is said."""
    chat(through.straight, MODEL)
    direct, answer = through.both(chat)
    assert content_of(answer) == content_of(direct)
    assert answer.choices[0].finish_reason == direct.choices[0].finish_reason
    usage = usage_of(answer.usage)
    assert usage == direct.usage
    assert_counted(through, usage)
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
    """The text is that of the whole answer, token by token, and so is what is counted, unless the client
    wants no usage or the server never says it; then that is counted, and nothing is made up. The client
    sees usage if it asked for it.
    """
    more = {} if asks is None else {"stream_options": {"include_usage": asks}}
    chat(through.straight, MODEL)
    whole = chat(through.straight, MODEL)
    usage = usage_of(whole.usage)
    chunks = streamed(through.client, through.way.model, **more)
    assert text_of(chunks) == content_of(whole)
    assert chunks[0].choices[0].delta.role == "assistant"
    ended = [choice.finish_reason for chunk in chunks for choice in chunk.choices]
    assert ended[-2:] == [None, whole.choices[0].finish_reason]
    told = through.server.tells_stream_usage
    seen = [chunk.usage for chunk in chunks if chunk.usage is not None or not chunk.choices]
    assert seen == ([usage] if asks and told else [])
    assert through.counted("openai_proxy_time_to_first_token_seconds_count", model=MODEL) == 1
    pieces = [choice for chunk in chunks for choice in chunk.choices if choice.delta.content]
    intervals = through.counted("openai_proxy_stream_chunk_interval_seconds_count", model=MODEL)
    assert intervals == len(pieces) - 1 > 0
    counts = told and asks is not False
    missing = through.counted("openai_proxy_usage_missing_total", reason="stream_without_usage")
    assert missing == (not counts)
    assert_counted(through, usage if counts else None)
    assert through.counted("openai_proxy_unpriced_requests_total") == counts
    assert through.counted("http_requests_total", status="200", outcome="ok") == 1


def test_the_newer_limit(through: Through) -> None:
    """``max_completion_tokens`` ends an answer, under the name that the server has for it."""
    if isinstance(through.server, LlamaCppPython) and through.way not in UNIFIED:
        pytest.skip("llama-cpp-python passes over max_completion_tokens")
    answer = through.client.chat.completions.create(
        model=through.way.model, messages=MESSAGES, max_completion_tokens=2, temperature=0
    )
    assert answer.choices[0].finish_reason == "length"
    assert usage_of(answer.usage).completion_tokens == 2


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
    """The old form: whole with usage, streamed with the same text; llama-server says usage there unasked."""

    def complete(client: OpenAI, model: str) -> Any:
        return client.completions.create(model=model, prompt=PROMPT, **OPTIONS)

    complete(through.straight, MODEL)
    direct, answer = through.both(complete)
    assert (answer.choices, answer.usage) == (direct.choices, direct.usage)
    with through.client.completions.create(
        model=through.way.model, prompt=PROMPT, **OPTIONS, stream=True
    ) as events:
        assert "".join(event.choices[0].text for event in events) == answer.choices[0].text
    times = 1 + through.server.tells_stream_usage
    usage = answer.usage
    for name, expected in {"input": usage.prompt_tokens, "output": usage.completion_tokens}.items():
        assert through.counted(f"openai_proxy_{name}_tokens_total", model=MODEL) == times * expected
    missing = through.counted("openai_proxy_usage_missing_total", reason="stream_without_usage")
    assert missing == 2 - times
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
    """The list has the server's model, bare or behind the name of its provider."""
    names = [model.id for model in through.client.models.list()]
    assert MODEL in [name.rpartition("/")[2] for name in names]


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
    through.server.wait_for(through.server.left, SECONDS, after=lines)
    assert content_of(chat(through.client, through.way.model)) == content_of(whole)
    assert through.counted("http_requests_total", outcome="client_disconnect") == 1
    assert through.counted("openai_proxy_usage_missing_total", reason="disconnect") == 1
    output = through.counted("openai_proxy_output_tokens_total")
    assert output == usage_of(whole.usage).completion_tokens


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
