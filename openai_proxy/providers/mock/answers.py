"""From a request's method, path and body to the answer: no clock, no I/O."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from http import HTTPStatus

from openai_proxy.providers.mock.ask import Ask, Refused, parse_ask
from openai_proxy.providers.mock.audio import speech, transcription
from openai_proxy.providers.mock.body import JSON, SERVER_ERROR, Content, Events
from openai_proxy.providers.mock.completions import chat, completion
from openai_proxy.providers.mock.embeddings import embeddings
from openai_proxy.providers.mock.form import parse_form
from openai_proxy.providers.mock.images import image
from openai_proxy.providers.mock.knobs import Knobs
from openai_proxy.providers.mock.messages import message, message_error
from openai_proxy.providers.mock.models import model, models
from openai_proxy.providers.mock.moderations import moderation
from openai_proxy.providers.mock.responses import response
from openai_proxy.wire.errors import error_body
from openai_proxy.wire.fields import Field

MAX_BODY_BYTES = 32 << 20

_MESSAGES = "/v1/messages"
_TRANSCRIPTIONS = "/v1/audio/transcriptions"
_POSTS: dict[str, Callable[[Ask], Content]] = {
    "/v1/chat/completions": chat,
    "/v1/completions": completion,
    "/v1/responses": response,
    "/v1/embeddings": embeddings,
    "/v1/moderations": moderation,
    "/v1/images/generations": image,
    "/v1/audio/speech": speech,
    _TRANSCRIPTIONS: transcription,
    _MESSAGES: message,
}
_MODELS = "/v1/models"
_GZIP = (b"Content-Encoding", b"gzip")
_NO_BODY = frozenset({204, 205, 304})
_TOKENS_A_MINUTE = 2_000_000
_REQUESTS_A_MINUTE = 10_000

_ERRORS: dict[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", "invalid_value", "The request is not valid."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    402: ("insufficient_quota", "insufficient_quota", "You have no credit left."),
    403: (
        "request_forbidden",
        "unsupported_country_region_territory",
        "Country, region, or territory not supported",
    ),
    404: ("invalid_request_error", "model_not_found", "The model does not exist."),
    405: ("invalid_request_error", "method_not_supported", "The method is not allowed."),
    408: ("invalid_request_error", "request_timeout", "The request took too long to arrive."),
    409: ("invalid_request_error", "conflict", "The resource was changed by another request."),
    413: ("invalid_request_error", "request_too_large", "The request is too large."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached. Please try again in 1s."),
    503: ("server_error", "server_overloaded", "The engine is currently overloaded, please try again later"),
}
"""Type, code and message by status; other statuses: see :func:`_error_of`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, fields as sent, and the body: bytes, or events where it is streamed."""

    status: int
    fields: list[Field]
    body: bytes | Events


def phrase_of(status: int) -> bytes:
    """The reason phrase of ``status``; empty for one that has none."""
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""


def path_of(uri: bytes) -> str:
    """The path of an absolute URI or of a request target, without query and fragment."""
    before_query = uri.partition(b"#")[0].partition(b"?")[0]
    scheme, _, rest = before_query.partition(b"://")
    # A target may hold a URI in its path: only what begins with a scheme has an authority.
    path = b"/" + rest.partition(b"/")[2] if rest and b"/" not in scheme else before_query
    return path.decode("utf-8", "replace")


def answer(method: bytes, uri: bytes, raw: bytes, knobs: Knobs, size: int | None = None) -> Answer:
    """The answer to a request whose body begins with ``raw`` and has ``size`` bytes (default: all).

    The same request gets the same answer, to the byte.
    """
    status = knobs.status or 200
    try:
        if status >= 300:
            raise _error_of(status)
        content = _content(method, path_of(uri), raw, knobs, len(raw) if size is None else size)
    except Refused as refused:
        return refusal(refused, method, uri, raw, knobs)
    fields = _fields(status, method, uri, raw, knobs, content.tokens)
    if isinstance(content.body, Events) and status not in _NO_BODY:
        if knobs.gzip:
            fields.insert(0, _GZIP)
        fields.insert(0, (b"Content-Type", b"text/event-stream; charset=utf-8"))
        return Answer(status, fields, content.body)
    body = b"" if isinstance(content.body, Events) else content.body
    return _whole_answer(status, fields, method, body, knobs, content.media_type)


def refusal(refused: Refused, method: bytes, uri: bytes, raw: bytes, knobs: Knobs) -> Answer:
    """The error answer that ``refused`` tells of."""
    if path_of(uri) == _MESSAGES:
        body = message_error(refused.status, refused.message)
    else:
        body = error_body(refused.message, refused.type, refused.code, refused.param)
    fields = _fields(refused.status, method, uri, raw, knobs, 0)
    return _whole_answer(refused.status, fields, method, body, knobs)


def _whole_answer(
    status: int, fields: list[Field], method: bytes, body: bytes, knobs: Knobs, media_type: bytes = JSON
) -> Answer:
    if status in _NO_BODY:
        return Answer(status, fields, b"")
    if knobs.gzip and media_type == JSON:
        body = gzip.compress(body, mtime=0)
        fields.insert(0, _GZIP)
    fields[:0] = [(b"Content-Type", media_type), (b"Content-Length", b"%d" % len(body))]
    return Answer(status, fields, b"" if method == b"HEAD" else body)


def _content(method: bytes, path: str, raw: bytes, knobs: Knobs, size: int) -> Content:
    post = _POSTS.get(path)
    if post is not None:
        _allow(method, b"POST")
        if size > MAX_BODY_BYTES:
            raise _error_of(413)
        parse = parse_form if path == _TRANSCRIPTIONS else parse_ask
        return post(parse(path, raw, knobs.chunks))
    if path == _MODELS:
        _allow(method, b"GET", b"HEAD")
        return models()
    name = path.removeprefix(_MODELS + "/")
    if name and name != path and "/" not in name:
        _allow(method, b"GET", b"HEAD")
        return model(name)
    verb = method[:32].decode("ascii", "replace")
    raise Refused(404, f"Unknown request URL: {verb} {path[:256]}.", "unknown_url")


def _allow(method: bytes, *allowed: bytes) -> None:
    if method not in allowed:
        message = f"Only {allowed[0].decode()} requests are accepted."
        raise Refused(405, message, "method_not_supported")


def _error_of(status: int) -> Refused:
    type_, code, message = _ERRORS.get(status) or (
        ("server_error", None, SERVER_ERROR)
        if status >= 500
        else ("invalid_request_error", None, phrase_of(status).decode() or "The request failed.")
    )
    return Refused(status, message, code, type_=type_)


def _fields(status: int, method: bytes, uri: bytes, raw: bytes, knobs: Knobs, tokens: int) -> list[Field]:
    digest = blake2b(b"%b %b\n" % (method, uri) + raw, digest_size=16).hexdigest()
    fields = [
        (b"x-request-id", b"req_" + digest.encode()),
        (b"openai-processing-ms", b"%d" % round(knobs.delay_seconds * 1000)),
        (b"openai-version", b"2020-10-01"),
    ]
    limited = status == 429
    left = 0 if limited else _REQUESTS_A_MINUTE - 1
    fields += [
        (b"x-ratelimit-limit-requests", b"%d" % _REQUESTS_A_MINUTE),
        (b"x-ratelimit-remaining-requests", b"%d" % left),
        (b"x-ratelimit-reset-requests", b"1s" if limited else b"6ms"),
        (b"x-ratelimit-limit-tokens", b"%d" % _TOKENS_A_MINUTE),
        (b"x-ratelimit-remaining-tokens", b"%d" % max(0, _TOKENS_A_MINUTE - tokens)),
        (b"x-ratelimit-reset-tokens", b"%dms" % min(60_000, -(-tokens * 60_000 // _TOKENS_A_MINUTE))),
    ]
    if limited:
        fields.append((b"retry-after", b"1"))
    if path_of(uri) == _MESSAGES:
        # Anthropic's name of it.
        fields.append((b"request-id", b"req_" + digest.encode()))
    if status == 405:
        allow = b"GET" if path_of(uri).startswith(_MODELS) else b"POST"
        fields.append((b"Allow", allow))
    return fields
