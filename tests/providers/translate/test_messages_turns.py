"""Anthropic's messages out of OpenAI's."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from openai_proxy.providers.translate.dropped import Dropped
from openai_proxy.providers.translate.to_messages.block import blocks
from openai_proxy.providers.translate.to_messages.turn import NO_RESULT, Turns, turns
from openai_proxy.providers.translate.untranslatable import Untranslatable

Json = dict[str, Any]
HI: Json = {"role": "user", "content": "Hi"}
HI_BLOCKS = [{"type": "text", "text": "Hi"}]
TEXT = b64encode(b"text").decode()


def text(said: str) -> Json:
    return {"type": "text", "text": said}


def call(id_: str, arguments: str = "{}", name: str = "f") -> Json:
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


def calling(*calls: Json, **more: Any) -> Json:
    return {"role": "assistant", "tool_calls": list(calls)} | more


def result(id_: str, content: Any = "ok") -> Json:
    return {"role": "tool", "tool_call_id": id_, "content": content}


def tool_use(id_: str, input_: Json | None = None) -> Json:
    return {"type": "tool_use", "id": id_, "name": "f", "input": input_ or {}}


def tool_result(id_: str, said: str = "ok") -> Json:
    return {"type": "tool_result", "tool_use_id": id_, "content": [text(said)]}


def made(*messages: Json, in_place: bool = True) -> Turns:
    return turns(list(messages), in_place, Dropped())


@pytest.mark.parametrize(
    ("content", "made"),
    [
        ("Hi", [text("Hi")]),
        ("", []),
        (" \n", []),
        (None, []),
        (
            [{"type": "text", "text": "a"}, {"type": "text", "text": ""}, {"type": "text", "text": "b"}],
            [text("a"), text("b")],
        ),
        (
            [{"type": "image_url", "image_url": {"url": "data:image/PNG;base64,AAAA", "detail": "low"}}],
            [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}],
        ),
        (
            [{"type": "image_url", "image_url": "data:image/jpg;name=x;base64,AA=="}],
            [{"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "AA=="}}],
        ),
        (
            [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}],
            [{"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}],
        ),
        (
            [{"type": "image_url", "image_url": {"url": "data:application/pdf;base64,AAAA"}}],
            [
                {
                    "type": "document",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"},
                }
            ],
        ),
        (
            [
                {
                    "type": "file",
                    "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"},
                }
            ],
            [
                {
                    "type": "document",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"},
                    "title": "a.pdf",
                }
            ],
        ),
        (
            [{"type": "file", "file": {"file_data": "AAAA"}}],
            [
                {
                    "type": "document",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"},
                }
            ],
        ),
        (
            [{"type": "file", "file": {"file_data": f"data:text/markdown;base64,{TEXT}"}}],
            [{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "text"}}],
        ),
    ],
)
def test_content(content: Any, made: list[Json]) -> None:
    """Texts that are not empty, images, PDF and text files."""
    assert blocks(content, "content") == made


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "input_audio", "input_audio": {}}, "[0].type"),
        ({"type": "video_url"}, "[0].type"),
        ({}, "[0].type"),
        ("text", "[0]"),
        ({"type": "text"}, "[0].text"),
        ({"type": "image_url"}, "[0].image_url"),
        ({"type": "image_url", "image_url": {"url": "ftp://example.com"}}, "[0].image_url.url"),
        ({"type": "image_url", "image_url": {"url": "data:image/png,AAAA"}}, "[0].image_url.url"),
        ({"type": "image_url", "image_url": {"url": "data:audio/wav;base64,AAAA"}}, "[0].image_url.url"),
        ({"type": "file", "file": {"file_id": "file-1"}}, "[0].file.file_id"),
        ({"type": "file"}, "[0].file"),
        ({"type": "file", "file": {"file_data": "data:text/plain;base64,/w=="}}, "[0].file.file_data"),
        ({"type": "text", "text": "a", "cache_control": "yes"}, "[0].cache_control"),
    ],
)
def test_content_that_is_refused(part: Any, param: str) -> None:
    """With its path."""
    with pytest.raises(Untranslatable) as caught:
        blocks([part], "content")
    assert caught.value.param == "content" + param


def test_leading_system_messages() -> None:
    """They are the system prompt, in as many blocks as the client made of them."""
    said = made(
        {"role": "system", "content": "a"}, {"role": "developer", "content": [text("b"), text("c")]}, HI
    )
    assert said.system == [text("a"), text("b"), text("c")]
    assert said.messages == [{"role": "user", "content": HI_BLOCKS}]


def test_later_system_messages_stay_in_place() -> None:
    """At the front they would change the cached prefix."""
    later = {"role": "system", "content": "10 left"}
    answer = {"role": "assistant", "content": "Ho"}
    assert made(HI, answer, HI, later).messages[3] == {"role": "system", "content": [text("10 left")]}
    said = made(HI, answer, later, HI, in_place=False)
    assert said.system == []
    assert said.messages[2] == {"role": "user", "content": [text("<system>\n10 left\n</system>"), *HI_BLOCKS]}


def test_system_messages_only() -> None:
    """There has to be a message."""
    assert made({"role": "system", "content": "a"}) == Turns(
        [], [{"role": "user", "content": [text("a")]}], []
    )


def test_results_are_one_message_and_come_first() -> None:
    """In the order of the calls, whatever stands between them."""
    said = made(
        HI,
        calling(call("1", '{"a":1}'), call("2", ""), content="Let me see."),
        {"role": "system", "content": "note"},
        result("2", "two"),
        HI,
        result("1", [{"type": "text", "text": "one"}]),
        {"role": "user", "content": "and"},
    )
    assert said.messages[1:] == [
        {"role": "assistant", "content": [text("Let me see."), tool_use("1", {"a": 1}), tool_use("2")]},
        {"role": "user", "content": [tool_result("1", "one"), tool_result("2", "two")]},
        {"role": "system", "content": [text("note")]},
        {"role": "user", "content": [*HI_BLOCKS, text("and")]},
    ]
    assert said.tool_names == ["f"]


@pytest.mark.parametrize("after", [[], [HI], [{"role": "assistant", "content": "Never mind."}]])
def test_a_missing_result_is_an_error(after: list[Json]) -> None:
    """Without one the whole conversation would be refused."""
    said = made(HI, calling(call("1"), call("2")), result("1"), *after)
    missing = {"type": "tool_result", "tool_use_id": "2", "is_error": True, "content": [text(NO_RESULT)]}
    assert said.messages[2]["content"][:2] == [tool_result("1"), missing]


def test_results() -> None:
    """Empty, with an image, marked as failed, with a breakpoint, twice for the same call."""
    url = {"type": "image_url", "image_url": {"url": "https://example.com/a"}}
    control = {"type": "ephemeral"}
    said = made(
        HI,
        calling(call("1"), call("2")),
        result("1", ""),
        result("2", [url]) | {"is_error": True, "cache_control": control},
        result("2", "more"),
    )
    image = {"type": "image", "source": {"type": "url", "url": "https://example.com/a"}}
    assert said.messages[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "1"},
        {
            "type": "tool_result",
            "tool_use_id": "2",
            "content": [image, text("more")],
            "cache_control": control,
            "is_error": True,
        },
    ]


def test_breakpoints_of_whole_messages() -> None:
    """Some clients mark the message: its last block is marked then, and an empty one has none."""
    control = {"cache_control": {"type": "ephemeral"}}
    said = made(
        {"role": "system", "content": [text("a"), text("b")]} | control,
        HI | control,
        {"role": "assistant", "content": "Ho"} | control,
        {"role": "user", "content": ""} | control,
    )
    assert said.system == [text("a"), text("b") | control]
    assert said.messages == [
        {"role": "user", "content": [*HI_BLOCKS[:-1], HI_BLOCKS[-1] | control]},
        {"role": "assistant", "content": [text("Ho") | control]},
    ]


def test_ids_that_anthropic_refuses() -> None:
    """They are made into others, the same for a call and its result, and different for different ones."""
    said = made(HI, calling(call("functions.f:0"), call("functions.f.0")), result("functions.f:0"))
    first, second = said.messages[1]["content"]
    assert first["id"] != second["id"]
    assert all(char.isalnum() or char in "_-" for char in first["id"])
    assert said.messages[2]["content"][0]["tool_use_id"] == first["id"]


def test_legacy_calls() -> None:
    """A function call has no id: one is made up."""
    said = made(
        HI,
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"a":1}'}},
        {"role": "function", "name": "f", "content": "ok"},
    )
    id_ = said.messages[1]["content"][0]["id"]
    assert said.messages[1:] == [
        {"role": "assistant", "content": [tool_use(id_, {"a": 1})]},
        {"role": "user", "content": [tool_result(id_)]},
    ]


def test_assistant_messages() -> None:
    """Refusals are text, signed thinking comes first, empty ones vanish, a begun answer ends in no space."""
    redacted = {"type": "redacted_thinking", "data": "x"}
    unsigned = {"type": "thinking", "thinking": "hm", "signature": ""}
    said = made(
        HI,
        {"role": "assistant", "content": None, "refusal": "No."},
        HI,
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "Never."}], "thinking_blocks": []},
        HI,
        {"role": "assistant", "content": "So \n", "thinking_blocks": [redacted, unsigned]},
    )
    assert said.messages == [
        {"role": "user", "content": HI_BLOCKS},
        {"role": "assistant", "content": [text("No.")]},
        {"role": "user", "content": HI_BLOCKS},
        {"role": "assistant", "content": [text("Never.")]},
        {"role": "user", "content": HI_BLOCKS},
        {"role": "assistant", "content": [redacted, text("So")]},
    ]


def test_what_is_dropped_of_a_message() -> None:
    """Names, sound, and thinking without a signature."""
    dropped = Dropped()
    turns(
        [
            HI | {"name": "Ann"},
            {"role": "assistant", "content": "Ho", "audio": {"id": "a"}, "reasoning_content": "hm"},
            HI,
        ],
        True,
        dropped,
    )
    assert dropped.names() == ("message.name", "message.reasoning_content", "message.audio")


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([HI, {"role": "critic", "content": "a"}], "messages[1].role"),
        ([HI, {"content": "a"}], "messages[1].role"),
        ([HI, result("1")], "messages[1].tool_call_id"),
        ([HI, calling(call("1")), result("2")], "messages[2].tool_call_id"),
        ([HI, calling(call("1")), {"role": "tool", "content": "a"}], "messages[2].tool_call_id"),
        ([HI, {"role": "function", "name": "f", "content": "a"}], "messages[1].name"),
        ([HI, calling(call("1"), call("1"))], "messages[1].tool_calls[1].id"),
        ([HI, calling(call("1", "{"))], "messages[1].tool_calls[0].function.arguments"),
        ([HI, calling(call("1", "[1]"))], "messages[1].tool_calls[0].function.arguments"),
        ([HI, calling(call("1", name=""))], "messages[1].tool_calls[0].function.name"),
        ([HI, calling({"id": "1", "type": "custom"})], "messages[1].tool_calls[0].type"),
        ([HI, calling(call(""))], "messages[1].tool_calls[0].id"),
        ([HI, {"role": "assistant", "content": [{"type": "image_url"}]}], "messages[1].content[0].type"),
        ([{"role": "system", "content": [{"type": "image_url"}]}, HI], "messages[0].content[0].type"),
        ([{"role": "user", "content": 7}], "messages[0].content"),
    ],
)
def test_refused(messages: list[Json], param: str) -> None:
    """With the path of what is wrong."""
    with pytest.raises(Untranslatable) as caught:
        made(*messages)
    assert caught.value.param == param
