"""Chat completions' requests out of Messages requests."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from openai_proxy.providers.translate.dropped import NAMES
from openai_proxy.providers.translate.to_chat.request import CompletionRequest, completion_request, is_strict
from openai_proxy.providers.translate.to_chat.turn import NO_RESULT
from openai_proxy.providers.translate.traits import ChatTraits
from openai_proxy.providers.translate.untranslatable import Untranslatable

Json = dict[str, Any]
HI: Json = {"model": "gpt-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
PLAIN = ChatTraits()
REASONER = ChatTraits(efforts=("minimal", "low", "high"), takes_sampling=False)
TOOL: Json = {"name": "f", "description": "F", "input_schema": {"type": "object"}}
SAID = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hi"}], "max_completion_tokens": 9}


def made(traits: ChatTraits = PLAIN, **members: Any) -> CompletionRequest:
    body = HI | members
    before = deepcopy(body)
    request = completion_request(body, traits)
    assert body == before
    return request


def messages(*listed: Json, traits: ChatTraits = PLAIN, **more: Any) -> list[Json]:
    said: list[Json] = made(traits, messages=list(listed), **more).body["messages"]
    return said


def user(*content: Any) -> Json:
    return {"role": "user", "content": list(content)}


def text(said: str) -> Json:
    return {"type": "text", "text": said}


def tool_use(id_: str, **more: Any) -> Json:
    return {"type": "tool_use", "id": id_, "name": "f", "input": {}} | more


def call(id_: str, arguments: str = "{}") -> Json:
    return {"id": id_, "type": "function", "function": {"name": "f", "arguments": arguments}}


@pytest.mark.parametrize(
    ("traits", "asked", "said", "dropped"),
    [
        (PLAIN, {}, {}, ()),
        (
            PLAIN,
            {"stream": True},
            {"stream": True, "stream_options": {"include_usage": True}},
            (),
        ),
        (ChatTraits(takes_stream_options=False), {"stream": True}, {"stream": True}, ()),
        (PLAIN, {"temperature": 0, "top_p": 0.5, "top_k": 3}, {"temperature": 0, "top_p": 0.5}, ("top_k",)),
        (ChatTraits(takes_top_k=True), {"top_k": 3}, {"top_k": 3}, ()),
        (REASONER, {"temperature": 1}, {}, ("temperature",)),
        (PLAIN, {"stop_sequences": ["a"]}, {"stop": ["a"]}, ()),
        (PLAIN, {"stop_sequences": list("abcde")}, {"stop": list("abcd")}, ("stop",)),
        (PLAIN, {"stop_sequences": []}, {}, ()),
        (PLAIN, {"service_tier": "auto"}, {"service_tier": "auto"}, ()),
        (PLAIN, {"service_tier": "standard_only"}, {"service_tier": "default"}, ()),
        (PLAIN, {"service_tier": "priority"}, {}, ("service_tier",)),
        (PLAIN, {"metadata": {}}, {}, ()),
        (PLAIN, {"cache_control": {"type": "ephemeral"}}, {}, ()),
        (PLAIN, {"speed": "fast", "mcp_servers": [{}]}, {}, ("speed", "mcp_servers")),
        (PLAIN, {"mcp_servers": [], "container": None}, {}, ()),
        (PLAIN, {"made-up": 1}, {}, ("other",)),
        (PLAIN, {"thinking": {"type": "adaptive"}}, {}, ()),
        (PLAIN, {"thinking": {"type": "enabled"}}, {}, ()),
        (PLAIN, {"thinking": {"type": "disabled"}}, {}, ()),
        (PLAIN, {"output_config": {"effort": "low"}}, {}, ("reasoning_effort",)),
        (REASONER, {"thinking": {"type": "enabled"}}, {}, ()),
        (REASONER, {"thinking": {"type": "adaptive"}}, {}, ()),
        (REASONER, {"thinking": {"type": "disabled"}}, {"reasoning_effort": "minimal"}, ()),
        (REASONER, {"thinking": {"type": "enabled", "budget_tokens": 1024}}, {"reasoning_effort": "low"}, ()),
        (REASONER, {"thinking": {"type": "enabled", "budget_tokens": 9999}}, {"reasoning_effort": "low"}, ()),
        (
            REASONER,
            {"thinking": {"type": "enabled", "budget_tokens": 32000}},
            {"reasoning_effort": "high"},
            (),
        ),
        (
            REASONER,
            {"thinking": {"type": "enabled", "budget_tokens": 1024}, "output_config": {"effort": "max"}},
            {"reasoning_effort": "high"},
            (),
        ),
    ],
)
def test_parameters(traits: ChatTraits, asked: Json, said: Json, dropped: tuple[str, ...]) -> None:
    """Each in OpenAI's words; what the model does not take is left out, and reported."""
    assert made(traits, **asked) == CompletionRequest(SAID | said, dropped)
    assert set(dropped) <= NAMES | {"other"}


