"""Anthropic's Messages API, https://platform.claude.com/docs/en/api/messages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, ClassVar, Literal

from anthropic.types.message_count_tokens_params import MessageCountTokensParams
from anthropic.types.message_create_params import (
    MessageCreateParamsNonStreaming,
    MessageCreateParamsStreaming,
)

from tests.support.forms.chat import Json, event
from tests.support.forms.form import Asked, FormUpstream, NotThere, need, none_of
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
from tests.support.openai_upstream import Answering

MODELS = {"claude-haiku-4-5": "claude-haiku-4-5-20251001", "claude-sonnet-5-5": "claude-sonnet-5-5"}
"""What it is asked for, and what it says that it was."""
WITHOUT_SAMPLING = frozenset({"claude-sonnet-5-5"})
"""Models that refuse ``temperature``, ``top_p`` and ``top_k``, whatever the version (those from 4.7 on)."""
VERSIONS = ("2023-06-01", "2026-10-21")
ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
USAGE: Json = {
    "input_tokens": INPUT - CACHED - WRITTEN,
    "cache_creation_input_tokens": WRITTEN,
    "cache_read_input_tokens": CACHED,
    "cache_creation": {"ephemeral_5m_input_tokens": WRITTEN, "ephemeral_1h_input_tokens": 0},
    "output_tokens": OUTPUT,
    "output_tokens_details": {"thinking_tokens": REASONING},
    "service_tier": "standard",
}
CALL_IDS = tuple(f"toolu_01{name}" for name, _ in CALLS)
_ID = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_SAMPLING = {"temperature": float, "top_p": float, "top_k": int}


class AnthropicForm(FormUpstream):
    """``/v1/messages``, whole and streamed, and ``/v1/messages/count_tokens``."""

    key_field = "x-api-key"
    key_prefix = ""
    fields: ClassVar[Mapping[str, str]] = {
        "request-id": "req_scripted",
        "anthropic-organization-id": "2f7a-scripted",
        "anthropic-ratelimit-tokens-remaining": "149984",
        "anthropic-ratelimit-tokens-limit": "400000",
    }

    def answer_to(self, asked: Asked) -> Answering:
        if asked.method != "POST" or asked.path not in ("/v1/messages", "/v1/messages/count_tokens"):
            raise NotThere("Not Found")
        need(asked.query in ({}, {"beta": "true"}), f"the query is {asked.query}")
        versions = asked.message.all("anthropic-version")
        need(len(versions) == 1 and versions[0].decode() in VERSIONS, f"anthropic-version is {versions}")
        body = asked.json()
        if asked.path.endswith("count_tokens"):
            none_of(problems(body, MessageCountTokensParams))
            self._check(body)
            return self.whole({"input_tokens": INPUT})
        _check_members(body, versions[0].decode())
        self._check(body)
        answer = _message(body, MODELS[body["model"]])
        return self.events(_events(answer)) if body.get("stream") else self.whole(answer)

    def _check(self, body: Json) -> None:
        if body["model"] not in MODELS:
            raise NotThere(f"model: {body['model']}")
        check_turns(body)

    def error_body(self, status: int, message: str) -> object:
        kind = ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
        error = {"type": kind, "message": message}
        return {"type": "error", "error": error, "request_id": "req_scripted"}


def _check_members(body: Json, version: str) -> None:
    form: Any = (
        MessageCreateParamsStreaming if body.get("stream") is True else MessageCreateParamsNonStreaming
    )
    # The newer version refuses what the SDK, which sends it, does not name any more.
    sampling: dict[str, Any] = _SAMPLING if version == VERSIONS[0] else {}
    none_of(problems(body, form, more={**sampling, "stream": Literal[True, False]}))
    asked = body.keys() & _SAMPLING.keys()
    need(not asked or body["model"] not in WITHOUT_SAMPLING, f"{sorted(asked)} is deprecated for this model")
    need(body["max_tokens"] > 0, "max_tokens must be above 0")
    need(0 <= body.get("temperature", 1) <= 1, "temperature is above 1")
    need(not {"temperature", "top_p"} <= body.keys(), "temperature and top_p cannot both be specified")
    schema = ((body.get("output_config") or {}).get("format") or {}).get("schema")
    need(schema is None or schema.get("additionalProperties") is False, "the schema is not closed")


def check_turns(body: Json) -> None:
    """User and model in turn; each call has its result, first thing in the next message."""
    messages = body["messages"]
    roles = [message["role"] for message in messages]
    need(roles and roles[0] == "user" and roles[-1] == "user", f"the roles are {roles}")
    need(all(one != other for one, other in pairwise(roles)), f"the roles are {roles}")
    waiting: list[str] = []
    for message in messages:
        blocks = _blocks(message["content"])
        need(blocks, "all messages must have non-empty content")
        for block in blocks:
            need(block["type"] != "text" or block["text"].strip(), "text content blocks must be non-empty")
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        first = [block["type"] for block in blocks[: len(results)]]
        need(set(first) <= {"tool_result"}, "results must come before everything else")
        need(sorted(results) == sorted(waiting), f"calls {waiting}, results {results}")
        waiting = [block["id"] for block in blocks if block["type"] == "tool_use"]
        need(all(_ID.fullmatch(id_) for id_ in waiting), f"the ids are {waiting}")
        need(not waiting or body.get("tools"), "there are calls, and no tools")


def _blocks(content: str | list[Json]) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _says(body: Json) -> str | None:
    last = _blocks(body["messages"][-1]["content"])
    if last[0]["type"] == "tool_result":
        results = [_blocks(block["content"])[0]["text"] for block in last]
        need(tuple(results) == RESULTS, f"the results are {results}")
        called = [block for block in body["messages"][-2]["content"] if block["type"] == "tool_use"]
        made = tuple((call["name"], call["input"]) for call in called)
        need(made == CALLS, f"the calls are {made}")
        return SUMMED_UP
    if (body.get("output_config") or {}).get("format"):
        return compact(STRUCTURE)
    return None if body.get("tools") else TEXT


def _message(body: Json, model: str) -> Json:
    text = _says(body)
    content: list[Json] = [{"type": "text", "text": text}]
    if text is None:
        content = [
            {"type": "tool_use", "id": CALL_IDS[place], "name": name, "input": input_}
            for place, (name, input_) in enumerate(CALLS)
        ]
    return {
        "id": "msg_scripted",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": "tool_use" if text is None else "end_turn",
        "stop_sequence": None,
        "usage": USAGE,
    }


def _events(answer: Json) -> Iterator[bytes]:
    usage = {**answer["usage"], "output_tokens": 1}
    del usage["output_tokens_details"]
    begun = {**answer, "content": [], "stop_reason": None, "usage": usage}
    yield _event({"type": "message_start", "message": begun})
    yield _event({"type": "ping"})
    for place, block in enumerate(answer["content"]):
        is_text = block["type"] == "text"
        empty: Json = {"text": ""} if is_text else {"input": {}}
        yield _event({"type": "content_block_start", "index": place, "content_block": {**block, **empty}})
        for delta in _text_deltas(block["text"]) if is_text else _input_deltas(block["input"]):
            yield _event({"type": "content_block_delta", "index": place, "delta": delta})
        yield _event({"type": "content_block_stop", "index": place})
    delta = {"stop_reason": answer["stop_reason"], "stop_sequence": None}
    used = {"output_tokens": OUTPUT, "output_tokens_details": {"thinking_tokens": REASONING}}
    yield _event({"type": "message_delta", "delta": delta, "usage": used})
    yield _event({"type": "message_stop"})


def _text_deltas(text: str) -> list[Json]:
    return [{"type": "text_delta", "text": word} for word in (WORDS if text == TEXT else pieces(text))]


def _input_deltas(input_: Json) -> list[Json]:
    said = ("", *pieces(compact(input_)))
    return [{"type": "input_json_delta", "partial_json": piece} for piece in said]


def _event(data: Json) -> bytes:
    return event(data, data["type"])
