"""What each cell must give: the SDK's view of it, and the tokens that the daemon counted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from tests.matrix.scenarios import STATUSES, UPLOAD, Json
from tests.matrix.ways import MODELS, Way
from tests.support.forms import anthropic_form, openai_form
from tests.support.forms.said import (
    CACHED,
    CALLS,
    DRAWN,
    DRAWN_OF,
    EMBEDDED,
    HEARD,
    HEARD_TEXT,
    INPUT,
    OUTPUT,
    PICTURE,
    REASONING,
    SPEECH,
    STRUCTURE,
    SUMMED_UP,
    TEXT,
    TRANSCRIBED,
    VECTOR,
    WRITTEN,
)

CLASSES: Final = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    409: "ConflictError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
}
REPLY_MODELS: Final = {
    "openai": "gpt-4o-2024-08-06",
    "azure": "gpt-4o-2024-08-06",
    "anthropic": "claude-haiku-4-5-20251001",
    "gemini": "gemini-2.5-flash",
}
GIVEN: Final = "given"
"""A request id that is not the upstream's: it had none, and the daemon gives one to every answer."""
FAILING: Final[Mapping[str, tuple[tuple[int, Mapping[str, str]], ...]]] = {
    "errors": tuple((status, {}) for status in STATUSES),
    "error_headers": ((429, {"retry-after": "0.002", "retry-after-ms": "1", "x-should-retry": "true"}),),
    "retries": ((429, {"retry-after-ms": "1"}), (503, {"retry-after": "0.001"})),
    "retries_told": ((400, {"retry-after-ms": "1", "x-should-retry": "true"}),),
    "retries_forbidden": ((503, {"x-should-retry": "false"}),),
}
"""How the upstream answers first, by scenario."""

# The cells that make no sense, and the error that a user gets for them.

_NO_SUCH_ENDPOINT: Final = {
    "files": "files",
    "speech": "audio/speech",
    "transcription": "audio/transcriptions",
    "response": "responses",
    "response_stream": "responses",
}
"""What Gemini does not have in this form: its own 404 says so."""
_NOT_IN_MESSAGES: Final = frozenset({*_NO_SUCH_ENDPOINT, "embeddings", "image"} - {"files"})
"""What Anthropic has nothing for."""
UNTRANSLATABLE: Final = {"class": "NotFoundError", "status": 404}
LEFT_OUT: Final = {
    ("transparent-gemini", "tools_stream"): "Gemini's own stream does not number calls; /v1 mends that",
    ("direct-gemini", "tools_stream"): "Gemini's own stream does not number calls; /v1 mends that",
    ("v1-anthropic", "files"): "Anthropic's files are another API (beta), with another form",
}
"""Cells that are not run, and why. anthropic-python has no embeddings, audio, images or responses at all."""


def refused(scenario: str, way: Way) -> Json | None:
    """The error that a user gets for what the way's provider does not have; None: it has it."""
    if way.form == "gemini" and scenario in _NO_SUCH_ENDPOINT:
        error = _error(404, way)
        if way.is_unified:
            error["message"] = f"Invalid URL (POST /v1beta/openai/{_NO_SUCH_ENDPOINT[scenario]})"
        return error
    if way.form == "anthropic" and scenario in _NOT_IN_MESSAGES:
        return UNTRANSLATABLE
    return None


def expected(scenario: str, way: Way) -> Json:
    """What an SDK of OpenAI's gives."""
    return refused(scenario, way) or _EXPECTED[scenario](way)


def tokens(scenario: str, way: Way) -> dict[str, list[int]]:
    """By model: input, cached, written, output and reasoning tokens that are counted for it."""
    models = MODELS[way.form]
    if refused(scenario, way) is not None:
        return {}
    if scenario == "settings":
        return {models.newest or models.chat: usage(way)}
    if scenario in _GENERATIONS:
        times = _GENERATIONS[scenario]
        return {models.chat: [times * one for one in usage(way)]} if times else {}
    if scenario == "embeddings":
        return {models.embedding: [EMBEDDED, 0, 0, 0, 0]}
    if scenario == "transcription":
        return {models.transcription: [HEARD, 0, 0, TRANSCRIBED, 0]}
    if scenario == "image" and way.form != "gemini":
        return {models.image: [DRAWN_OF, 0, 0, DRAWN, 0]}
    return {}


def asks(scenario: str) -> list[str]:
    """The ``x-stainless-retry-count`` of each request to the upstream; empty: whatever it is."""
    return {
        "retries": ["0", "1", "2"],
        "retries_told": ["0", "1"],
        "retries_forbidden": ["0"],
        "error_headers": ["0"],
        "errors": ["0"] * len(STATUSES),
    }.get(scenario, [])


