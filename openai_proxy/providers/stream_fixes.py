"""What some providers get wrong in chat completions in OpenAI's form, put right in the bytes."""

from __future__ import annotations

import re
from typing import Any, Final

from openai_proxy.config.provider import Quirks
from openai_proxy.providers.completion_splices import (
    MAX_CHOICES,
    Wrong,
    decoded_object,
    spliced,
    with_right_reasons,
)
from openai_proxy.providers.tool_numbers import ToolNumbers

MAX_LINE_BYTES: Final = 1024 * 1024
"""A longer line of a stream goes through as it is, and is not held."""

_PREFIX: Final = b"data:"
_LINE_END: Final = re.compile(rb"[\r\n]")
_TOOL_CALLS: Final = b'"tool_calls"'
_STOP: Final = b'"stop"'


def stream_fixes_of(quirks: Quirks) -> StreamFixes | None:
    """What one stream of such a provider needs; None if it needs nothing."""
    if not (quirks.fix_tool_index or quirks.fix_finish_reason):
        return None
    return StreamFixes(quirks)


def fixed_completion(body: bytes, quirks: Quirks) -> bytes:
    """A whole completion that is no stream, as JSON; the same object if nothing is changed.

    ``fix_tool_index`` is nothing here: whole calls have no index.
    """
    return with_right_reasons(body) if quirks.fix_finish_reason else body


class StreamFixes:
    """Pieces of one plain (not compressed) stream in, what goes to the client out.

    With ``fix_tool_index`` the tool calls of each choice are numbered: those without an index, and those
    that have one of another id. With ``fix_finish_reason`` a choice that has called tools ends with
    ``tool_calls`` instead of ``stop``. A line that needs neither keeps its bytes. Of the stream no more
    is held than a line of data whose end has not come, of which no client could use a part.
    """

    __slots__ = ("_called", "_choices", "_fixes_index", "_fixes_reason", "_held", "_is_passing")

    def __init__(self, quirks: Quirks) -> None:
        self._fixes_index = quirks.fix_tool_index
        self._fixes_reason = quirks.fix_finish_reason
        self._held = bytearray()
        self._is_passing = False
        """The line that has begun was given on."""
        self._called = False
        """Whether any choice has called a tool."""
        self._choices: dict[int, ToolNumbers] = {}

    @property
    def inside(self) -> bool:
        """Whether the next byte belongs to a line that has begun."""
        return self._is_passing or len(self._held) > 0

    def feed(self, data: bytes) -> bytes:
        """What to give on of ``data`` and of what waited; the same object if nothing is changed."""
        if not self.inside and data.endswith((b"\n", b"\r")) and not self._may_need(data):
            return data
        parts: list[bytes] = []
        begin = 0
        if self.inside:
            found = _LINE_END.search(data)
            begin = len(data) if found is None else found.end()
            self._go_on(data[:begin], found is not None, parts)
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if begin < end:
            parts.append(self._lines(data[begin:end]))
            begin = end
        if begin < len(data):
            self._start(data[begin:], parts)
        given = b"".join(parts)
        return data if given == data else given

    def end(self) -> bytes:
        """What still waited: the stream ended inside a line."""
        held, self._held = bytes(self._held), bytearray()
        return self._line(held)

    def _may_need(self, data: bytes) -> bool:
        return _TOOL_CALLS in data or (self._called and self._fixes_reason and _STOP in data)

    def _start(self, data: bytes, parts: list[bytes]) -> None:
        """The beginning of a line."""
        if (data.startswith(_PREFIX) or _PREFIX.startswith(data)) and len(data) <= MAX_LINE_BYTES:
            self._held += data
        else:
            self._is_passing = True
            parts.append(data)

    def _go_on(self, data: bytes, is_end: bool, parts: list[bytes]) -> None:
        """More of the line that has begun."""
        if self._is_passing:
            self._is_passing = not is_end
            parts.append(data)
            return
        held = self._held
        held += data
        if is_end:
            self._held = bytearray()
            parts.append(self._line(bytes(held)))
        elif len(held) > MAX_LINE_BYTES or not (held.startswith(_PREFIX) or _PREFIX.startswith(held)):
            self._held = bytearray()
            self._is_passing = True
            parts.append(bytes(held))

    def _lines(self, data: bytes) -> bytes:
        if not self._may_need(data):
            return data
        return b"".join([self._line(line) for line in data.splitlines(keepends=True)])

    def _line(self, line: bytes) -> bytes:
        if not line.startswith(_PREFIX) or not self._may_need(line) or len(line) > MAX_LINE_BYTES:
            return line
        chunk = decoded_object(line[len(_PREFIX) :])
        choices = chunk.get("choices") if chunk is not None else None
        if not isinstance(choices, list) or len(choices) > MAX_CHOICES:
            return line
        wrong = {
            place: self._wrong(choice) for place, choice in enumerate(choices) if isinstance(choice, dict)
        }
        wrong = {place: found for place, found in wrong.items() if found.reason or found.indices}
        return spliced(line, len(_PREFIX), wrong) if wrong else line

    def _wrong(self, choice: dict[str, Any]) -> Wrong:
        """What is wrong in a chunk's part of one choice, by what came before."""
        numbers = self._numbers_of(choice.get("index"))
        if numbers is None:
            return Wrong(False, {})
        delta = choice.get("delta")
        calls = delta.get("tool_calls") if isinstance(delta, dict) else None
        indices: dict[int, int] = {}
        if isinstance(calls, list) and any(isinstance(call, dict) for call in calls):
            self._called = numbers.called = True
            if self._fixes_index:
                indices = numbers.wrong_indices(calls)
        is_wrong = self._fixes_reason and numbers.called and choice.get("finish_reason") == "stop"
        return Wrong(is_wrong, indices)

    def _numbers_of(self, index: object) -> ToolNumbers | None:
        """Of a choice; None if there are too many in the stream already."""
        key = index if isinstance(index, int) else 0
        numbers = self._choices.get(key)
        if numbers is None and len(self._choices) < MAX_CHOICES:
            numbers = self._choices[key] = ToolNumbers()
        return numbers
