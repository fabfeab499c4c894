"""Chunks of chat completions and completions: which bring tokens, usage, errors."""

from __future__ import annotations

import pytest

from openai_proxy.observe.chat_events import MAX_CHOICES_BYTES, ChatEvents
from openai_proxy.observe.said import SILENT, TOKEN, VISIBLE
from openai_proxy.observe.usage import FORMS, Usage


def events() -> ChatEvents:
    return ChatEvents(FORMS["chat_completions"])


@pytest.mark.parametrize(
    ("delta", "kind"),
    [
        (b'{"content":"a"}', VISIBLE),
        (b'{"role":"assistant","content":" "}', VISIBLE),
        (b'{"role": "assistant", "content": "a"}', VISIBLE),
        (b'{"refusal":"I"}', VISIBLE),
        (b'{"audio":{"id":"a","transcript":"Hi"}}', VISIBLE),
        (b'{"audio":{"data":"AAAA"}}', VISIBLE),
        (b'{"content":[{"type":"text","text":"a"}]}', VISIBLE),
        (b'{"content":[{"type":"thinking","thinking":[]}]}', TOKEN),
        (b'{"content":"","reasoning_content":"hm"}', TOKEN),
        (b'{"content":null,"reasoning":"hm"}', TOKEN),
        (b'{"reasoning_details":[{"type":"reasoning.encrypted","data":"x"}]}', TOKEN),
        (b'{"tool_calls":[{"index":0,"function":{"name":"f","arguments":""}}]}', TOKEN),
        (b'{"function_call":{"arguments":"{"}}', TOKEN),
        (b'{"tool_calls":[{"index":0,"custom":{"name":"","input":"x"}}]}', TOKEN),
        (b'{"tool_calls":[{"index":0,"odd":{}}]}', TOKEN),
        (b'{"tool_calls":{"odd":1}}', TOKEN),
        (b'{"tool_calls":[{"index":0,"id":"c","function":{"arguments":""}}]}', SILENT),
        (b'{"tool_calls":[{"index":0,"function":{"name":null,"arguments":""}}]}', SILENT),
        (b'{"function_call":{"arguments":""}}', SILENT),
        (b'{"reasoning_details":[{"type":"reasoning.text","text":""}]}', SILENT),
        (b'{"reasoning_details":[{"type":"reasoning.text","text":"hm"}]}', TOKEN),
        (b'{"role":"assistant","content":"","refusal":null}', SILENT),
        (b'{"role":"assistant","content":null,"tool_calls":[],"reasoning":""}', SILENT),
        (b'{"audio":{"id":"a","expires_at":1}}', SILENT),
        (b"{}", SILENT),
        (b"null", SILENT),
    ],
)
def test_deltas(delta: bytes, kind: int) -> None:
    """A token is what the model made, and visible what is its answer."""
    assert events().read(b"", b'{"choices":[{"index":0,"delta":%b,"finish_reason":null}]}' % delta) == kind


@pytest.mark.parametrize(
    ("chunk", "kind"),
    [
        (b'{"choices":[{"index":0,"text":"a"}]}', VISIBLE),
        (b'{"choices":[{"index":0,"text":""}]}', SILENT),
        (b'{"choices":[{"index":0,"delta":{}},{"index":1,"delta":{"content":"a"}}]}', VISIBLE),
        (b'{"choices":[{"index":0,"content_filter_offsets":{}}]}', SILENT),
        (b'{"choices":[],"prompt_filter_results":[]}', SILENT),
        (b'{"choices":null}', SILENT),
        (b'{"usage":{"prompt_tokens":1}}', SILENT),
        (b'{"type":"ping"}', SILENT),
    ],
)
def test_chunks(chunk: bytes, kind: int) -> None:
    """Completions' text, several choices, and chunks without any."""
    assert events().read(b"", chunk) == kind


def test_usage() -> None:
    """The last that is not null counts, and nothing is added up; names are those of the answer."""
    chat = events()
    chat.read(b"", b'{"id":"","model":"","choices":[],"prompt_filter_results":[]}')
    chat.read(
        b"", b'{"id":"c","model":"gpt-4o-2024-08-06","service_tier":"default","choices":[],"usage":null}'
    )
    for count in (1, 2, 3):
        chat.read(b"", b'{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":%d}}' % count)
    chat.read(b"", b'{"choices":[],"usage":null}')
    assert not chat.said.ended
    chat.read(b"", b"[DONE]")
    said = chat.said
    assert (said.answer_id, said.ended, said.unread, said.error) == ("c", True, False, None)
    assert said.usage() == Usage(
        input_tokens=5, output_tokens=3, model="gpt-4o-2024-08-06", service_tier="default"
    )