_GENERATIONS: Final = {
    **{name: 1 for name in ("chat", "stream", "stream_unasked", "tools_stream", "structured")},
    **{name: 1 for name in ("response", "response_stream", "retries", "retries_told")},
    **{name: 0 for name in ("errors", "error_headers", "retries_forbidden", "files", "speech")},
    "tools": 2,
}


def usage(way: Way) -> list[int]:
    """Of one generation; Gemini tells only the totals."""
    return [INPUT, 0, 0, OUTPUT, 0] if way.form == "gemini" else [INPUT, CACHED, WRITTEN, OUTPUT, REASONING]


def _request_id(way: Way) -> str | None:
    if way.form != "gemini":
        return "req_scripted"
    return None if way.is_direct else GIVEN


def _chat(way: Way) -> Json:
    return {
        "text": TEXT,
        "finish": "stop",
        "model": REPLY_MODELS[way.form],
        "usage": usage(way),
        "request_id": _request_id(way),
    }


def _stream(way: Way) -> Json:
    bare = 0 if way.form == "gemini" else 1
    return {"text": TEXT, "finish": "stop", "usage": usage(way), "usage_events": bare}


def _stream_unasked(way: Way) -> Json:
    told = usage(way) if way.form == "gemini" else None
    return {"text": TEXT, "finish": "stop", "usage": told, "usage_events": 0}


def _tools(way: Way) -> Json:
    calls = [[name, arguments] for name, arguments in CALLS]
    return {"calls": calls, "finish": "tool_calls", "text": SUMMED_UP, "usage": usage(way)}


def _tools_stream(way: Way) -> Json:
    calls = [[place, name, arguments] for place, (name, arguments) in enumerate(CALLS)]
    return {"calls": calls, "finish": "tool_calls", "ids": len(CALLS)}


def _files(way: Way) -> Json:
    content = hashlib.sha256(UPLOAD).hexdigest()
    return {"bytes": len(UPLOAD), "seen": len(UPLOAD), "content": content, "deleted": True}


def _image(way: Way) -> Json:
    return {"picture": PICTURE, "tokens": None if way.form == "gemini" else [DRAWN_OF, DRAWN]}


def _response(way: Way) -> Json:
    return {"text": TEXT, "status": "completed", "usage": usage(way)}


def _response_stream(way: Way) -> Json:
    return {"text": TEXT, "last": "response.completed", "usage": usage(way)}


def _error(status: int, way: Way) -> Json:
    """As the SDK reads the provider's own form, or the one that it was translated to."""
    found: dict[str, Any] = {
        "class": CLASSES.get(status) or ("InternalServerError" if status >= 500 else "APIStatusError"),
        "status": status,
        "message": f"Scripted {status}.",
        "code": f"code_{status}",
        "type": None,
        "request_id": _request_id(way),
    }
    by_status = "server_error" if status >= 500 else "invalid_request_error"
    if way.form == "openai":
        found["type"] = openai_form.ERROR_TYPES.get(status, by_status)
    elif way.form == "gemini" and way.is_unified:
        found["code"] = str(status)
    elif way.form == "gemini":
        # A list, in which the SDK looks for nothing: /v1 takes the error out of it.
        found |= {"message": None, "code": None}
    elif way.form == "anthropic":
        by_status = "api_error" if status >= 500 else "invalid_request_error"
        kind = anthropic_form.ERROR_TYPES.get(status, by_status)
        found |= {"type": kind, "code": kind}
    return found


def _error_headers(way: Way) -> Json:
    return _error(429, way) | dict(FAILING["error_headers"][0][1])


_EXPECTED: Final[Mapping[str, Callable[[Way], Json]]] = {
    "chat": _chat,
    "settings": lambda way: {"text": TEXT, "usage": usage(way)},
    "stream": _stream,
    "stream_unasked": _stream_unasked,
    "tools": _tools,
    "tools_stream": _tools_stream,
    "structured": lambda _: {"parsed": STRUCTURE, "refusal": None},
    "embeddings": lambda _: {"vectors": [list(VECTOR)] * 2, "tokens": EMBEDDED},
    "files": _files,
    "speech": lambda _: {"sound": hashlib.sha256(SPEECH).hexdigest()},
    "transcription": lambda _: {"text": HEARD_TEXT, "tokens": [HEARD, TRANSCRIBED]},
    "image": _image,
    "response": _response,
    "response_stream": _response_stream,
    "errors": lambda way: {str(status): _error(status, way) for status in STATUSES},
    "error_headers": _error_headers,
    "retries": _chat,
    "retries_told": _chat,
    "retries_forbidden": lambda way: _error(503, way),
}
