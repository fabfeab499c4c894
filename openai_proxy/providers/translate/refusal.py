"""An error of ours in the client's dialect; it needs nothing of what translates."""

from __future__ import annotations

import json
from typing import Any, Final

from openai_proxy.wire.errors import error_body

ANTHROPIC: Final = "anthropic"
OPENAI: Final = "openai"

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


def type_of_status(status: int) -> str:
    """Anthropic's name for errors of a status."""
    return TYPES.get(status) or ("api_error" if status >= 500 else "invalid_request_error")


def refusal(
    client_dialect: str,
    status: int,
    message: str,
    type_: str,
    code: str | None = None,
    param: str | None = None,
    request_id: str | None = None,
) -> bytes:
    """The body, UTF-8 JSON. Anthropic's form has no place for a code or a parameter.

    :param type_: OpenAI's; Anthropic's is said by the status.
    :param request_id: said in Anthropic's form only.
    """
    if client_dialect != ANTHROPIC:
        return error_body(message, type_, code, param)
    body: dict[str, Any] = {
        "type": "error",
        "error": {"type": type_of_status(status), "message": message},
    }
    if request_id is not None:
        body["request_id"] = request_id
    return json.dumps(body).encode()
