"""The stream of a message out of a chat completion's, event for event."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from openai_proxy.observe.sse import SseSplitter
from openai_proxy.observe.usage import NO_QUIRKS, Quirks, Usage
from openai_proxy.providers.translate.alike import Forms
from openai_proxy.providers.translate.event import (
    CUT,
    UNREADABLE_EVENT,
    decoded_text,
    encode,
    named_event,
)
from openai_proxy.providers.translate.member import Json
from openai_proxy.providers.translate.reason import MESSAGE_TIERS, stop_reason
from openai_proxy.providers.translate.to_messages.answer import parts_of
from openai_proxy.providers.translate.to_messages.call import Calls, Fragment, Function
from openai_proxy.providers.translate.to_messages.error import event_error
from openai_proxy.providers.translate.usage import message_usage, of_completion

PING: Final = b'event: ping\ndata: {"type":"ping"}\n\n'
"""May be sent at any time, so that a client sees that the stream lives."""


_AFTER_TEXT: Final = b'"}}\n\n'


class _Kind(Struct, frozen=True):
    """A kind of block."""

    empty: Json
    """One that is just opened."""
    delta: bytes
    """What begins its deltas, after their type's name."""


_TEXT: Final = _Kind({"type": "text", "text": ""}, b'"text_delta","text":')
_THINKING: Final = _Kind(
    {"type": "thinking", "thinking": "", "signature": ""}, b'"thinking_delta","thinking":'
)
_TOOL: Final = _Kind({}, b'"input_json_delta","partial_json":')
_REDACTED: Final = _Kind({}, b"")


class _Delta(Struct, gc=False):
    # `Any`: a list of parts, from some.
    content: Any = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[Fragment] | None = None
    function_call: Function | None = None
    thinking_blocks: Any = None


class _Choice(Struct, gc=False):
    index: int | None = None
    delta: _Delta | None = None
    finish_reason: str | None = None


class _XGroq(Struct):
    usage: Any = None