def test_the_name_of_the_bound() -> None:
    """Servers that are not OpenAI's know the old one."""
    assert made(ChatTraits(max_tokens_name="max_tokens")).body["max_tokens"] == 9


def test_the_user() -> None:
    """What Anthropic's clients write there is too long for OpenAI: the same user has the same hash."""
    one, same, other = (made(metadata={"user_id": id_ * 200}).body["user"] for id_ in ("a", "a", "b"))
    assert one == same != other
    assert len(one) == 32


def test_tools() -> None:
    """The client's own; those that Anthropic runs are left out, and so is a choice of one."""
    search = {"type": "web_search_20250305", "name": "web_search"}
    strict = {"type": "custom", "name": "g", "input_schema": {}, "strict": True, "cache_control": {}}
    request = made(tools=[TOOL, search, strict], tool_choice={"type": "tool", "name": "web_search"})
    assert request.body["tools"] == [
        {"type": "function", "function": {"name": "f", "description": "F", "parameters": {"type": "object"}}},
        {"type": "function", "function": {"name": "g", "parameters": {}, "strict": True}},
    ]
    assert request.body["tool_choice"] == "auto"
    assert request.dropped == ("server_tool", "tool_choice")
    assert made(tools=[search], tool_choice={"type": "any"}).body == SAID


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "tool", "name": "f"}, {"tool_choice": {"type": "function", "function": {"name": "f"}}}),
        (
            {"type": "any", "disable_parallel_tool_use": True},
            {"tool_choice": "required", "parallel_tool_calls": False},
        ),
        (None, {}),
    ],
)
def test_tool_choice(choice: Json | None, said: Json) -> None:
    """Which tools may, must or must not be called, and whether several at once."""
    body = made(tools=[TOOL], tool_choice=choice).body
    assert {name: body[name] for name in ("tool_choice", "parallel_tool_calls") if name in body} == said


OPEN: Json = {"type": "object", "properties": {"a": {}}}
CLOSED: Json = OPEN | {"required": ["a"], "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (OPEN, False),
        (CLOSED, True),
        (CLOSED | {"required": []}, False),
        (CLOSED | {"properties": {"a": OPEN}}, False),
        (CLOSED | {"properties": {"a": {"anyOf": [CLOSED, {"type": "null"}]}}}, True),
        (CLOSED | {"$defs": {"b": {"type": "object"}}}, False),
        ({"type": "string"}, True),
    ],
)
def test_json_schema(schema: Json, strict: bool) -> None:
    """Strict where OpenAI can be: it refuses a strict schema with optional members."""
    assert is_strict(schema) is strict
    config = {"format": {"type": "json_schema", "schema": schema}}
    format_ = made(output_config=config).body["response_format"]
    json_schema = {"name": "answer", "schema": schema, "strict": strict}
    assert format_ == {"type": "json_schema", "json_schema": json_schema}


def test_a_schema_that_is_too_deep() -> None:
    """It is refused, and does not end the daemon's patience."""
    schema: Json = {"type": "string"}
    for _ in range(2000):
        schema = {"anyOf": [schema]}
    with pytest.raises(Untranslatable):
        completion_request(
            HI | {"output_config": {"format": {"type": "json_schema", "schema": schema}}}, PLAIN
        )


