"""HTTP 200 with an error in it, as some providers answer: the status that it should have had."""

from __future__ import annotations

from typing import Final

from openai_proxy.observe.members import ErrorName

_BAD_GATEWAY: Final = 502
_BY_NAME: Final = {
    "invalid_request_error": 400,
    "invalid_argument": 400,
    "failed_precondition": 400,
    "authentication_error": 401,
    "unauthenticated": 401,
    "invalid_api_key": 401,
    "billing_error": 402,
    "permission_error": 403,
    "permission_denied": 403,
    "not_found_error": 404,
    "not_found": 404,
    "model_not_found": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "resource_exhausted": 429,
    "requests": 429,
    "tokens": 429,
    "server_error": 500,
    "api_error": 500,
    "internal": 500,
    "unavailable": 503,
    "deadline_exceeded": 504,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""Types and codes of OpenAI, Anthropic and Google, in lower case."""


def status_of(error: ErrorName) -> int:
    """By its code, if that is a status of errors; else by what its code or type is called; else 502."""
    type_, code = error
    if code is not None and code.isdecimal() and len(code) == 3 and 400 <= int(code) < 600:
        return int(code)
    for name in (code, type_):
        status = _BY_NAME.get((name or "").lower())
        if status is not None:
            return status
    return _BAD_GATEWAY
