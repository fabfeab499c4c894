"""What an answer says that it used, in one form for all endpoints and providers."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Final, Protocol

import msgspec
from msgspec import Meta, Raw, Struct


class Usage(Struct, frozen=True, kw_only=True):
    """Tokens as they are billed. ``None``: the answer does not say.

    Inclusive: ``input_tokens`` has the cached ones and the cache writes in it, and
    ``output_tokens`` the reasoning. The parts are 0 where nothing is said of them.
    """

    input_tokens: int | None = None
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    """Those of ``cache_write_tokens`` that are kept for an hour, at another price (Anthropic)."""
    output_tokens: int | None = None
    reasoning_tokens: int = 0
    input_audio_tokens: int = 0
    input_image_tokens: int = 0
    cached_input_audio_tokens: int = 0
    """In ``cached_input_tokens`` and in ``input_audio_tokens``."""
    cached_input_image_tokens: int = 0
    output_audio_tokens: int = 0
    output_image_tokens: int = 0
    seconds: float | None = None
    """Of audio, where that is what is billed."""
    model: str | None = None
    """The answer's own name of it, which may not be the one asked for."""
    service_tier: str | None = None
    """The tier that was given, which may not be the one asked for."""


class UsageMissing(StrEnum):
    """Why there is no usage where some was to be expected: the label ``reason``."""

    STREAM_WITHOUT_USAGE = "stream_without_usage"
    DISCONNECT = "disconnect"
    """The stream ended before it said all: the client left, or it was cut off."""
    UNPARSABLE = "unparsable"
    NONE_IN_ANSWER = "none_in_answer"
    NOT_IN_API = "not_in_api"
    """The API never says what such an answer costs."""
    NO_ANSWER = "no_answer"
    """The request was sent, and then nothing that could be read came back."""
    BACKGROUND = "background"
    """The answer came before it was made: the usage is in what a later GET brings."""


class Quirks(Struct, frozen=True, kw_only=True):
    """Where a provider's numbers mean something else than OpenAI's."""

    reasoning_is_additional: bool = False
    """Reasoning is not in ``completion_tokens`` (xAI, Perplexity)."""
    citations_are_additional: bool = False
    """``citation_tokens`` are output too (Perplexity)."""


NO_QUIRKS: Final = Quirks()
QUIRKS: Final = {
    "xai": Quirks(reasoning_is_additional=True),
    "perplexity": Quirks(reasoning_is_additional=True, citations_are_additional=True),
}


Count = Annotated[int, Meta(ge=0, le=1 << 53)]
"""A number of tokens; what is outside is no count, and beyond it a counter's float is inexact."""


class Wire(Protocol):
    """A usage object as it is sent."""

    def normal(self, quirks: Quirks) -> Usage | None:
        """In the one form; None if it says nothing."""


class _Modalities(Struct, frozen=True):
    audio_tokens: Count | None = None
    image_tokens: Count | None = None
    text_tokens: Count | None = None


class _Details(_Modalities, frozen=True):
    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    reasoning_tokens: Count | None = None
    cached_tokens_details: _Modalities | None = None

    @property
    def tells_modalities(self) -> bool:
        """Whether it is said what the tokens are of."""
        return self.audio_tokens is not None or self.image_tokens is not None or self.text_tokens is not None


_NO_MODALITIES: Final = _Modalities()
_NO_DETAILS: Final = _Details()


def _first(*values: int | None) -> int:
    """The first that is said, 0 if none is."""
    for value in values:
        if value is not None:
            return value
    return 0


class CompletionUsage(Struct, frozen=True):
    """Chat completions, completions, embeddings, runs: ``prompt_tokens``, ``completion_tokens``."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    # The same, where others have put it.
    cached_tokens: Count | None = None
    """Anthropic's OpenAI layer, Moonshot."""
    prompt_cache_hit_tokens: Count | None = None
    """DeepSeek."""
    cache_read_input_tokens: Count | None = None
    """Databricks."""
    reasoning_tokens: Count | None = None
    """Databricks, Perplexity, Baseten."""
    citation_tokens: Count | None = None

    def normal(self, quirks: Quirks) -> Usage | None:
        if self.prompt_tokens is None and self.completion_tokens is None:
            return None
        prompt = self.prompt_tokens_details or _NO_DETAILS
        completion = self.completion_tokens_details or _NO_DETAILS
        cached = prompt.cached_tokens_details or _NO_MODALITIES
        output = self.completion_tokens
        reasoning = _first(completion.reasoning_tokens, self.reasoning_tokens)
        if output is not None and quirks.reasoning_is_additional:
            output += reasoning
        if output is not None and quirks.citations_are_additional:
            output += _first(self.citation_tokens)
        return Usage(
            input_tokens=self.prompt_tokens,
            cached_input_tokens=_first(
                prompt.cached_tokens,
                self.cached_tokens,
                self.prompt_cache_hit_tokens,
                self.cache_read_input_tokens,
            ),
            cache_write_tokens=_first(prompt.cache_write_tokens),
            output_tokens=output,
            reasoning_tokens=reasoning,
            input_audio_tokens=prompt.audio_tokens or 0,
            input_image_tokens=prompt.image_tokens or 0,
            cached_input_audio_tokens=cached.audio_tokens or 0,
            cached_input_image_tokens=cached.image_tokens or 0,
            output_audio_tokens=completion.audio_tokens or 0,
            output_image_tokens=completion.image_tokens or 0,
        )


