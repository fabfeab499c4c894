"""Real servers in the other forms: Anthropic's SDK, and the Responses API."""

from __future__ import annotations

from typing import Any

import pytest

from tests.real.llama import MODEL, LlamaCppPython
from tests.real.questions import MESSAGES, QUESTION, TOKENS, chat, content_of
from tests.real.ways import SECONDS, UNIFIED, Through


def test_anthropics_sdk(through: Through) -> None:
    """The text of a chat, whole and streamed: llama-server has the form itself, and where the daemon
    chooses the provider it translates. What is counted is the server's own usage.
    """
    anthropic = pytest.importorskip("anthropic")
    server_has_it = not isinstance(through.server, LlamaCppPython)
    if not (server_has_it or through.way in UNIFIED):
        pytest.skip("llama-cpp-python has no /v1/messages")
    asked: dict[str, Any] = {"model": through.way.model, "messages": MESSAGES, "max_tokens": TOKENS}
    # Its newer versions know no temperature.
    asked["extra_body"] = {"temperature": 0}
    chat(through.straight, MODEL)
    whole = chat(through.straight, MODEL)
    url = through.daemon.url + through.way.path.removesuffix("/v1")
    with anthropic.Anthropic(api_key=through.way.key, base_url=url, max_retries=0, timeout=SECONDS) as client:
        message = client.messages.create(**asked)
        with client.messages.stream(**asked) as events:
            text = "".join(events.text_stream)
            end = events.get_final_message()
    assert message.content[0].text == text == content_of(whole)
    assert message.stop_reason == end.stop_reason
    used = [message.usage, *([end.usage] if server_has_it else [])]
    tokens_in = sum(usage.input_tokens + (usage.cache_read_input_tokens or 0) for usage in used)
    assert whole.usage is not None
    assert tokens_in == len(used) * whole.usage.prompt_tokens
    assert through.counted("openai_proxy_input_tokens_total", model=MODEL) == tokens_in
    assert through.counted("openai_proxy_output_tokens_total", model=MODEL) == sum(
        usage.output_tokens for usage in used
    )
    missing = through.counted("openai_proxy_usage_missing_total", reason="stream_without_usage")
    assert missing == 2 - len(used)
    assert through.counted("openai_proxy_time_to_first_token_seconds_count", model=MODEL) == 1
    assert through.counted("http_requests_total", endpoint="messages", outcome="ok") == 2


def test_responses(through: Through) -> None:
    """The newer form, whole and streamed, with the server's own usage."""
    if isinstance(through.server, LlamaCppPython):
        pytest.skip("llama-cpp-python has no /v1/responses")
    asked: dict[str, Any] = {"input": QUESTION, "max_output_tokens": TOKENS, "temperature": 0}
    through.straight.responses.create(model=MODEL, **asked)
    direct, answer = through.both(lambda client, model: client.responses.create(model=model, **asked))
    with through.client.responses.create(model=through.way.model, **asked, stream=True) as events:
        seen = list(events)
    text = "".join(event.delta for event in seen if event.type == "response.output_text.delta")
    assert text == answer.output_text == direct.output_text != ""
    assert seen[-1].type == "response.completed"
    usage, streamed = answer.usage, seen[-1].response.usage
    assert usage is not None and streamed is not None
    assert usage == direct.usage
    counted = through.counted("openai_proxy_input_tokens_total", model=MODEL)
    assert counted == usage.input_tokens + streamed.input_tokens
    counted = through.counted("openai_proxy_output_tokens_total", model=MODEL)
    assert counted == usage.output_tokens + streamed.output_tokens
    assert through.counted("openai_proxy_time_to_first_token_seconds_count", model=MODEL) == 1
    assert through.counted("openai_proxy_usage_missing_total") == 0
    assert through.counted("http_requests_total", endpoint="responses", outcome="ok") == 2
