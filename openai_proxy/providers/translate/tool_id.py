"""Ids of tool calls, in the form that the other side takes; the same id always becomes the same."""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import Final

_MESSAGES_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,256}")
_KEPT_CHARS: Final = 32


def _digest(id_: str, chars: int) -> str:
    return blake2b(id_.encode("utf-8", "replace"), digest_size=32).hexdigest()[:chars]


def message_tool_id(id_: str) -> str:
    """Anthropic takes letters, digits, ``_`` and ``-``; other servers make ids like ``functions.f:0``."""
    if _MESSAGES_ID.fullmatch(id_):
        return id_
    return re.sub(r"[^a-zA-Z0-9_-]", "_", id_)[:_KEPT_CHARS] + "_" + _digest(id_, 16)


def chat_tool_id(id_: str, max_chars: int) -> str:
    """Shortened to what the server takes."""
    return id_ if len(id_) <= max_chars else _digest(id_, max_chars)