class EmbeddingUsage(CompletionUsage, frozen=True):
    """Embeddings: there is no output, and nobody says so."""

    def normal(self, quirks: Quirks) -> Usage | None:
        usage = CompletionUsage.normal(self, quirks)
        if usage is None or usage.output_tokens is not None:
            return usage
        return msgspec.structs.replace(usage, output_tokens=0)


class ResponseUsage(Struct, frozen=True):
    """Responses, images, speech, transcriptions: ``input_tokens``, ``output_tokens``."""

    input_tokens: Count | None = None
    output_tokens: Count | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None
    # The same, as transcriptions spell it.
    input_token_details: _Details | None = None
    output_token_details: _Details | None = None
    seconds: Annotated[float, Meta(ge=0, le=1e7)] | None = None
    """Of a transcription billed by its duration; more than four months of it is no number."""

    @property
    def into(self) -> _Details:
        """What the input is."""
        return self.input_tokens_details or self.input_token_details or _NO_DETAILS

    @property
    def out(self) -> _Details:
        """What the output is."""
        return self.output_tokens_details or self.output_token_details or _NO_DETAILS

    def normal(self, quirks: Quirks) -> Usage | None:
        if self.input_tokens is None and self.output_tokens is None and self.seconds is None:
            return None
        into, out = self.into, self.out
        cached = into.cached_tokens_details or _NO_MODALITIES
        return Usage(
            input_tokens=self.input_tokens,
            cached_input_tokens=_first(into.cached_tokens),
            cache_write_tokens=_first(into.cache_write_tokens),
            output_tokens=self.output_tokens,
            reasoning_tokens=_first(out.reasoning_tokens),
            input_audio_tokens=into.audio_tokens or 0,
            input_image_tokens=into.image_tokens or 0,
            cached_input_audio_tokens=cached.audio_tokens or 0,
            cached_input_image_tokens=cached.image_tokens or 0,
            output_audio_tokens=out.audio_tokens or 0,
            output_image_tokens=out.image_tokens or 0,
            seconds=self.seconds,
        )


class ImageUsage(ResponseUsage, frozen=True):
    """Images: the output is images, where it is not said what it is."""

    def normal(self, quirks: Quirks) -> Usage | None:
        usage = ResponseUsage.normal(self, quirks)
        if usage is None or not usage.output_tokens or self.out.tells_modalities:
            return usage
        return msgspec.structs.replace(usage, output_image_tokens=usage.output_tokens)


class SpeechUsage(ResponseUsage, frozen=True):
    """Speech: the output is audio, where it is not said what it is."""

    def normal(self, quirks: Quirks) -> Usage | None:
        usage = ResponseUsage.normal(self, quirks)
        if usage is None or not usage.output_tokens or self.out.tells_modalities:
            return usage
        return msgspec.structs.replace(usage, output_audio_tokens=usage.output_tokens)


class TranscriptionUsage(ResponseUsage, frozen=True):
    """Transcriptions: the input is audio, where it is not said what it is."""

    def normal(self, quirks: Quirks) -> Usage | None:
        usage = ResponseUsage.normal(self, quirks)
        if usage is None or not usage.input_tokens or self.into.tells_modalities:
            return usage
        return msgspec.structs.replace(usage, input_audio_tokens=usage.input_tokens)


class _CacheCreation(Struct, frozen=True):
    ephemeral_1h_input_tokens: Count | None = None


class _MessageOutput(Struct, frozen=True):
    thinking_tokens: Count | None = None


class MessageUsage(Struct, frozen=True):
    """Anthropic's Messages: ``input_tokens`` is what was neither read from nor put into the cache."""

    input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation: _CacheCreation | None = None
    output_tokens: Count | None = None
    output_tokens_details: _MessageOutput | None = None
    service_tier: str | None = None
    speed: str | None = None
    """``fast`` has prices of its own, whatever the tier."""

    def overwritten_by(self, later: MessageUsage) -> MessageUsage:
        """With what ``later`` says in place of what was said before: its numbers are totals."""
        said = {name: value for name in self.__struct_fields__ if (value := getattr(later, name)) is not None}
        return msgspec.structs.replace(self, **said)

    def normal(self, quirks: Quirks) -> Usage | None:
        if self.input_tokens is None and self.output_tokens is None:
            return None
        written = _first(self.cache_creation_input_tokens)
        read = _first(self.cache_read_input_tokens)
        hour = self.cache_creation.ephemeral_1h_input_tokens if self.cache_creation else None
        thinking = self.output_tokens_details.thinking_tokens if self.output_tokens_details else None
        return Usage(
            input_tokens=None if self.input_tokens is None else _first(self.input_tokens) + written + read,
            cached_input_tokens=read,
            cache_write_tokens=written,
            cache_write_1h_tokens=_first(hour),
            output_tokens=self.output_tokens,
            reasoning_tokens=_first(thinking),
            service_tier=self.speed if self.speed == "fast" else self.service_tier,
        )


