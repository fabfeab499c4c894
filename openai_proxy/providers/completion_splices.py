"""Splices into a chat completion, or a chunk of one: every byte beside them stays as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Raw

from openai_proxy.observe.json_spans import Member, TangledJson, members
from openai_proxy.observe.members import UNREADABLE

MAX_CHOICES: Final = 256
"""Choices that are looked at; an answer with more stays as it comes."""

_TOOL_CALLS: Final = b'"tool_calls"'
_STOP: Final = b'"stop"'
_EMPTY: Final = re.compile(rb"\{[ \t\n\r]*+\}")

_Splice = tuple[int, int, bytes]
"""Where it begins, where it ends, and what comes there instead."""

_list = msgspec.json.Decoder(list[Raw])


class Wrong(NamedTuple):
    """What is wrong in one choice."""

    reason: bool
    """Its ``finish_reason`` says ``stop``, and is to say ``tool_calls``."""
    indices: Mapping[int, int]
    """By place in its delta's ``tool_calls``: the ``index`` that is to be there."""


def decoded_object(data: bytes) -> dict[str, Any] | None:
    """A JSON object; None if it is none."""
    try:
        value = msgspec.json.decode(data)
    except UNREADABLE:
        return None
    return value if isinstance(value, dict) else None


def with_right_reasons(body: bytes) -> bytes:
    """A whole chat completion whose choices that call tools say so in ``finish_reason``, not ``stop``.

    The same object if nothing is to be changed. (No index is missing there: whole calls have none.)
    """
    if _TOOL_CALLS not in body or _STOP not in body:
        return body
    completion = decoded_object(body)
    choices = completion.get("choices") if completion is not None else None
    if not isinstance(choices, list) or len(choices) > MAX_CHOICES:
        return body
    wrong = {place: Wrong(True, {}) for place, choice in enumerate(choices) if _is_wrong(choice)}
    return spliced(body, 0, wrong) if wrong else body


def spliced(data: bytes, begin: int, wrong: Mapping[int, Wrong]) -> bytes:
    """The object in ``data`` from ``begin`` on (behind white space), with what is wrong put right.

    It must be valid JSON with all that ``wrong``, by place in its ``choices``, tells of. One with more
    members than anybody means stays as it is.
    """
    parts: list[bytes] = []
    done = 0
    try:
        splices = sorted(_splices(data, begin, wrong))
    except TangledJson:
        return data
    for start, end, text in splices:
        parts += (data[done:start], text)
        done = end
    return b"".join([*parts, data[done:]])


def _is_wrong(choice: Any) -> bool:
    if not isinstance(choice, dict) or choice.get("finish_reason") != "stop":
        return False
    message = choice.get("message")
    return isinstance(message, dict) and bool(message.get("tool_calls"))


def _splices(data: bytes, begin: int, wrong: Mapping[int, Wrong]) -> Iterator[_Splice]:
    for place, start in enumerate(_elements(data, _by_name(data, begin)["choices"])):
        found = wrong.get(place)
        if found is None:
            continue
        choice = _by_name(data, start)
        if found.reason:
            reason = choice["finish_reason"]
            yield reason.begin, reason.end, _TOOL_CALLS
        if found.indices:
            calls = _by_name(data, choice["delta"].begin)["tool_calls"]
            for number, call in enumerate(_elements(data, calls)):
                if number in found.indices:
                    yield _index_splice(data, call, found.indices[number])


def _index_splice(data: bytes, call: int, index: int) -> _Splice:
    there = _by_name(data, call).get("index")
    if there is not None:
        return there.begin, there.end, b"%d" % index
    comma = b"," if _EMPTY.match(data, call) is None else b""
    return call + 1, call + 1, b'"index":%d%b' % (index, comma)


def _by_name(data: bytes, begin: int) -> dict[str, Member]:
    """Of a name that comes twice the last one counts, as it does for who decodes it."""
    return {member.name: member for member in members(data, begin)}


def _elements(data: bytes, array: Member) -> Iterator[int]:
    """Where each element of an array begins."""
    place = array.begin + 1
    for raw in _list.decode(data[array.begin : array.end]):
        # Between two stand but a comma and white space: the next place where its bytes are is its own.
        element = bytes(raw)
        place = data.index(element, place)
        yield place
        place += len(element)
