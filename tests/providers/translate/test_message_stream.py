"""Streams of messages out of chat completions'."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest

from openai_proxy.observe.sse import SseSplitter
from openai_proxy.observe.usage import QUIRKS
from openai_proxy.providers.translate.event import CUT
from openai_proxy.providers.translate.member import parsed_object
from openai_proxy.providers.translate.to_messages import call as call_module
from openai_proxy.providers.translate.to_messages.call import MAX_HELD_CHARS
from openai_proxy.providers.translate.to_messages.stream import PING, MessageStream

Json = dict[str, Any]
DONE = b"data: [DONE]\n\n"


def data(body: Any) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def chunk(finish_reason: str | None = None, **delta: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return data({"id": "c1", "object": "chat.completion.chunk", "model": "gpt-5", "choices": [choice]})


def used(**usage: Any) -> bytes:
    return data({"id": "c1", "model": "gpt-5", "choices": [], "usage": usage})


def call(index: int | None, id_: str | None = None, arguments: Any = None, name: str | None = None) -> Json:
    function: Json = {"arguments": arguments} | ({"name": name} if name else {})
    return {"index": index, "function": function} | ({"id": id_, "type": "function"} if id_ else {})


def calls(*fragments: Json) -> bytes:
    return chunk(tool_calls=list(fragments))


def run(*pieces: bytes, **options: Any) -> list[Json]:
    """What a client gets, decoded; each name is its event's type."""
    stream = MessageStream("asked-for", **options)
    out = b"".join(stream.feed(piece) for piece in pieces) + stream.end()
    events = []
    for name, body in SseSplitter().feed(out):
        events.append(json.loads(body))
        assert name.decode() == events[-1]["type"]
    return events


def blocks(*pieces: bytes) -> list[Json]:
    """The blocks that the events come to, by Anthropic's rules: one is open at a time."""
    made: list[Json] = []
    is_open = False
    for event in run(*pieces, chunk("stop"), DONE):
        kind = event["type"]
        if not kind.startswith("content_block"):
            continue
        if kind == "content_block_start":
            assert not is_open and event["index"] == len(made)
            is_open = True
            made.append(event["content_block"])
            if made[-1]["type"] == "tool_use":
                assert made[-1].pop("input") == {}
                made[-1]["json"] = ""
            continue
        assert is_open and event["index"] == len(made) - 1
        is_open = kind == "content_block_delta"
        for name, said in event.get("delta", {}).items():
            if name != "type":
                made[-1][{"partial_json": "json"}.get(name, name)] += said
    assert not is_open
    return made


def text(said: str) -> Json:
    return {"type": "text", "text": said}


def tool(id_: str, said: str, name: str = "f") -> Json:
    return {"type": "tool_use", "id": id_, "name": name, "json": said}


def test_the_whole() -> None:
    """In Anthropic's order; the numbers are guessed at the beginning and right at the end."""
    end = used(prompt_tokens=15, completion_tokens=7, prompt_tokens_details={"cached_tokens": 5})
    usage = {"cache_creation_input_tokens": 0, "output_tokens": 0}
    assert run(
        chunk(role="assistant", content=""),
        chunk(content="a"),
        chunk("stop"),
        end,
        DONE,
        estimated_input_tokens=9,
    ) == [
        {
            "type": "message_start",
            "message": {
                "id": "c1",
                "type": "message",
                "role": "assistant",
                "model": "gpt-5",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": usage | {"input_tokens": 9, "cache_read_input_tokens": 0},
            },
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": usage | {"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 7},
        },
        {"type": "message_stop"},
    ]


