"""Calls of tools as OpenAI's stream gives them: in fragments, which may be of several calls in turn."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from openai_proxy.providers.translate.member import parsed_object
from openai_proxy.providers.translate.to_messages.answer import arguments_of, call_id

MAX_HELD_CHARS: Final = 4 * 1024 * 1024
_CHARS_PER_CALL: Final = 256
"""What a call costs but for its arguments, so that their number is bounded too."""


class Function(Struct, gc=False):
    """What a fragment says of the function."""

    name: str | None = None
    arguments: Any = None


class Fragment(Struct, gc=False):
    """An entry of ``delta.tool_calls``."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Call(Struct):
    """One call so far."""

    id: str
    name: str
    parts: list[str]
    """Of the arguments, from the first on."""
    is_closed: bool = False


class Calls:
    """Which call a fragment is of, and whose turn it is: one is sent as it comes, the others wait."""

    __slots__ = ("_by_id", "_by_index", "_chars", "_count", "_last", "_unlooked_chars", "current", "waiting")

    def __init__(self) -> None:
        self.current: Call | None = None
        self.waiting: list[Call] = []
        self._by_id: dict[str, Call] = {}
        self._by_index: dict[int, Call] = {}
        self._last: Call | None = None
        self._count = 0
        self._chars = 0
        self._unlooked_chars = 0
        """What has come since the current one was last looked at."""

    @property
    def any_seen(self) -> bool:
        """Whether there was a call at all."""
        return self._count > 0

    def take(self, fragment: Fragment, answer_id: str) -> tuple[Call, str] | None:
        """The call and what its arguments go on with; None if it is closed, or all are too long."""
        function = fragment.function or Function()
        name, text = function.name or "", arguments_of(function.arguments)
        call = self._call_of(fragment, name)
        if call is None:
            call = self._new(fragment, name, answer_id)
        elif not call.name:
            call.name = name
        self._last = call
        self._chars += len(text)
        self._unlooked_chars += _CHARS_PER_CALL + len(text)
        if self._chars > MAX_HELD_CHARS or (call.is_closed and text):
            return None
        if text:
            call.parts.append(text)
        return call, text

    def _call_of(self, fragment: Fragment, name: str) -> Call | None:
        """None for a new one.

        Gemini leaves the index out, Ollama says 0 for all, and some make a new id for each
        fragment: the id and the name decide before the index does.
        """
        if fragment.id and fragment.id in self._by_id:
            return self._by_id[fragment.id]
        if name and (fragment.id or fragment.index is None):
            return None
        return self._last if fragment.index is None else self._by_index.get(fragment.index)

    def _new(self, fragment: Fragment, name: str, answer_id: str) -> Call:
        call = Call(fragment.id or call_id(answer_id, self._count), name, [])
        self._count += 1
        self._chars += _CHARS_PER_CALL + len(call.id) + len(name)
        self._by_id[call.id] = call
        if fragment.index is not None:
            self._by_index[fragment.index] = call
        self.waiting.append(call)
        return call

    @property
    def may_turn(self) -> bool:
        """Whether the next one's turn has come: its name is known, and the one before is whole."""
        # A block is opened with its name: one that comes later would be lost.
        if not self.waiting or not self.waiting[0].name:
            return False
        return self.current is None or self._is_whole(self.current)

    def _is_whole(self, call: Call) -> bool:
        # Two long calls whose fragments take turns would be read from their beginnings with each of them:
        # more is not read than has come.
        if sum(map(len, call.parts)) > self._unlooked_chars:
            return False
        self._unlooked_chars = 0
        text = "".join(call.parts)
        call.parts = [text] if text else []
        return bool(text) and parsed_object(text) is not None

    def turn(self) -> Call | None:
        """Close the one before; the next, all of whose parts are to be sent now."""
        if self.current is not None:
            self.current.is_closed = True
            self.current.parts = []
        self.current = self.waiting.pop(0) if self.waiting else None
        return self.current
