"""Messages requests out of chat completions': parameters, tools, thinking, formats."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from openai_proxy.providers.translate.dropped import NAMES
from openai_proxy.providers.translate.to_messages.request import (
    ANSWER_TOOL,
    MessagesRequest,
    messages_request,
)
from openai_proxy.providers.translate.traits import MessagesTraits, Sampling, Thinking
from openai_proxy.providers.translate.untranslatable import Untranslatable

Json = dict[str, Any]
HI: Json = {"model": "claude-opus-5", "messages": [{"role": "user", "content": "Hi"}]}
NEW = MessagesTraits()
OLD = MessagesTraits(
    max_output_tokens=8192,
    sampling=Sampling.ALL,
    thinking=Thinking.BUDGET,
    takes_system_in_place=False,
    takes_output_format=False,
)
TOOL: Json = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
SCHEMA: Json = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
SCHEMA_FORMAT: Json = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}


def made(traits: MessagesTraits = NEW, **members: Any) -> MessagesRequest:
    body = HI | members
    before = deepcopy(body)
    request = messages_request(body, traits)
    assert body == before
    return request


def refused(traits: MessagesTraits = NEW, **members: Any) -> Untranslatable:
    with pytest.raises(Untranslatable) as caught:
        messages_request(HI | members, traits)
    assert caught.value.status == 400
    return caught.value


def test_the_least() -> None:
    """A model and a message; the bound that Anthropic requires is the model's own."""
    assert made() == MessagesRequest(
        {
            "model": "claude-opus-5",
            "max_tokens": 64_000,
            "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        }
    )
    assert made(model="anthropic/claude-opus-5").body["model"] == "claude-opus-5"


@pytest.mark.parametrize(
    ("traits", "asked", "said", "dropped"),
    [
        (NEW, {"max_tokens": 5}, {"max_tokens": 5}, ()),
        (NEW, {"max_completion_tokens": 6, "max_tokens": 5}, {"max_tokens": 6}, ()),
        (OLD, {"max_tokens": None}, {"max_tokens": 8192}, ()),
        (NEW, {"stop": "END"}, {"stop_sequences": ["END"]}, ()),
        (NEW, {"stop": ["a", "\n\n", "b"]}, {"stop_sequences": ["a", "b"]}, ("stop",)),
        (NEW, {"stop": ["\n"]}, {}, ("stop",)),
        (NEW, {"stop": []}, {}, ()),
        (NEW, {"stream": True, "stream_options": {"include_usage": True}}, {"stream": True}, ()),
        (NEW, {"stream": False, "n": 1}, {}, ()),
        (NEW, {"user": "u"}, {"metadata": {"user_id": "u"}}, ()),
        (NEW, {"user": "u", "safety_identifier": "s"}, {"metadata": {"user_id": "s"}}, ()),
        (NEW, {"service_tier": "auto"}, {"service_tier": "auto"}, ()),
        (NEW, {"service_tier": "default"}, {"service_tier": "standard_only"}, ()),
        (NEW, {"service_tier": "flex"}, {}, ("service_tier",)),
        (
            OLD,
            {"temperature": 1.7, "top_p": 0.5, "top_k": 3},
            {"temperature": 1, "top_p": 0.5, "top_k": 3},
            (),
        ),
        (NEW, {"temperature": 1, "top_p": 1, "top_k": 3}, {}, ("temperature", "top_p", "top_k")),
        (
            MessagesTraits(sampling=Sampling.ONE),
            {"temperature": 0, "top_p": 0.5},
            {"temperature": 0},
            ("top_p",),
        ),
        (MessagesTraits(sampling=Sampling.ONE), {"top_p": 0.5}, {"top_p": 0.5}, ()),
        (NEW, {"logprobs": True, "seed": 0, "store": True}, {}, ("logprobs", "seed", "store")),
        (NEW, {"logprobs": False, "frequency_penalty": 0, "logit_bias": {}, "modalities": ["text"]}, {}, ()),
        (NEW, {"verbosity": "low", "prompt_cache_key": "k"}, {}, ("verbosity", "prompt_cache_key")),
        (NEW, {"made-up": 1, "another": 2}, {}, ("other",)),
        (NEW, {"web_search_options": {"search_context_size": "low"}}, {}, ("web_search_options",)),
        (NEW, {"cache_control": {"type": "ephemeral"}}, {"cache_control": {"type": "ephemeral"}}, ()),
        (NEW, {"speed": "fast", "inference_geo": "us"}, {"speed": "fast", "inference_geo": "us"}, ()),
    ],
)
def test_parameters(traits: MessagesTraits, asked: Json, said: Json, dropped: tuple[str, ...]) -> None:
    """Each in Anthropic's words; what the model rejects is left out, and reported."""
    request = made(traits, **asked)
    rest = {name: value for name, value in request.body.items() if name not in ("model", "messages")}
    assert rest == {"max_tokens": traits.max_output_tokens} | said
    assert request.dropped == dropped
    assert set(request.dropped) <= NAMES | {"other"}


def test_what_is_not_in_the_body() -> None:
    """Betas go into a header, and usage at the end is ours to give."""
    request = made(anthropic_beta=["a", "b"], stream_options={"include_usage": True})
    assert (request.betas, request.include_usage) == (("a", "b"), True)
    assert made(anthropic_beta="a, b").betas == ("a", "b")
    assert set(request.body) == {"model", "max_tokens", "messages"}


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"n": 2}, "n"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"function_call": "auto"}, "function_call"),
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["Hi"]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"stop": 1}, "stop"),
        ({"stop": [1]}, "stop"),
        ({"temperature": "hot"}, "temperature"),
        ({"reasoning_effort": "much"}, "reasoning_effort"),
        ({"reasoning_effort": 1}, "reasoning_effort"),
        ({"thinking": "yes"}, "thinking"),
        ({"output_config": []}, "output_config"),
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {}}},
            "response_format.json_schema.schema",
        ),
        ({"tools": {}}, "tools"),
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [TOOL], "tool_choice": "maybe"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "custom", "custom": {"name": "f"}}}, "tool_choice"),
        ({"anthropic_beta": 1}, "anthropic_beta"),
        ({"user": 7}, "user"),
    ],
)
def test_refused(asked: Json, param: str) -> None:
    """What cannot be said is refused, with the member's path and a sentence."""
    error = refused(**asked)
    assert error.param == param
    assert param in error.message