def test_groq() -> None:
    """Usage in its older place."""
    chat = events()
    chat.read(
        b"",
        b'{"model":"m","choices":[],"x_groq":{"id":"r","usage":{"prompt_tokens":1,"completion_tokens":2}}}',
    )
    assert chat.said.usage() == Usage(input_tokens=1, output_tokens=2, model="m")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (b"", b'{"error":{"type":"server_error","code":"c"}}'),
        (b"error", b'{"error":{"type":"server_error","code":"c"}}'),
        (b"error", b'{"type":"server_error","code":"c"}'),
        (
            b"",
            b'{"id":"c","model":"m","choices":[{"delta":{"content":""}}],"error":{"type":"server_error","code":"c"}}',
        ),
    ],
)
def test_errors(name: bytes, data: bytes) -> None:
    """Inside a stream that began as a success, in each form."""
    chat = events()
    chat.read(b"", b'{"model":"m","choices":[]}')
    assert chat.read(name, data) == SILENT
    assert chat.said.error == ("server_error", "c")


def test_what_is_no_chunk() -> None:
    """It is passed by, and it is known that something was not read."""
    chat = events()
    assert chat.read(b"", b"{") == SILENT
    assert chat.said.unread
    assert chat.read(b"", b'{"choices":[{"delta":{"content":"a"}}]}') == VISIBLE
    assert events().read(b"error", b"boom") == SILENT


LARGE = b'"' + b"x" * MAX_CHOICES_BYTES + b'"'


@pytest.mark.parametrize(
    ("chunk", "kind"),
    [
        (b'{"choices":[{"delta":{"images":[{"image_url":{"url":%b}}]}}]}' % LARGE, VISIBLE),
        (b'{"choices":[{"delta":{"content":%b}}]}' % LARGE, VISIBLE),
        (b'{"choices":[' + b"{}," * MAX_CHOICES_BYTES + b"{}]}", VISIBLE),
        (b'{"choices":[{"delta":{"reasoning":"a"}}],"x":%b}' % LARGE, TOKEN),
        (b'{"choices":[{"delta":{"content":"a"}}],"x":%b}' % LARGE, VISIBLE),
        (b'{"choices":[],"x":%b}' % LARGE, SILENT),
        (b'{"choices":null,"x":%b}' % LARGE, SILENT),
        (b'{"choices":5,"x":%b}' % LARGE, SILENT),
        (b'{"x":%b}' % LARGE, SILENT),
    ],
)
def test_large_chunks(chunk: bytes, kind: int) -> None:
    """Large choices are taken for a token that is seen; small ones beside something large are read."""
    chat = events()
    assert chat.read(b"", chunk) == kind
    assert not chat.said.unread
    assert chat.template(b"data: " + chunk + b"\n\n") is None


def test_what_large_chunks_name() -> None:
    """Usage, model and errors are found in them wherever they are."""
    chat = events()
    usage = b'"usage":{"prompt_tokens":1,"completion_tokens":2}'
    chat.read(b"", b'{"choices":[{"delta":{"content":%b}}],"model":"m",%b}' % (LARGE, usage))
    assert chat.said.usage() == Usage(input_tokens=1, output_tokens=2, model="m")
    groq = events()
    groq.read(b"", b'{"x_groq":{%b},"x":%b}' % (usage, LARGE))
    assert groq.said.usage() == Usage(input_tokens=1, output_tokens=2)
    chat.read(b"error", b'{"type":"server_error","code":"c","message":%b}' % LARGE)
    assert chat.said.error == ("server_error", "c")


@pytest.mark.parametrize(("name", "error"), [(b"", None), (b"error", (None, None))])
def test_what_is_large_and_no_chunk(name: bytes, error: tuple[None, None] | None) -> None:
    """It is known that something was not read, and an error keeps being one."""
    chat = events()
    assert chat.read(name, b"[" + b"{}," * MAX_CHOICES_BYTES + b"{}]") == SILENT
    assert (chat.said.unread, chat.said.error) == (True, error)
