"""Events that are alike but for a text: told by a few comparisons, with no JSON decoded.

Nearly all events of a stream repeat one before them in every byte but those of one string. A
template is made of an event that was read with care; what fits it says nothing else than that
event did, and brings a token of the same kind. What does not fit is read with care.
"""

from __future__ import annotations

import re
import string
from typing import Final, Protocol

from openai_proxy.observe.sse import MAX_EVENT_BYTES

_BLANK_LINE: Final = b"\n\n"
_ESCAPED: Final = (
    rb"\\(?:[\"\\/bfnrt]|u(?![dD][89a-fA-F])[0-9a-fA-F]{4}"
    rb"|u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
)
_IN_STRING: Final = re.compile(rb"[^\"\\\x00-\x1f]*+(?:%b[^\"\\\x00-\x1f]*+)*+" % _ESCAPED)
"""What may stand between the quotes of a JSON string (RFC 8259, section 7), if it is UTF-8."""
_HARMLESS: Final = b" !#$%&'()*+,-./:;<=>?@[]^_`{|}~"
"""ASCII that is no letter, stands for itself in a string, and often stands around a word."""
_PLAIN: Final = _HARMLESS + string.ascii_letters.encode() + string.digits.encode()

_TEXT: Final = re.compile(
    rb'"(?:(?<=[{,]")|(?<=[{,] "))'
    rb'(?:content|text|reasoning_content|reasoning|arguments|thinking|partial_json)": ?"'
    rb'((?:[^"\\]|\\.)++)"'
)
"""A quote inside a string has a backslash before it: after ``{`` or ``,`` this is a member itself."""
_FILL: Final = re.compile(rb', ?"obfuscation": ?"([^"\\]*+)"')


class Template(Protocol):
    """A form of event. Data must begin between two events."""

    kind: int
    """``TOKEN`` or ``VISIBLE``: what each such event brings."""

    def fit(self, data: bytes, begin: int) -> tuple[int, int]:
        """How many such events come next from ``begin`` on, and where they end."""


class TextTemplate:
    """One JSON text in one line, in which one string, not empty, and one of no meaning vary."""

    __slots__ = ("_end", "_fill", "_head", "_head_end", "_tail", "kind")

    def __init__(self, head: bytes, fill: bytes, tail: bytes, kind: int) -> None:
        """:param head: up to the text, and ``tail`` from behind it, blank line included.

        :param fill: what is between the text and the second string; empty if there is none
        """
        self.kind = kind
        self._head = head
        self._head_end = len(head)
        self._fill = fill
        self._tail = tail
        self._end = -len(tail)

    def fit(self, data: bytes, begin: int) -> tuple[int, int]:
        if not data.startswith(self._head, begin) or len(data) > MAX_EVENT_BYTES:
            return 0, begin
        if data.endswith(self._tail):
            text = data[begin + self._head_end : self._end]
            if text.find(b"\n") < 0:
                return (1, len(data)) if self._is_text(text) else (0, begin)
        return self._fit_several(data, begin)

    def _is_text(self, text: bytes) -> bool:
        """Whether this may stand where nothing else than the text stood."""
        if self._fill:
            text, found, fill = text.partition(self._fill)
            if not found or (fill and not fill.isalnum()):
                return False
        # A word or a mark, as most are; or else looked at more closely.
        return text.strip(_HARMLESS).isalnum() or (text != b"" and _are_strings([text]))

    def _fit_several(self, data: bytes, begin: int) -> tuple[int, int]:
        find, starts = data.find, data.startswith
        fill, tail = self._fill, self._tail
        first = fill or tail
        texts: list[bytes] = []
        fills: list[bytes] = []
        end = begin
        while starts(self._head, end):
            place = end + self._head_end
            quote = find(b'"', place)
            if not starts(first, quote):
                quote = self._after_escaped(data, place, quote)
            if quote <= place:
                break
            text = data[place:quote]
            if fill:
                place = quote + len(fill)
                quote = find(b'"', place)
                if not starts(tail, quote):
                    break
                fills.append(data[place:quote])
            texts.append(text)
            end = quote - self._end
        return (len(texts), end) if _are_strings(texts + fills) else (0, begin)

    def _after_escaped(self, data: bytes, place: int, quote: int) -> int:
        """Where the text from ``place`` ends, if the first quotes are a part of it; else -1."""
        while quote > place and data[quote - 1] == 0x5C:  # a backslash
            quote = data.find(b'"', quote + 1)
            if data.startswith(self._fill or self._tail, quote):
                return quote
        return -1


class HeadTemplate:
    """One line of data, of which the beginning says what it brings unless some bytes are in it."""

    __slots__ = ("_but", "_head", "kind")

    def __init__(self, head: bytes, but: bytes, kind: int) -> None:
        """:param but: what is not in such an event"""
        self.kind = kind
        self._head = head
        self._but = but

    def fit(self, data: bytes, begin: int) -> tuple[int, int]:
        events = 0
        head, but = self._head, self._but
        while data.startswith(head, begin) and len(data) - begin <= MAX_EVENT_BYTES:
            end = data.find(b"\n", begin + len(head))
            if not data.startswith(_BLANK_LINE, end) or data.find(but, begin, end) >= 0:
                break
            if data.find(b"\r", begin, end) >= 0:
                break
            events += 1
            begin = end + 2
        return events, begin


def text_template(block: bytes, kind: int) -> TextTemplate | None:
    """Of a whole event in its usual form, whose data is valid JSON.

    The caller knows that its kind depends on none of its strings but by whether it is empty.
    """
    text = _TEXT.search(block, block.index(b"\ndata: ") if block.startswith(b"event: ") else 0)
    if text is None:
        return None
    head, tail = block[: text.start(1)], block[text.end(1) :]
    fill = _FILL.search(tail)
    if fill is None:
        return TextTemplate(head, b"", tail, kind)
    return TextTemplate(head, tail[: fill.start(1)], tail[fill.end(1) :], kind)


def data_of(block: bytes) -> bytes | None:
    """Of a whole event in its usual form: one line of data, perhaps with its name before it."""
    if not block.endswith(_BLANK_LINE) or b"\r" in block or len(block) > MAX_EVENT_BYTES:
        return None
    first, _, second = block[:-2].partition(b"\n")
    if first.startswith(b"data: ") and not second:
        return first[6:]
    if first.startswith(b"event: ") and second.startswith(b"data: ") and b"\n" not in second:
        return second[6:]
    return None


def _are_strings(texts: list[bytes]) -> bool:
    # A blank between them: neither an escape nor a character of UTF-8 may go from one to the next.
    joined = b" ".join(texts)
    if not joined.translate(None, _PLAIN):
        return True
    if _IN_STRING.fullmatch(joined) is None:
        return False
    if joined.isascii():
        return True
    try:
        joined.decode()
    except UnicodeDecodeError:
        return False
    return True
