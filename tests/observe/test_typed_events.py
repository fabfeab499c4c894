"""Events that say their type: tokens, ends, usage, errors."""

from __future__ import annotations

import msgspec
import pytest

from openai_proxy.observe.members import ErrorName
from openai_proxy.observe.said import SILENT, TOKEN, VISIBLE
from openai_proxy.observe.typed_events import TypedEvents
from openai_proxy.observe.usage import FORMS, Usage

RESPONSE = (
    b'"response":{"id":"resp_1","error":%b,"model":"gpt-5","service_tier":"default",'
    b'"output":[{"usage":{"input_tokens":99}}],"usage":{"input_tokens":3,"output_tokens":4}}'
)


def events(endpoint: str = "responses") -> TypedEvents:
    return TypedEvents(FORMS[endpoint])


@pytest.mark.parametrize(
    ("type_", "kind"),
    [
        (b"response.output_text.delta", VISIBLE),
        (b"response.refusal.delta", VISIBLE),
        (b"response.output_audio.delta", VISIBLE),
        (b"speech.audio.delta", VISIBLE),
        (b"transcript.text.delta", VISIBLE),
        (b"response.reasoning_text.delta", TOKEN),
        (b"response.reasoning_summary_text.delta", TOKEN),
        (b"response.function_call_arguments.delta", TOKEN),
        (b"response.custom_tool_call_input.delta", TOKEN),
        (b"response.of_tomorrow.delta", TOKEN),
        (b"response.output_text.done", SILENT),
        (b"response.output_item.added", SILENT),
        (b"response.image_generation_call.partial_image", SILENT),
        (b"image_generation.partial_image", SILENT),
        (b"keepalive", SILENT),
    ],
)
def test_kinds(type_: bytes, kind: int) -> None:
    """By the type in the data, wherever it stands, or by the event's name."""
    assert events().read(b"", b'{"type":"%b","delta":"a"}' % type_) == kind
    assert events().read(type_, b'{"delta":"a"}') == kind
    assert events().read(b"", b'{"delta": "a", "type": "%b"}' % type_) == kind
    assert events().read(type_, b'{"type":"%b","delta":""}' % type_) == SILENT
    assert events().read(type_, b'{"type": "%b", "delta": ""}' % type_) == SILENT


@pytest.mark.parametrize(
    ("type_", "error", "name"),
    [
        (b"response.completed", b"null", None),
        (b"response.incomplete", b"null", None),
        (b"response.failed", b'{"code":"server_error","message":"m"}', (None, "server_error")),
        (b"response.failed", b"null", (None, None)),
    ],
)
def test_ends_of_responses(type_: bytes, error: bytes, name: ErrorName | None) -> None:
    """Each brings the usage: that of the response, and of nothing inside it."""
    typed = events()
    typed.read(b"response.created", b'{"type":"response.created","response":{"model":"gpt-5","usage":null}}')
    assert (typed.said.model, typed.said.ended) == ("gpt-5", False)
    typed.read(type_, b'{"type":"%b","sequence_number":9,%b}' % (type_, RESPONSE % error))
    said = typed.said
    assert (said.ended, said.error, said.answer_id) == (True, name, "resp_1")
    assert said.usage() == Usage(input_tokens=3, output_tokens=4, model="gpt-5", service_tier="default")


def test_an_end_that_cannot_be_read() -> None:
    """Too long an event is an end too; what it used is not known."""
    typed = events()
    typed.read(b"response.completed", b'{"type":"response.completed","response":{"id":"resp_')
    assert (typed.said.ended, typed.said.unread, typed.said.usage()) == (True, True, None)


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        (
            b"error",
            b'{"type":"error","code":"rate_limit_exceeded","message":"m"}',
            (None, "rate_limit_exceeded"),
        ),
        (b"error", b'{"error":{"type":"server_error"}}', ("server_error", None)),
        (b"", b'{"error":{"type":"server_error","code":"c"}}', ("server_error", "c")),
        (b"error", b"boom", (None, None)),
        (b"response.error", b"{}", None),
    ],
)
def test_errors(name: bytes, data: bytes, error: ErrorName | None) -> None:
    """Named by the event, by its type, or by nothing but its member."""
    typed = events()
    assert typed.read(name, data) == SILENT
    assert (typed.said.error, typed.said.ended) == (error, False)


def test_images_and_audio() -> None:
    """Usage stands in the last event itself."""
    for endpoint, type_, part in (
        ("images", b"image_generation.completed", {"output_image_tokens": 2}),
        ("images", b"image_edit.completed", {"output_image_tokens": 2}),
        ("audio_transcriptions", b"transcript.text.done", {"input_audio_tokens": 1}),
        ("audio_speech", b"speech.audio.done", {"output_audio_tokens": 2}),
    ):
        typed = events(endpoint)
        typed.read(b"", b'{"type":"%b","b64_json":"AA","usage":{"input_tokens":1,"output_tokens":2}}' % type_)
        usage = msgspec.convert({"input_tokens": 1, "output_tokens": 2, **part}, type=Usage)
        assert typed.said.usage() == usage
        assert typed.said.ended


def test_runs() -> None:
    """A run's usage has that of its steps in it; the stream ends with ``[DONE]``."""
    runs = events("assistants")
    assert runs.read(b"thread.message.delta", b'{"id":"m","delta":{"content":[]}}') == VISIBLE
    assert runs.read(b"thread.run.step.delta", b'{"id":"s","delta":{"step_details":{}}}') == TOKEN
    runs.read(b"thread.run.step.completed", b'{"usage":{"prompt_tokens":7,"completion_tokens":7}}')
    runs.read(b"thread.run.completed", b'{"model":"m","usage":{"prompt_tokens":8,"completion_tokens":9}}')
    ended = [runs.said.ended]
    runs.read(b"done", b"[DONE]")
    assert [*ended, runs.said.ended] == [False, True]
    assert runs.said.usage() == Usage(input_tokens=8, output_tokens=9, model="m")
    runs.read(b"thread.run.failed", b'{"last_error":{"code":"server_error"}}')
    assert runs.said.error == (None, "server_error")
