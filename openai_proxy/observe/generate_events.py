"""The events of Gemini's ``generateContent``: each is a whole answer of its own.

Source: the Gemini API's reference, ``GenerateContentResponse`` and ``UsageMetadata``; Vertex AI has
the same form.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from openai_proxy.observe.members import NOTHING, Named, decoded, error_in_body, is_said
from openai_proxy.observe.said import SILENT, TOKEN, VISIBLE, Said
from openai_proxy.observe.templates import Template
from openai_proxy.observe.usage import FORMS, NO_QUIRKS, Quirks

MAX_PARTS_BYTES: Final = 64 * 1024
"""An event with more is not looked at part by part: made of the smallest, they would take long. Nor
is usage with more, for it has lists in it.
"""
_MAX_CANDIDATES: Final = 64
_FINISHED: Final = re.compile(rb'"finishReason"[ \t\r\n]*:[ \t\r\n]*"')
"""A quote inside a string has a backslash before it: this is a member, if not surely a candidate's."""
_COUNT: Final = b"TokenCount"


# gc=False: made by the hundred, and what comes out of JSON has no cycles.
class _Part(Struct, gc=False, rename="camel"):
    text: Any = None
    thought: Any = None
    inline_data: Raw = NOTHING
    function_call: Raw = NOTHING
    executable_code: Raw = NOTHING
    """Its result is no token: the model did not make it."""


class _Content(Struct, gc=False):
    parts: list[_Part] | None = None


class _Candidate(Struct, gc=False, rename="camel"):
    content: _Content | None = None
    finish_reason: Any = None
    index: int | None = None
    """Left out where it is 0."""


class _Feedback(Struct, gc=False, rename="camel"):
    block_reason: Any = None


class _Top(Struct, gc=False, rename="camel"):
    usage_metadata: Raw = NOTHING
    model_version: Raw = NOTHING
    response_id: Raw = NOTHING
    prompt_feedback: Raw = NOTHING
    error: Raw = NOTHING


class _Event(_Top, gc=False, rename="camel"):
    candidates: list[_Candidate] | None = None


class _LargeEvent(_Top, gc=False, rename="camel"):
    candidates: Raw = NOTHING


_event = msgspec.json.Decoder(_Event)
_large = msgspec.json.Decoder(_LargeEvent)
_feedback = msgspec.json.Decoder(_Feedback)


class GenerateEvents:
    """Reads one stream, or one answer.

    It has ended when each candidate that began has a reason to have finished, or when the prompt
    was blocked: no mark follows.
    """

    __slots__ = ("_begun", "_finished", "said")

    def __init__(self, quirks: Quirks = NO_QUIRKS) -> None:
        self.said = Said(FORMS["generate_content"], quirks)
        self._begun = 0
        """Candidates, as bits."""
        self._finished = 0

    def read(self, name: bytes, data: bytes) -> int:
        """Whether the event brings a token, and whether one that is seen.

        Candidates of more than ``MAX_PARTS_BYTES`` are an image, audio or a whole answer, and seen.
        """
        event = decoded(_event, data) if len(data) <= MAX_PARTS_BYTES else None
        if event is None:
            return self._large(name, data)
        kind = SILENT
        for candidate in event.candidates or ():
            kind = max(kind, self._candidate(candidate))
        self._top(event)
        return kind

    def template(self, block: bytes) -> Template | None:
        """None: each event counts the tokens so far, and so none is like another."""

    def _candidate(self, candidate: _Candidate) -> int:
        index = candidate.index or 0
        bit = 1 << (index if 0 <= index < _MAX_CANDIDATES else 0)
        self._begun |= bit
        if candidate.finish_reason:
            self._finished |= bit
        kind = SILENT
        content = candidate.content
        for part in () if content is None else content.parts or ():
            part_kind = _kind(part)
            kind = max(kind, part_kind)
            self.said.reasoned |= part_kind == TOKEN and bool(part.thought)
        return kind

    def _large(self, name: bytes, data: bytes) -> int:
        """Names, usage and errors as of any other, and of the candidates, whether there are any.

        So is one read whose candidates are not of the expected form.
        """
        event = decoded(_large, data)
        if event is None:
            self._odd(name, data)
            return SILENT
        if is_said(event.candidates):
            self._begun |= 1
            if _FINISHED.search(event.candidates):
                self._finished |= 1
        self._top(event)
        return VISIBLE if len(event.candidates) > MAX_PARTS_BYTES else SILENT

    def _odd(self, name: bytes, data: bytes) -> None:
        said = self.said
        error = error_in_body(data)
        if error is not None or name == b"error":
            said.error = error or (None, None)
        elif data.startswith(b"[DONE]"):
            # Of no stream of Gemini's, but of some that stand in for it.
            said.ended = True
        else:
            said.unread = True

    def _top(self, event: _Top) -> None:
        said = self.said
        usage = event.usage_metadata
        if len(usage) > MAX_PARTS_BYTES:
            said.unread = True
            usage = NOTHING
        elif _COUNT not in bytes(usage):
            # Vertex AI's, before the end: it shall not hide what was said.
            usage = NOTHING
        said.take(
            Named(usage=usage, error=event.error, model=event.model_version, id=event.response_id),
        )
        if is_said(event.prompt_feedback):
            feedback = decoded(_feedback, event.prompt_feedback)
            if feedback is not None and feedback.block_reason:
                said.ended = True
        if self._finished:
            said.ended = self._finished == self._begun
        said.partial = not said.ended


def _kind(part: _Part) -> int:
    if part.text or is_said(part.inline_data):
        return TOKEN if part.thought else VISIBLE
    return TOKEN if is_said(part.function_call) or is_said(part.executable_code) else SILENT
