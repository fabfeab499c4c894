"""The chunks of a chat completion or a completion, as server-sent events."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from openai_proxy.observe.members import (
    NOTHING,
    UNREADABLE,
    Named,
    decoded,
    error_in_body,
    is_said,
)
from openai_proxy.observe.said import SILENT, TOKEN, VISIBLE, Said
from openai_proxy.observe.templates import Template, data_of, text_template
from openai_proxy.observe.usage import NO_QUIRKS, Form, Quirks

MAX_CHOICES_BYTES: Final = 64 * 1024
"""An event with more is not looked at choice by choice: made of the smallest, they took a second."""
_NULL_BYTES: Final = len("null")


# gc=False: made by the thousand, and what comes out of JSON has no cycles.
class _Delta(Struct, gc=False):
    # `Any` where the usual value is a short string: made faster than compared as bytes.
    content: Any = None
    refusal: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Raw = NOTHING
    tool_calls: Raw = NOTHING
    function_call: Raw = NOTHING
    audio: Raw = NOTHING


class _Function(Struct):
    name: Any = None
    arguments: Any = None
    input: Any = None
    """A custom tool's."""


class _ToolCall(Struct):
    function: _Function | None = None
    custom: _Function | None = None


class _Reasoning(Struct):
    text: Any = None
    summary: Any = None
    data: Any = None


class _Choice(Struct, gc=False):
    delta: _Delta | None = None
    text: Any = None


class _XGroq(Struct):
    usage: Raw = NOTHING
    error: Raw = NOTHING


class _Chunk(Named, gc=False):
    choices: list[_Choice] | None = None
    x_groq: Raw = NOTHING


class _LargeChunk(Named):
    choices: Raw = NOTHING
    x_groq: Raw = NOTHING


class _Audio(Struct):
    data: Any = None
    transcript: Any = None


_chunk = msgspec.json.Decoder(_Chunk)
_decode = _chunk.decode
_large = msgspec.json.Decoder(_LargeChunk)
_choices = msgspec.json.Decoder(list[_Choice] | None)
_x_groq = msgspec.json.Decoder(_XGroq)
_audio = msgspec.json.Decoder(_Audio)
_function = msgspec.json.Decoder(_Function)
_tool_calls = msgspec.json.Decoder(list[_ToolCall])
_reasoning = msgspec.json.Decoder(list[_Reasoning])


class ChatEvents:
    """Reads one stream. A chunk is decoded whole, and little of it made: 0.4 us."""

    __slots__ = ("_is_first", "said")

    def __init__(self, form: Form | None, quirks: Quirks = NO_QUIRKS) -> None:
        self.said = Said(form, quirks)
        self._is_first = True

    def read(self, name: bytes, data: bytes) -> int:
        """Whether the event brings a token, and whether one that is seen.

        Choices of more than ``MAX_CHOICES_BYTES`` are an image, audio or a whole answer, and seen.
        """
        if len(data) > MAX_CHOICES_BYTES:
            return self._large(name, data)
        try:
            chunk = _decode(data)
        except UNREADABLE:
            self._odd(name, data)
            return SILENT
        said = self.said
        if self._is_first or len(chunk.usage) > _NULL_BYTES or len(chunk.error):
            self._is_first = False
            # Some say it in each chunk, of what came so far.
            said.partial = bool(chunk.choices)
            said.take(chunk)
        elif said.model is None and is_said(chunk.model):
            # Azure's first chunk names nothing.
            said.take(chunk)
        if len(chunk.x_groq):
            self._x_groq(chunk.x_groq)
        if name == b"error" and said.error is None:
            said.error = error_in_body(data)
        kind = _kind_of(chunk)
        if kind and not said.reasoned:
            said.reasoned = _has_reasoning(chunk)
        return kind

    def template(self, block: bytes) -> Template | None:
        """The form of an event whose like says nothing new; None if there is none to see.

        The event has been read, and what it says of the model and the tier with it.
        """
        is_other = block.startswith(b"event: ") or len(block) > MAX_CHOICES_BYTES
        data = None if is_other else data_of(block)
        chunk = None if data is None else decoded(_chunk, data)
        if chunk is None or (self.said.model is None and is_said(chunk.model)):
            return None
        if len(chunk.usage) > _NULL_BYTES or len(chunk.error) or len(chunk.x_groq):
            return None
        kind = _kind_of(chunk)
        return text_template(block, kind) if kind else None

    def _large(self, name: bytes, data: bytes) -> int:
        """Names, usage and errors as of any other; of the choices, whether there are any."""
        said = self.said
        chunk = decoded(_large, data)
        if chunk is None:
            # No object: an error in a list is not searched for its name.
            said.unread = True
            said.error = (None, None) if name == b"error" else said.error
            return SILENT
        self._is_first = False
        if len(chunk.usage) > _NULL_BYTES:
            said.partial = is_said(chunk.choices)
        said.take(chunk)
        if len(chunk.x_groq):
            self._x_groq(chunk.x_groq)
        if name == b"error" and said.error is None:
            said.error = error_in_body(data)
        if len(chunk.choices) > MAX_CHOICES_BYTES:
            return VISIBLE
        return _highest(decoded(_choices, chunk.choices)) if len(chunk.choices) else SILENT

    def _odd(self, name: bytes, data: bytes) -> None:
        if data.startswith(b"[DONE]"):
            self.said.ended = True
        elif name == b"error":
            self.said.error = error_in_body(data) or (None, None)
        else:
            self.said.unread = True

    def _x_groq(self, raw: Raw) -> None:
        """Groq's older place for usage, and for what went wrong."""
        extra = decoded(_x_groq, raw)
        if extra is not None:
            self.said.take(Named(usage=extra.usage, error=extra.error))


