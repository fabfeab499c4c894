"""Numbers for the tool calls of one streamed choice, by their ids."""

from __future__ import annotations

from typing import Any, Final

MAX_CALLS: Final = 1024
"""Calls of one choice that are numbered. Others stay as they come, and so does a list of more."""

_Key = tuple[int | None, int]
"""The index that was given, and the hash of the id: some providers put kilobytes of signature in one."""


class ToolNumbers:
    """Where each tool call of a choice belongs; those whose index is right keep it.

    A call is known by its id together with its index. One without an id goes on with what had its index
    last; with neither, it is a new call if it names a function, else the last one's next piece.
    """

    __slots__ = ("called", "_by_key", "_latest", "_next", "_of_index", "_unnamed", "_used")

    def __init__(self) -> None:
        self.called = False
        """Whether the choice has called any tool."""
        self._by_key: dict[_Key, int] = {}
        self._of_index: dict[int, int] = {}
        """By a given index: the number of the call that had it last."""
        self._used: set[int] = set()
        self._unnamed: set[int] = set()
        """Those of which no id has come yet."""
        self._next = 0
        self._latest: int | None = None

    def wrong_indices(self, calls: list[Any]) -> dict[int, int]:
        """By place in the list: the indices that are to be put in."""
        wrong: dict[int, int] = {}
        if len(calls) > MAX_CALLS:
            return wrong
        for place, call in enumerate(calls):
            if not isinstance(call, dict):
                continue
            index = call.get("index")
            given = index if type(index) is int and index >= 0 else None
            number = self._number(call, given)
            if number is not None and number != given:
                wrong[place] = number
        return wrong

    def _number(self, call: dict[str, Any], given: int | None) -> int | None:
        text = call.get("id")
        if isinstance(text, str) and text:
            number = self._number_of_id((given, hash(text)))
        else:
            number = self._number_without_id(call, given)
        if number is not None:
            self._latest = number
            if given is not None:
                self._of_index[given] = number
        return number

    def _number_of_id(self, key: _Key) -> int | None:
        number = self._by_key.get(key)
        if number is None:
            given = key[0]
            number = None if given is None else self._of_index.get(given)
            # Its id may come after its first piece.
            if number not in self._unnamed:
                number = self._new(given)
            if number is not None:
                self._by_key[key] = number
                self._unnamed.discard(number)
        return number

    def _number_without_id(self, call: dict[str, Any], given: int | None) -> int | None:
        if given is not None:
            number = self._of_index.get(given)
        else:
            number = None if _names_function(call) else self._latest
        if number is None and (number := self._new(given)) is not None:
            self._unnamed.add(number)
        return number

    def _new(self, given: int | None) -> int | None:
        """Its own index if no other call has it, else the next; None if there are too many."""
        if len(self._used) >= MAX_CALLS:
            return None
        number = self._next if given is None or given in self._used else given
        self._used.add(number)
        self._next = max(self._next, number + 1)
        return number


def _names_function(call: dict[str, Any]) -> bool:
    function = call.get("function")
    return isinstance(function, dict) and bool(function.get("name"))