def test_a_refusal_repeats_nothing() -> None:
    """What a client wrote may be a secret."""
    error = refused(reasoning_effort="sk-secret", tools=[])
    assert "secret" not in error.message


@pytest.mark.parametrize(
    ("choice", "parallel", "said"),
    [
        (None, None, None),
        ("auto", None, {"type": "auto"}),
        ("none", None, {"type": "none"}),
        ("none", False, {"type": "none"}),
        ("required", None, {"type": "any"}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
        ("auto", True, {"type": "auto"}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"type": "function", "function": {"name": "f"}}, None, {"type": "tool", "name": "f"}),
    ],
)
def test_tool_choice(choice: Any, parallel: bool | None, said: Json | None) -> None:
    """Which tools may, must or must not be called, and whether several at once."""
    request = made(tools=[TOOL], tool_choice=choice, parallel_tool_calls=parallel)
    assert request.body.get("tool_choice") == said
    assert request.body["tools"] == [{"name": "f", "input_schema": {"type": "object"}}]
    assert request.dropped == ()


def test_tools() -> None:
    """A schema goes whole, one that is missing is that of no parameters, Anthropic's own tools pass."""
    parameters = {"$defs": {"a": {}}, "oneOf": [{}], "additionalProperties": False, "type": "object"}
    function = {"name": "g", "description": "G", "parameters": parameters, "strict": True}
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 2}
    request = made(
        tools=[
            {"type": "function", "function": function, "cache_control": {"type": "ephemeral"}},
            {"type": "function", "function": {"name": "h"}},
            search,
        ]
    )
    assert request.body["tools"] == [
        {
            "name": "g",
            "description": "G",
            "input_schema": parameters,
            "strict": True,
            "cache_control": {"type": "ephemeral"},
        },
        {"name": "h", "input_schema": {"type": "object", "properties": {}}},
        search,
    ]