@pytest.mark.parametrize(
    ("pieces", "made"),
    [
        ([chunk(content="a"), chunk(content="b")], [text("ab")]),
        (
            [chunk(reasoning_content="h"), chunk(reasoning="m"), chunk(content="a"), chunk(reasoning="so")],
            [
                {"type": "thinking", "thinking": "hm", "signature": ""},
                text("a"),
                {"type": "thinking", "thinking": "so", "signature": ""},
            ],
        ),
        (
            [
                chunk(
                    content=[
                        {"type": "thinking", "thinking": [{"text": "hm"}]},
                        {"type": "text", "text": "a"},
                    ]
                )
            ],
            [{"type": "thinking", "thinking": "hm", "signature": ""}, text("a")],
        ),
        ([chunk(content="a", refusal="No.")], [text("aNo.")]),
        ([chunk(content=None, reasoning_content="", tool_calls=[])], []),
        (
            [
                chunk(reasoning_content="hm"),
                chunk(thinking_blocks=[{"index": 0, "type": "thinking", "thinking": "hm", "signature": "s"}]),
                chunk(thinking_blocks=[{"type": "redacted_thinking", "data": "x"}, 7]),
                chunk(content="a"),
            ],
            [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "redacted_thinking", "data": "x"},
                text("a"),
            ],
        ),
        # Thinking that is kept from readers is signed all the same.
        (
            [chunk(thinking_blocks=[{"type": "thinking", "thinking": "", "signature": "s"}])],
            [{"type": "thinking", "thinking": "", "signature": "s"}],
        ),
    ],
)
def test_blocks(pieces: list[bytes], made: list[Json]) -> None:
    """A block for each stretch of thinking or text, by whatever name a server has for it."""
    assert blocks(*pieces) == made


@pytest.mark.parametrize(
    ("pieces", "made"),
    [
        # As OpenAI does.
        (
            [
                chunk(content="a"),
                calls(call(0, "1", "", "f")),
                calls(call(0, None, '{"a"')),
                calls(call(0, None, ":1}")),
                calls(call(1, "2", "", "g")),
                calls(call(1, None, "{}")),
            ],
            [text("a"), tool("1", '{"a":1}'), tool("2", "{}", "g")],
        ),
        # In turn.
        (
            [
                calls(call(0, "1", "", "f"), call(1, "2", "", "g")),
                calls(call(1, None, '{"b"')),
                calls(call(0, None, '{"a"'), call(1, None, ":2}")),
                calls(call(0, None, ":1}")),
            ],
            [tool("1", '{"a":1}'), tool("2", '{"b":2}', "g")],
        ),
        # Without an index (Gemini).
        (
            [
                calls(call(None, "1", '{"a":1}', "f")),
                calls(call(None, "2", "{}", "f"), call(None, "3", "{}", "g")),
            ],
            [tool("1", '{"a":1}'), tool("2", "{}"), tool("3", "{}", "g")],
        ),
        # All with the same index (Ollama).
        (
            [calls(call(0, "1", '{"a":1}', "f")), calls(call(0, "2", "{}", "g"))],
            [tool("1", '{"a":1}'), tool("2", "{}", "g")],
        ),
        # The id with each fragment, a new one with each, or none at all.
        (
            [calls(call(0, "1", "{", "f")), calls(call(0, "1", "}", "f"))],
            [tool("1", "{}")],
        ),
        (
            [calls(call(0, "1", "{", "f")), calls(call(0, "x", "}"))],
            [tool("1", "{}")],
        ),
        (
            [calls(call(0, None, "{", "f")), calls(call(0, None, "}")), calls(call(1, None, "{}", "g"))],
            [tool("toolu_c1_0", "{}"), tool("toolu_c1_1", "{}", "g")],
        ),
        # The name after the id.
        (
            [calls(call(0, "1")), calls(call(0, None, None, "f")), calls(call(0, None, "{}"))],
            [tool("1", "{}")],
        ),
        # No parameters; an object instead of its text; more text after.
        (
            [
                calls(call(0, "1", "", "f")),
                calls(call(1, "2", None, "g")),
                calls(call(2, "3", {"a": 1}, "h")),
            ],
            [tool("1", ""), tool("2", "", "g"), tool("3", '{"a":1}', "h")],
        ),
        (
            [calls(call(0, "1", '{"a"', "f"), call(1, "2", "{}", "g")), chunk(content="b")],
            [tool("1", '{"a"'), tool("2", "{}", "g"), text("b")],
        ),
        # As it was before there were several.
        (
            [chunk(function_call={"name": "f", "arguments": ""}), chunk(function_call={"arguments": "{}"})],
            [tool("toolu_c1_0", "{}")],
        ),
    ],
)
def test_calls(pieces: list[bytes], made: list[Json]) -> None:
    """Each is whole and in its place, however a server names and mixes the fragments."""
    assert blocks(*pieces) == made


