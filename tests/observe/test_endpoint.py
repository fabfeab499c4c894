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


@pytest.mark.parametrize(
    ("prefix", "path", "endpoint"),
    [
        (b"", b"/chat/completions", "chat_completions"),
        (b"", b"/v1/chat/completions", "chat_completions"),
        (b"", b"/", "other"),
        (b"/openai/v1", b"/openai/v1/responses", "responses"),
        (b"/openai/v1/", b"/openai/v1/responses", "responses"),
        (b"/openai/v1", b"/openai/v1x/responses", "other"),
        (b"/api/v1", b"/api/v1/embeddings", "embeddings"),
        (b"/api/v1", b"/v1/embeddings", "embeddings"),
        (b"/api/v1", b"/api/v1/credits", "other"),
        (b"/compatibility/v1", b"/v2/chat", "other"),
        (b"/v1beta/openai", b"/v1beta/openai/chat/completions", "chat_completions"),
        (b"/v1beta/openai", b"/v1beta/models", "models"),
        (b"/v1beta/openai", b"/v1beta/models/gemini-3-pro", "models"),
        (
            b"/v1/projects/p/locations/l/endpoints/openapi",
            b"/v1/projects/p/locations/l/endpoints/openapi/chat/completions",
            "chat_completions",
        ),
        (b"/v1", b"/anthropic/v1/messages", "messages"),
        (b"/openai", b"/openai/models", "models"),
        (b"/openai", b"/openai/v1/files", "files"),
    ],
)
def test_what_stands_in_place_of_v1(prefix: bytes, path: bytes, endpoint: str) -> None:
    """Below the provider's own prefix the paths are OpenAI's, and below ``/v1`` as well."""
    found = endpoint_of(path, prefix)
    assert (found.name, found.model) == (endpoint, "")
    assert found.generates == (endpoint in {"chat_completions", "responses", "embeddings", "messages"})


@pytest.mark.parametrize("prefix", [b"/openai", b"/openai/v1", b"/v1"])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"gpt/chat/completions", ("chat_completions", True, "gpt")),
        (b"my%20gpt%2F4/chat/completions", ("chat_completions", True, "my gpt/4")),
        (b"w/audio/transcriptions", ("audio_transcriptions", True, "w")),
        (b"dalle/images/generations", ("images", True, "dalle")),
        (b"e/embeddings/", ("embeddings", True, "e")),
        (b"gpt/chat/completions/c", ("chat_completions", False, "gpt")),
        (b"gpt/else", ("other", False, "")),
        (b"gpt", ("other", False, "")),
        (b"", ("other", False, "")),
    ],
)
def test_a_deployment(prefix: bytes, path: bytes, expected: tuple[str, bool, str]) -> None:
    """The endpoint is the one behind it, and its name is the model."""
    assert endpoint_of(b"/openai/deployments/" + path, prefix) == expected


VERTEX = b"/v1/projects/p/locations/l/publishers/"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/v1beta/models/gemini-3-pro:generateContent", ("generate_content", True, "gemini-3-pro")),
        (b"/v1beta/models/gemini-3-pro:streamGenerateContent", ("generate_content", True, "gemini-3-pro")),
        (b"/v1/models/gemini-3-pro%3AgenerateContent", ("generate_content", True, "gemini-3-pro")),
        (b"/v1beta/tunedModels/m-1:generateContent", ("generate_content", True, "m-1")),
        (VERTEX + b"google/models/g:streamGenerateContent", ("generate_content", True, "g")),
        (b"/v1/projects/p/locations/l/endpoints/12:generateContent", ("generate_content", True, "12")),
        (b"/v1beta/models/caf%C3%A9:generateContent", ("generate_content", True, "caf\u00e9")),
        (b"/v1beta/models/\xff:generateContent", ("generate_content", True, "\ufffd")),
        (b"/v1beta/models/e:embedContent", ("embeddings", True, "e")),
        (b"/v1beta/models/e:batchEmbedContents", ("embeddings", True, "e")),
        (b"/v1beta/models/g:countTokens", ("other", False, "g")),
        (VERTEX + b"anthropic/models/claude-x@1:rawPredict", ("messages", True, "claude-x@1")),
        (VERTEX + b"anthropic/models/claude-x@1:streamRawPredict", ("messages", True, "claude-x@1")),
        (VERTEX + b"anthropic/models/count-tokens:rawPredict", ("messages", False, "")),
        (VERTEX + b"mistralai/models/m:rawPredict", ("other", False, "m")),
        (b"/v1/models/ft:gpt-4o:org::id", ("models", False, "")),
        (b"/v1/models/:generateContent", ("models", False, "")),
        (b"/v1beta/else/g:generateContent", ("other", False, "")),
        (b"/v1beta/models/g:generateContent/more", ("models", False, "")),
    ],
)
def test_methods_of_google(path: bytes, expected: tuple[str, bool, str]) -> None:
    """A method of a model: generations are of their own, Claude's are messages, counting costs nothing."""
    assert endpoint_of(path, b"/v1beta/openai") == expected


@given(
    st.binary(max_size=40),
    st.sampled_from([b"/v1/", b"/openai/deployments/", b"/v1/models/", b"/"]),
    st.sampled_from([b"/v1", b"", b"/openai"]),
)
def test_any_path_is_in_the_closed_set(path: bytes, root: bytes, prefix: bytes) -> None:
    """No path makes a new label value."""
    assert endpoint_of(root + path, prefix).name in ENDPOINTS
