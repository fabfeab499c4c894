"""What each cell of anthropic-python must give: the SDK's view of it, and the tokens that were counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from tests.matrix.expected import FAILING, GIVEN, REPLY_MODELS, usage
from tests.matrix.scenarios import STATUSES, Json
from tests.matrix.ways import MODELS, Way
from tests.support.forms.anthropic_form import ERROR_TYPES
from tests.support.forms.said import CALLS, INPUT, OUTPUT, STRUCTURE, SUMMED_UP, TEXT

CLASSES: Final = {
    400: "BadRequestError",
    401: "AuthenticationError",
    402: "PaymentRequiredError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    408: "RequestTimeoutError",
    409: "ConflictError",
    413: "ContentTooLargeError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
    503: "ServiceUnavailableError",
    504: "GatewayTimeoutError",
    529: "OverloadedError",
}
EVENTS: Final = [
    *("message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta"),
    "message_stop",
]
"""In the order in which each comes first. ``ping`` is not for applications: the SDK keeps it."""
ESTIMATED: Final = "estimated"
"""Tokens that are counted by the daemon: a provider of OpenAI's dialect has nothing that counts them."""


def expected(scenario: str, way: Way) -> Json:
    """What the SDK gives."""
    return _EXPECTED[scenario](way)


def tokens(scenario: str, way: Way) -> dict[str, list[int]]:
    """By model: input, cached, written, output and reasoning tokens that are counted for it."""
    times = {"errors": 0, "error_headers": 0, "retries_forbidden": 0, "count_tokens": 0, "tools": 2}
    used = [times.get(scenario, 1) * one for one in usage(way)]
    return {MODELS[way.form].chat: used} if any(used) else {}


def _request_id(way: Way) -> str:
    return GIVEN if way.form == "gemini" else "req_scripted"


def _chat(way: Way) -> Json:
    found = {"text": TEXT, "stop": "end_turn", "model": REPLY_MODELS[way.form]}
    return {**found, "usage": usage(way), "request_id": _request_id(way)}


def _tools(way: Way) -> Json:
    calls = [[name, input_] for name, input_ in CALLS]
    return {"calls": calls, "stop": "tool_use", "text": SUMMED_UP}


def _tools_stream(way: Way) -> Json:
    calls = [[name, input_] for name, input_ in CALLS]
    return {"calls": calls, "stop": "tool_use", "ids": len(CALLS)}


def _error(status: int, way: Way) -> Json:
    by_status = "api_error" if status >= 500 else "invalid_request_error"
    return {
        "class": CLASSES.get(status, "InternalServerError"),
        "status": status,
        "type": ERROR_TYPES.get(status, by_status),
        "message": f"Scripted {status}.",
        "request_id": _request_id(way),
    }


_EXPECTED: Final[Mapping[str, Callable[[Way], Json]]] = {
    "chat": _chat,
    "stream": lambda _: {"text": TEXT, "stop": "end_turn", "output": OUTPUT, "events": EVENTS},
    "stream_whole": lambda way: {"text": TEXT, "stop": "end_turn", "usage": usage(way)},
    "tools": _tools,
    "tools_stream": _tools_stream,
    "structured": lambda _: {"parsed": STRUCTURE},
    "count_tokens": lambda way: {"tokens": INPUT if way.form == "anthropic" else ESTIMATED},
    "errors": lambda way: {str(status): _error(status, way) for status in STATUSES},
    "error_headers": lambda way: _error(429, way) | dict(FAILING["error_headers"][0][1]),
    "retries": _chat,
    "retries_told": _chat,
    "retries_forbidden": lambda way: _error(503, way),
}
