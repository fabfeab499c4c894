"""Chat completions: what is held to be one, and the answers, whole and streamed, with what providers add."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)

from tests.support.forms.form import need, none_of
from tests.support.forms.said import (
    CACHED,
    CALLS,
    INPUT,
    OUTPUT,
    REASONING,
    RESULTS,
    STRUCTURE,
    SUMMED_UP,
    TEXT,
    WORDS,
    WRITTEN,
    compact,
    pieces,
)
from tests.support.forms.typed import problems

Json = dict[str, Any]

USAGE: Json = {
    "prompt_tokens": INPUT,
    "completion_tokens": OUTPUT,
    "total_tokens": INPUT + OUTPUT,
    "prompt_tokens_details": {"cached_tokens": CACHED, "cache_write_tokens": WRITTEN, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": REASONING, "audio_tokens": 0},
}
CALL_IDS = tuple(f"call_{name}_0123456789" for name, _ in CALLS)


@dataclass(frozen=True)
class Flavour:
    """What one provider's chat completions have that others' have not."""

    usage: Mapping[str, Any] = field(default_factory=lambda: USAGE)
    members: Mapping[str, Any] = field(default_factory=dict)
    """Of each answer and chunk."""
    choice_members: Mapping[str, Any] = field(default_factory=dict)
    first_chunk: Mapping[str, Any] | None = None
    """Before all others."""
    usage_everywhere: bool = False
    """Whether each chunk of a stream tells the usage so far, asked or not."""
    has_tool_index: bool = True
    """Whether calls in a stream are numbered, and in pieces; else each is whole, in its own chunk."""
    stream_reason: str = "tool_calls"
    """Why a stream with calls ended."""
    call_members: Mapping[str, Any] = field(default_factory=dict)
    """Of the first call of several."""


def check_chat(body: Json, more: Mapping[str, Any] | None = None) -> None:
    """Members and their types, and the order of the turns. Raises ``Broken``."""
    streamed = body.get("stream") is True
    form = CompletionCreateParamsStreaming if streamed else CompletionCreateParamsNonStreaming
    none_of(problems(body, form, more=more))
    need("stream_options" not in body or streamed, "stream_options without a stream")
    need(not ("max_tokens" in body and "max_completion_tokens" in body), "both names of the token limit")
    need(body["messages"], "there are no messages")
    _check_turns(body["messages"])
    schema = (body.get("response_format") or {}).get("json_schema")
    if schema is not None:
        need(schema["schema"].get("additionalProperties") is False, "a strict schema is closed")
        need(schema.get("strict") is True, "the schema is not strict")


def _check_turns(messages: list[Json]) -> None:
    """Each call of a turn has one result, directly after it."""
    waiting: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            need(message["tool_call_id"] in waiting, "a result without a call before it")
            waiting.discard(message["tool_call_id"])
            continue
        need(not waiting, f"no result for {sorted(waiting)}")
        calls = message.get("tool_calls", ())
        need(message.get("content") or calls, f"a message of {message['role']} without content")
        for call in calls:
            need(isinstance(json.loads(call["function"]["arguments"]), dict), "arguments that are no object")
        waiting = {call["id"] for call in calls}
    need(not waiting, f"no result for {sorted(waiting)}")
    need(messages[-1]["role"] in ("user", "tool"), "the last message is the model's own")


def says(body: Json) -> str | None:
    """The text of the answer; None: it calls its tools."""
    last = body["messages"][-1]
    if last["role"] == "tool":
        results = [_text(message["content"]) for message in body["messages"] if message["role"] == "tool"]
        need(tuple(results) == RESULTS, f"the results are {results}")
        called = [call for message in body["messages"] for call in message.get("tool_calls", ())]
        made = [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in called]
        need(tuple(made) == CALLS, f"the calls are {made}")
        return SUMMED_UP
    if (body.get("response_format") or {}).get("type") == "json_schema":
        return compact(STRUCTURE)
    return None if body.get("tools") else TEXT


def _text(content: str | list[Json]) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def completion(body: Json, model: str, flavour: Flavour) -> Json:
    """A whole answer."""
    text = says(body)
    message: Json = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    if text is None:
        message["tool_calls"] = [_call(place, flavour) for place in range(len(CALLS))]
    reason = "tool_calls" if text is None else "stop"
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": 1_795_000_000,
        "model": model,
        "choices": [{**choice, **flavour.choice_members}],
        "usage": flavour.usage,
        **flavour.members,
    }


def _call(place: int, flavour: Flavour) -> Json:
    name, arguments = CALLS[place]
    call = {"id": CALL_IDS[place], "type": "function"}
    more = {} if place else flavour.call_members
    return {**call, "function": {"name": name, "arguments": compact(arguments)}, **more}


def chunks(body: Json, model: str, flavour: Flavour) -> list[bytes]:
    """A stream, each event with its empty line, ``[DONE]`` included."""
    text = says(body)
    made = list(_choices(text, flavour))
    base = {"id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": 1_795_000_000}
    base |= {"model": model, **flavour.members}
    asked = bool((body.get("stream_options") or {}).get("include_usage"))
    each: Json = {"usage": flavour.usage} if flavour.usage_everywhere else ({"usage": None} if asked else {})
    found = [{**base, "choices": [{**choice, **flavour.choice_members}], **each} for choice in made]
    if flavour.first_chunk is not None:
        found.insert(0, {**flavour.first_chunk, **each})
    if asked and not flavour.usage_everywhere:
        found.append({**base, "choices": [], "usage": flavour.usage})
    return [*(event(one) for one in found), b"data: [DONE]\n\n"]


def event(data: object, name: str | None = None) -> bytes:
    """A server-sent event."""
    begin = b"" if name is None else b"event: %b\n" % name.encode()
    return begin + b"data: %b\n\n" % json.dumps(data, ensure_ascii=False).encode()


def _choices(text: str | None, flavour: Flavour) -> Iterator[Json]:
    yield _choice({"role": "assistant", "content": None if text is None else ""})
    if text is None:
        yield from (_choice({"tool_calls": [call]}) for call in _call_pieces(flavour))
        yield _choice({}, flavour.stream_reason)
        return
    for word in WORDS if text == TEXT else pieces(text):
        yield _choice({"content": word})
    yield _choice({}, "stop")


def _choice(delta: Json, reason: str | None = None) -> Json:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}


def _call_pieces(flavour: Flavour) -> Iterable[Json]:
    for place in range(len(CALLS)):
        whole = _call(place, flavour)
        if not flavour.has_tool_index:
            yield whole
            continue
        function = whole["function"]
        yield {**whole, "index": place, "function": {"name": function["name"], "arguments": ""}}
        for piece in pieces(function["arguments"]):
            yield {"index": place, "function": {"arguments": piece}}