class _ModalityCount(Struct, frozen=True, rename="camel"):
    modality: str = ""
    token_count: Count | None = None


_ModalityCounts = list[_ModalityCount] | None
_TIERS: Final = {"ON_DEMAND_FLEX": "flex", "ON_DEMAND_PRIORITY": "priority"}
"""Vertex AI's names of them."""


def _tokens_of(modality: str, *counts: _ModalityCounts) -> int:
    return sum(one.token_count or 0 for some in counts for one in some or () if one.modality == modality)


class ContentUsage(Struct, frozen=True, rename="camel"):
    """Gemini's ``usageMetadata``: what the model thought, and what its tools were told, is beside the rest.

    A number that is 0 is left out, and so is all but ``trafficType`` before the end of a stream.
    """

    prompt_token_count: Count | None = None
    """The cached ones are in it."""
    cached_content_token_count: Count | None = None
    tool_use_prompt_token_count: Count | None = None
    candidates_token_count: Count | None = None
    thoughts_token_count: Count | None = None
    prompt_tokens_details: _ModalityCounts = None
    cache_tokens_details: _ModalityCounts = None
    tool_use_prompt_tokens_details: _ModalityCounts = None
    candidates_tokens_details: _ModalityCounts = None
    service_tier: str | None = None
    traffic_type: str | None = None

    def normal(self, quirks: Quirks) -> Usage | None:
        counts = (
            self.prompt_token_count,
            self.tool_use_prompt_token_count,
            self.candidates_token_count,
            self.thoughts_token_count,
        )
        if all(count is None for count in counts):
            return None
        prompt, tools, candidates, thoughts = (count or 0 for count in counts)
        into = self.prompt_tokens_details, self.tool_use_prompt_tokens_details
        return Usage(
            input_tokens=prompt + tools,
            cached_input_tokens=_first(self.cached_content_token_count),
            output_tokens=candidates + thoughts,
            reasoning_tokens=thoughts,
            input_audio_tokens=_tokens_of("AUDIO", *into),
            input_image_tokens=_tokens_of("IMAGE", *into),
            cached_input_audio_tokens=_tokens_of("AUDIO", self.cache_tokens_details),
            cached_input_image_tokens=_tokens_of("IMAGE", self.cache_tokens_details),
            output_audio_tokens=_tokens_of("AUDIO", self.candidates_tokens_details),
            output_image_tokens=_tokens_of("IMAGE", self.candidates_tokens_details),
            service_tier=self.service_tier or _TIERS.get(self.traffic_type or ""),
        )


# Not strict: some send 12.0, or "12".
_completion = msgspec.json.Decoder(CompletionUsage, strict=False)
_embedding = msgspec.json.Decoder(EmbeddingUsage, strict=False)
_response = msgspec.json.Decoder(ResponseUsage, strict=False)
_image = msgspec.json.Decoder(ImageUsage, strict=False)
_speech = msgspec.json.Decoder(SpeechUsage, strict=False)
_transcription = msgspec.json.Decoder(TranscriptionUsage, strict=False)
_message = msgspec.json.Decoder(MessageUsage, strict=False)
_content = msgspec.json.Decoder(ContentUsage, strict=False)

Form = Callable[[Raw], Wire]
"""Decodes the ``usage`` member of an answer; raises one of ``members.UNREADABLE``."""

FORMS: Final[dict[str, Form]] = {
    "chat_completions": _completion.decode,
    "completions": _completion.decode,
    "embeddings": _embedding.decode,
    "responses": _response.decode,
    "images": _image.decode,
    "audio_transcriptions": _transcription.decode,
    "audio_speech": _speech.decode,
    "assistants": _completion.decode,
    "messages": _message.decode,
    "generate_content": _content.decode,
}
"""By endpoint: where an answer may say what it used, and how."""

read_message_usage: Final = _message.decode
"""The same for Anthropic's messages alone."""

EXPECTED: Final = frozenset(FORMS) - {"assistants"}
"""Endpoints of which an answer without usage is an answer that is not accounted for."""

UNTOLD: Final = frozenset({"audio_speech", "audio_translations"})
"""Endpoints that are billed, and whose answers say nothing of it: audio itself has no usage beside it."""
