"""How many tokens a Messages request has, estimated where its provider cannot be asked.

An estimate, not a count: tokenizers differ by model, and none is at hand. It is for clients that ask
before they send (``count_tokens``), and for the beginning of a stream, where Anthropic says a number.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from openai_proxy.providers.translate.member import Json

BYTES_PER_TOKEN: Final = 4
"""Of UTF-8: English has a byte a character; in other scripts a token is fewer characters."""
IMAGE_TOKENS: Final = 1600
"""What Anthropic counts for the largest that it does not shrink."""
DOCUMENT_TOKENS: Final = 3000
"""A PDF of a page or two."""
MESSAGE_TOKENS: Final = 4
"""Around each message."""

_FLAT: Final = {"image": IMAGE_TOKENS, "document": DOCUMENT_TOKENS}
_UNREAD: Final = frozenset(
    {"type", "role", "id", "tool_use_id", "cache_control", "signature", "media_type", "is_error"}
)
"""Members that are no part of what the model reads."""
_REDACTED: Final = "redacted_thinking"


def estimated_input_tokens(body: Json) -> int:
    """Of a Messages request, decoded; tools count with their schemas. At least 1.

    What is odd in it counts as the text that is in it: nothing is refused here.
    """
    messages, tools = body.get("messages"), body.get("tools")
    count = len(messages) if isinstance(messages, list) else 0
    size, flat = _content([body.get("system"), messages])
    if tools:
        size += len(msgspec.json.encode(tools))
    return max(1, MESSAGE_TOKENS * count + flat + -(-size // BYTES_PER_TOKEN))


def _content(value: Any) -> tuple[int, int]:
    """The bytes of its texts, and the tokens of what is none."""
    size = flat = 0
    left: list[Any] = [value]
    while left:
        value = left.pop()
        if isinstance(value, str):
            size += len(value) if value.isascii() else len(value.encode("utf-8", "replace"))
        elif isinstance(value, list):
            left += value
        elif isinstance(value, dict):
            tokens = _flat_tokens(value)
            flat += tokens
            if "input" in value:
                size += len(msgspec.json.encode(value["input"]))
            if not tokens and value.get("type") != _REDACTED:
                left += [part for name, part in value.items() if name not in _UNREAD and name != "input"]
    return size, flat


def _flat_tokens(block: Json) -> int:
    """What is not text counts a flat number; 0: look into it."""
    kind, source = block.get("type"), block.get("source")
    if not isinstance(kind, str) or not isinstance(source, dict):
        return 0
    # A document may also be text, or have content of its own.
    return 0 if source.get("type") in ("text", "content") else _FLAT.get(kind, 0)
