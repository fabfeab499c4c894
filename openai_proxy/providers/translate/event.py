"""JSON of others, decoded with indulgence, and the events of a stream, written."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import msgspec

from openai_proxy.observe.members import UNREADABLE

encode: Final[Callable[[object], bytes]] = msgspec.json.Encoder().encode

CUT: Final = "The upstream's stream ended before its answer was whole."
UNREADABLE_EVENT: Final = "The upstream sent an event that cannot be read."


def decoded_text(decoder: msgspec.json.Decoder[Any], data: bytes) -> Any:
    """One JSON text; None if it cannot be read.

    Some programs cut an emoji in two, and each half is an escape that no text can hold: it becomes
    a question mark instead of the end of the stream.
    """
    try:
        return decoder.decode(data)
    except UNREADABLE:
        pass
    try:
        return decoder.decode(json.dumps(json.loads(data), ensure_ascii=False).encode("utf-8", "replace"))
    except (*UNREADABLE, ValueError):
        return None


def data_event(body: object) -> bytes:
    """An event without a name, as OpenAI sends them."""
    return b"data: " + encode(body) + b"\n\n"


def named_event(body: dict[str, Any]) -> bytes:
    """An event with its type as its name, as Anthropic sends them."""
    kind: str = body["type"]
    return b"event: " + kind.encode() + b"\ndata: " + encode(body) + b"\n\n"