@pytest.mark.parametrize(("mode", "kind"), [("auto", "auto"), ("required", "any")])
def test_allowed_tools(mode: str, kind: str) -> None:
    """Of all tools only the allowed ones are declared."""
    other = {"type": "function", "function": {"name": "g"}}
    allowed = {"mode": mode, "tools": [{"type": "function", "function": {"name": "g"}}]}
    request = made(tools=[TOOL, other], tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    assert [tool["name"] for tool in request.body["tools"]] == ["g"]
    assert request.body["tool_choice"] == {"type": kind}


def test_choice_without_tools() -> None:
    """There is nothing to choose from; only a real choice is reported."""
    assert made(tool_choice="required").dropped == ("tool_choice",)
    assert made(tool_choice="auto", parallel_tool_calls=False) == made()


def test_tools_that_were_called_are_declared() -> None:
    """Anthropic refuses calls in the history of a request without tools."""
    messages = [
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": ""}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "x"},
    ]
    body = made(messages=messages).body
    assert body["tools"] == [{"name": "f", "input_schema": {"type": "object", "properties": {}}}]
    assert body["tool_choice"] == {"type": "none"}


@pytest.mark.parametrize(
    ("traits", "asked", "said", "dropped"),
    [
        (NEW, {"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}, ()),
        *(
            (
                NEW,
                {"reasoning_effort": effort},
                {"thinking": {"type": "adaptive"}, "output_config": {"effort": to}},
                (),
            )
            for effort, to in [("minimal", "low"), ("low", "low"), ("medium", "medium"), ("xhigh", "xhigh")]
        ),
        (OLD, {"reasoning_effort": "low"}, {"thinking": {"type": "enabled", "budget_tokens": 2048}}, ()),
        (
            OLD,
            {"reasoning_effort": "high", "max_tokens": 3000},
            {"thinking": {"type": "enabled", "budget_tokens": 1500}, "max_tokens": 3000},
            (),
        ),
        (OLD, {"reasoning_effort": "high", "max_tokens": 2000}, {"max_tokens": 2000}, ("reasoning_effort",)),
        (MessagesTraits(thinking=Thinking.NONE), {"reasoning_effort": "low"}, {}, ("reasoning_effort",)),
        (MessagesTraits(thinking=Thinking.NONE), {"reasoning_effort": "none"}, {}, ()),
        (
            OLD,
            {"reasoning_effort": "low", "temperature": 0, "top_k": 1},
            {"thinking": {"type": "enabled", "budget_tokens": 2048}},
            ("temperature", "top_k"),
        ),
        (
            NEW,
            {"thinking": {"type": "between_tools"}, "reasoning_effort": "low"},
            {"thinking": {"type": "between_tools"}},
            (),
        ),
        (NEW, {"output_config": {"effort": "max"}}, {"output_config": {"effort": "max"}}, ()),
    ],
)
def test_thinking(traits: MessagesTraits, asked: Json, said: Json, dropped: tuple[str, ...]) -> None:
    """An effort is an effort, or a budget below the bound on the answer; a client's own words pass."""
    request = made(traits, **asked)
    rest = {name: value for name, value in request.body.items() if name not in ("model", "messages")}
    assert rest == {"max_tokens": traits.max_output_tokens} | said
    assert request.dropped == dropped


def test_forced_tool_and_thinking() -> None:
    """A model that thinks to a budget cannot be made to call a tool."""
    request = made(OLD, tools=[TOOL], tool_choice="required", reasoning_effort="low")
    assert request.body["tool_choice"] == {"type": "auto"}
    assert request.dropped == ("tool_choice",)
    assert made(NEW, tools=[TOOL], tool_choice="required", reasoning_effort="low").dropped == ()


@pytest.mark.parametrize(("traits", "thinks"), [(OLD, False), (NEW, True)])
def test_thinking_that_did_not_come_back(traits: MessagesTraits, thinks: bool) -> None:
    """After calls without their thinking, a budget would be refused: there is no thinking then."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "reasoning_content": "hm", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "x"},
    ]
    request = made(traits, messages=messages, tools=[TOOL], reasoning_effort="low")
    assert ("thinking" in request.body) is thinks
    assert ("reasoning_effort" in request.dropped) is not thinks
    blocks = [{"type": "thinking", "thinking": "hm", "signature": "s", "index": 0}]
    messages[1] = {"role": "assistant", "thinking_blocks": blocks, "tool_calls": [call]}
    request = made(traits, messages=messages, tools=[TOOL], reasoning_effort="low")
    assert "thinking" in request.body and request.dropped == ()
    assert request.body["messages"][1]["content"][0] == {
        "type": "thinking",
        "thinking": "hm",
        "signature": "s",
    }


def test_json_schema() -> None:
    """New models hold to a schema; older ones call a tool of ours, whose input is the answer."""
    config = {"format": {"type": "json_schema", "schema": SCHEMA}}
    assert made(response_format=SCHEMA_FORMAT).body["output_config"] == config
    both = made(response_format=SCHEMA_FORMAT, reasoning_effort="low").body["output_config"]
    assert both == config | {"effort": "low"}
    request = made(OLD, response_format=SCHEMA_FORMAT)
    assert request.answer_tool == ANSWER_TOOL
    assert request.body["tool_choice"] == {"type": "tool", "name": ANSWER_TOOL}
    assert request.body["tools"][0]["input_schema"] == SCHEMA


@pytest.mark.parametrize("asked", [{"tools": [TOOL]}, {"reasoning_effort": "low"}])
def test_json_schema_where_no_tool_can_be_forced(asked: Json) -> None:
    """Then it is an instruction, and said to be no more."""
    request = made(OLD, response_format=SCHEMA_FORMAT, **asked)
    assert request.answer_tool is None
    assert request.dropped == ("response_format",)
    assert "JSON" in request.body["system"][-1]["text"]


def test_json_object() -> None:
    """Anthropic has no such mode: an instruction, after the client's own for the sake of their cache."""
    messages = [{"role": "system", "content": "Be kind."}, *HI["messages"]]
    system = made(messages=messages, response_format={"type": "json_object"}).body["system"]
    assert [block["text"] == "Be kind." for block in system] == [True, False]
    assert "system" not in made(response_format={"type": "text"}).body


@pytest.mark.parametrize("automatic", [False, True])
def test_four_breakpoints(automatic: bool) -> None:
    """Of more than Anthropic takes the first stays, and the last."""
    control = {"type": "ephemeral"}
    parts = [{"type": "text", "text": str(number), "cache_control": control} for number in range(5)]
    messages = [{"role": "system", "content": parts[:2]}, {"role": "user", "content": parts[2:]}]
    tool = TOOL | {"cache_control": control}
    extra: Json = {"cache_control": control} if automatic else {}
    request = made(messages=messages, tools=[tool], **extra)
    body = request.body
    blocks = [*body["tools"], *body["system"], *body["messages"][0]["content"]]
    kept = ["cache_control" in block for block in blocks]
    assert kept == [True, False, False, automatic is False, True, True]
    assert request.dropped == ("cache_control",)
    assert "cache_control" in parts[0]


def test_openai_breakpoints() -> None:
    """OpenAI's own words for a breakpoint mean the same."""
    parts = [
        {"type": "text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}},
        {"type": "text", "text": "b", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}},
    ]
    content = made(messages=[{"role": "user", "content": parts}]).body["messages"][0]["content"]
    assert content[0]["cache_control"] == {"type": "ephemeral"}
    assert content[1]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
