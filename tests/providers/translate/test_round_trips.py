"""There and back: what both dialects can say is the same after two translations, however it is cut."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from openai_proxy.observe.sse import SseSplitter
from openai_proxy.providers.translate.dropped import NAMES, OTHER
from openai_proxy.providers.translate.event import data_event, named_event
from openai_proxy.providers.translate.to_chat.answer import completion
from openai_proxy.providers.translate.to_chat.request import completion_request
from openai_proxy.providers.translate.to_chat.stream import CompletionStream
from openai_proxy.providers.translate.to_messages.answer import message
from openai_proxy.providers.translate.to_messages.request import messages_request
from openai_proxy.providers.translate.to_messages.stream import MessageStream
from openai_proxy.providers.translate.traits import ChatTraits, MessagesTraits, Sampling, Thinking
from openai_proxy.providers.translate.untranslatable import Untranslatable

Json = dict[str, Any]

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

TAKES_ALL = MessagesTraits(sampling=Sampling.ALL)
OLD = MessagesTraits(
    thinking=Thinking.BUDGET, takes_system_in_place=False, takes_output_format=False, sampling=Sampling.ONE
)
REASONER = ChatTraits(efforts=("none", "low", "medium", "high", "xhigh", "max"))

SAID = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(lambda said: not said.isspace())
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 53), 1 << 53) | SAID,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SAID, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(SAID, VALUES, max_size=3)
NAMES_OF_TOOLS = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)


def usage_of(prompt: int, completion_: int, cached: int, written: int, reasoning: int) -> Json:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion_,
        "total_tokens": prompt + completion_,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


PARTS = st.integers(0, 100)
USAGES = st.builds(usage_of, st.integers(200, 10**6), st.integers(100, 10**6), PARTS, PARTS, PARTS)


@st.composite
def completion_requests(draw: st.DrawFn) -> Json:
    """Requests of chat completions that Messages can say too, in the form that comes back."""
    messages: list[Json] = []
    if draw(st.booleans()):
        messages.append({"role": "system", "content": draw(SAID)})
    for turn in range(draw(st.integers(1, 3))):
        messages.append({"role": "user", "content": draw(SAID)})
        ids = [f"call_{turn}_{number}" for number in range(draw(st.integers(0, 2)))]
        functions = [{"name": draw(NAMES_OF_TOOLS), "arguments": json_text(draw(OBJECTS))} for _ in ids]
        said = draw(SAID.map(str.strip) if not ids else st.none() | SAID)
        answer: Json = {"role": "assistant", "content": said}
        if ids:
            answer["tool_calls"] = [
                {"id": id_, "type": "function", "function": function}
                for id_, function in zip(ids, functions, strict=True)
            ]
        messages.append(answer)
        messages += [{"role": "tool", "tool_call_id": id_, "content": draw(SAID)} for id_ in ids]
    messages.append({"role": "user", "content": draw(SAID | st.just([image(), part("a"), part("b")]))})
    body: Json = {"model": "m", "messages": messages, "max_completion_tokens": draw(st.integers(1, 10**6))}
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"} | draw(OBJECTS)}}
    # With a tool always: one is declared for calls in the history in any case.
    body["tools"] = [tool]
    optional = {
        "temperature": st.floats(0, 1),
        "top_p": st.floats(0, 1),
        "stop": st.lists(SAID, min_size=1, max_size=4),
        "reasoning_effort": st.sampled_from(REASONER.efforts),
        "service_tier": st.sampled_from(["auto", "default"]),
        "tool_choice": st.sampled_from(
            ["auto", "none", "required", {"type": "function", "function": {"name": "f"}}]
        ),
    }
    body |= draw(st.fixed_dictionaries({}, optional=optional))
    return body


def json_text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def part(said: str) -> Json:
    return {"type": "text", "text": said}


def image() -> Json:
    return {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@relaxed
@given(completion_requests())
def test_requests(body: Json) -> None:
    """A chat completion's request is the same after it was one of Messages."""
    there = messages_request(body, TAKES_ALL)
    back = completion_request(there.body, REASONER)
    # A description of nothing, and a type that was not there, are all that is added.
    tool = back.body["tools"][0]["function"]["parameters"]
    assert tool == body["tools"][0]["function"]["parameters"]
    assert back.body == body
    assert there.dropped == back.dropped == ()


