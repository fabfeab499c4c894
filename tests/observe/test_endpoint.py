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
    ],
)
def test_known_paths(path: bytes, endpoint: str) -> None:
    """A path is the endpoint that its first segments name."""
    assert endpoint_of(path) == endpoint


@given(st.binary(max_size=40))
def test_any_path_is_in_the_closed_set(path: bytes) -> None:
    """No path makes a new label value."""
    assert endpoint_of(b"/v1/" + path) in ENDPOINTS
