"""Streams of chat completions out of messages'."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from openai.lib.streaming._deltas import accumulate_delta

from openai_proxy.observe.sse import MAX_EVENT_BYTES, SseSplitter
from openai_proxy.providers.translate.event import CUT
from openai_proxy.providers.translate.to_chat.stream import MAX_THINKING_CHARS, CompletionStream

Json = dict[str, Any]
STOP: Json = {"type": "message_stop"}
PING: Json = {"type": "ping"}


def event(body: Json) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (body["type"].encode(), json.dumps(body).encode())


def start(**usage: Any) -> Json:
    said = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": "claude-opus-5"}
    return {
        "type": "message_start",
        "message": said | {"usage": {"input_tokens": 10, "output_tokens": 1} | usage},
    }


def block(index: int, content: Json, *deltas: Json) -> list[Json]:
    return [
        {"type": "content_block_start", "index": index, "content_block": content},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text(index: int, *said: str) -> list[Json]:
    return block(index, {"type": "text", "text": ""}, *({"type": "text_delta", "text": one} for one in said))


def tool(index: int, id_: str, *parts: str, **more: Any) -> list[Json]:
    content = {"type": "tool_use", "id": id_, "name": "f", "input": {}} | more
    return block(index, content, *({"type": "input_json_delta", "partial_json": part} for part in parts))


def thinking(index: int, *said: str) -> list[Json]:
    deltas = [{"type": "thinking_delta", "thinking": one} for one in said]
    content = {"type": "thinking", "thinking": "", "signature": ""}
    return block(index, content, *deltas, {"type": "signature_delta", "signature": "sig"})


def stopped(reason: str = "end_turn", **more: Any) -> Json:
    return {
        "type": "message_delta",
        "delta": {"stop_reason": reason, "stop_sequence": None} | more,
        "usage": {"output_tokens": 7},
    }


def chunks(*events: Json, **options: Any) -> list[Any]:
    """What a client gets, decoded; comments are left out."""
    stream = CompletionStream("asked-for", 7, **options)
    said = stream.feed(b"".join(map(event, events))) + stream.end()
    return [
        json.loads(data) if data != b"[DONE]" else "[DONE]"
        for name, data in SseSplitter().feed(said)
        if not name
    ]


def deltas(*events: Json, **options: Any) -> list[Json]:
    """The deltas of the blocks, without the role's and the end's."""
    said = [one["choices"][0]["delta"] for one in chunks(start(), *events, stopped(), STOP, **options)[:-1]]
    assert said[0] == {"role": "assistant", "content": "", "refusal": None}
    assert said[-1] == {}
    return said[1:-1]


def test_the_whole() -> None:
    """Each chunk has all its members; usage is null but for the last."""
    said = chunks(start(cache_read_input_tokens=5), *text(0, "a", "b"), stopped(), STOP, include_usage=True)
    members = {"id": "msg_1", "object": "chat.completion.chunk", "created": 7, "model": "claude-opus-5"}
    assert said[1] == members | {
        "choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": None, "finish_reason": None}],
        "usage": None,
    }
    assert said[3]["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]
    assert said[4] == members | {
        "choices": [],
        "usage": {
            "prompt_tokens": 15,
            "completion_tokens": 7,
            "total_tokens": 22,
            "prompt_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }
    assert said[5] == "[DONE]"
    assert len(said) == 6


def test_usage_that_was_not_asked_for() -> None:
    """A client that did not ask for it may fail on a chunk without choices."""
    said = chunks(start(), *text(0, "a"), stopped(), STOP)
    assert all("usage" not in one and one["choices"] for one in said[:-1])


def test_usage_is_overwritten() -> None:
    """The numbers at the end are totals; what they leave out stays."""
    end = stopped()
    end["usage"] = {"input_tokens": 100, "output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4}}
    begin = start(cache_creation_input_tokens=3, service_tier="standard")
    said = chunks(begin, *text(0, "a"), end, STOP, include_usage=True)[-2]
    assert said["usage"]["prompt_tokens"] == 103
    assert said["usage"]["completion_tokens"] == 9
    assert said["usage"]["completion_tokens_details"] == {"reasoning_tokens": 4}
    assert said["service_tier"] == "default"


def test_usage_that_cannot_be_read() -> None:
    """The answer is worth more than its numbers."""
    end = stopped()
    end["usage"] = {"output_tokens": "many"}
    said = chunks(start(), *text(0, "a"), end, STOP, include_usage=True)
    assert all(not one["usage"] for one in said[:-1])
    assert said[-1] == "[DONE]"


def test_calls() -> None:
    """Numbered among themselves, not among all blocks; no parameters are an empty object, said once."""
    said = deltas(
        *text(0, "a"),
        *tool(1, "t1", "", '{"a":', "1}"),
        *tool(2, "t2"),
        *tool(3, "t3", ""),
        *tool(4, "t4", input={"b": 2}),
    )
    call = {"type": "function", "function": {"name": "f", "arguments": ""}}
    assert said == [
        {"content": "a"},
        {"tool_calls": [{"index": 0, "id": "t1"} | call]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]},
        {"tool_calls": [{"index": 1, "id": "t2"} | call]},
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
        {"tool_calls": [{"index": 2, "id": "t3"} | call]},
        {"tool_calls": [{"index": 2, "function": {"arguments": "{}"}}]},
        {"tool_calls": [{"index": 3, "id": "t4"} | call]},
        {"tool_calls": [{"index": 3, "function": {"arguments": '{"b":2}'}}]},
    ]


def test_thinking() -> None:
    """Its text as it comes, and each block once more with its signature, as it has to come back."""
    redacted = block(1, {"type": "redacted_thinking", "data": "x"})
    said = deltas(*thinking(0, "h", "m"), *redacted, *thinking(2, "so"), *text(3, "a"))
    first = {"index": 0, "type": "thinking", "thinking": "hm", "signature": "sig"}
    assert said == [
        {"reasoning_content": "h"},
        {"reasoning_content": "m"},
        {"thinking_blocks": [first]},
        {"thinking_blocks": [{"index": 1, "type": "redacted_thinking", "data": "x"}]},
        {"reasoning_content": "so"},
        {"thinking_blocks": [{"index": 2, "type": "thinking", "thinking": "so", "signature": "sig"}]},
        {"content": "a"},
    ]
    joined: Json = {}
    for delta in said:
        joined = accumulate_delta(joined, delta)  # type: ignore[assignment,arg-type]
    assert joined["reasoning_content"] == "hmso"
    assert [one["index"] for one in joined["thinking_blocks"]] == [0, 1, 2]


def test_thinking_that_is_omitted_or_unsigned() -> None:
    """A signature alone is worth sending back, a text without one is not."""
    assert deltas(*thinking(0)) == [
        {"thinking_blocks": [{"index": 0, "type": "thinking", "thinking": "", "signature": "sig"}]}
    ]
    unsigned = block(0, {"type": "thinking", "thinking": ""}, {"type": "thinking_delta", "thinking": "hm"})
    assert deltas(*unsigned) == [{"reasoning_content": "hm"}]


def test_the_tool_that_answers() -> None:
    """Its input is the content, and nothing was called."""
    said = chunks(start(), *tool(0, "t1", '{"a"', ":1}"), stopped("tool_use"), STOP, answer_tool="f")
    choices = [one["choices"][0] for one in said[1:-1]]
    assert [one["delta"] for one in choices] == [{"content": '{"a"'}, {"content": ":1}"}, {}]
    assert choices[-1]["finish_reason"] == "stop"


def test_citations() -> None:
    """Of pages, for what the block has said so far."""
    citation = {"type": "web_search_result_location", "url": "https://example.com", "title": "E"}
    said = deltas(
        *text(0, "a"),
        *block(
            1,
            {"type": "text", "text": ""},
            {"type": "text_delta", "text": "bc"},
            {"type": "citations_delta", "citation": citation},
            {"type": "citations_delta", "citation": {"type": "char_location"}},
        ),
    )
    cited = {"start_index": 1, "end_index": 3, "title": "E", "url": "https://example.com"}
    assert said[-1] == {"annotations": [{"type": "url_citation", "url_citation": cited}]}


def test_what_a_block_begins_with() -> None:
    """It need not be empty."""
    said = deltas(*block(0, {"type": "text", "text": "a"}), *block(1, {"type": "thinking", "thinking": "b"}))
    assert said == [{"content": "a"}, {"reasoning_content": "b"}]


def test_what_is_left_out() -> None:
    """Tools that the provider runs itself, and what nobody knows yet."""
    server = {"type": "server_tool_use", "id": "1", "name": "web_search", "input": {}}
    said = deltas(
        *block(0, server, {"type": "input_json_delta", "partial_json": '{"q":1}'}),
        *block(1, {"type": "web_search_tool_result", "tool_use_id": "1", "content": []}),
        *block(2, {"type": "new"}, {"type": "new_delta", "new": 1}),
        {"type": "from_the_future", "delta": "what?"},
        {"type": "content_block_delta", "index": 0, "delta": None},
        *text(3, "", "a"),
    )
    assert said == [{"content": "a"}]


@pytest.mark.parametrize(
    ("reason", "finish_reason"),
    [
        ("end_turn", "stop"),
        ("max_tokens", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
    ],
)
def test_finish_reasons(reason: str, finish_reason: str) -> None:
    """Said once, however often the upstream does."""
    said = chunks(start(), stopped(reason), stopped(reason), STOP)
    assert [one["choices"][0]["finish_reason"] for one in said[:-1]] == [None, finish_reason]


def test_an_end_without_a_reason() -> None:
    """A client waits for one."""
    said = chunks(start(), *text(0, "a"), STOP)
    assert said[-2]["choices"][0]["finish_reason"] == "stop"


def test_refusals() -> None:
    """With the reason, if there is one."""
    details = {"type": "refusal", "explanation": "Not that."}
    said = chunks(start(), stopped("refusal", stop_details=details), STOP)
    assert said[-2]["choices"][0]["delta"] == {"refusal": "Not that."}


def test_pings() -> None:
    """A comment: a chunk that is none breaks OpenAI's clients."""
    stream = CompletionStream("m", 7)
    assert stream.feed(event(PING)) == b": ping\n\n"
    assert stream.feed(b": comment\n\n") == b""


