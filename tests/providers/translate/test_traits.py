"""What a model takes, by its name; and the smaller parts that both directions share."""

from __future__ import annotations

import pytest

from openai_proxy.providers.translate.dropped import NAMES, Dropped
from openai_proxy.providers.translate.tool_id import chat_tool_id, message_tool_id
from openai_proxy.providers.translate.traits import Sampling, Thinking, chat_traits, messages_traits


@pytest.mark.parametrize(
    ("model", "sampling", "thinking", "max_output_tokens"),
    [
        ("claude-opus-5", Sampling.NONE, Thinking.ADAPTIVE, 64_000),
        ("claude-sonnet-5-5", Sampling.NONE, Thinking.ADAPTIVE, 64_000),
        ("claude-opus-4-7", Sampling.NONE, Thinking.ADAPTIVE, 64_000),
        ("claude-fable", Sampling.NONE, Thinking.ADAPTIVE, 64_000),
        ("claude-opus-4-6", Sampling.ONE, Thinking.ADAPTIVE, 64_000),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", Sampling.ONE, Thinking.BUDGET, 64_000),
        ("anthropic/claude-haiku-4.5", Sampling.ONE, Thinking.BUDGET, 64_000),
        ("claude-opus-4-1@20250805", Sampling.ONE, Thinking.BUDGET, 32_000),
        ("claude-opus-4-20250514", Sampling.ALL, Thinking.BUDGET, 32_000),
        ("claude-3-7-sonnet-latest", Sampling.ALL, Thinking.BUDGET, 32_000),
        ("claude-3-5-haiku-20241022", Sampling.ALL, Thinking.NONE, 8192),
        ("claude-3-opus-20240229", Sampling.ALL, Thinking.NONE, 4096),
        ("deepseek-chat", Sampling.ALL, Thinking.BUDGET, 8192),
    ],
)
def test_messages_models(model: str, sampling: Sampling, thinking: Thinking, max_output_tokens: int) -> None:
    """Newer ones choose their sampling themselves; what is not known is asked for little."""
    traits = messages_traits(model)
    assert (traits.sampling, traits.thinking) == (sampling, thinking)
    assert traits.max_output_tokens == max_output_tokens
    assert traits.takes_system_in_place is ("claude" in model and sampling is Sampling.NONE)


@pytest.mark.parametrize(
    ("model", "efforts", "takes_sampling"),
    [
        ("gpt-4o", (), True),
        ("o3-mini", ("low", "medium", "high"), False),
        ("openai/o4-mini", ("low", "medium", "high"), False),
        ("gpt-5-mini", ("minimal", "low", "medium", "high"), False),
        ("gpt-5.1", ("none", "low", "medium", "high"), False),
        ("gpt-5.2", ("none", "low", "medium", "high", "xhigh"), False),
        ("gpt-5.5-pro", ("none", "low", "medium", "high", "xhigh"), False),
        ("gpt-6-sol", ("none", "low", "medium", "high", "xhigh"), False),
        ("openai/gpt-6.2-astra", ("none", "low", "medium", "high", "xhigh"), False),
        ("gpt-oss-120b", ("low", "medium", "high"), True),
        ("gpt-4.1", (), True),
        ("gpt-35-turbo", (), True),
        ("gpt-5-chat-latest", (), True),
        ("llama-3", (), True),
        ("foo1", (), True),
    ],
)
def test_chat_models(model: str, efforts: tuple[str, ...], takes_sampling: bool) -> None:
    """Only those that are known to reason are asked to."""
    traits = chat_traits(model)
    assert (traits.efforts, traits.takes_sampling) == (efforts, takes_sampling)


def test_deepseek_wants_its_reasoning_back() -> None:
    """Else it refuses a turn with tools."""
    assert chat_traits("deepseek-reasoner").returns_reasoning


@pytest.mark.parametrize("id_", ["toolu_01AbC", "call-1", "x" * 256])
def test_good_ids_stay(id_: str) -> None:
    """A client finds its call by the id."""
    assert message_tool_id(id_) == id_
    assert chat_tool_id(id_, 256) == id_


def test_dropped_names() -> None:
    """Each once, and never one that a client made up."""
    dropped = Dropped()
    for name in ("seed", "x", "seed", "y"):
        dropped.add(name)
    assert dropped.names() == ("seed", "other")
    assert "other" not in NAMES
