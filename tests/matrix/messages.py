"""What anthropic-python is asked to do; each gives what was read of the SDK's own objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import anthropic
from anthropic import Anthropic

from tests.matrix.clients import SECONDS, Door
from tests.matrix.scenarios import CITY, STATUSES, ZONE, Json, Weather
from tests.support.forms.said import RESULTS

TOOLS: Final[Any] = [
    {"name": "get_weather", "description": "Now", "input_schema": CITY},
    {"name": "get_time", "input_schema": ZONE},
]
HELLO: Final[Any] = {
    "max_tokens": 1000,
    "system": "Be brief.",
    "messages": [{"role": "user", "content": "Say hello"}],
}

Scenario = Callable[[Anthropic, str], Json]


def client_of(door: Door) -> Anthropic:
    """Of a door."""
    return Anthropic(api_key=door.key, base_url=door.url, max_retries=0, timeout=SECONDS)


def _usage(usage: Any) -> list[int]:
    """As OpenAI counts: what is cached is a part of the input."""
    cached, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    details = usage.output_tokens_details
    thought = (details and details.thinking_tokens) or 0
    return [usage.input_tokens + cached + written, cached, written, usage.output_tokens, thought]


def _text(made: Any) -> str:
    return "".join(block.text for block in made.content if block.type == "text")


def _calls(made: Any) -> list[list[Any]]:
    return [[block.name, block.input] for block in made.content if block.type == "tool_use"]


def chat(client: Anthropic, model: str) -> Json:
    """One answer, whole."""
    made = client.messages.create(model=model, **HELLO)
    found = {"text": _text(made), "stop": made.stop_reason, "model": made.model}
    return {**found, "usage": _usage(made.usage), "request_id": made._request_id}


def stream(client: Anthropic, model: str) -> Json:
    """The same, event by event."""
    text, stop, kinds, usage = "", None, [], None
    for event in client.messages.create(model=model, stream=True, **HELLO):
        kinds.append(event.type)
        if event.type == "content_block_delta" and event.delta.type == "text_delta":
            text += event.delta.text
        if event.type == "message_delta":
            stop, usage = event.delta.stop_reason, event.usage.output_tokens
    order = [kind for place, kind in enumerate(kinds) if kind not in kinds[:place]]
    return {"text": text, "stop": stop, "output": usage, "events": order}


def stream_whole(client: Anthropic, model: str) -> Json:
    """A stream put together by the SDK."""
    with client.messages.stream(model=model, **HELLO) as events:
        made = events.get_final_message()
    return {"text": _text(made), "stop": made.stop_reason, "usage": _usage(made.usage)}


def tools(client: Anthropic, model: str) -> Json:
    """Calls, their results, and what the model makes of them."""
    first = client.messages.create(model=model, tools=TOOLS, tool_choice={"type": "auto"}, **HELLO)
    second = client.messages.create(model=model, tools=TOOLS, **_answered(first))
    return {"calls": _calls(first), "stop": first.stop_reason, "text": _text(second)}


def tools_stream(client: Anthropic, model: str) -> Json:
    """Calls whose input comes in pieces."""
    with client.messages.stream(model=model, tools=TOOLS, **HELLO) as events:
        made = events.get_final_message()
    ids = {block.id for block in made.content if block.type == "tool_use"}
    return {"calls": _calls(made), "stop": made.stop_reason, "ids": len(ids)}


def _answered(first: Any) -> Any:
    calls = [block for block in first.content if block.type == "tool_use"]
    results = [
        {"type": "tool_result", "tool_use_id": call.id, "content": result}
        for call, result in zip(calls, RESULTS, strict=False)
    ]
    turn = [block.model_dump(exclude_none=True) for block in first.content]
    said = [{"role": "assistant", "content": turn}, {"role": "user", "content": results}]
    return {**HELLO, "messages": [*HELLO["messages"], *said]}


def structured(client: Anthropic, model: str) -> Json:
    """An answer in a schema, as the SDK's own ``parse`` gives it."""
    made = client.messages.parse(model=model, output_format=Weather, **HELLO)
    assert made.parsed_output is not None
    return {"parsed": made.parsed_output.model_dump()}


def count_tokens(client: Anthropic, model: str) -> Json:
    """What a request would come to."""
    asked = {name: value for name, value in HELLO.items() if name != "max_tokens"}
    return {"tokens": client.messages.count_tokens(model=model, **asked).input_tokens}


def errors(client: Anthropic, model: str) -> Json:
    """Of each status, the exception."""
    return {str(status): _failure(client, model) for status in STATUSES}


def error_headers(client: Anthropic, model: str) -> Json:
    """What an error's head says of the time to come."""
    return _failure(client, model, "retry-after", "retry-after-ms", "x-should-retry")


def retries(client: Anthropic, model: str) -> Json:
    """Two failures, then an answer: the SDK's own retries, as soon as it is told."""
    return chat(client.with_options(max_retries=2), model)


def retries_told(client: Anthropic, model: str) -> Json:
    """A status that is not retried, with the word that it should be."""
    return chat(client.with_options(max_retries=1), model)


def retries_forbidden(client: Anthropic, model: str) -> Json:
    """A status that is retried, with the word that it should not be."""
    return _failure(client.with_options(max_retries=2), model)


def _failure(client: Anthropic, model: str, *fields: str) -> Json:
    try:
        client.messages.create(model=model, **HELLO)
    except anthropic.APIStatusError as error:
        return failure(error, *fields)
    return {"class": None}


def failure(error: anthropic.APIStatusError, *fields: str) -> Json:
    """What an application sees of an error."""
    found: Json = {
        "class": type(error).__name__,
        "status": error.status_code,
        "type": error.type,
        "message": error.api_message,
        "request_id": error.request_id,
    }
    return found | {name: error.response.headers.get(name) for name in fields}


def run(scenario: str, client: Anthropic, model: str) -> Json:
    """What was read of the SDK's objects, or of the error that it raised."""
    try:
        return SCENARIOS[scenario](client, model)
    except anthropic.APIStatusError as error:
        return failure(error)


SCENARIOS: Final[Mapping[str, Scenario]] = {
    one.__name__: one
    for one in (
        *(chat, stream, stream_whole, tools, tools_stream, structured, count_tokens),
        *(errors, error_headers, retries, retries_told, retries_forbidden),
    )
}
