"""What the servers are asked, and what the daemon has to have counted of it."""

from __future__ import annotations

from typing import Any

from openai import OpenAI
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessageParam

from tests.real.llama import MODEL
from tests.real.ways import Through

TOKENS = 24
QUESTION = "Count from one to twenty in words."
MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": QUESTION}]
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


def cached_of(usage: CompletionUsage) -> int:
    return (usage.prompt_tokens_details.cached_tokens or 0) if usage.prompt_tokens_details else 0


def assert_counted(through: Through, usage: CompletionUsage | None) -> None:
    """These tokens, of this model alone; None: nothing."""
    for name, expected in {
        "input": usage.prompt_tokens if usage else 0,
        "input_cached": cached_of(usage) if usage else 0,
        "output": usage.completion_tokens if usage else 0,
    }.items():
        family = f"openai_proxy_{name}_tokens_total"
        assert through.counted(family) == through.counted(family, model=MODEL) == expected, name
