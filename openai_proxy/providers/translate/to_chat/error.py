"""OpenAI's errors out of Anthropic's."""

from __future__ import annotations

from typing import Any, Final

from openai_proxy.providers.translate.member import Json
from openai_proxy.providers.translate.untranslatable import Untranslatable

TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""Anthropic's types by status (https://platform.claude.com/docs/en/api/errors)."""

CONTEXT_LENGTH_EXCEEDED: Final = "context_length_exceeded"
_TOO_LONG: Final = ("prompt is too long", "exceed context limit", "context window")
NO_MESSAGE: Final = "The upstream answered with an error that has no message."


def type_of_status(status: int) -> str:
    """Anthropic's name for errors of a status."""
    return TYPES.get(status) or ("api_error" if status >= 500 else "invalid_request_error")


def completion_error(status: int, body: Any) -> Json:
    """The body for a client of OpenAI's; the status stays as it is, 529 too: clients try again.

    :param body: decoded, whatever it is; None if it is no JSON.
    """
    error = body.get("error") if isinstance(body, dict) else None
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


def refusal(error: Untranslatable) -> Json:
    """Ours to a client of OpenAI's whose request could not be translated."""
    members = {"message": error.message, "type": "invalid_request_error", "param": error.param}
    return {"error": members | {"code": "unsupported_value"}}