class _Chunk(Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None
    id: str | None = None
    model: str | None = None
    service_tier: str | None = None
    x_groq: _XGroq | None = None


_chunk = msgspec.json.Decoder(_Chunk)
_any = msgspec.json.Decoder()


def _text_of(data: bytes) -> str | None:
    """The text of a chunk that says nothing else."""
    chunk = decoded_text(_chunk, data)
    if (
        chunk is None
        or chunk.error
        or chunk.usage
        or chunk.x_groq is not None
        or len(chunk.choices or ()) != 1
    ):
        return None
    choice: _Choice = chunk.choices[0]
    delta = choice.delta
    if choice.index or delta is None or choice.finish_reason is not None:
        return None
    return (
        delta.content if delta == _Delta(content=delta.content) and isinstance(delta.content, str) else None
    )


class MessageStream:
    """Pieces of a chat completion's stream in by :meth:`feed`, those of a message's out.

    A result may be empty: nothing to send yet. One block is open at a time. What fails on the way
    is an ``error`` event, after which nothing comes. Memory is bounded by one event and by
    ``call.MAX_HELD_CHARS``.
    """

    __slots__ = (
        "_before",
        "_calls",
        "_estimate",
        "_forms",
        "_has_refused",
        "_id",
        "_index",
        "_model",
        "_open",
        "_quirks",
        "_reason",
        "_splitter",
        "_started",
        "_tier",
        "_usage",
        "ended",
        "failed",
    )

    def __init__(self, model: str, estimated_input_tokens: int = 0, quirks: Quirks = NO_QUIRKS) -> None:
        """:param model: named unless the stream names its own.

        :param estimated_input_tokens: said at the beginning, where OpenAI says nothing yet; the
            real numbers come at the end.
        """
        self.ended = False
        """Whether the answer came to its end."""
        self.failed = False
        """Whether an error was given instead of an end."""
        self._model = model
        self._estimate = estimated_input_tokens
        self._quirks = quirks
        self._splitter = SseSplitter()
        self._forms = Forms(_text_of)
        self._started = False
        self._id = ""
        self._index = -1
        self._open: _Kind | None = None
        """What kind of block is open."""
        self._before = b""
        self._calls = Calls()
        self._reason: str | None = None
        self._has_refused = False
        self._usage: Usage | None = None
        self._tier: str | None = None

    def feed(self, data: bytes) -> bytes:
        """What to send of ``data`` and of what came before."""
        form = self._forms.form
        if form is not None and self._open is _TEXT and self._splitter.between and not self.failed:
            alike = form.texts(data)
            if alike is not None:
                before = self._before + b'"'
                return before + (_AFTER_TEXT + before).join(alike[0]) + _AFTER_TEXT
        return self._read(data)

    def _read(self, data: bytes) -> bytes:
        out: list[bytes] = []
        for name, event in self._splitter.feed(data):
            if self.ended or self.failed:
                break
            self._take(name, event, out)
        if out and self._open is _TEXT and self._splitter.between:
            self._forms.learn(data)
        return b"".join(out)

    def end(self, whole: bool = True) -> bytes:
        """The upstream's stream is over: an error, if the answer was not.

        ``whole``: whether its framing said so. Else the usage that may follow a reason to finish
        did not come, and the end is not the answer's.
        """
        out: list[bytes] = []
        is_cut = not self._splitter.between
        for name, event in self._splitter.finish():
            # Half an event is not unreadable, but cut.
            is_whole = event.startswith(b"[DONE]") or decoded_text(_chunk, event) is not None
            is_cut = not is_whole
            if not (self.ended or self.failed) and is_whole:
                self._take(name, event, out)
        if not (self.ended or self.failed):
            # What the upstream ends inside of an event it has not ended: its usage was still to come.
            if whole and not is_cut and self._reason is not None:
                # Not all servers say [DONE].
                self._finish(out)
            else:
                self._fail({"error": {"message": CUT}}, out)
        return b"".join(out)

    def _take(self, name: bytes, data: bytes, out: list[bytes]) -> None:
        if data.startswith(b"[DONE]"):
            self._finish(out)
            return
        chunk = None if name == b"error" else decoded_text(_chunk, data)
        if chunk is None or chunk.error:
            self._odd(data, out)
            return
        if chunk.usage or chunk.x_groq is not None:
            self._count(chunk)
        if chunk.choices:
            if not self._started:
                self._start(chunk, out)
            for choice in chunk.choices:
                # One was asked for.
                if not choice.index:
                    self._choice(choice, out)

    def _odd(self, data: bytes, out: list[bytes]) -> None:
        """An error of the upstream's, or what is no chunk."""
        said = decoded_text(_any, data)
        is_error = isinstance(said, dict) and (said.get("error") or said.get("message"))
        self._fail(said if is_error else {"error": {"message": UNREADABLE_EVENT}}, out)

    def _choice(self, choice: _Choice, out: list[bytes]) -> None:
        if choice.delta is not None:
            self._delta(choice.delta, out)
        if choice.finish_reason is not None:
            self._reason = choice.finish_reason

    def _start(self, chunk: _Chunk, out: list[bytes]) -> None:
        self._started = True
        self._id = chunk.id or ""
        self._tier = chunk.service_tier
        said: Json = {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": chunk.model or self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": message_usage(Usage(input_tokens=self._estimate)),
        }
        out.append(named_event({"type": "message_start", "message": said}))

    def _count(self, chunk: _Chunk) -> None:
        """The last that is said holds: some say it with every chunk, as a total."""
        self._tier = chunk.service_tier or self._tier
        extra = chunk.x_groq.usage if chunk.x_groq is not None else None
        self._usage = of_completion(chunk.usage or extra, self._quirks) or self._usage

    # The deltas

    def _delta(self, delta: _Delta, out: list[bytes]) -> None:
        content = delta.content
        thinking = delta.reasoning_content or delta.reasoning
        if content and type(content) is not str:
            parted, content = parts_of(content)
            thinking = thinking or parted
        if thinking:
            self._say(thinking, _THINKING, out)
        if content:
            self._say(content, _TEXT, out)
        for fragment in delta.tool_calls or ():
            self._call(fragment, out)
        if delta.refusal or delta.thinking_blocks or delta.function_call is not None:
            self._rare(delta, out)

    def _rare(self, delta: _Delta, out: list[bytes]) -> None:
        if delta.refusal:
            self._has_refused = True
            self._say(delta.refusal, _TEXT, out)
        if delta.thinking_blocks:
            self._sign(delta.thinking_blocks, out)
        if delta.function_call is not None:
            self._call(Fragment(index=0, function=delta.function_call), out)

    def _say(self, text: str, kind: _Kind, out: list[bytes]) -> None:
        if self._open is not kind:
            self._begin(kind, kind.empty, out)
        out.append(self._before + encode(text) + b"}}\n\n")

    def _sign(self, blocks: Any, out: list[bytes]) -> None:
        """A thinking block comes whole when its text was said already, for the sake of its signature."""
        for block in blocks if isinstance(blocks, list) else ():
            if not isinstance(block, dict):
                continue
            if block.get("type") == "redacted_thinking":
                self._begin(_REDACTED, {"type": "redacted_thinking", "data": block.get("data")}, out)
            elif isinstance(block.get("signature"), str):
                if self._open is not _THINKING:
                    self._begin(_THINKING, _THINKING.empty, out)
                delta = {"type": "signature_delta", "signature": block["signature"]}
                out.append(named_event({"type": "content_block_delta", "index": self._index, "delta": delta}))
            self._close(out)

    def _call(self, fragment: Fragment, out: list[bytes]) -> None:
        calls = self._calls
        taken = calls.take(fragment, self._id)
        if self.failed or taken is None:
            if not self.failed:
                self._fail({"error": {"message": UNREADABLE_EVENT}}, out)
            return
        call, text = taken
        if call is calls.current and text:
            out.append(self._before + encode(text) + b"}}\n\n")
        while calls.may_turn:
            self._turn(out)

    def _turn(self, out: list[bytes]) -> None:
        call = self._calls.turn()
        if call is None:
            return
        block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        self._open_block(_TOOL, block, out)
        if call.parts:
            out.append(self._before + encode("".join(call.parts)) + b"}}\n\n")

    # The blocks

    def _begin(self, kind: _Kind, block: Json, out: list[bytes]) -> None:
        """Open one that is no tool's; what calls there are have been said."""
        while self._calls.waiting:
            self._turn(out)
        self._calls.turn()
        self._open_block(kind, block, out)

    def _open_block(self, kind: _Kind, block: Json, out: list[bytes]) -> None:
        self._close(out)
        self._index += 1
        self._open = kind
        self._before = (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":%b'
            % (self._index, kind.delta)
        )
        out.append(named_event({"type": "content_block_start", "index": self._index, "content_block": block}))

    def _close(self, out: list[bytes]) -> None:
        if self._open is not None:
            self._open = None
            out.append(named_event({"type": "content_block_stop", "index": self._index}))

    # The end

    def _finish(self, out: list[bytes]) -> None:
        if not self._started:
            self._fail({"error": {"message": CUT}}, out)
            return
        while self._calls.waiting:
            self._turn(out)
        self._close(out)
        reason = stop_reason(self._reason, self._calls.any_seen, self._has_refused)
        usage = message_usage(self._usage or Usage(input_tokens=self._estimate))
        tier = MESSAGE_TIERS.get(self._tier or "")
        if tier is not None:
            usage["service_tier"] = tier
        delta = {"stop_reason": reason, "stop_sequence": None}
        out.append(named_event({"type": "message_delta", "delta": delta, "usage": usage}))
        out.append(named_event({"type": "message_stop"}))
        self.ended = True

    def _fail(self, body: Any, out: list[bytes]) -> None:
        self.failed = True
        out.append(named_event(event_error(body)))
