"""What openai-python is asked to do, sync and async alike; each gives what was read of the SDK's own objects.

``node/client.cjs`` does the same with openai-node: the same names, the same results.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import openai
from pydantic import BaseModel, ConfigDict

from tests.support.forms.said import RESULTS

Json = dict[str, Any]

STATUSES: Final = (400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529)
MESSAGES: Final = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say hello"}]
CITY: Final = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ZONE: Final = {"type": "object", "properties": {"zone": {"type": "string"}, "at": {"type": "array"}}}
TOOLS: Final = [
    {"type": "function", "function": {"name": "get_weather", "description": "Now", "parameters": CITY}},
    {"type": "function", "function": {"name": "get_time", "parameters": ZONE}},
]
SOUND: Final = bytes(1000)
UPLOAD: Final = bytes(range(256)) * 20


class Weather(BaseModel):
    """What the model is to answer in."""

    model_config = ConfigDict(extra="forbid")

    city: str
    degrees: int


@dataclass(frozen=True)
class Asker:
    """A client, and the names of what it asks."""

    client: Any
    """``OpenAI``, ``AzureOpenAI``, or one of their async kinds."""
    models: Mapping[str, str]
    steering: Mapping[str, str]
    """Header fields of requests without a model."""


Scenario = Callable[[Asker], Awaitable[Json]]


async def _done(made: Any) -> Any:
    """The result: of a call that has one, or of one that has to be waited for."""
    return await made if inspect.isawaitable(made) else made


async def _each(made: Any) -> AsyncIterator[Any]:
    """What a stream brings."""
    events = await _done(made)
    if hasattr(events, "__aiter__"):
        async for one in events:
            yield one
    else:
        for one in events:
            yield one


def _usage(usage: Any) -> list[int] | None:
    if usage is None:
        return None
    given, made = usage.prompt_tokens_details, usage.completion_tokens_details
    return [
        usage.prompt_tokens,
        (given and given.cached_tokens) or 0,
        (given and given.cache_write_tokens) or 0,
        usage.completion_tokens,
        (made and made.reasoning_tokens) or 0,
    ]


def _calls(calls: Any) -> list[list[Any]]:
    return [[call.function.name, json.loads(call.function.arguments)] for call in calls or ()]


async def chat(asker: Asker) -> Json:
    """One answer, whole."""
    made = await _done(asker.client.chat.completions.create(model=asker.models["chat"], messages=MESSAGES))
    choice = made.choices[0]
    return {
        "text": choice.message.content,
        "finish": choice.finish_reason,
        "model": made.model,
        "usage": _usage(made.usage),
        "request_id": made._request_id,
    }


async def settings(asker: Asker) -> Json:
    """With settings that not every model takes: what it refuses is not sent to it."""
    create, wanted = asker.client.chat.completions.create, {"temperature": 0.5, "stop": ["###"]}
    made = await _done(
        create(model=asker.models["newest"], messages=MESSAGES, max_completion_tokens=100, **wanted)
    )
    return {"text": made.choices[0].message.content, "usage": _usage(made.usage)}


async def _streamed(asker: Asker, **more: Any) -> Json:
    text, finish, usage, bare = "", None, None, 0
    create = asker.client.chat.completions.create
    async for chunk in _each(create(model=asker.models["chat"], messages=MESSAGES, stream=True, **more)):
        for choice in chunk.choices:
            text += choice.delta.content or ""
            finish = choice.finish_reason or finish
        usage = _usage(chunk.usage) or usage
        bare += bool(chunk.usage and not chunk.choices)
    return {"text": text, "finish": finish, "usage": usage, "usage_events": bare}


async def stream(asker: Asker) -> Json:
    """The same in pieces, with the usage at its end."""
    return await _streamed(asker, stream_options={"include_usage": True})


async def stream_unasked(asker: Asker) -> Json:
    """A stream whose client did not ask for the usage."""
    return await _streamed(asker)


async def tools(asker: Asker) -> Json:
    """Calls, their results, and what the model makes of them."""
    create, model = asker.client.chat.completions.create, asker.models["chat"]
    first = await _done(create(model=model, messages=MESSAGES, tools=TOOLS, tool_choice="auto"))
    message = first.choices[0].message
    calls = [call.model_dump(exclude_unset=True) for call in message.tool_calls or ()]
    said = [
        {"role": "tool", "tool_call_id": call["id"], "content": result}
        for call, result in zip(calls, RESULTS, strict=False)
    ]
    turns = [*MESSAGES, {"role": "assistant", "content": message.content, "tool_calls": calls}, *said]
    second = await _done(create(model=model, messages=turns, tools=TOOLS))
    return {
        "calls": _calls(message.tool_calls),
        "finish": first.choices[0].finish_reason,
        "text": second.choices[0].message.content,
        "usage": _usage(second.usage),
    }


async def tools_stream(asker: Asker) -> Json:
    """Calls in pieces, put together by their index."""
    create = asker.client.chat.completions.create
    found: dict[int | None, list[str]] = {}
    finish = None
    events = create(model=asker.models["chat"], messages=MESSAGES, tools=TOOLS, stream=True)
    async for chunk in _each(events):
        for choice in chunk.choices:
            finish = choice.finish_reason or finish
            for piece in choice.delta.tool_calls or ():
                call = found.setdefault(piece.index, ["", "", ""])
                call[0] += piece.id or ""
                call[1] += (piece.function and piece.function.name) or ""
                call[2] += (piece.function and piece.function.arguments) or ""
    calls = [[index, name, _parsed(arguments)] for index, (_, name, arguments) in found.items()]
    return {"calls": calls, "finish": finish, "ids": len({call[0] for call in found.values() if call[0]})}


def _parsed(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


async def structured(asker: Asker) -> Json:
    """An answer in a schema, as the SDK's own ``parse`` gives it."""
    parse = asker.client.chat.completions.parse
    made = await _done(parse(model=asker.models["chat"], messages=MESSAGES, response_format=Weather))
    parsed = made.choices[0].message.parsed
    return {"parsed": parsed.model_dump(), "refusal": made.choices[0].message.refusal}


