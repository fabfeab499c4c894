"""A whole JSON answer in the form that nearly all have, decoded in one go."""

from __future__ import annotations

from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from openai_proxy.observe.members import MAX_NAME, NOTHING
from openai_proxy.observe.usage import (
    CompletionUsage,
    EmbeddingUsage,
    ImageUsage,
    ResponseUsage,
    SpeechUsage,
    TranscriptionUsage,
)

_Usage = TypeVar("_Usage")
_Name = Annotated[str, Meta(max_length=MAX_NAME)]


class Answer(Struct, Generic[_Usage], gc=False):
    """As :class:`~openai_proxy.observe.members.Named`, with every member of its expected type.

    What does not decode as this is decoded as that: one odd member shall not hide another.
    """

    usage: _Usage | UnsetType = UNSET
    error: Raw = NOTHING
    model: _Name | None = None
    service_tier: _Name | None = None
    id: _Name | None = None
    status: _Name | None = None


AnyAnswer = Answer[Any]

# Not strict: some send 12.0, or "12", as a count.
_completion = msgspec.json.Decoder(Answer[CompletionUsage], strict=False)
_embedding = msgspec.json.Decoder(Answer[EmbeddingUsage], strict=False)
_response = msgspec.json.Decoder(Answer[ResponseUsage], strict=False)
_image = msgspec.json.Decoder(Answer[ImageUsage], strict=False)
_speech = msgspec.json.Decoder(Answer[SpeechUsage], strict=False)
_transcription = msgspec.json.Decoder(Answer[TranscriptionUsage], strict=False)

ANSWERS: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    "chat_completions": _completion,
    "completions": _completion,
    "embeddings": _embedding,
    "responses": _response,
    "images": _image,
    "audio_transcriptions": _transcription,
    "audio_speech": _speech,
    "assistants": _completion,
}
"""By endpoint, as ``usage.FORMS``."""
