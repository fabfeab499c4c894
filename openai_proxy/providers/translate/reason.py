"""Why a model stopped, and how it was served, in each dialect's words."""

from __future__ import annotations

from typing import Final

FINISH_REASONS: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""OpenAI's ``finish_reason`` by Anthropic's ``stop_reason``."""

STOP_REASONS: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
"""Anthropic's ``stop_reason`` by OpenAI's ``finish_reason``."""

CHAT_TIERS: Final = {"standard": "default", "priority": "priority"}
"""The ``service_tier`` of an answer: OpenAI's by Anthropic's."""

MESSAGE_TIERS: Final = {"default": "standard", "priority": "priority", "fast": "priority"}
"""The ``service_tier`` of an answer: Anthropic's by OpenAI's."""


def finish_reason(stop_reason: object, answers_by_tool: bool = False) -> str:
    """An unknown reason is ``stop``. ``answers_by_tool``: the only tool called was ours."""
    if answers_by_tool and stop_reason == "tool_use":
        return "stop"
    return FINISH_REASONS.get(stop_reason, "stop") if isinstance(stop_reason, str) else "stop"


def stop_reason(finish_reason: object, calls_tools: bool = False, refuses: bool = False) -> str:
    """An unknown reason is ``end_turn``.

    Gemini says ``stop`` though it called tools: with it a client would not run them.
    """
    reason = STOP_REASONS.get(finish_reason, "end_turn") if isinstance(finish_reason, str) else "end_turn"
    if refuses and reason == "end_turn":
        return "refusal"
    if reason == "end_turn" and calls_tools:
        return "tool_use"
    return "end_turn" if reason == "tool_use" and not calls_tools else reason
