"""The stream of a chat completion out of a message's, event for event."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from openai_proxy.observe.members import NOTHING, UNREADABLE
from openai_proxy.observe.sse import SseSplitter
from openai_proxy.observe.usage import NO_QUIRKS, MessageUsage, read_message_usage
from openai_proxy.providers.translate.alike import Forms
from openai_proxy.providers.translate.event import (
    CUT,
    UNREADABLE_EVENT,
    data_event,
    decoded_text,
    encode,
)
from openai_proxy.providers.translate.member import Json, json_text
from openai_proxy.providers.translate.reason import CHAT_TIERS, finish_reason
from openai_proxy.providers.translate.to_chat.answer import annotation_of, explanation, text_of
from openai_proxy.providers.translate.to_chat.error import error_members
from openai_proxy.providers.translate.usage import completion_usage

MAX_THINKING_CHARS: Final = 4 * 1024 * 1024
"""Thinking is held until its signature comes; what is longer is given as text only."""

KEEP_ALIVE: Final = b": ping\n\n"
"""A comment: as an event, OpenAI's clients would take it for a chunk."""
DONE: Final = b"data: [DONE]\n\n"


class _Delta(Struct, gc=False):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    signature: str | None = None
    citation: Any = None
    stop_reason: str | None = None
    stop_details: Any = None


class _Event(Struct, gc=False):
    type: str = ""
    delta: _Delta | None = None
    content_block: dict[str, Any] | None = None
    message: Raw = NOTHING
    usage: Raw = NOTHING
    error: Any = None


class _Type(Struct):
    type: str = ""


class _Message(Struct):
    id: str = ""
    model: str = ""
    usage: Raw = NOTHING


_event = msgspec.json.Decoder(_Event)
_type = msgspec.json.Decoder(_Type)
_message = msgspec.json.Decoder(_Message)


def _text_of(data: bytes) -> str | None:
    """The text of an event that says nothing else."""
    event = decoded_text(_event, data)
    if event is None or event.type != "content_block_delta" or event.delta is None:
        return None
    delta: _Delta = event.delta
    return delta.text if delta.type == "text_delta" else None