def test_the_system_prompt() -> None:
    """One message of it; a line that changes with each request would keep it out of every cache."""
    billing = text("x-anthropic-billing-header: cc_version=1; cch=abc")
    system = [billing, text("a") | {"cache_control": {"type": "ephemeral"}}, text(""), text("b")]
    request = made(system=system)
    assert request.body["messages"][0] == {"role": "system", "content": "a\n\nb"}
    assert request.dropped == ("billing_header",)
    assert made(system="a").body["messages"][0] == {"role": "system", "content": "a"}
    assert made(system=[billing]).body == made(system="").body == SAID


def test_user_content() -> None:
    """Text, images and documents; one text is a string."""
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}
    plain = {"type": "text", "media_type": "text/plain", "data": "b"}
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
    said = messages(
        user(
            text("a") | {"cache_control": {"type": "ephemeral"}},
            image,
            {"type": "image", "source": {"type": "url", "url": "https://example.com/a"}},
            {"type": "document", "source": pdf, "title": "a.pdf"},
            {"type": "document", "source": pdf},
            {"type": "document", "source": plain, "title": "B"},
            {"type": "document", "source": plain},
            {"type": "document", "source": {"type": "content", "content": [text("c"), image]}},
            {"type": "search_result", "title": "T", "source": "S", "content": [text("d")]},
            text(""),
        ),
        user(text("e")),
    )
    data = "data:application/pdf;base64,AAAA"
    png = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    assert said[0]["content"] == [
        text("a"),
        png,
        {"type": "image_url", "image_url": {"url": "https://example.com/a"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": data}},
        {"type": "file", "file": {"filename": "document.pdf", "file_data": data}},
        text("B\n\nb"),
        text("b"),
        text("c"),
        png,
        text("T\nS\nd"),
    ]
    assert said[1] == {"role": "user", "content": "e"}


def test_results_follow_their_calls() -> None:
    """One message each, before all else; what is no text in them comes after, from the user."""
    image = {"type": "image", "source": {"type": "url", "url": "https://example.com/a"}}
    said = messages(
        HI["messages"][0],
        {
            "role": "assistant",
            "content": [text("Let "), text("me."), tool_use("1", input={"a": "ü"}), tool_use("2")],
        },
        {"role": "system", "content": "note"},
        user(
            text("See."),
            {
                "type": "tool_result",
                "tool_use_id": "2",
                "content": [text("a"), image, text("b")],
                "is_error": True,
            },
            {"type": "tool_result", "tool_use_id": "1"},
        ),
        {"role": "assistant", "content": "Ho"},
    )
    assert said[1:] == [
        {"role": "assistant", "content": "Let me.", "tool_calls": [call("1", '{"a":"ü"}'), call("2")]},
        {"role": "tool", "tool_call_id": "1", "content": ""},
        {"role": "tool", "tool_call_id": "2", "content": "Error: a\nb"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a"}}]},
        {"role": "system", "content": "note"},
        {"role": "user", "content": "See."},
        {"role": "assistant", "content": "Ho"},
    ]


def test_a_missing_result_is_an_error() -> None:
    """OpenAI refuses a call without one."""
    said = messages({"role": "user", "content": "Hi"}, {"role": "assistant", "content": [tool_use("1")]})
    assert said[1] == {"role": "assistant", "content": None, "tool_calls": [call("1")]}
    assert said[2] == {"role": "tool", "tool_call_id": "1", "content": NO_RESULT}


def test_system_messages_stay_in_place() -> None:
    """At the front they would change the cached prefix with every turn."""
    later = {"role": "system", "content": [text("10 left")]}
    said = messages(HI["messages"][0], {"role": "assistant", "content": "Ho"}, HI["messages"][0], later)
    assert said[3] == {"role": "system", "content": "10 left"}


@pytest.mark.parametrize(("returns", "expected"), [(False, None), (True, "hm")])
def test_earlier_thinking(returns: bool, expected: str | None) -> None:
    """It is left out, but where the model must have it back."""
    answer = {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "redacted_thinking", "data": "x"},
            text("Ho"),
        ],
    }
    traits = ChatTraits(returns_reasoning=returns)
    request = made(traits, messages=[HI["messages"][0], answer, HI["messages"][0]])
    assert request.body["messages"][1].get("reasoning_content") == expected
    assert request.dropped == ("thinking_block",)


def test_blocks_of_anthropics_own_tools() -> None:
    """Left out, and reported; the turn goes on."""
    answer = {
        "role": "assistant",
        "content": [
            {"type": "server_tool_use", "id": "1", "name": "web_search", "input": {}},
            {"type": "web_search_tool_result", "tool_use_id": "1", "content": []},
            text("Ho"),
        ],
    }
    request = made(messages=[HI["messages"][0], answer])
    assert request.body["messages"][1] == {"role": "assistant", "content": "Ho"}
    assert request.dropped == ("server_tool_block",)
    cited = {"type": "document", "citations": {"enabled": True}, "source": {"type": "text", "data": "b"}}
    request = made(messages=[user({"type": "container_upload", "file_id": "1"}, cited)])
    assert request.body["messages"] == [user() | {"content": "b"}]
    assert request.dropped == ("server_tool_block", "citations")


def test_long_ids() -> None:
    """They are shortened, the same for a call and its result."""
    id_ = "toolu_" + "x" * 60
    result = {"type": "tool_result", "tool_use_id": id_, "content": "ok"}
    said = messages(HI["messages"][0], {"role": "assistant", "content": [tool_use(id_)]}, user(result))
    assert said[1]["tool_calls"][0]["id"] == said[2]["tool_call_id"]
    assert len(said[2]["tool_call_id"]) == 40


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"model": None}, "model"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [user()]}, "messages"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages[0].role"),
        ({"messages": [user({"type": "from the future"})]}, "messages[0].content[0].type"),
        (
            {"messages": [user({"type": "tool_result", "tool_use_id": "1"})]},
            "messages[0].content[0].tool_use_id",
        ),
        (
            {"messages": [user({"type": "image", "source": {"type": "file", "file_id": "f"}})]},
            "messages[0].content[0].source.type",
        ),
        (
            {"messages": [user({"type": "document", "source": {"type": "url", "url": "https://a"}})]},
            "messages[0].content[0].source.type",
        ),
        (
            {"messages": [user({"type": "document", "source": {"type": "file", "file_id": "f"}})]},
            "messages[0].content[0].source.type",
        ),
        (
            {"messages": [{"role": "system", "content": [{"type": "image"}]}]},
            "messages[0].content[0].type",
        ),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "image"}]}]},
            "messages[0].content[0].type",
        ),
        (
            {"messages": [{"role": "assistant", "content": [tool_use("1", input="")]}]},
            "messages[0].content[0].input",
        ),
        ({"messages": [{"role": "user", "content": {}}]}, "messages[0].content"),
        ({"system": [{"type": "text"}]}, "system[0].text"),
        ({"temperature": "hot"}, "temperature"),
        ({"thinking": 1}, "thinking"),
        ({"output_config": {"effort": "much"}}, "output_config.effort"),
        ({"output_config": {"effort": ["low"]}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "regex"}}}, "output_config.format.type"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tools": [TOOL], "tool_choice": {"type": "some"}}, "tool_choice.type"),
        ({"tools": [TOOL], "tool_choice": "auto"}, "tool_choice"),
        ({"metadata": {"user_id": 7}}, "metadata.user_id"),
        ({"stop_sequences": "a"}, "stop_sequences"),
    ],
)
def test_refused(asked: Json, param: str) -> None:
    """What cannot be said is refused, with the member's path and a sentence."""
    with pytest.raises(Untranslatable) as caught:
        made(**asked)
    assert caught.value.param == param
    assert caught.value.status == 400
