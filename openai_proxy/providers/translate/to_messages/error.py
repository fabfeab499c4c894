"""Anthropic's errors out of OpenAI's, and of those that speak like it."""

from __future__ import annotations

from typing import Any, Final

from openai_proxy.providers.translate.member import Json
from openai_proxy.providers.translate.refusal import type_of_status
from openai_proxy.providers.translate.to_chat.error import CONTEXT_LENGTH_EXCEEDED, first_of, message_of

TOO_LONG: Final = "prompt is too long"
"""By these words of Anthropic's a client knows that it must shorten its conversation."""
_TYPES: Final = {
    "rate_limit_exceeded": "rate_limit_error",
    "insufficient_quota": "billing_error",
    "server_error": "api_error",
    "overloaded": "overloaded_error",
    "overloaded_error": "overloaded_error",
    "invalid_request_error": "invalid_request_error",
}
"""Within a stream, where there is no status: by code or type."""


def message_error(status: int, body: Any, request_id: str | None = None) -> Json:
    """The body for a client of Anthropic's; the status stays as it is.

    :param body: decoded, whatever it is; None if it is no JSON.
    """
    return _body(type_of_status(status), message_of(body), code_of(body), request_id)


def event_error(body: Any) -> Json:
    """The event ``error`` for one within OpenAI's stream."""
    code = code_of(body)
    error = body.get("error") if isinstance(body, dict) else None
    kind = error.get("type") if isinstance(error, dict) else None
    by_code = _TYPES.get(code or "")
    by_type = _TYPES.get(kind) if isinstance(kind, str) else None
    return _body(by_code or by_type or "api_error", message_of(body), code, None)


def _body(kind: str, message: str, code: str | None, request_id: str | None) -> Json:
    if code == CONTEXT_LENGTH_EXCEEDED and TOO_LONG not in message:
        message = f"{TOO_LONG}: {message}"
    body: Json = {"type": "error", "error": {"type": kind, "message": message}}
    return body if request_id is None else body | {"request_id": request_id}


def code_of(body: Any) -> str | None:
    """OpenAI's ``code``, if it is a name."""
    body = first_of(body)
    error = body.get("error") if isinstance(body, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) else None