@pytest.mark.parametrize(
    ("events", "code"),
    [
        ([{"type": "error", "error": {"type": "overloaded_error", "message": "Full."}}], "overloaded_error"),
        (
            [start(), *text(0, "a"), {"type": "error", "error": {"message": "x"}}, *text(1, "b"), STOP],
            "api_error",
        ),
        ([start(), {"type": "error"}], "api_error"),
        ([start(), *text(0, "a")], "api_error"),
        ([start(), *text(0, "a"), stopped()], "api_error"),
        ([], "api_error"),
        ([{"type": "message_start"}], "api_error"),
        ([{"type": "message_start", "message": 7}], "api_error"),
        ([start(), {"type": "content_block_delta", "index": 0, "delta": {"text": 7}}], "api_error"),
    ],
)
def test_failures(events: list[Json], code: str) -> None:
    """An error at the end, and neither a finish reason nor ``[DONE]``: half an answer is not a whole one."""
    stream = CompletionStream("m", 7)
    out = stream.feed(b"".join(map(event, events))) + stream.end() + stream.feed(event(STOP)) + stream.end()
    said = [json.loads(data) for _, data in SseSplitter().feed(out)]
    assert (stream.failed, stream.ended) == (True, False)
    assert said[-1]["error"]["code"] == code
    assert [one for one in said if "error" in one] == said[-1:]
    assert b"[DONE]" not in out


