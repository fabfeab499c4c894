"""What was used, in each dialect's words.

OpenAI's ``prompt_tokens`` has the caches in it, Anthropic's ``input_tokens`` has not.
"""

from __future__ import annotations

from typing import Any

import msgspec

from openai_proxy.observe.usage import NO_QUIRKS, CompletionUsage, MessageUsage, Quirks, Usage

Json = dict[str, Any]


def of_message(usage: object) -> Usage | None:
    """The ``usage`` of a message; None if it says nothing that can be read."""
    try:
        return msgspec.convert(usage, MessageUsage, strict=False).normal(NO_QUIRKS)
    except msgspec.ValidationError:
        return None


def of_completion(usage: object, quirks: Quirks = NO_QUIRKS) -> Usage | None:
    """The ``usage`` of a chat completion; None if it says nothing that can be read."""
    try:
        return msgspec.convert(usage, CompletionUsage, strict=False).normal(quirks)
    except msgspec.ValidationError:
        return None


def completion_usage(usage: Usage) -> Json:
    """OpenAI's ``usage``."""
    prompt, completion = usage.input_tokens or 0, usage.output_tokens or 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_input_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def message_usage(usage: Usage) -> Json:
    """Anthropic's ``usage``; no number is below 0, whatever the upstream counted."""
    prompt = usage.input_tokens or 0
    read = min(usage.cached_input_tokens, prompt)
    written = min(usage.cache_write_tokens, prompt - read)
    said: Json = {
        "input_tokens": prompt - read - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": usage.output_tokens or 0,
    }
    if usage.reasoning_tokens:
        said["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return said
