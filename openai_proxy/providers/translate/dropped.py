"""The names of what was left out of a translated request, for a counter."""

from __future__ import annotations

from typing import Final

OTHER: Final = "other"

NAMES: Final = frozenset(
    {
        # Of a chat completion.
        *("audio", "frequency_penalty", "logit_bias", "logprobs", "metadata", "modalities", "moderation"),
        *("prediction", "presence_penalty", "prompt_cache_key", "prompt_cache_options"),
        *("prompt_cache_retention", "response_format", "seed", "store", "tool_choice", "top_logprobs"),
        *("verbosity", "web_search_options", "message.name", "message.audio", "message.reasoning_content"),
        # Of a Messages request.
        *("anthropic_beta", "billing_header", "container", "context_management", "diagnostics"),
        *("inference_geo", "mcp_servers", "server_tool", "server_tool_block", "thinking_block", "citations"),
        # Of both.
        *("cache_control", "reasoning_effort", "service_tier", "speed", "stop", "temperature", "thinking"),
        *("top_k", "top_p"),
    }
)
"""A client may send any name; a label of the numbers must be one of a few."""


class Dropped:
    """Collects names, each once, in the order in which they were met."""

    __slots__ = ("_names",)

    def __init__(self) -> None:
        self._names: dict[str, None] = {}

    def add(self, name: str) -> None:
        """What is not in ``NAMES`` is ``other``."""
        self._names[name if name in NAMES else OTHER] = None

    def names(self) -> tuple[str, ...]:
        """All that were added."""
        return tuple(self._names)
