"""Chat completions out of messages; errors and lists of models with them."""

from __future__ import annotations

from typing import Any

import pytest

from openai_proxy.providers.translate.model_list import completion_models, message_models
from openai_proxy.providers.translate.to_chat.answer import completion
from openai_proxy.providers.translate.to_chat.error import NO_MESSAGE, completion_error
from openai_proxy.providers.translate.untranslatable import UnreadableAnswer

Json = dict[str, Any]


def message(*content: Json, stop_reason: str = "end_turn", **more: Any) -> Json:
    said = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-5"}
    return said | {"content": list(content), "stop_reason": stop_reason, "stop_sequence": None} | more


def choice(*content: Json, **more: Any) -> Json:
    choices: list[Json] = completion(message(*content, **more), 7)["choices"]
    assert len(choices) == 1
    return choices[0]


def text(said: str, **more: Any) -> Json:
    return {"type": "text", "text": said} | more


def test_the_whole() -> None:
    """Texts are joined, and the numbers have the caches in them."""
    usage = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 20,
        "cache_read_input_tokens": 30,
        "output_tokens": 5,
        "output_tokens_details": {"thinking_tokens": 2},
        "service_tier": "standard",
    }
    assert completion(message(text("a"), text("b"), usage=usage), 7) == {
        "id": "msg_1",
        "object": "chat.completion",
        "created": 7,
        "model": "claude-opus-5",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "ab", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 60,
            "completion_tokens": 5,
            "total_tokens": 65,
            "prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 20},
            "completion_tokens_details": {"reasoning_tokens": 2},
        },
        "service_tier": "default",
    }


@pytest.mark.parametrize(
    ("stop_reason", "finish_reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("from the future", "stop"),
        (None, "stop"),
    ],
)
def test_finish_reasons(stop_reason: Any, finish_reason: str) -> None:
    """One of OpenAI's five, always."""
    assert choice(text("a"), stop_reason=stop_reason)["finish_reason"] == finish_reason


