"""What the model that a request is for takes; by its name, until the configuration says otherwise."""

from __future__ import annotations

import re
from enum import Enum, IntEnum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace


class Sampling(IntEnum):
    """Which of ``temperature``, ``top_p`` and ``top_k`` a model takes."""

    NONE = 0
    ONE = 1
    """``temperature`` or ``top_p``, not both."""
    ALL = 2


class Thinking(Enum):
    """How a Messages model is asked to think."""

    NONE = "none"
    BUDGET = "budget"
    """``{"type": "enabled", "budget_tokens": n}``"""
    ADAPTIVE = "adaptive"
    """``{"type": "adaptive"}`` and ``output_config.effort``"""


class MessagesTraits(Struct, frozen=True, kw_only=True):
    """A model behind the Messages API."""

    max_output_tokens: int = 64_000
    """Asked for where the client set no bound; the API requires one."""
    sampling: Sampling = Sampling.NONE
    thinking: Thinking = Thinking.ADAPTIVE
    takes_system_in_place: bool = True
    """Whether a message may have the role ``system``."""
    takes_output_format: bool = True
    """Whether ``output_config.format`` may be a JSON schema."""


class ChatTraits(Struct, frozen=True, kw_only=True):
    """A model behind the chat completions API."""

    max_tokens_name: str = "max_completion_tokens"
    """``max_tokens`` for most servers that are not OpenAI's."""
    efforts: tuple[str, ...] = ()
    """What ``reasoning_effort`` may be, least first; empty: the model does not take it."""
    takes_sampling: bool = True
    takes_top_k: bool = False
    takes_stream_options: bool = True
    returns_reasoning: bool = False
    """Whether earlier thinking goes back as ``reasoning_content`` (DeepSeek requires it)."""
    max_stops: int = 4
    max_tool_id_chars: int = 40


_CLAUDE: Final = re.compile(r"claude-(?:[a-z]+-)*(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
_SAMPLING_ENDS: Final = (4, 7)
_ADAPTIVE_BEGINS: Final = (4, 6)
_OUTPUT_FORMAT_BEGINS: Final = (4, 5)
_ONE_SAMPLING_BEGINS: Final = (4, 1)
_THINKING_BEGINS: Final = (3, 7)
_LONG_OUTPUT_BEGINS: Final = (4, 5)

_NOT_CLAUDE: Final = MessagesTraits(
    max_output_tokens=8192,
    sampling=Sampling.ALL,
    thinking=Thinking.BUDGET,
    takes_system_in_place=False,
    takes_output_format=False,
)
"""Servers that speak the dialect (vLLM, DeepSeek, llama.cpp) speak what is oldest of it."""


def messages_traits(model: str) -> MessagesTraits:
    """Of a name as any of the places that serve Claude writes it; a Claude without a version is new."""
    if "claude" not in model:
        return _NOT_CLAUDE
    match = _CLAUDE.search(model)
    if match is None:
        return MessagesTraits()
    version = (int(match[1]), int(match[2] or 0))
    if version >= _SAMPLING_ENDS:
        return MessagesTraits()
    return MessagesTraits(
        max_output_tokens=_max_output_tokens(version),
        sampling=Sampling.ONE if version >= _ONE_SAMPLING_BEGINS else Sampling.ALL,
        thinking=_thinking(version),
        takes_system_in_place=False,
        takes_output_format=version >= _OUTPUT_FORMAT_BEGINS,
    )


def _max_output_tokens(version: tuple[int, int]) -> int:
    if version >= _LONG_OUTPUT_BEGINS:
        return 64_000
    if version >= _THINKING_BEGINS:
        # Opus 4 has the least of them.
        return 32_000
    return 8192 if version >= (3, 5) else 4096


def _thinking(version: tuple[int, int]) -> Thinking:
    if version >= _ADAPTIVE_BEGINS:
        return Thinking.ADAPTIVE
    return Thinking.BUDGET if version >= _THINKING_BEGINS else Thinking.NONE


_GPT: Final = re.compile(r"gpt-(\d)(?:\.(\d+))?(?!\d)")
"""Azure's ``gpt-35-turbo`` is none of them."""
_GPT_REASONING_BEGINS: Final = (5, 0)
_GPT_NONE_BEGINS: Final = (5, 1)
_GPT_XHIGH_BEGINS: Final = (5, 2)
_REASONER: Final = re.compile(r"(?:^|/)o\d")
_REASONING: Final = ChatTraits(efforts=("low", "medium", "high"), takes_sampling=False)


def chat_traits(model: str) -> ChatTraits:
    """Of OpenAI's names; a model that is not known to reason is not asked to."""
    match = _GPT.search(model)
    if match is not None and "chat" not in model:
        version = (int(match[1]), int(match[2] or 0))
        if version >= _GPT_REASONING_BEGINS:
            return replace(_REASONING, efforts=_gpt_efforts(version))
    if _REASONER.search(model):
        return _REASONING
    if "gpt-oss" in model:
        return ChatTraits(efforts=_REASONING.efforts)
    if "deepseek" in model:
        return ChatTraits(max_tokens_name="max_tokens", returns_reasoning=True)
    return ChatTraits()


def _gpt_efforts(version: tuple[int, int]) -> tuple[str, ...]:
    if version < _GPT_NONE_BEGINS:
        return ("minimal", "low", "medium", "high")
    extra = ("xhigh",) if version >= _GPT_XHIGH_BEGINS else ()
    return ("none", "low", "medium", "high", *extra)
