"""Which of the API's endpoints a path is: a closed set, whatever clients ask for."""

import re
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

OTHER: Final = "other"
GENERATE_CONTENT: Final = "generate_content"
"""Gemini's own form of a generation, streamed or not."""

_BY_PREFIX: Final = {
    "chat/completions": "chat_completions",
    "responses": "responses",
    "completions": "completions",
    "messages": "messages",
    "embeddings": "embeddings",
    "models": "models",
    "moderations": "moderations",
    "audio/speech": "audio_speech",
    "audio/transcriptions": "audio_transcriptions",
    "audio/translations": "audio_translations",
    "images": "images",
    "files": "files",
    "uploads": "uploads",
    "batches": "batches",
    "fine_tuning": "fine_tuning",
    "vector_stores": "vector_stores",
    "assistants": "assistants",
    "threads": "assistants",
    "realtime": "realtime",
}

ENDPOINTS: Final = (*dict.fromkeys(_BY_PREFIX.values()), GENERATE_CONTENT, OTHER)

_GENERATING: Final = re.compile(
    r"(?:chat/completions|completions|responses(?:/compact)?|messages|embeddings"
    r"|images/(?:generations|edits|variations)|audio/(?:speech|transcriptions|translations)"
    r"|threads/(?:[^/]+/)?runs|threads/[^/]+/runs/[^/]+/submit_tool_outputs)/?"
)

_ROOTS: Final = ("/v1", "/openai/v1", "/openai", "/anthropic/v1", "/v1beta")
"""Below these anyone's paths are read as OpenAI's: Azure's two, Anthropic's layer at others, and
Gemini's lists of models and files.
"""
_DEPLOYMENTS: Final = "deployments/"

_MODELS: Final = frozenset({b"models", b"tunedModels", b"endpoints"})
"""Where Gemini and Vertex AI have what a method is called on."""
_CLAUDE: Final = b"/publishers/anthropic/models"
_RAW: Final = frozenset({"rawPredict", "streamRawPredict"})
_COUNT_TOKENS: Final = "count-tokens"
"""The name, in place of a model's, under which Vertex AI counts what Claude would be asked."""
_METHODS: Final = {
    "generateContent": GENERATE_CONTENT,
    "streamGenerateContent": GENERATE_CONTENT,
    "embedContent": "embeddings",
    "batchEmbedContents": "embeddings",
}
_OTHER_METHODS: Final = frozenset(
    {
        *_RAW,
        "countTokens",
        "computeTokens",
        "predict",
        "streamingPredict",
        "serverStreamingPredict",
        "predictLongRunning",
        "fetchPredictOperation",
        "batchGenerateContent",
        "asyncBatchEmbedContent",
    }
)
"""Known, so that a fine-tuned model of OpenAI's, which has colons in its name, is none."""


class Endpoint(NamedTuple):
    """What is known of a path."""

    name: str
    generates: bool
    """Whether a POST to exactly this path generates something that is billed. Others only repeat
    it: a stored completion that is given new metadata says its usage again.
    """
    model: str
    """The model, or the deployment, that the path names, with its escapes decoded: any text, not a
    label. Empty if it names none.
    """


_NOWHERE: Final = Endpoint(OTHER, False, "")


@lru_cache(maxsize=1024)
def endpoint_of(path: bytes, prefix: bytes = b"/v1") -> Endpoint:
    """The endpoint of a path below its provider's root, such as ``/v1/chat/completions``.

    It is OpenAI's, or the same behind a deployment of Azure's
    (``/openai/deployments/{name}/chat/completions``), or a method of Gemini's
    (``/v1beta/models/{model}:generateContent``, and as Vertex AI has it). What is none of these is
    ``other``. The cache is bounded: paths hold ids.

    :param path: without its query
    :param prefix: what the provider has in place of ``/v1``; may be empty
    """
    method = _method(path)
    if method is not None:
        return method
    text = path.decode("latin-1")
    for root in (prefix.decode("latin-1").rstrip("/"), *_ROOTS):
        if text.startswith(root) and text.startswith("/", len(root)):
            endpoint = _below(text[len(root) + 1 :])
            if endpoint is not None:
                return endpoint
    return _NOWHERE


def _below(rest: str) -> Endpoint | None:
    """The endpoint of a path below what stands for ``/v1``; None if it is none that is known."""
    model = ""
    if rest.startswith(_DEPLOYMENTS):
        deployment, _, rest = rest[len(_DEPLOYMENTS) :].partition("/")
        model = _decoded(deployment.encode("latin-1"))
    first, _, others = rest.partition("/")
    name = _BY_PREFIX.get(f"{first}/{others.partition('/')[0]}") or _BY_PREFIX.get(first)
    if name is None:
        return None
    return Endpoint(name, _GENERATING.fullmatch(rest) is not None, model)


def _method(path: bytes) -> Endpoint | None:
    """The endpoint of Google's ``.../models/{model}:{method}``; None if the path is not of that form."""
    before, _, last = path.rpartition(b"/")
    if before.rpartition(b"/")[2] not in _MODELS:
        return None
    model, _, method = _decoded(last).rpartition(":")
    if not model:
        return None
    if method in _RAW and before.endswith(_CLAUDE):
        is_count = model == _COUNT_TOKENS
        return Endpoint("messages", not is_count, "" if is_count else model)
    name = _METHODS.get(method)
    if name is not None:
        return Endpoint(name, True, model)
    return Endpoint(OTHER, False, model) if method in _OTHER_METHODS else None


def _decoded(segment: bytes) -> str:
    """A segment of a path as the text that it means."""
    return unquote_to_bytes(segment).decode("utf-8", "replace")