def test_calls() -> None:
    """Content is null if there is none; arguments are a string, those of no parameters too."""
    calls = [
        {"type": "tool_use", "id": "1", "name": "f", "input": {"a": "ü"}},
        {"type": "tool_use", "id": "2", "name": "g", "input": {}},
    ]
    said = choice(*calls, stop_reason="tool_use")
    assert said["message"]["content"] is None
    assert said["message"]["tool_calls"] == [
        {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a":"ü"}'}},
        {"id": "2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]
    assert said["finish_reason"] == "tool_calls"
    assert choice(text("a"), *calls)["message"]["content"] == "a"


def test_thinking() -> None:
    """Its text for reading, and the blocks as they are for sending them back."""
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "thinking", "thinking": "so", "signature": "t"},
    ]
    said = choice(*blocks, text("a"))["message"]
    assert (said["content"], said["reasoning_content"], said["thinking_blocks"]) == ("a", "hmso", blocks)
    omitted = choice({"type": "thinking", "thinking": "", "signature": "s"}, text("a"))["message"]
    assert "reasoning_content" not in omitted and len(omitted["thinking_blocks"]) == 1


def test_citations() -> None:
    """Of pages; a place is counted over the whole content."""
    page = {
        "type": "web_search_result_location",
        "url": "https://example.com",
        "title": "E",
        "cited_text": "b",
    }
    said = choice(text("a"), text("bc", citations=[page, {"type": "char_location"}]), text("d"))["message"]
    cited = {"start_index": 1, "end_index": 3, "title": "E", "url": "https://example.com"}
    assert said["annotations"] == [{"type": "url_citation", "url_citation": cited}]


def test_blocks_of_the_providers_own_tools() -> None:
    """A client could not answer them."""
    said = choice(
        {"type": "server_tool_use", "id": "1", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "1", "content": []},
        {"type": "from the future"},
        text("a"),
    )
    assert said["message"] == {"role": "assistant", "content": "a", "refusal": None}


def test_the_tool_that_answers() -> None:
    """Its input is the content, and nothing was called."""
    block = {"type": "tool_use", "id": "1", "name": "t", "input": {"a": 1}}
    said = completion(message(block, stop_reason="tool_use"), 7, answer_tool="t")["choices"][0]
    assert said["message"] == {"role": "assistant", "content": '{"a":1}', "refusal": None}
    assert said["finish_reason"] == "stop"


def test_refusals() -> None:
    """With the reason, if there is one."""
    details = {"type": "refusal", "category": "bio", "explanation": "Not that."}
    assert choice(stop_reason="refusal", stop_details=details)["message"]["refusal"] == "Not that."
    assert choice(stop_reason="refusal", stop_details=None)["message"]["refusal"] is None


@pytest.mark.parametrize("usage", [None, {}, "many", {"input_tokens": -1}])
def test_usage_that_says_nothing(usage: Any) -> None:
    """There is none then: a 0 would be a lie."""
    assert "usage" not in completion(message(text("a"), usage=usage), 7)


@pytest.mark.parametrize("body", [{}, {"type": "error", "error": {"message": "x"}}, {"type": "message"}])
def test_what_is_no_message(body: Json) -> None:
    """It is no answer."""
    with pytest.raises(UnreadableAnswer):
        completion(body, 7)


def error(kind: str, said: str, **more: Any) -> Json:
    return {"type": "error", "error": {"type": kind, "message": said} | more, "request_id": "req_1"}


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (429, error("rate_limit_error", "Slow."), ("Slow.", "rate_limit_error", "rate_limit_error")),
        (529, error("overloaded_error", "Full."), ("Full.", "overloaded_error", "overloaded_error")),
        (
            403,
            error("permission_error", "No.", details={"error_code": "org_locked"}),
            ("No.", "permission_error", "org_locked"),
        ),
        (
            400,
            error("invalid_request_error", "prompt is too long: 9 tokens > 8 maximum"),
            ("prompt is too long: 9 tokens > 8 maximum", "invalid_request_error", "context_length_exceeded"),
        ),
        (401, None, (NO_MESSAGE, "authentication_error", "authentication_error")),
        (402, "html", (NO_MESSAGE, "billing_error", "billing_error")),
        (404, {"error": "gone"}, ("gone", "not_found_error", "not_found_error")),
        (413, {}, (NO_MESSAGE, "request_too_large", "request_too_large")),
        (418, {}, (NO_MESSAGE, "invalid_request_error", "invalid_request_error")),
        (503, {"error": {"type": 1, "message": 2}}, (NO_MESSAGE, "api_error", "api_error")),
        (504, [], (NO_MESSAGE, "timeout_error", "timeout_error")),
    ],
)
def test_errors(status: int, body: Any, said: tuple[str, str, str]) -> None:
    """Message, type and code; what the body leaves out, the status says."""
    members = completion_error(status, body)["error"]
    assert (members["message"], members["type"], members["code"]) == said
    assert members["param"] is None


def test_models() -> None:
    """Names and dates in each other's form, there and back."""
    listed = {
        "data": [
            {"type": "model", "id": "a", "display_name": "A", "created_at": "2026-10-21T00:00:00Z"},
            {"type": "model", "id": "b", "display_name": "B", "created_at": "sometime"},
            {"type": "model"},
        ],
        "has_more": False,
    }
    said = completion_models(listed, "anthropic")
    assert said["data"][0] == {"id": "a", "object": "model", "created": 1792540800, "owned_by": "anthropic"}
    assert [model["created"] for model in said["data"]] == [1792540800, 0]
    back = message_models(said | {"data": [*said["data"], {"id": "c", "created": "never"}]})
    dates = [model["created_at"] for model in back["data"]]
    assert dates == ["2026-10-21T00:00:00Z", "1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"]
    assert (back["first_id"], back["last_id"], back["has_more"]) == ("a", "c", False)
    assert message_models({"data": []})["first_id"] is None
    for translate in (message_models, lambda body: completion_models(body, "")):
        with pytest.raises(UnreadableAnswer):
            translate({})
