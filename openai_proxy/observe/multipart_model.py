"""The model in a ``multipart/form-data`` body (RFC 7578): found, and another put there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

MOST_PARTS: Final = 128
LONGEST_NAME: Final = 256

_LONGEST_HEAD: Final = 4096
_BOUNDARY: Final = re.compile(
    rb"multipart/form-data[ \t]*+;(?:.*;)?[ \t]*+"
    rb'boundary=(?:"(?P<quoted>[^"]{1,70})"|(?P<token>[^\s";,]{1,70}))',
    re.IGNORECASE,
)
_LONGEST_TYPE: Final = 512
_LINE_END: Final = re.compile(rb"--|[ \t]*+\r\n")
_DISPOSITION: Final = re.compile(
    rb"^content-disposition[ \t]*+:[ \t]*+form-data[ \t]*+(;[^\r\n]*+)", re.I | re.M
)
_PARAMETER: Final = re.compile(rb';[ \t]*+([^\s=;"]++)=(?:"((?:[^"\\]|\\.)*+)"|([^\s;"]*+))')

Span = tuple[int, int]


def boundary_in(content_type: bytes) -> bytes | None:
    """The boundary that a Content-Type names; None if it is of no form, or names none."""
    match = _BOUNDARY.match(content_type) if len(content_type) <= _LONGEST_TYPE else None
    if match is None:
        return None
    return match["quoted"] or match["token"]


def model_spans(body: bytes, boundary: bytes) -> list[Span]:
    """Where the values of all fields called ``model`` are; files are none.

    Empty if there is none in the first ``MOST_PARTS`` parts, or what is found is longer than any name.
    A part whose end is not there is no part, so the beginning of a body can be looked at too.
    """
    found = [(begin, end) for begin, end, head in _parts(body, boundary) if _is_model(head)]
    return found if all(end - begin <= LONGEST_NAME for begin, end in found) else []


def model_in_form(body: bytes, boundary: bytes) -> str:
    """The last of the models that a form names; empty if it names none, or not in UTF-8."""
    spans = model_spans(body, boundary)
    if not spans:
        return ""
    begin, end = spans[-1]
    try:
        return body[begin:end].decode()
    except UnicodeDecodeError:
        return ""


def splice_form_model(body: bytes, boundary: bytes, model: str) -> bytes | None:
    """``body`` with ``model`` as the value of every field called ``model``, every other byte kept.

    Of every one: servers do not agree on which of several counts. None if there is none, or if the
    name would end the part.
    """
    spans = model_spans(body, boundary)
    value = model.encode()
    if not spans or b"\r" in value or b"\n" in value:
        return None
    pieces: list[bytes] = []
    place = 0
    for begin, end in spans:
        pieces += (body[place:begin], value)
        place = end
    return b"".join((*pieces, body[place:]))


def _parts(body: bytes, boundary: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Each part's content, and its head: at most ``MOST_PARTS``, in time linear in the body's length."""
    dashed = b"\r\n--" + boundary
    # The first one may begin the body: as if a line end stood before it.
    line = _delimiter(body, dashed[2:], 0) if body.startswith(dashed[2:]) else _delimiter(body, dashed, 0)
    for _ in range(MOST_PARTS):
        if line is None or line[1] < 0:
            return
        head_begin = line[1]
        head_end = body.find(b"\r\n\r\n", head_begin - 2, head_begin + _LONGEST_HEAD)
        if head_end < 0:
            return
        line = _delimiter(body, dashed, head_end + 2)
        # A delimiter whose line end is the head's own is that of a part without content.
        if line is not None and line[0] >= head_end + 4:
            yield head_end + 4, line[0], body[head_begin:head_end]


def _delimiter(body: bytes, dashed: bytes, place: int) -> Span | None:
    """Where the next delimiter begins and its line ends; the end of the last one of all is -1.

    After the boundary come blanks and a line end, or two dashes (RFC 2046 section 5.1.1): what only
    begins like it is content.
    """
    while (begin := body.find(dashed, place)) >= 0:
        place = begin + len(dashed)
        follows = _LINE_END.match(body, place)
        if follows is not None:
            return begin, -1 if follows[0] == b"--" else follows.end()
    return None


def _is_model(head: bytes) -> bool:
    match = _DISPOSITION.search(head)
    if match is None:
        return False
    parameters = {name.lower(): quoted or token for name, quoted, token in _PARAMETER.findall(match[1])}
    return parameters.get(b"name") == b"model" and not any(
        name.startswith(b"filename") for name in parameters
    )