def _kind_of(chunk: _Chunk) -> int:
    """It depends on no string but by whether it is empty: templates build on that."""
    return _highest(chunk.choices)


def _highest(choices: list[_Choice] | None) -> int:
    kind = SILENT
    for choice in choices or ():
        kind = max(kind, _kind(choice))
    return kind


def _kind(choice: _Choice) -> int:
    delta = choice.delta
    if delta is None:
        return VISIBLE if choice.text else SILENT
    content = delta.content
    if content:
        return VISIBLE if type(content) is str else _of_parts(content)
    if delta.refusal:
        return VISIBLE
    if len(delta.audio) and _is_heard(delta.audio):
        return VISIBLE
    return TOKEN if _is_thought(delta) or _is_call(delta) else SILENT


def _has_reasoning(chunk: _Chunk) -> bool:
    deltas = [choice.delta for choice in chunk.choices or () if choice.delta is not None]
    return any(_is_thought(delta) or isinstance(delta.content, list) for delta in deltas)


def _is_thought(delta: _Delta) -> bool:
    if delta.reasoning_content or delta.reasoning:
        return True
    if not is_said(delta.reasoning_details):
        return False
    details = decoded(_reasoning, delta.reasoning_details)
    return details is None or any(one.text or one.summary or one.data for one in details)


def _is_call(delta: _Delta) -> bool:
    """Whether a tool has its name, or some of its arguments: it may be opened with neither."""
    if is_said(delta.function_call) and _says_something(decoded(_function, delta.function_call)):
        return True
    if not is_said(delta.tool_calls):
        return False
    calls = decoded(_tool_calls, delta.tool_calls)
    return calls is None or any(_is_named(call) for call in calls)


def _is_named(call: _ToolCall) -> bool:
    said = [one for one in (call.function, call.custom) if one is not None]
    # Of a form that is not known it is thought that it says something.
    return not said or any(_says_something(one) for one in said)


def _says_something(function: _Function | None) -> bool:
    return function is None or bool(function.name or function.arguments or function.input)


def _of_parts(content: Any) -> int:
    """Mistral's reasoning models send a list of parts: thinking is not seen."""
    if isinstance(content, list):
        if all(isinstance(part, dict) and part.get("type") == "thinking" for part in content):
            return TOKEN
    return VISIBLE


def _is_heard(raw: Raw) -> bool:
    audio = decoded(_audio, raw)
    return audio is not None and bool(audio.data or audio.transcript)
