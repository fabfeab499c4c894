"""What of a prompt came from a cache, and what of an answer was reasoning: no text tells it."""

from __future__ import annotations

import re

CACHED_FROM = 1024
CACHED_STEP = 128
"""A shorter prompt is never cached, a longer one in such steps (the guide "Prompt caching")."""
REASONING_STEP = 64

_REASONING = re.compile(r"(?:o1|o3|o4-mini)(?:-|$)|gpt-5")


def cached_tokens(seed: bytes, prompt_tokens: int) -> int:
    """How many of ``prompt_tokens`` came from the cache: 0, or 1,024 and some steps of 128."""
    if prompt_tokens < CACHED_FROM:
        return 0
    steps = (prompt_tokens - CACHED_FROM) // CACHED_STEP
    return CACHED_FROM + CACHED_STEP * (int.from_bytes(seed[2:6], "big") % (steps + 1))


def reasoned(model: str, seed: bytes, limit: int | None) -> tuple[int, int | None]:
    """Tokens of reasoning before the text, and what they leave of ``limit`` for it.

    0 where ``model`` does not reason, else one to eight steps of 64. As in the API a small limit
    is used up by them, and then there is no text at all.
    """
    tokens = REASONING_STEP * (1 + seed[1] % 8) if _REASONING.match(model) else 0
    if limit is None:
        return tokens, None
    tokens = min(tokens, limit)
    return tokens, limit - tokens
