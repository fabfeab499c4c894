"""OpenAI's errors out of Anthropic's."""

from __future__ import annotations

from typing import Any, Final

from openai_proxy.providers.translate.member import Json
from openai_proxy.providers.translate.refusal import type_of_status

CONTEXT_LENGTH_EXCEEDED: Final = "context_length_exceeded"
_TOO_LONG: Final = ("prompt is too long", "exceed context limit", "context window")
NO_MESSAGE: Final = "The upstream answered with an error that has no message."


def completion_error(status: int, body: Any) -> Json:
    """The body for a client of OpenAI's; the status stays as it is, 529 too: clients try again.

    :param body: decoded, whatever it is; None if it is no JSON.
    """
    first = first_of(body)
    error = first.get("error") if isinstance(first, dict) else None
    if not isinstance(error, dict):
        # A gateway's, or a framework's.
        error = {"message": message_of(body)}
    return {"error": error_members(error, type_of_status(status))}


def error_members(error: Any, default_type: str) -> Json:
    """``error`` of Anthropic's body or event, in OpenAI's four members."""
    said = error if isinstance(error, dict) else {}
    kind = said.get("type")
    kind = kind if isinstance(kind, str) and kind else default_type
    message = said.get("message")
    message = message if isinstance(message, str) and message else NO_MESSAGE
    details = said.get("details")
    code = details.get("error_code") if isinstance(details, dict) else None
    if not isinstance(code, str) or not code:
        code = kind
    if kind == "invalid_request_error" and any(words in message.lower() for words in _TOO_LONG):
        code = CONTEXT_LENGTH_EXCEEDED
    return {"message": message, "type": kind, "param": None, "code": code}


def first_of(body: Any) -> Any:
    """Gemini's errors come in a list."""
    return body[0] if isinstance(body, list) and body else body


def message_of(body: Any) -> str:
    """What went wrong, wherever a server says it: ``error``, ``message`` and ``detail`` are in use."""
    body = first_of(body)
    if not isinstance(body, dict):
        return NO_MESSAGE
    error = body.get("error")
    inner = error.get("message") if isinstance(error, dict) else error
    for said in (inner, body.get("message"), body.get("detail")):
        if isinstance(said, str) and said:
            return said
    return NO_MESSAGE
