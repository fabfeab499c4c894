"""The few members of an answer that are read, so that nothing odd in one hides another."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises for what is no JSON, or not of the expected form."""

NOTHING: Final = Raw()
"""A member that is not there."""

ErrorName = tuple[str | None, str | None]
"""``(type, code)`` as the provider wrote them; None for what it did not say."""


class Named(Struct):
    """What any answer, chunk or object in an event may have at its top."""

    usage: Raw = NOTHING
    error: Raw = NOTHING
    model: Raw = NOTHING
    service_tier: Raw = NOTHING
    id: Raw = NOTHING
    status: Raw = NOTHING
    """Of a response or a run."""


class _Details(Struct):
    error_code: Raw = NOTHING


class _Error(Struct):
    type: Raw = NOTHING
    code: Raw = NOTHING
    status: Raw = NOTHING
    """Gemini's name for the type."""
    details: Raw = NOTHING
    """Anthropic keeps the code here."""


class _ErrorBody(_Error):
    error: Raw = NOTHING


MAX_NAME: Final = 253
_MAX_NAME_BYTES: Final = 12 * MAX_NAME + len('""')
"""Each character may be written as two escapes."""
_text = msgspec.json.Decoder(str | int)
_error = msgspec.json.Decoder(_Error)
_details = msgspec.json.Decoder(_Details)
_body = msgspec.json.Decoder(_ErrorBody)
_list = msgspec.json.Decoder(list[Raw])


def is_said(raw: Raw) -> bool:
    """Whether a member is there and is neither ``null`` nor an empty array, object or string."""
    return len(raw) > 4 or (len(raw) > 2 and bytes(raw) != b"null")


def text_of(raw: Raw) -> str | None:
    """A member that should be a short string, or a number; None if it is neither, or is empty."""
    if not 0 < len(raw) <= _MAX_NAME_BYTES:
        return None
    text = decoded(_text, raw)
    return None if text is None else name_of(str(text))


def name_of(text: str | None) -> str | None:
    """``text``, if it is short and not empty."""
    return text if text and len(text) <= MAX_NAME else None


def decoded(decoder: msgspec.json.Decoder[Any], data: bytes | Raw) -> Any:
    """What ``decoder`` makes of ``data``; None if that is not of its form."""
    try:
        return decoder.decode(data)
    except UNREADABLE:
        return None


def error_of(raw: Raw) -> ErrorName | None:
    """The name of an ``error`` member; None if there is no error, as ``false`` and 0 say too."""
    if not is_said(raw) or (len(raw) == len(b"false") and bytes(raw) == b"false"):
        return None
    error = decoded(_error, raw)
    if error is None:
        # {"error": "boom"}: an error without a name.
        return (None, None)
    return _name(error)


def error_in_body(data: bytes) -> ErrorName | None:
    """The error that a JSON body is, in any of the forms that providers give it.

    ``{"error": {...}}``, the same in a list (Gemini), or flat (Mistral, the event ``error`` of
    the Responses API). None if it names no error.
    """
    listed = decoded(_list, data)
    body = decoded(_body, listed[0] if listed else data)
    if body is None:
        return None
    named = error_of(body.error)
    if named is not None:
        return named
    kind, code = _name(body)
    return None if kind is None and code is None else (None if kind == "error" else kind, code)


def _name(error: _Error) -> ErrorName:
    code = text_of(error.code)
    if code is None and len(error.details):
        details = decoded(_details, error.details)
        code = text_of(details.error_code) if details is not None else None
    return (text_of(error.type) or text_of(error.status), code)
