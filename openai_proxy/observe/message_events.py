"""The events of Anthropic's Messages."""

from __future__ import annotations

from typing import Final, cast

import msgspec
from msgspec import Raw, Struct

from openai_proxy.observe.members import NOTHING, UNREADABLE, Named, decoded, error_in_body
from openai_proxy.observe.said import SILENT, TOKEN, VISIBLE, Said
from openai_proxy.observe.templates import HeadTemplate, Template, data_of, text_template
from openai_proxy.observe.usage import MessageUsage, Quirks, Usage, read_message_usage

_DELTAS: Final = {"text_delta": VISIBLE, "thinking_delta": TOKEN, "input_json_delta": TOKEN}
"""A signature or a citation is no token."""
_USUAL: Final = b'{"type":"content_block_delta",'
_TEXT: Final = b'"delta":{"type":"text_delta","text":"'
_EMPTY_BYTES: Final = len('""')


class _Delta(Struct):
    type: str = ""
    text: Raw = NOTHING
    thinking: Raw = NOTHING
    partial_json: Raw = NOTHING


class _Block(Struct):
    type: str = ""


class _Event(Struct):
    type: str = ""
    delta: _Delta | None = None
    content_block: _Block | None = None
    message: Raw = NOTHING
    usage: Raw = NOTHING


_event = msgspec.json.Decoder(_Event)
_message = msgspec.json.Decoder(Named)


class SaidByMessage(Said):
    """Its usage comes in two parts: the second's members replace those of the first."""

    __slots__ = ("_message_usage",)

    def __init__(self, quirks: Quirks) -> None:
        super().__init__(None, quirks)
        self._message_usage = MessageUsage()

    def overwrite(self, raw: Raw) -> None:
        """What ``raw`` says in place of what was said before; an absent member changes nothing."""
        if not len(raw):
            return
        try:
            self._message_usage = self._message_usage.overwritten_by(read_message_usage(raw))
        except UNREADABLE:
            # The first part without the last would be a few tokens instead of all.
            self._message_usage = MessageUsage()
            self.unread = True

    def _read(self) -> Usage | None:
        return self._message_usage.normal(self._quirks)


class MessageEvents:
    """Reads one stream."""

    __slots__ = ("_said", "said")

    def __init__(self, quirks: Quirks) -> None:
        self.said: Said
        self.said = self._said = SaidByMessage(quirks)

    def read(self, name: bytes, data: bytes) -> int:
        """Whether the event brings a token, and whether one that is seen."""
        if data.startswith(_USUAL):
            # A quote inside a string has a backslash before it: these are the members themselves.
            place = data.find(_TEXT)
            if place > 0 and not data.startswith(b'"', place + len(_TEXT)):
                return VISIBLE
        event = decoded(_event, data)
        if event is None:
            self.said.unread = True
            return SILENT
        if event.type == "content_block_delta":
            kind = _kind(event.delta)
            self.said.reasoned |= kind == TOKEN and len(cast(_Delta, event.delta).thinking) > _EMPTY_BYTES
            return kind
        if event.type == "content_block_start":
            # The name of a tool: some are called without arguments, and then it is all there is.
            block = event.content_block
            return TOKEN if block is not None and block.type == "tool_use" else SILENT
        self._rare(event, name, data)
        return SILENT

    def template(self, block: bytes) -> Template | None:
        """The form of an event whose like says nothing new; None if there is none to see."""
        data = data_of(block)
        if data is None or not data.startswith(_USUAL):
            return None
        place = data.find(_TEXT)
        if place > 0:
            head_end = len(block) - 2 - len(data) + place + len(_TEXT)
            return HeadTemplate(block[:head_end], _TEXT + b'"', VISIBLE)
        event = decoded(_event, data)
        kind = SILENT if event is None or event.type != "content_block_delta" else _kind(event.delta)
        return text_template(block, kind) if kind else None

    def _rare(self, event: _Event, name: bytes, data: bytes) -> None:
        said = self._said
        if event.type == "message_start":
            message = decoded(_message, event.message)
            if message is not None:
                said.overwrite(message.usage)
                said.take(message)
                said.partial = True
        elif event.type == "message_delta":
            said.overwrite(event.usage)
            said.partial &= not len(event.usage)
        elif event.type == "message_stop":
            said.ended = True
        elif b"error" in (name, event.type.encode()):
            said.error = error_in_body(data) or (None, None)


def _kind(delta: _Delta | None) -> int:
    if delta is None:
        return SILENT
    if max(len(delta.text), len(delta.thinking), len(delta.partial_json)) <= _EMPTY_BYTES:
        return SILENT
    return _DELTAS.get(delta.type, SILENT)