@st.composite
def completions(draw: st.DrawFn) -> Json:
    """Chat completions, in the form that comes back."""
    said: Json = {"role": "assistant", "content": draw(SAID), "refusal": None}
    reason = draw(st.sampled_from(["stop", "length"]))
    if draw(st.booleans()):
        said["tool_calls"] = [
            {
                "id": f"call_{number}",
                "type": "function",
                "function": {"name": draw(NAMES_OF_TOOLS), "arguments": json_text(draw(OBJECTS))},
            }
            for number in range(draw(st.integers(1, 3)))
        ]
        reason = "tool_calls"
    if draw(st.booleans()):
        thinking = draw(SAID)
        said["reasoning_content"] = thinking
        said["thinking_blocks"] = [{"type": "thinking", "thinking": thinking, "signature": draw(SAID)}]
    choice = {"index": 0, "message": said, "logprobs": None, "finish_reason": reason}
    members = {"id": "c1", "object": "chat.completion", "created": 7, "model": "m"}
    return members | {"choices": [choice], "usage": draw(USAGES), "service_tier": "default"}


@relaxed
@given(completions())
def test_answers(body: Json) -> None:
    """A chat completion is the same after it was a message, thinking and its signature too."""
    assert completion(message(body), 7) == body


CUTS = st.lists(st.integers(0, 100_000), max_size=12)


def cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(stream), *(place % (len(stream) + 1) for place in cuts)})
    return [stream[begin:end] for begin, end in pairwise(places)]


def chunks_of(body: Json, sizes: list[int]) -> bytes:
    """A chat completion as a stream; each text in pieces of these sizes, in turn."""
    choice = body["choices"][0]
    said = choice["message"]
    deltas: list[Json] = [{"role": "assistant", "content": "", "refusal": None}]
    if "reasoning_content" in said:
        deltas += [{"reasoning_content": one} for one in pieces(said["reasoning_content"], sizes)]
        deltas.append({"thinking_blocks": [{"index": 0, **said["thinking_blocks"][0]}]})
    deltas += [{"content": one} for one in pieces(said["content"], sizes)]
    for index, call in enumerate(said.get("tool_calls", ())):
        function = call["function"]
        deltas.append({"tool_calls": [{"index": index} | call | {"function": function | {"arguments": ""}}]})
        for one in pieces(function["arguments"], sizes):
            deltas.append({"tool_calls": [{"index": index, "function": {"arguments": one}}]})
    members = {"id": body["id"], "object": "chat.completion.chunk", "created": 7, "model": body["model"]}
    made: list[tuple[Json, str | None]] = [(delta, None) for delta in deltas]
    made.append(({}, choice["finish_reason"]))
    events = [
        members
        | {
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}],
            "usage": None,
        }
        for delta, reason in made
    ]
    end = members | {"choices": [], "usage": body["usage"], "service_tier": body["service_tier"]}
    return b"".join(map(data_event, [*events, end])) + b"data: [DONE]\n\n"


def pieces(said: str, sizes: list[int]) -> list[str]:
    made = []
    for size in sizes:
        made.append(said[:size])
        said = said[size:]
    return [one for one in [*made, said] if one]


@relaxed
@given(completions(), st.lists(st.integers(1, 5), max_size=8), CUTS, CUTS)
def test_streams(body: Json, sizes: list[int], cuts: list[int], others: list[int]) -> None:
    """A chat completion's stream is the same to the byte after it was a message's, wherever it was cut."""
    stream = chunks_of(body, sizes)
    there = MessageStream("m")
    middle = b"".join(map(there.feed, cut(stream, cuts))) + there.end()
    back = CompletionStream("m", 7, include_usage=True)
    assert b"".join(map(back.feed, cut(middle, others))) + back.end() == stream
    assert there.ended and back.ended


