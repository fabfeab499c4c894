"""Events that say their type: responses, images, speech, transcriptions, assistants' runs."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw, Struct

from openai_proxy.observe.members import NOTHING, Named, decoded, error_in_body, error_of
from openai_proxy.observe.said import SILENT, TOKEN, VISIBLE, Said
from openai_proxy.observe.templates import HeadTemplate, Template, data_of
from openai_proxy.observe.usage import NO_QUIRKS, Form, Quirks

_SEEN: Final = """
response.output_text.delta response.refusal.delta
response.output_audio.delta response.output_audio_transcript.delta
response.audio.delta response.audio.transcript.delta
transcript.text.delta transcript.text.segment speech.audio.delta thread.message.delta
"""
_UNREAD: Final = "image_generation.partial_image image_edit.partial_image"
"""Megabytes of base64; ``response.image_generation_call.partial_image`` is passed by as well."""

_TYPED: Final = b'{"type":"'
_EMPTY: Final = b'"delta":""'
_SPACED: Final = b'"delta": "'
_EMPTY_SPACED: Final = b'"delta": ""'

_KINDS: Final = {
    **dict.fromkeys(_SEEN.encode().split(), VISIBLE),
    **dict.fromkeys(_UNREAD.encode().split(), SILENT),
}

_WITH_RESPONSE: Final = {
    b"response.created": False,
    b"response.completed": True,
    b"response.incomplete": True,
    b"response.failed": True,
}
"""Events that hold a response, and whether they are its last."""

_WITH_USAGE: Final = {
    b"image_generation.completed": True,
    b"image_edit.completed": True,
    b"transcript.text.done": True,
    b"speech.audio.done": True,
    # After these comes the event `done`; a step's usage is a part of its run's.
    b"thread.run.completed": False,
    b"thread.run.incomplete": False,
    b"thread.run.failed": False,
    b"thread.run.cancelled": False,
    b"thread.run.expired": False,
}
"""Events that are the object which has the usage, and whether they are the stream's last."""


class _Typed(Struct):
    type: str = ""


class _Responded(Struct):
    response: Named


class _Object(Named):
    last_error: Raw = NOTHING
    """A run's."""


_typed = msgspec.json.Decoder(_Typed)
_responded = msgspec.json.Decoder(_Responded)
_object = msgspec.json.Decoder(_Object)


class TypedEvents:
    """Reads one stream; only the events that hold usage, errors or names are decoded."""

    __slots__ = ("said",)

    def __init__(self, form: Form | None, quirks: Quirks = NO_QUIRKS) -> None:
        self.said = Said(form, quirks)

    def read(self, name: bytes, data: bytes) -> int:
        """Whether the event brings a token, and whether one that is seen."""
        if data.startswith(_TYPED):
            kind_name = data[9 : data.find(b'"', 9)]
        else:
            kind_name = name or _type_of(data)
        kind = _KINDS.get(kind_name)
        if kind is None:
            if not kind_name.endswith(b".delta"):
                self._rare(kind_name, data)
                return SILENT
            kind = TOKEN
        # A quote inside a string has a backslash before it: this is the member itself.
        if _EMPTY in data or _EMPTY_SPACED in data:
            return SILENT
        if kind == TOKEN and b"reasoning" in kind_name:
            self.said.reasoned = True
        return kind

    def template(self, block: bytes) -> Template | None:
        """The form of an event whose like says nothing new; None if there is none to see."""
        data = data_of(block)
        if data is None or not data.startswith(_TYPED):
            return None
        kind_end = data.find(b'"', len(_TYPED))
        kind_name = data[len(_TYPED) : kind_end]
        kind = _KINDS.get(kind_name, TOKEN if kind_name.endswith(b".delta") else SILENT)
        if not kind or kind_end < 0 or _SPACED in data:
            return None
        return HeadTemplate(block[: len(block) - 2 - len(data) + kind_end + 1], _EMPTY, kind)

    def _rare(self, kind: bytes, data: bytes) -> None:
        said = self.said
        if kind in _WITH_RESPONSE:
            said.ended |= _WITH_RESPONSE[kind]
            self._response(kind, data)
        elif kind in _WITH_USAGE:
            said.ended |= _WITH_USAGE[kind]
            self._object(data)
        elif kind == b"error":
            said.error = error_in_body(data) or (None, None)
        elif data.startswith(b"[DONE]"):
            said.ended = True
        elif not kind:
            # No type at all: what chat sends for an error, and some send here too.
            said.error = error_in_body(data) or said.error

    def _response(self, kind: bytes, data: bytes) -> None:
        responded = decoded(_responded, data)
        if responded is None:
            # A first event that is not understood hides no usage.
            self.said.unread |= _WITH_RESPONSE[kind]
        else:
            self.said.take(responded.response)
        if kind == b"response.failed" and self.said.error is None:
            self.said.error = (None, None)

    def _object(self, data: bytes) -> None:
        ended = decoded(_object, data)
        if ended is None:
            self.said.unread = True
            return
        self.said.take(ended)
        self.said.error = error_of(ended.last_error) or self.said.error


def _type_of(data: bytes) -> bytes:
    typed = decoded(_typed, data)
    return typed.type.encode() if typed is not None else b""