async def embeddings(asker: Asker) -> Json:
    """Two, in base64 on the way."""
    create = asker.client.embeddings.create
    made = await _done(create(model=asker.models["embedding"], input=["a", "b"]))
    return {"vectors": [one.embedding for one in made.data], "tokens": made.usage.prompt_tokens}


async def files(asker: Asker) -> Json:
    """Up, looked at, down again, and away: where it went is said once, and is known from then on."""
    there, steered = asker.client.files, asker.steering
    made = await _done(there.create(file=("batch.jsonl", UPLOAD), purpose="batch", extra_headers=steered))
    seen = await _done(there.retrieve(made.id))
    content = await _done(there.content(made.id))
    gone = await _done(there.delete(made.id))
    return {"bytes": made.bytes, "seen": seen.bytes, "content": _digest(content), "deleted": gone.deleted}


def _digest(answer: Any) -> str:
    return hashlib.sha256(answer.content).hexdigest()


async def speech(asker: Asker) -> Json:
    """Sound."""
    create = asker.client.audio.speech.create
    return {"sound": _digest(await _done(create(model=asker.models["speech"], voice="alloy", input="Hello")))}


async def transcription(asker: Asker) -> Json:
    """Text out of a sound: the model is a part of a form."""
    create = asker.client.audio.transcriptions.create
    made = await _done(create(model=asker.models["transcription"], file=("a.mp3", SOUND)))
    return {"text": made.text, "tokens": [made.usage.input_tokens, made.usage.output_tokens]}


async def image(asker: Asker) -> Json:
    """A picture."""
    made = await _done(asker.client.images.generate(model=asker.models["image"], prompt="A cat"))
    usage = made.usage and [made.usage.input_tokens, made.usage.output_tokens]
    return {"picture": made.data[0].b64_json, "tokens": usage}


def _response_usage(usage: Any) -> list[int]:
    given, made = usage.input_tokens_details, usage.output_tokens_details
    return [
        usage.input_tokens,
        given.cached_tokens,
        given.cache_write_tokens,
        usage.output_tokens,
        made.reasoning_tokens,
    ]


async def response(asker: Asker) -> Json:
    """The Responses API, whole."""
    made = await _done(asker.client.responses.create(model=asker.models["chat"], input="Say hello"))
    return {"text": made.output_text, "status": made.status, "usage": _response_usage(made.usage)}


async def response_stream(asker: Asker) -> Json:
    """The same, event by event."""
    text, last = "", None
    create = asker.client.responses.create
    async for event in _each(create(model=asker.models["chat"], input="Say hello", stream=True)):
        text += event.delta if event.type == "response.output_text.delta" else ""
        last = event
    assert last is not None
    return {"text": text, "last": last.type, "usage": _response_usage(last.response.usage)}


async def errors(asker: Asker) -> Json:
    """Of each status, the exception."""
    return {str(status): await _failure(asker.client, asker) for status in STATUSES}


async def error_headers(asker: Asker) -> Json:
    """What an error's head says of the time to come."""
    return await _failure(asker.client, asker, "retry-after", "retry-after-ms", "x-should-retry")


async def retries(asker: Asker) -> Json:
    """Two failures, then an answer: the SDK's own retries, as soon as it is told."""
    return await chat(Asker(asker.client.with_options(max_retries=2), asker.models, asker.steering))


async def retries_told(asker: Asker) -> Json:
    """A status that is not retried, with the word that it should be."""
    return await chat(Asker(asker.client.with_options(max_retries=1), asker.models, asker.steering))


async def retries_forbidden(asker: Asker) -> Json:
    """A status that is retried, with the word that it should not be."""
    return await _failure(asker.client.with_options(max_retries=2), asker)


async def _failure(client: Any, asker: Asker, *fields: str) -> Json:
    try:
        await _done(client.chat.completions.create(model=asker.models["chat"], messages=MESSAGES))
    except openai.APIStatusError as error:
        return failure(error, *fields)
    return {"class": None}


def failure(error: openai.APIStatusError, *fields: str) -> Json:
    """What an application sees of an error."""
    body = error.body if isinstance(error.body, dict) else {}
    found: Json = {
        "class": type(error).__name__,
        "status": error.status_code,
        "code": error.code,
        "type": error.type,
        "message": body.get("message"),
        "request_id": error.request_id,
    }
    return found | {name: error.response.headers.get(name) for name in fields}


SCENARIOS: Final[Mapping[str, Scenario]] = {
    one.__name__: one
    for one in (
        *(chat, settings, stream, stream_unasked, tools, tools_stream, structured, embeddings, files),
        *(
            speech,
            transcription,
            image,
            response,
            response_stream,
            errors,
            error_headers,
            retries,
            retries_told,
        ),
        retries_forbidden,
    )
}
