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

_MARK_BYTES: Final = 11
"""``"content":"`` is one: short, for the search is quicker, and seldom in what is around it."""
_LINE_FEED: Final = 0x0A
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

    __slots__ = (
        "_fill",
        "_fixed_size",
        "_head",
        "_head_end",
        "_head_mark",
        "_joint",
        "_tail",
        "_tail_size",
        "_unmarked",
        "kind",
    )

    def __init__(self, head: bytes, fill: bytes, tail: bytes, kind: int) -> None:
        """:param head: up to the text, and ``tail`` from behind it, blank line included.

        :param fill: what is between the text and the second string; empty if there is none
        """
        self.kind = kind
        self._head = head
        self._head_end = len(head)
        self._fill = fill
        self._tail = tail
        self._tail_size = len(tail)
        self._fixed_size = len(head) + len(tail)
        self._joint = tail + head
        self._head_mark = head[-_MARK_BYTES:]
        self._unmarked = -len(self._joint) + len(self._head_mark)

    def fit(self, data: bytes, begin: int) -> tuple[int, int]:
        if len(data) > MAX_EVENT_BYTES:
            return 0, begin
        # Methods with one argument take half the time of those with places, such as `startswith`.
        rest = data[begin:] if begin else data
        size = len(rest)
        middle = rest.removeprefix(self._head).removesuffix(self._tail)
        if len(middle) != size - self._fixed_size:
            # Something else came behind them.
            size = rest.rfind(self._tail) + self._tail_size
            middle = rest[:size].removeprefix(self._head).removesuffix(self._tail)
            if len(middle) != size - self._fixed_size:
                return self._fit_several(data, begin)
        if _LINE_FEED in middle:
            events = self._count(middle)
            return (events, begin + size) if events else self._fit_several(data, begin)
        text = self._without_fill(middle) if self._fill else middle
        # A word or a mark, as most are; or else looked at more closely.
        is_text = text.strip(_HARMLESS).isalnum() or (text != b"" and _is_string(text))
        return (1, begin + size) if is_text else (0, begin)

    def _without_fill(self, middle: bytes) -> bytes:
        """The text alone; empty if what follows it is not as it should be."""
        text, found, fill = middle.partition(self._fill)
        return text if found and (fill.isalnum() or not fill) else b""

    def _count(self, middle: bytes) -> int:
        """How many events these are, but for the first's head and the last's tail; 0: ask closely."""
        texts = middle.split(self._head_mark)
        unmarked = self._unmarked
        last = texts.pop()
        texts = [text[:unmarked] for text in texts]
        texts.append(last)
        # Whatever was cut at the marks, this and strings without quotes prove it.
        if self._joint.join(texts) != middle:
            return 0
        events = len(texts)
        if self._fill:
            fills = [text.partition(self._fill) for text in texts]
            if not all([found for _, found, _ in fills]):
                return 0
            texts = [text for text, _, _ in fills]
            if b"" not in texts:
                return events if _is_string(b" ".join(texts + [fill for _, _, fill in fills])) else 0
        return events if b"" not in texts and _is_string(b" ".join(texts)) else 0

    def _fit_several(self, data: bytes, begin: int) -> tuple[int, int]:
        find, starts = data.find, data.startswith
        head, head_size = self._head, self._head_end
        tail, tail_size = self._tail, self._tail_size
        fill = self._fill
        first = fill or tail
        texts: list[bytes] = []
        fills: list[bytes] = []
        end = begin
        while starts(head, end):
            place = end + head_size
            quote = find(b'"', place)
            if not starts(first, quote):
                # The first quotes are a part of it, or this is none.
                quote = _string_end(data, place)
                if not starts(first, quote):
                    break
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
            end = quote + tail_size
        return (len(texts), end) if _is_string(b" ".join(texts + fills)) else (0, begin)


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


def _string_end(data: bytes, begin: int) -> int:
    match = _IN_STRING.match(data, begin)
    return match.end() if match is not None else begin


def _is_string(text: bytes) -> bool:
    """Whether it may stand between quotes.

    Several are joined by a blank, which ends what may not go on in the next: neither an escape
    nor a character of UTF-8 has one in it.
    """
    if not text.translate(None, _PLAIN):
        return True
    if _IN_STRING.fullmatch(text) is None:
        return False
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