def test_the_next_call_is_not_kept_waiting() -> None:
    """It is sent as it comes once the one before it is whole."""
    stream = MessageStream("m")
    stream.feed(calls(call(0, "1", '{"a":1}', "f")))
    assert b'"id":"2"' in stream.feed(calls(call(1, "2", "", "g")))
    assert b'"partial_json":"{"' in stream.feed(calls(call(1, None, "{")))


@pytest.mark.parametrize(
    ("pieces", "reason"),
    [
        ([chunk("stop", content="a")], "end_turn"),
        ([chunk("length", content="a")], "max_tokens"),
        ([chunk("content_filter", content="a")], "refusal"),
        ([chunk("stop", refusal="No.")], "refusal"),
        ([calls(call(0, "1", "{}", "f")), chunk("tool_calls")], "tool_use"),
        ([calls(call(0, "1", "{}", "f")), chunk("stop")], "tool_use"),
        ([chunk(content="a")], "end_turn"),
    ],
)
def test_stop_reasons(pieces: list[bytes], reason: str) -> None:
    """What was called is run, whatever the reason that the server gives."""
    assert run(*pieces, DONE)[-2]["delta"]["stop_reason"] == reason


def test_usage_with_every_chunk() -> None:
    """Totals: the last holds. Groq's place for it is known, and xAI's way of counting."""
    usage = {"prompt_tokens": 4, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 2}}
    groq = data({"choices": [], "x_groq": {"usage": usage}, "service_tier": "default"})
    said = run(
        chunk(content="a"), used(prompt_tokens=9, completion_tokens=9), groq, DONE, quirks=QUIRKS["xai"]
    )
    assert said[-2]["usage"] == {
        "input_tokens": 4,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 7,
        "output_tokens_details": {"thinking_tokens": 2},
        "service_tier": "standard",
    }


def test_no_usage() -> None:
    """Then the guess is all there is."""
    assert run(chunk(content="a"), DONE, estimated_input_tokens=9)[-2]["usage"]["input_tokens"] == 9


@pytest.mark.parametrize(
    "odd",
    [
        b": comment\n\n",
        data({"id": "", "model": "", "choices": [], "prompt_filter_results": [{}]}),
        data({"choices": [{"index": 0, "content_filter_offsets": {}}]}),
        data({"choices": [{"index": 1, "delta": {"content": "other"}}]}),
        data({"type": "ping"}),
        data({"choices": None}),
        data({"error": None}),
    ],
)
def test_odd_chunks(odd: bytes) -> None:
    """They say nothing of the answer."""
    assert (
        run(odd, chunk(content="a"), odd, chunk("stop"), DONE)[1:]
        == run(chunk(content="a"), chunk("stop"), DONE)[1:]
    )


def test_azure_begins_with_a_chunk_that_names_nothing() -> None:
    """The message is named by the first that does."""
    first = data({"id": "", "model": "", "choices": [], "prompt_filter_results": [{}]})
    assert run(first, chunk(content="a"), DONE)[0]["message"]["id"] == "c1"


def test_an_end_without_done() -> None:
    """A reason to finish is one."""
    assert run(chunk("stop", content="a"))[-1] == {"type": "message_stop"}


@pytest.mark.parametrize(
    ("pieces", "kind"),
    [
        ([], "api_error"),
        ([DONE], "api_error"),
        ([chunk(content="a")], "api_error"),
        (
            [chunk(content="a"), data({"error": {"message": "x", "code": "rate_limit_exceeded"}}), DONE],
            "rate_limit_error",
        ),
        ([b'event: error\ndata: {"type":"error","message":"x"}\n\n'], "api_error"),
        ([data({"error": "boom"})], "api_error"),
        ([chunk(content="a"), b"data: nonsense\n\n", DONE], "api_error"),
        ([chunk(content="a"), b"data: []\n\n", DONE], "api_error"),
        ([chunk(content={"a": 1}, tool_calls=7), DONE], "api_error"),
        ([calls(call(0, "1", "{}", "f")), chunk(content="a"), calls(call(0, None, "}")), DONE], "api_error"),
    ],
)
def test_failures(pieces: list[bytes], kind: str) -> None:
    """An error at the end, and no end of the message: half an answer is not a whole one."""
    stream = MessageStream("m")
    out = b"".join(map(stream.feed, pieces)) + stream.end() + stream.feed(DONE) + stream.end()
    said = [json.loads(body) for _, body in SseSplitter().feed(out)]
    assert (stream.failed, stream.ended) == (True, False)
    assert said[-1]["error"]["type"] == kind
    assert [one["type"] for one in said].count("error") == 1
    assert b"message_stop" not in out