EVENTS: st.SearchStrategy[Json] = st.sampled_from(
    [
        *(
            {"type": kind, "index": 0}
            for kind in ("content_block_stop", "message_stop", "ping", "error", "new")
        ),
        {"type": "message_start", "message": {"id": "1", "model": "m", "usage": {"input_tokens": 1}}},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 1}},
        *(
            {
                "type": "content_block_start",
                "index": 0,
                "content_block": {"type": kind, "id": "1", "name": "f"},
            }
            for kind in ("text", "thinking", "redacted_thinking", "tool_use", "server_tool_use")
        ),
        *(
            {"type": "content_block_delta", "index": 0, "delta": delta}
            for delta in (
                {"type": "text_delta", "text": "ü"},
                {"type": "thinking_delta", "thinking": "hm"},
                {"type": "signature_delta", "signature": "s"},
                {"type": "input_json_delta", "partial_json": "{}"},
            )
        ),
    ]
)
CHUNKS: st.SearchStrategy[Json] = st.sampled_from(
    [
        {"choices": []},
        {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
        {"error": {"message": "x"}},
        *(
            {"id": "1", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
            for reason in (None, "stop")
            for delta in (
                {"content": "ü"},
                {"reasoning": "hm"},
                {"refusal": "No."},
                {"thinking_blocks": [{"type": "thinking", "signature": "s"}]},
                {"tool_calls": [{"index": 0, "id": "1", "function": {"name": "f", "arguments": "{"}}]},
                {"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]},
                {"tool_calls": [{"index": 1, "id": "2", "function": {"name": "g", "arguments": "{}"}}]},
            )
        ),
    ]
)
NOISE = st.sampled_from(
    [b": ping\n\n", b"data: [DONE]\n\n", b"data: {\n\n", b"\n", b"event: error\ndata: 7\n\n"]
)


@relaxed
@given(st.lists(EVENTS.map(named_event) | NOISE, max_size=12).map(b"".join), CUTS)
def test_any_events_and_any_cuts(stream: bytes, cuts: list[int]) -> None:
    """Whatever comes in whatever order: the same for all cuts, one end or one error, and all is JSON."""
    one, other = CompletionStream("m", 7), CompletionStream("m", 7)
    whole = one.feed(stream) + one.end()
    assert b"".join(map(other.feed, cut(stream, cuts))) + other.end() == whole
    assert one.ended is not one.failed
    said = [data for _, data in SseSplitter().feed(whole)]
    assert (said[-1] == b"[DONE]") is one.ended
    assert sum("error" in json.loads(data) for data in said if data != b"[DONE]") == one.failed


@relaxed
@given(st.lists(CHUNKS.map(data_event) | NOISE, max_size=12).map(b"".join), CUTS)
def test_any_chunks_and_any_cuts(stream: bytes, cuts: list[int]) -> None:
    """The other way round, and one block is open at a time."""
    one, other = MessageStream("m"), MessageStream("m")
    whole = one.feed(stream) + one.end()
    assert b"".join(map(other.feed, cut(stream, cuts))) + other.end() == whole
    assert one.ended is not one.failed
    said = [json.loads(data) for _, data in SseSplitter().feed(whole)]
    assert said[-1]["type"] == ("message_stop" if one.ended else "error")
    begun = -1
    is_open = False
    for event in said:
        if event["type"] == "content_block_start":
            assert not is_open
            begun, is_open = begun + 1, True
        if "index" in event:
            assert is_open and event["index"] == begun
        is_open = is_open and event["type"] != "content_block_stop"
    assert not (is_open and one.ended)


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("type", "text", "content", "role", "tool_calls", "function", "name", "arguments", "id"),
                    *("image_url", "url", "file", "source", "data", "tool_use_id", "input", "cache_control"),
                    *("tool_call_id", "thinking_blocks", "signature", "thinking", "input_schema", "x"),
                ]
            ),
            inner
            | st.sampled_from(
                [
                    *(
                        "user",
                        "assistant",
                        "system",
                        "tool",
                        "function",
                        "text",
                        "image_url",
                        "image",
                        "file",
                    ),
                    *(
                        "document",
                        "tool_use",
                        "tool_result",
                        "thinking",
                        "base64",
                        "{}",
                        "any",
                        "json_schema",
                    ),
                ]
            ),
            max_size=5,
        )
    ),
    max_leaves=20,
)
MEMBERS = [
    *(
        "messages",
        "system",
        "tools",
        "tool_choice",
        "stop",
        "stop_sequences",
        "thinking",
        "output_config",
        "n",
    ),
    *("response_format", "metadata", "temperature", "max_tokens", "reasoning_effort", "service_tier", "user"),
    *("anthropic_beta", "stream_options", "top_k", "cache_control", "x"),
]
ROLES = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool", "function"])}, optional={"content": ANY}
)
BODIES = st.tuples(
    st.dictionaries(st.sampled_from(MEMBERS), ANY, max_size=6),
    st.fixed_dictionaries(
        {"model": st.just("m")}, optional={"messages": st.lists(ROLES, max_size=4), "max_tokens": st.just(9)}
    ),
).map(lambda both: both[0] | both[1])


@relaxed
@given(BODIES, st.sampled_from([TAKES_ALL, OLD]))
@example({"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]}, OLD)
def test_any_body_for_messages(body: Json, traits: MessagesTraits) -> None:
    """It is translated, or refused with a message; nothing else happens."""
    try:
        made = messages_request(body, traits)
    except Untranslatable as error:
        assert error.message
        return
    msgspec.json.encode(made.body)
    assert set(made.dropped) <= NAMES | {OTHER}
    assert all(one["content"] for one in made.body["messages"])


@relaxed
@given(BODIES, st.sampled_from([REASONER, ChatTraits(returns_reasoning=True)]))
def test_any_body_for_chat(body: Json, traits: ChatTraits) -> None:
    """The other way round."""
    try:
        made = completion_request(body, traits)
    except Untranslatable as error:
        assert error.message
        return
    msgspec.json.encode(made.body)
    assert set(made.dropped) <= NAMES | {OTHER}