@pytest.mark.parametrize("data", [b"nonsense", b"[]", b'"a"', b"{", b"\xff", b"x" * (MAX_EVENT_BYTES + 1)])
def test_events_that_cannot_be_read(data: bytes) -> None:
    """They may be a part of the answer: without it, it is none."""
    stream = CompletionStream("m", 7)
    out = stream.feed(event(start()) + b"data: " + data + b"\n\n") + stream.end()
    assert stream.failed
    assert out.count(b'"error"') == 1


def test_half_an_emoji() -> None:
    """Half of a pair is no text in any encoding: it does not end the stream."""
    stream = CompletionStream("m", 7)
    out = stream.feed(event(start()) + event(text(0, "a\ud83d")[1]))
    assert b'{"content":"a?"}' in out


def test_the_end_has_come() -> None:
    """What follows it is not for the client, and the upstream may close."""
    stream = CompletionStream("m", 7)
    out = stream.feed(event(start()) + event(stopped()) + event(STOP) + event(text(0, "a")[1]))
    assert stream.ended and out.endswith(b"data: [DONE]\n\n")
    assert stream.end() == b""


def test_an_end_without_a_blank_line() -> None:
    """It is meant as one."""
    stream = CompletionStream("m", 7)
    out = stream.feed(event(start()) + event(stopped()) + event(STOP)[:-2])
    assert not stream.ended
    assert (out + stream.end()).endswith(b"data: [DONE]\n\n")
    assert stream.ended


def test_a_cut_event() -> None:
    """It is told as what it is."""
    stream = CompletionStream("m", 7)
    stream.feed(event(start()) + event(text(0, "a")[1])[:-9])
    assert CUT.encode() in stream.end()


def test_byte_by_byte() -> None:
    """Where the pieces end makes no difference."""
    events = [
        start(),
        PING,
        *thinking(0, "hm"),
        *text(1, "aü", "b"),
        *tool(2, "t", '{"a":1}'),
        stopped(),
        STOP,
    ]
    whole = b"".join(map(event, events))
    one, other = CompletionStream("m", 7), CompletionStream("m", 7)
    assert one.feed(whole) + one.end() == b"".join(other.feed(bytes([byte])) for byte in whole) + other.end()


def test_memory_is_bounded() -> None:
    """Thinking that is too long to hold comes as text only, and a long answer is not held at all."""
    stream = CompletionStream("m", 7)
    stream.feed(event(start()) + event(thinking(0)[0]))
    piece = event(thinking(0, "x" * 65536)[1])
    for _ in range(MAX_THINKING_CHARS // 65536 + 1):
        stream.feed(piece)
    out = b"".join(stream.feed(event(one)) for one in thinking(0)[1:])
    assert b"thinking_blocks" not in out
    piece = event(text(1, "x" * 65536)[1])
    stream.feed(event(text(1)[0]))
    tracemalloc.start()
    for _ in range(100):
        stream.feed(piece)
    assert tracemalloc.get_traced_memory()[0] < 1_000_000
    tracemalloc.stop()
