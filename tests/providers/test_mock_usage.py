"""What the mock provider says of caches, reasoning and tiers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion
from openai.types.completion import Completion
from openai.types.responses import Response

from openai_proxy.providers.mock.knobs import Knobs
from openai_proxy.providers.mock.usage import cached_tokens, reasoned
from tests.providers.test_mock_answers import (
    HELLO,
    STREAM_EVENT,
    chat_chunks,
    data_of,
    events,
    post,
    relaxed,
    said,
    whole,
)

seeds = st.binary(min_size=16, max_size=16)
LONG = "long" * 5000
"""5,000 tokens."""


def chat(**body: Any) -> ChatCompletion:
    completion = ChatCompletion.model_validate_json(whole(post("chat/completions", **body)))
    chunks = chat_chunks(
        post("chat/completions", **body, stream=True, stream_options={"include_usage": True})
    )
    assert chunks[-1].usage == completion.usage
    assert {chunk.service_tier for chunk in chunks} == {completion.service_tier}
    assert said(chunks) == completion.choices[0].message.content
    return completion


def response(**body: Any) -> Response:
    answered = Response.model_validate_json(whole(post("responses", **body)))
    last = STREAM_EVENT.validate_json(data_of(events(post("responses", **body, stream=True))[-1]))
    assert last.response == answered
    return answered


@relaxed
@given(seeds, st.integers(0, 1 << 53))
def test_cached_tokens(seed: bytes, prompt_tokens: int) -> None:
    """Nothing of a short prompt; of another at least 1,024, never more than there are, in steps of 128."""
    cached = cached_tokens(seed, prompt_tokens)
    if prompt_tokens < 1024:
        assert cached == 0
    else:
        assert 1024 <= cached <= prompt_tokens
        assert cached % 128 == 0


def test_cached_tokens_differ() -> None:
    """Each number of steps comes up."""
    found = {cached_tokens(bytes([0, 0, 0, 0, 0, seed]), 1024 + 3 * 128 + 5) for seed in range(8)}
    assert found == {1024, 1152, 1280, 1408}


@relaxed
@given(seeds, st.none() | st.integers(1, 2000))
def test_reasoned(seed: bytes, limit: int | None) -> None:
    """Steps of 64 where there is room for them, and with what is left never more than the limit."""
    tokens, left = reasoned("o3", seed, limit)
    if limit is None:
        assert left is None
    else:
        assert left is not None and left >= 0
        assert tokens + left == limit
    assert (tokens % 64 == 0 and 64 <= tokens <= 512) or left == 0


@pytest.mark.parametrize(
    ("model", "reasons"),
    [
        *(
            (name, True)
            for name in ("o1", "o1-2024-12-17", "o3", "o3-mini", "o4-mini", "gpt-5", "gpt-5.1-mini")
        ),
        *((name, False) for name in ("gpt-4o", "o10", "o4", "o3x", "gpt-4.1-gpt-5", "davinci-o1", "")),
    ],
)
def test_models_that_reason(model: str, reasons: bool) -> None:
    """By the beginning of their names."""
    assert (reasoned(model, bytes(16), None)[0] > 0) is reasons


@pytest.mark.parametrize("model", ["gpt-4o", "o3"])
def test_chat(model: str) -> None:
    """All numbers add up, streamed or not: reasoning of each choice is output, the cache's part is input."""
    messages = [{"role": "user", "content": LONG}]
    completion = chat(model=model, messages=messages, n=2)
    usage = completion.usage
    assert usage and usage.prompt_tokens_details and usage.completion_tokens_details
    assert usage.prompt_tokens_details.cached_tokens in range(1024, usage.prompt_tokens + 1, 128)
    reasoning = usage.completion_tokens_details.reasoning_tokens
    visible = sum(len(choice.message.content or "") for choice in completion.choices) // 4
    assert reasoning is not None
    assert (reasoning > 0, reasoning % 128) == (model == "o3", 0)
    assert usage.completion_tokens == reasoning + visible
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-5-mini"])
def test_response(model: str) -> None:
    """The same of a response."""
    answered = response(model=model, input=LONG)
    usage = answered.usage
    assert usage
    assert usage.input_tokens == 5000
    assert usage.input_tokens_details.cached_tokens in range(1024, 5001, 128)
    reasoning = usage.output_tokens_details.reasoning_tokens
    assert (reasoning > 0, reasoning % 64) == (model == "gpt-5-mini", 0)
    assert usage.output_tokens == reasoning + len(answered.output_text) // 4
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens


def test_a_limit_used_up_by_reasoning() -> None:
    """No text at all, and the reason is the length."""
    completion = chat(model="o1", messages=HELLO, max_completion_tokens=10)
    assert (completion.choices[0].message.content, completion.choices[0].finish_reason) == ("", "length")
    assert completion.usage and completion.usage.completion_tokens_details
    assert completion.usage.completion_tokens == 10
    assert completion.usage.completion_tokens_details.reasoning_tokens == 10
    answered = response(model="o1", input="Hello", max_output_tokens=10)
    assert (answered.output_text, answered.status) == ("", "incomplete")
    assert answered.usage
    assert answered.usage.output_tokens == answered.usage.output_tokens_details.reasoning_tokens == 10


def test_a_limit_cut_by_reasoning() -> None:
    """Text has what reasoning leaves of the limit."""
    knobs = Knobs(chunks=1000)
    body = whole(post("chat/completions", knobs, model="o1", messages=HELLO, max_completion_tokens=600))
    completion = ChatCompletion.model_validate_json(body)
    assert completion.choices[0].finish_reason == "length"
    assert completion.choices[0].message.content
    assert completion.usage and completion.usage.completion_tokens_details
    assert completion.usage.completion_tokens == 600
    reasoning = completion.usage.completion_tokens_details.reasoning_tokens
    assert reasoning == 600 - len(completion.choices[0].message.content) // 4


def test_legacy_completions_have_neither() -> None:
    """Their models do not reason, and their prompts are not cached."""
    completion = Completion.model_validate_json(whole(post("completions", model="o3", prompt=LONG)))
    assert completion.usage and completion.usage.prompt_tokens_details
    assert completion.usage.completion_tokens_details
    assert completion.usage.prompt_tokens_details.cached_tokens == 0
    assert completion.usage.completion_tokens_details.reasoning_tokens == 0


@pytest.mark.parametrize(
    ("asked", "given_"),
    [
        ("flex", "flex"),
        ("priority", "priority"),
        ("auto", "default"),
        ("default", "default"),
        ([], "default"),
    ],
)
def test_service_tier(asked: Any, given_: str) -> None:
    """flex and priority are given to who asks for them, in chat and in responses, streamed or not."""
    assert chat(messages=HELLO, service_tier=asked).service_tier == given_
    assert response(input="Hello", service_tier=asked).service_tier == given_
    legacy = json.loads(whole(post("completions", prompt="", service_tier=asked)))
    assert legacy["service_tier"] == given_


@pytest.mark.parametrize(("asked", "begun"), [("flex", "flex"), ("auto", "auto"), (None, "auto")])
def test_service_tier_before_it_is_given(asked: str | None, begun: str) -> None:
    """The first events of a response say what was asked for."""
    first = STREAM_EVENT.validate_json(
        data_of(events(post("responses", input="Hello", service_tier=asked, stream=True))[0])
    )
    assert first.response.service_tier == begun
