"""Anthropic's Messages, whole and as events, and errors in Anthropic's form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from openai_proxy.providers.mock.ask import Ask
from openai_proxy.providers.mock.body import SERVER_ERROR, Content, Events, named_event
from openai_proxy.providers.mock.text import token_count, words
from openai_proxy.providers.mock.usage import cached_tokens

_EVENTS_BESIDE_DELTAS = 6

_ERROR_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""Other statuses: see :func:`message_error`."""


def message(ask: Ask) -> Content:
    """POST /v1/messages: the Messages API, as ``/mock/v1/messages``. Raises ``Refused``."""
    ask.required("messages")
    ask.required("max_tokens")
    count, whole = ask.deltas(ask.integer("max_tokens", 1))
    given = [ask.body[name] for name in ("system", "messages") if ask.body.get(name) is not None]
    input_tokens = sum(map(token_count, given))
    said = words(ask.seed, 0, count, whole)
    ended = {"stop_reason": "end_turn" if whole else "max_tokens", "stop_sequence": None}
    if ask.stream:
        error = b"event: error\ndata: " + message_error(500, SERVER_ERROR) + b"\n\n"
        begun = _message(ask, [], _NOT_ENDED, _usage(ask, input_tokens, min(count, 1)))
        pieces = _events(begun, said, ended, count)
        return Content(Events(pieces, count + _EVENTS_BESIDE_DELTAS, error), input_tokens + count)
    content = [{"type": "text", "text": b"".join(said).decode()}]
    answer = _message(ask, content, ended, _usage(ask, input_tokens, count))
    return Content(msgspec.json.encode(answer), input_tokens + count)


def message_error(status: int, text: str) -> bytes:
    """An error in Anthropic's form, JSON (the API reference, "Errors")."""
    type_ = _ERROR_TYPES.get(status) or ("invalid_request_error" if status < 500 else "api_error")
    return msgspec.json.encode({"type": "error", "error": {"type": type_, "message": text}})


_NOT_ENDED = {"stop_reason": None, "stop_sequence": None}


def _usage(ask: Ask, input_tokens: int, output_tokens: int) -> dict[str, Any]:
    """Here what came from the cache is no part of ``input_tokens``."""
    cached = cached_tokens(ask.seed, input_tokens)
    return {
        "input_tokens": input_tokens - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output_tokens,
        "service_tier": "standard",
    }


def _message(
    ask: Ask, content: list[Any], ended: Mapping[str, str | None], usage: dict[str, Any]
) -> dict[str, Any]:
    return {
        "id": "msg_" + ask.seed.hex(),
        "type": "message",
        "role": "assistant",
        "model": ask.model,
        "content": content,
        **ended,
        "usage": usage,
    }


def _events(
    begun: dict[str, Any], said: Iterator[bytes], ended: Mapping[str, str | None], count: int
) -> Iterator[bytes]:
    """The order is that of the API reference, "Streaming messages"."""
    yield named_event("message_start", message=begun)
    yield named_event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    yield named_event("ping")
    for word in said:
        yield named_event("content_block_delta", index=0, delta={"type": "text_delta", "text": word.decode()})
    yield named_event("content_block_stop", index=0)
    yield named_event("message_delta", delta=ended, usage={"output_tokens": count})
    yield named_event("message_stop")