def test_what_follows_the_end() -> None:
    """It is not for the client."""
    stream = MessageStream("m")
    out = stream.feed(chunk("stop", content="a") + DONE + chunk(content="b"))
    assert stream.ended and out.endswith(b'data: {"type":"message_stop"}\n\n')
    assert stream.end() == b""


def test_pings() -> None:
    """An event that Anthropic's clients skip."""
    assert SseSplitter().feed(PING) == [(b"ping", b'{"type":"ping"}')]


@pytest.mark.parametrize("chars", [1, 2, 9])
def test_a_cut_event(chars: int) -> None:
    """It is told as what it is; one that lacks its blank line only is whole."""
    stream = MessageStream("m")
    stream.feed(chunk(content="a") + chunk("stop")[:-chars])
    assert (CUT.encode() in stream.end()) is (chars > 2)


def test_byte_by_byte() -> None:
    """Where the pieces end makes no difference."""
    whole = (
        chunk(reasoning_content="hm")
        + chunk(content="aü")
        + calls(call(0, "1", '{"a"', "f"), call(1, "2", "{}", "g"))
        + calls(call(0, None, ":1}"))
        + chunk("tool_calls")
        + used(prompt_tokens=1, completion_tokens=2)
        + DONE
    )
    one, other = MessageStream("m"), MessageStream("m")
    assert one.feed(whole) + one.end() == b"".join(other.feed(bytes([byte])) for byte in whole) + other.end()


@pytest.mark.parametrize("chars", range(1, len(used(prompt_tokens=1, completion_tokens=2)) - 3))
def test_an_end_inside_the_usage(chars: int) -> None:
    """A stream that ends in half an event is cut, though its framing says that it is whole."""
    begun = chunk(content="a") + chunk("stop") + used(prompt_tokens=1, completion_tokens=2)[:chars]
    events = run(begun)
    assert events[-1]["type"] == "error"
    assert "message_stop" not in [event["type"] for event in events]


def test_long_calls_that_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is not read from its beginning with every fragment, and both are whole at the end."""
    read: list[int] = []

    def counted(said: str) -> Json | None:
        read.append(len(said))
        return parsed_object(said)

    monkeypatch.setattr(call_module, "parsed_object", counted)
    said = '{"a":"' + "x" * 400_000 + '"}'
    pieces = [calls(call(0, "1", "", "f"), call(1, "2", "", "g"))]
    for begin in range(0, len(said), 400):
        pieces.append(calls(*(call(number, None, said[begin : begin + 400]) for number in (0, 1))))
    assert blocks(*pieces) == [tool("1", said, "f"), tool("2", said, "g")]
    assert sum(read) < 8 * len(said)


@pytest.mark.parametrize("fragment", [call(0, None, "x" * 65536), None])
def test_too_many_arguments(fragment: Json | None) -> None:
    """Arguments that are too long to hold end the stream, and so do too many calls."""
    stream = MessageStream("m")
    stream.feed(calls(call(0, "1", "{", "f")))
    for number in range(MAX_HELD_CHARS // 256 + 1):
        out = stream.feed(calls(fragment or call(None, f"c{number}", "", "f")))
        if stream.failed:
            break
    assert stream.failed and b"event: error" in out


def test_memory_is_bounded() -> None:
    """A long answer is not held."""
    stream = MessageStream("m")
    piece = chunk(content="x" * 65536)
    stream.feed(piece)
    tracemalloc.start()
    for _ in range(100):
        stream.feed(piece)
    assert tracemalloc.get_traced_memory()[0] < 1_000_000
    tracemalloc.stop()
