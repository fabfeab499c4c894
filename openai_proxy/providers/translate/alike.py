"""Events of a stream that differ in one text only: what is around it is translated once.

A form is made of an event that was translated with care. What fits it has the same bytes but for
that text, which is copied, or decoded and encoded alone. What does not fit is translated with care.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable
from typing import Final

import msgspec

from openai_proxy.observe.members import UNREADABLE
from openai_proxy.observe.sse import MAX_EVENT_BYTES
from openai_proxy.providers.translate.event import encode

_TEXT: Final = re.compile(rb'[{,] ?"(?:content|text)": ?"((?:[^"\\]|\\.)++)"')
"""A quote inside a string has a backslash before it: after ``{`` or ``,`` this is a member itself."""
_FILL: Final = re.compile(rb', ?"obfuscation": ?"([^"\\]*+)"')
_PLAIN: Final = b" !#$%&'()*+,-./:;<=>?@[]^_`{|}~" + string.ascii_letters.encode() + string.digits.encode()
"""ASCII that stands for itself in a string."""
_MARK: Final = "mark"
_BLANK_LINE: Final = b"\n\n"

_string = msgspec.json.Decoder(str)


class Form:
    """Of an event: a text between a head and a tail, perhaps with a second string of no meaning."""

    __slots__ = ("_fill", "_head", "_joint", "_size", "_tail")

    def __init__(self, head: bytes, fill: bytes, tail: bytes) -> None:
        """:param head: up to the text, and ``tail`` from behind it, blank line included.

        :param fill: what is between the text and the second string; empty if there is none.
        """
        self._head = head
        self._fill = fill
        self._tail = tail
        self._joint = tail + head
        self._size = len(head) + len(tail)

    def begins(self, event: bytes) -> bool:
        """Whether an event is of this form up to its text."""
        return event.startswith(self._head)

    def texts(self, data: bytes) -> tuple[list[bytes], int] | None:
        """The texts of the events that ``data`` is, and how many characters they are; None: look closely.

        ``data`` begins between two events. No text is empty; each is written as its string would be
        encoded, without the quotes.
        """
        middle = data.removeprefix(self._head).removesuffix(self._tail)
        if len(middle) != len(data) - self._size or len(data) > MAX_EVENT_BYTES:
            return None
        if b"\n" in middle:
            return self._several(middle)
        text = middle
        if self._fill:
            text, found, fill = middle.partition(self._fill)
            if not found or not (fill.isalnum() or not fill):
                return None
        if not text:
            return None
        # As nearly all are.
        return ([text], len(text)) if not text.translate(None, _PLAIN) else _written([text])

    def _several(self, middle: bytes) -> tuple[list[bytes], int] | None:
        texts = middle.split(self._joint)
        if self._fill:
            parts = [text.partition(self._fill) for text in texts]
            if not all([found and (fill.isalnum() or not fill) for _, found, fill in parts]):
                return None
            texts = [text for text, _, _ in parts]
        return None if b"" in texts else _written(texts)


def _written(texts: list[bytes]) -> tuple[list[bytes], int] | None:
    joined = texts[0] if len(texts) == 1 else b"".join(texts)
    if not joined.translate(None, _PLAIN):
        return texts, len(joined)
    try:
        said = [_string.decode(b'"%b"' % text) for text in texts]
    except UNREADABLE:
        return None
    return [encode(text)[1:-1] for text in said], sum(map(len, said))


class Forms:
    """The form of a stream's events at the moment, and when another is looked for."""

    __slots__ = ("_text_of", "_unlike", "form")

    def __init__(self, text_of: Callable[[bytes], str | None]) -> None:
        """:param text_of: the text that an event's data says, if it says nothing else."""
        self.form: Form | None = None
        self._text_of = text_of
        self._unlike = 0

    def learn(self, data: bytes) -> None:
        """``data`` ended with an event that was translated with care, and that brought a text."""
        event = data[:-2].rpartition(_BLANK_LINE)[2] + data[-2:]
        if self.form is not None and self.form.begins(event):
            return
        self._unlike += 1
        # Ever more rarely, so that a stream without a form is not searched for one each time.
        if not self._unlike & (self._unlike - 1):
            self.form = self._form_of(event) or self.form

    def _form_of(self, event: bytes) -> Form | None:
        if not event.endswith(_BLANK_LINE) or b"\r" in event or len(event) > MAX_EVENT_BYTES:
            return None
        lines = event[:-2].split(b"\n")
        if not lines[-1].startswith(b"data: ") or any(line.startswith(b"data") for line in lines[:-1]):
            return None
        found = _TEXT.search(event, len(event) - len(lines[-1]) - 2)
        if found is None:
            return None
        head, tail = event[: found.start(1)], event[found.end(1) :]
        # Of all strings it must be this one that is the text, whatever else has its name.
        data = (head + _MARK.encode() + tail)[len(event) - len(lines[-1]) - 2 + len(b"data: ") : -2]
        if self._text_of(data) != _MARK:
            return None
        fill = _FILL.search(tail)
        if fill is None:
            return Form(head, b"", tail)
        return Form(head, tail[: fill.start(1)], tail[fill.end(1) :])
