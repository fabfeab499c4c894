"""Asking for the usage of a stream, where the client left it open."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from msgspec import Struct

from openai_proxy.observe.asked import Asked, asked_in
from openai_proxy.observe.json_spans import TangledJson, members
from openai_proxy.observe.members import decoded

_OPTIONS: Final = "stream_options"
_INCLUDE: Final = "include_usage"
_ASKED: Final = b'"include_usage":true'
_WITH_OPTIONS: Final = b'"stream_options":{' + _ASKED + b"}"


_QUOTED: Final = b'"stream_options"'
_NAMED: Final = re.compile(_QUOTED + rb"[ \t\n\r]*:[ \t\n\r]*")
_NOT_SPACE: Final = re.compile(rb"[^ \t\n\r]")


class _Options(Struct):
    include_usage: Any = None


_options = msgspec.json.Decoder(_Options)


def splice_include_usage(body: bytes, asked: Asked | None = None) -> bytes | None:
    """``body`` with ``stream_options.include_usage`` set to true and every other byte kept.

    None if it is not to be changed: no stream is asked for, the client decided itself, or it is
    no valid JSON object, or one with more members than anybody means. A ``null`` decides nothing, and is
    replaced.

    :param asked: what is in ``body``, if that is known already
    """
    asked = asked or asked_in(body)
    if not asked.is_stream:
        return None
    if not len(asked.stream_options):
        # Nearly always: after the first brace, and nothing else needs to be looked for.
        return _inserted(body, body.index(b"{"), _WITH_OPTIONS)
    options = decoded(_options, asked.stream_options)
    if options is None:
        # Not an object: the provider shall say so. But `null` is as good as nothing.
        if bytes(asked.stream_options) != b"null":
            return None
    elif options.include_usage is not None:
        return None
    try:
        return _with_options(body, options is None)
    except TangledJson:
        return None


def _with_options(body: bytes, is_null: bool) -> bytes:
    begin = _only(body)
    if begin:
        spliced = _spliced(body, begin, is_null)
        if _is_asked(spliced):
            return spliced
    begin, _ = _last(body, 0, _OPTIONS)
    return _spliced(body, begin, is_null)


def _only(body: bytes) -> int:
    """Where the value of the only member called so begins, be it at the top or not; else 0.

    It saves going through all of a long prompt. A quote inside a string has a backslash before
    it, so this is no text; but the top's own may be written with an escape.
    """
    found = _NAMED.search(body) if body.count(_QUOTED) == 1 else None
    return found.end() if found is not None else 0


def _is_asked(body: bytes) -> bool:
    options = decoded(_options, asked_in(body).stream_options)
    return options is not None and options.include_usage is True


def _spliced(body: bytes, begin: int, is_null: bool) -> bytes:
    """``body`` whose options, an object or a null, begin there."""
    if is_null:
        return b"%b{%b}%b" % (body[:begin], _ASKED, body[begin + len(b"null") :])
    if body[begin : begin + 1] != b"{":
        return body
    asked_begin, asked_end = _last(body, begin, _INCLUDE)
    if asked_begin:
        return b"%btrue%b" % (body[:asked_begin], body[asked_end:])
    return _inserted(body, begin, _ASKED)


def _last(body: bytes, begin: int, name: str) -> tuple[int, int]:
    """The value of the last member called so, for that one counts; ``(0, 0)`` if there is none."""
    found = 0, 0
    for member in members(body, begin):
        if member.name == name:
            found = member.begin, member.end
    return found


def _inserted(body: bytes, brace: int, member: bytes) -> bytes:
    """``member`` as the first of the object whose brace is there."""
    follows = _NOT_SPACE.search(body, brace + 1)
    comma = b"" if follows is None or follows[0] == b"}" else b","
    return b"%b%b%b%b" % (body[: brace + 1], member, comma, body[brace + 1 :])