class CompletionStream:
    """Pieces of a message's stream in by :meth:`feed`, those of a chat completion's out.

    A result may be empty: nothing to send yet. What fails on the way is an error event, after
    which nothing comes; it never looks like the answer's end. Memory is bounded by one event and
    by ``MAX_THINKING_CHARS``.
    """

    __slots__ = (
        "_after",
        "_answer_tool",
        "_before",
        "_block_begin",
        "_call_count",
        "_created",
        "_forms",
        "_has_arguments",
        "_held_chars",
        "_id",
        "_include_usage",
        "_input",
        "_is_by_tool",
        "_kind",
        "_model",
        "_reason",
        "_splitter",
        "_text_after",
        "_text_before",
        "_text_chars",
        "_thinking",
        "_thinking_count",
        "_usage",
        "ended",
        "failed",
    )

    def __init__(
        self, model: str, created: int, include_usage: bool = False, answer_tool: str | None = None
    ) -> None:
        """:param model: named until the stream names its own.

        :param created: Unix time in seconds.
        :param answer_tool: as the request's translation named it: its input is the content.
        """
        self.ended = False
        """Whether the answer came to its end."""
        self.failed = False
        """Whether an error was given instead of an end."""
        self._model = model
        self._created = created
        self._include_usage = include_usage
        self._answer_tool = answer_tool
        self._splitter = SseSplitter()
        self._forms = Forms(_text_of)
        self._usage = MessageUsage()
        self._reason: str | None = None
        self._is_by_tool = False
        self._call_count = 0
        self._text_chars = 0
        self._thinking_count = 0
        self._kind = ""
        self._held_chars = 0
        self._thinking: dict[str, list[str]] = {}
        self._frame("")
        self._open({})

    def feed(self, data: bytes) -> bytes:
        """What to send of ``data`` and of what came before."""
        form = self._forms.form
        if form is not None and self._splitter.between and not (self.ended or self.failed):
            alike = form.texts(data)
            if alike is not None:
                texts, chars = alike
                self._text_chars += chars
                before, after = self._text_before, self._text_after
                return before + (after + before).join(texts) + after
        return self._read(data)

    def _read(self, data: bytes) -> bytes:
        out = []
        chars = self._text_chars
        for _, event in self._splitter.feed(data):
            if self.ended or self.failed:
                break
            out.append(self._take(event))
        if self._text_chars > chars and self._splitter.between:
            self._forms.learn(data)
        return b"".join(out)

    def end(self, whole: bool = True) -> bytes:
        """The upstream's stream is over: an error, if the answer was not.

        ``whole``: whether its framing said so; an answer ends by its own last event alone.
        """
        out = b""
        for _, event in self._splitter.finish():
            # Half an event is not unreadable, but cut.
            if not (self.ended or self.failed) and decoded_text(_event, event) is not None:
                out += self._take(event)
        if not (self.ended or self.failed):
            out += self._fail({"type": "api_error", "message": CUT})
        return out

    def _take(self, data: bytes) -> bytes:
        event = decoded_text(_event, data)
        if event is None:
            return self._odd(data)
        kind = event.type
        if kind == "content_block_delta":
            delta = event.delta
            if delta is None:
                return b""
            return self._delta(delta)
        handler = _HANDLERS.get(kind)
        return handler(self, event) if handler is not None else b""

    def _odd(self, data: bytes) -> bytes:
        """An event that cannot be read: nothing is lost if it is of a kind that nobody knows yet."""
        of_kind = decoded_text(_type, data)
        if of_kind is not None and of_kind.type != "content_block_delta" and of_kind.type not in _HANDLERS:
            return b""
        return self._fail({"type": "api_error", "message": UNREADABLE_EVENT})

    # The events

    def _start(self, event: _Event) -> bytes:
        try:
            message = _message.decode(event.message)
        except UNREADABLE:
            return self._fail({"type": "api_error", "message": UNREADABLE_EVENT})
        self._model = message.model or self._model
        self._overwrite(message.usage)
        self._frame(message.id)
        return self._chunk({"role": "assistant", "content": "", "refusal": None})

    def _block_start(self, event: _Event) -> bytes:
        block = event.content_block or {}
        self._open(block)
        if self._kind in ("text", "thinking"):
            # Empty where Anthropic begins a block, but it need not be.
            text = block.get(self._kind)
            kind = f"{self._kind}_delta"
            return self._delta(_Delta(kind, text=text, thinking=text)) if isinstance(text, str) else b""
        if self._kind != "tool_use":
            return b""
        if self._answer_tool is not None and block.get("name") == self._answer_tool:
            self._kind, self._is_by_tool = "answer", True
            return b""
        call = {
            "index": self._call_count,
            "id": block.get("id"),
            "type": "function",
            "function": {"name": block.get("name"), "arguments": ""},
        }
        self._call_count += 1
        return self._chunk({"tool_calls": [call]})

    def _delta(self, delta: _Delta) -> bytes:
        if delta.type == "text_delta" and delta.text:
            self._text_chars += len(delta.text)
            return self._before + b'{"content":' + encode(delta.text) + self._after
        if delta.type == "input_json_delta":
            return self._arguments(delta.partial_json or "")
        if delta.type == "thinking_delta" and delta.thinking:
            self._hold(delta.thinking, "thinking")
            return self._before + b'{"reasoning_content":' + encode(delta.thinking) + self._after
        if delta.type == "signature_delta":
            self._hold(delta.signature or "", "signature")
            return b""
        return self._citation(delta.citation) if delta.type == "citations_delta" else b""

    def _citation(self, citation: Any) -> bytes:
        annotation = annotation_of(citation, self._block_begin, self._text_chars)
        return b"" if annotation is None else self._chunk({"annotations": [annotation]})

    def _arguments(self, partial: str) -> bytes:
        if not partial or self._kind not in ("tool_use", "answer"):
            return b""
        self._has_arguments = True
        if self._kind == "answer":
            return self._before + b'{"content":' + encode(partial) + self._after
        return (
            self._before
            + b'{"tool_calls":[{"index":%d,"function":{"arguments":' % (self._call_count - 1)
            + encode(partial)
            + b"}}]"
            + self._after
        )

    def _hold(self, text: str, part: str) -> None:
        self._held_chars += len(text)
        if self._held_chars > MAX_THINKING_CHARS:
            self._thinking = {}
        elif part in self._thinking:
            self._thinking[part].append(text)

    def _block_stop(self, event: _Event) -> bytes:
        kind, self._kind = self._kind, ""
        if kind == "tool_use" and not self._has_arguments:
            # A function without parameters. Said only now: the {} that opens a block may yet be filled.
            call = {"index": self._call_count - 1, "function": {"arguments": self._input}}
            return self._chunk({"tool_calls": [call]})
        if kind in ("thinking", "redacted_thinking"):
            return self._thought()
        return b""

    def _thought(self) -> bytes:
        """A block as a client has to send it back; the index is what OpenAI's clients join by."""
        held, self._thinking = self._thinking, {}
        block = {name: "".join(said) for name, said in held.items()}
        if not (block.get("signature") or block.get("data")):
            return b""
        index, self._thinking_count = self._thinking_count, self._thinking_count + 1
        kind = "redacted_thinking" if "data" in block else "thinking"
        return self._chunk({"thinking_blocks": [{"index": index, "type": kind, **block}]})

    def _message_delta(self, event: _Event) -> bytes:
        self._overwrite(event.usage)
        delta = event.delta
        if delta is None or delta.stop_reason is None or self._reason is not None:
            return b""
        self._reason = finish_reason(delta.stop_reason, self._is_by_tool)
        explained = explanation(delta.stop_details) if self._reason == "content_filter" else None
        return self._chunk({} if explained is None else {"refusal": explained}, self._reason)

    def _stop(self, event: _Event) -> bytes:
        out = b""
        if self._reason is None:
            out = self._chunk({}, "stop")
        usage = self._usage.normal(NO_QUIRKS)
        if self._include_usage and usage is not None:
            body = self._members() | {"choices": [], "usage": completion_usage(usage)}
            tier = CHAT_TIERS.get(usage.service_tier or "")
            out += data_event(body if tier is None else body | {"service_tier": tier})
        self.ended = True
        return out + DONE

    def _ping(self, event: _Event) -> bytes:
        return KEEP_ALIVE

    def _error(self, event: _Event) -> bytes:
        return self._fail(event.error)

    # What is sent

    def _fail(self, error: Any) -> bytes:
        self.failed = True
        return data_event({"error": error_members(error, "api_error")})

    def _members(self) -> Json:
        members = {"object": "chat.completion.chunk", "created": self._created, "model": self._model}
        return {"id": self._id, **members}

    def _chunk(self, delta: Json, reason: str | None = None) -> bytes:
        after = self._after
        if reason is not None:
            after = after.replace(b'"finish_reason":null', b'"finish_reason":"%b"' % reason.encode())
        return self._before + encode(delta)[:-1] + after

    def _frame(self, id_: str) -> None:
        """What is before and after each delta's members: made once, and not with every token."""
        self._id = id_
        self._before = b"data: " + encode(self._members())[:-1] + b',"choices":[{"index":0,"delta":'
        usage = b',"usage":null' if self._include_usage else b""
        self._after = b'},"logprobs":null,"finish_reason":null}]' + usage + b"}\n\n"
        self._text_before, self._text_after = self._before + b'{"content":"', b'"' + self._after

    def _open(self, block: Json) -> None:
        kind = block.get("type")
        self._kind = kind if isinstance(kind, str) else ""
        self._has_arguments = False
        self._block_begin = self._text_chars
        self._held_chars = 0
        self._input = json_text(block.get("input") or {})
        self._thinking = {}
        if self._kind == "thinking":
            self._thinking = {"thinking": [], "signature": []}
            self._hold(text_of(block.get("signature")), "signature")
        elif self._kind == "redacted_thinking":
            self._thinking = {"data": [text_of(block.get("data"))]}

    def _overwrite(self, raw: Raw) -> None:
        """Totals each time; what is absent changes nothing."""
        if not len(raw):
            return
        try:
            self._usage = self._usage.overwritten_by(read_message_usage(raw))
        except UNREADABLE:
            self._usage = MessageUsage()


_HANDLERS: Final = {
    "message_start": CompletionStream._start,
    "content_block_start": CompletionStream._block_start,
    "content_block_stop": CompletionStream._block_stop,
    "message_delta": CompletionStream._message_delta,
    "message_stop": CompletionStream._stop,
    "ping": CompletionStream._ping,
    "error": CompletionStream._error,
}
