"""Messages out of chat completions; errors with them."""

from __future__ import annotations

from typing import Any

import pytest

from openai_proxy.observe.usage import QUIRKS
from openai_proxy.providers.translate.to_chat.error import NO_MESSAGE
from openai_proxy.providers.translate.to_messages.answer import RAW_INPUT, message
from openai_proxy.providers.translate.to_messages.error import TOO_LONG, event_error, message_error
from openai_proxy.providers.translate.untranslatable import UnreadableAnswer

Json = dict[str, Any]


def completion(finish_reason: str | None = "stop", usage: Any = None, **said: Any) -> Json:
    choice = {"index": 0, "message": {"role": "assistant"} | said, "finish_reason": finish_reason}
    return {"id": "c1", "object": "chat.completion", "model": "gpt-5", "choices": [choice], "usage": usage}


def call(arguments: Any, **more: Any) -> Json:
    return {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}} | more


def test_the_whole() -> None:
    """Text, and the numbers without the caches."""
    usage = {
        "prompt_tokens": 60,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 20},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    assert message(completion(content="Hi", usage=usage) | {"service_tier": "default"}) == {
        "id": "c1",
        "type": "message",
        "role": "assistant",
        "model": "gpt-5",
        "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 10,
            "cache_creation_input_tokens": 20,
            "cache_read_input_tokens": 30,
            "output_tokens": 5,
            "output_tokens_details": {"thinking_tokens": 2},
            "service_tier": "standard",
        },
    }


@pytest.mark.parametrize(
    ("usage", "said"),
    [
        (None, (0, 0, 0, 0)),
        ("many", (0, 0, 0, 0)),
        ({"prompt_tokens": 5, "completion_tokens": 1}, (5, 0, 0, 1)),
        ({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 9}}, (0, 0, 5, 0)),
        ({"prompt_tokens": 5, "prompt_cache_hit_tokens": 2, "completion_tokens": 1}, (3, 0, 2, 1)),
        (
            {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 4}},
            (0, 2, 3, 0),
        ),
    ],
)
def test_usage(usage: Any, said: tuple[int, int, int, int]) -> None:
    """Never below 0, and never left out: Anthropic's clients read it."""
    used = message(completion(content="a", usage=usage))["usage"]
    assert tuple(used.values()) == said


def test_usage_of_a_provider_with_quirks() -> None:
    """Where reasoning is counted apart, it is added."""
    usage = {"prompt_tokens": 1, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 2}}
    assert message(completion(content="a", usage=usage), QUIRKS["xai"])["usage"]["output_tokens"] == 7


@pytest.mark.parametrize(
    ("finish_reason", "more", "stop_reason"),
    [
        ("stop", {}, "end_turn"),
        ("length", {}, "max_tokens"),
        ("content_filter", {}, "refusal"),
        ("tool_calls", {"tool_calls": [call("{}")]}, "tool_use"),
        ("stop", {"tool_calls": [call("{}")]}, "tool_use"),
        ("length", {"tool_calls": [call("{}")]}, "max_tokens"),
        ("function_call", {"function_call": {"name": "f", "arguments": ""}}, "tool_use"),
        ("tool_calls", {"tool_calls": []}, "end_turn"),
        ("stop", {"refusal": "No."}, "refusal"),
        (None, {}, "end_turn"),
        ("from the future", {}, "end_turn"),
    ],
)
def test_stop_reasons(finish_reason: str | None, more: Json, stop_reason: str) -> None:
    """What was called is run, whatever the reason that the server gives."""
    assert message(completion(finish_reason, **more))["stop_reason"] == stop_reason


