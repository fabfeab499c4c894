"""Paths to endpoints."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.observe.endpoint import ENDPOINTS, endpoint_of


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        (b"/v1/chat/completions", "chat_completions"),
        (b"/v1/chat/completions/chatcmpl-1/messages", "chat_completions"),
        (b"/v1/chat", "other"),
        (b"/v1/completions", "completions"),
        (b"/v1/responses/resp_1/input_items", "responses"),
        (b"/v1/audio/speech", "audio_speech"),
        (b"/v1/audio/voices", "other"),
        (b"/v1/images/edits", "images"),
        (b"/v1/threads/t/runs", "assistants"),
        (b"/v1/models/gpt-4o", "models"),
        (b"/v1/models/", "models"),
        (b"/v1", "other"),
        (b"/v1/", "other"),
        (b"/v2/chat/completions", "other"),
        (b"/chat/completions", "other"),
        (b"//v1/chat/completions", "other"),
        (b"/v1/CHAT/completions", "other"),
        (b"/v1/wp-login.php", "other"),
        (b"/v1/messages", "messages"),
        (b"/v1/messages/count_tokens", "messages"),
        (b"/v1/messages/batches/b/results", "messages"),
    ],
)
def test_known_paths(path: bytes, endpoint: str) -> None:
    """A path is the endpoint that its first segments name."""
    assert endpoint_of(path).name == endpoint


@pytest.mark.parametrize(
    "path",
    [
        "chat/completions",
        "chat/completions/",
        "completions",
        "responses",
        "responses/compact",
        "messages",
        "embeddings",
        "images/generations",
        "images/edits",
        "images/variations",
        "audio/speech",
        "audio/transcriptions",
        "audio/translations",
        "threads/runs",
        "threads/t/runs",
        "threads/t/runs/r/submit_tool_outputs",
    ],
)
def test_paths_that_generate(path: str) -> None:
    """Exactly these: what is billed is made by them."""
    assert endpoint_of(b"/v1/" + path.encode()).generates


@pytest.mark.parametrize(
    "path",
    [
        "chat/completions/c",
        "responses/r",
        "responses/r/cancel",
        "responses/input_tokens",
        "messages/count_tokens",
        "messages/batches",
        "threads",
        "threads/t",
        "threads/t/messages",
        "threads/t/runs/r",
        "threads/t/runs/r/cancel",
        "models",
        "moderations",
        "files",
        "images",
        "audio/voices",
        "v1/embeddings",
    ],
)
def test_paths_that_repeat_or_make_nothing(path: str) -> None:
    """A stored object says its usage again whenever it is changed or cancelled."""
    assert not endpoint_of(b"/v1/" + path.encode()).generates


@given(st.binary(max_size=40))
def test_any_path_is_in_the_closed_set(path: bytes) -> None:
    """No path makes a new label value."""
    assert endpoint_of(b"/v1/" + path).name in ENDPOINTS