@pytest.mark.parametrize(
    ("said", "content"),
    [
        ({"content": None}, []),
        ({"content": ""}, []),
        (
            {"content": "a", "refusal": "No."},
            [{"type": "text", "text": "a"}, {"type": "text", "text": "No."}],
        ),
        (
            {"content": "a", "reasoning_content": "hm"},
            [{"type": "thinking", "thinking": "hm", "signature": ""}, {"type": "text", "text": "a"}],
        ),
        (
            {"content": None, "reasoning": "hm", "reasoning_content": None},
            [{"type": "thinking", "thinking": "hm", "signature": ""}],
        ),
        (
            {
                "content": "a",
                "reasoning_content": "hm",
                "thinking_blocks": [{"type": "redacted_thinking", "data": "x"}],
            },
            [{"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": "a"}],
        ),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                    {"type": "text", "text": "a"},
                    {"type": "text", "text": "b"},
                    7,
                ]
            },
            [{"type": "thinking", "thinking": "hm", "signature": ""}, {"type": "text", "text": "ab"}],
        ),
        (
            {"tool_calls": [call('{"a":1}')]},
            [{"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}}],
        ),
        ({"tool_calls": [call("")]}, [{"type": "tool_use", "id": "1", "name": "f", "input": {}}]),
        (
            {"tool_calls": [call("{")]},
            [{"type": "tool_use", "id": "1", "name": "f", "input": {RAW_INPUT: "{"}}],
        ),
        (
            {"tool_calls": [call("{}", id=None), call("{}", id="")]},
            [
                {"type": "tool_use", "id": "toolu_c1_0", "name": "f", "input": {}},
                {"type": "tool_use", "id": "toolu_c1_1", "name": "f", "input": {}},
            ],
        ),
        (
            {"function_call": {"name": "f", "arguments": "{}"}},
            [{"type": "tool_use", "id": "toolu_c1_0", "name": "f", "input": {}}],
        ),
        ({"tool_calls": [7, {"function": None}]}, []),
        ({"tool_calls": [call({"a": 1})]}, [{"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}}]),
    ],
)
def test_content(said: Json, content: list[Json]) -> None:
    """Thinking, text, calls, by whatever name a server has for them."""
    assert message(completion(**said))["content"] == content


@pytest.mark.parametrize(
    "body", [{}, {"error": {"message": "x"}}, {"choices": []}, {"choices": [{}]}, {"choices": [7]}]
)
def test_what_is_no_completion(body: Json) -> None:
    """It is no answer."""
    with pytest.raises(UnreadableAnswer):
        message(body)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (
            400,
            {"error": {"message": "Bad.", "type": "invalid_request_error"}},
            ("invalid_request_error", "Bad."),
        ),
        (401, {"error": {"message": "Who?", "code": "invalid_api_key"}}, ("authentication_error", "Who?")),
        (402, {"error": "boom"}, ("billing_error", "boom")),
        (403, {"detail": "No."}, ("permission_error", "No.")),
        (404, [{"error": {"code": 404, "message": "Gone."}}], ("not_found_error", "Gone.")),
        (413, None, ("request_too_large", NO_MESSAGE)),
        (422, {"object": "error", "message": "Extra."}, ("invalid_request_error", "Extra.")),
        (422, {"object": "error", "message": {"detail": []}}, ("invalid_request_error", NO_MESSAGE)),
        (429, {"error": {"message": "Slow.", "code": "rate_limit_exceeded"}}, ("rate_limit_error", "Slow.")),
        (500, "html", ("api_error", NO_MESSAGE)),
        (503, {}, ("api_error", NO_MESSAGE)),
        (504, [], ("timeout_error", NO_MESSAGE)),
        (529, {}, ("overloaded_error", NO_MESSAGE)),
        (
            400,
            {"error": {"message": "Shorten it.", "code": "context_length_exceeded"}},
            ("invalid_request_error", f"{TOO_LONG}: Shorten it."),
        ),
    ],
)
def test_errors(status: int, body: Any, said: tuple[str, str]) -> None:
    """The type says the status, the message what went wrong, wherever it stood."""
    made = message_error(status, body, "req_1")
    assert made == {
        "type": "error",
        "error": {"type": said[0], "message": said[1]},
        "request_id": "req_1",
    }
    assert "request_id" not in message_error(status, body)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": "rate_limit_exceeded"}, "rate_limit_error"),
        ({"type": "overloaded_error"}, "overloaded_error"),
        ({"code": 429}, "api_error"),
        ("boom", "api_error"),
    ],
)
def test_errors_in_streams(error: Any, kind: str) -> None:
    """There is no status there: the code or the type has to say it."""
    assert event_error({"error": error})["error"]["type"] == kind
