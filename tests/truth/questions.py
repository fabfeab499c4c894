"""What the mock is asked, and what is learned of each question once, by asking it plainly."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.truth.client import Seen
from tests.truth.ledger import Tokens, tokens_of

LABELS = {
    "gpt-4o-mini": "gpt-4o-mini",
    "gpt-4o-2024-08-06": "gpt-4o",
    "gpt-4.1": "gpt-4.1",
    "o3-mini": "o3-mini",
    "gpt-5-mini": "gpt-5-mini",
    "no-such-model": "other",
}
"""The client's name of a model, and its label."""
USAGE_DUE = frozenset(
    {
        "chat_completions",
        "completions",
        "responses",
        "embeddings",
        "images",
        "audio_transcriptions",
        "messages",
    }
)
"""Endpoints whose good answers should say what they used (docs/metrics.md, shared protocol notes)."""
MARKED = USAGE_DUE - {"embeddings"}
"""Endpoints whose streams have a last event that says they are whole."""
_TOKEN = {
    "chat_completions": b'"delta":{"content":"',
    "completions": b'"text":"',
    "responses": b'"type":"response.output_text.delta"',
    "audio_transcriptions": b'"type":"transcript.text.delta"',
}
_TOKEN["messages"] = b'"type":"text_delta"'
_EMPTY = {"completions": b'"text":""'}


def token_events(endpoint: str, events: list[bytes]) -> int:
    """How many of the events bring a token."""
    mark, empty = _TOKEN.get(endpoint), _EMPTY.get(endpoint)
    if mark is None:
        return 0
    return sum(mark in event and not (empty is not None and empty in event) for event in events)


@dataclass
class Question:
    """One request, but for how it is to be answered."""

    endpoint: str
    path: str
    model: str = "none"
    """The label of what is asked for."""
    priced_as: str = ""
    object: dict[str, Any] | None = None
    """Its JSON; None: ``raw`` is its body."""
    raw: bytes = b""
    content_type: str = "application/json"
    streams: bool = False
    method: str = "POST"
    # What was learned.
    usage: Tokens | None = None
    tier: str | None = None
    streamed: dict[bool | None, list[bytes]] = field(default_factory=dict)
    """Its events, by ``include_usage``."""

    @property
    def asks_for_usage(self) -> bool:
        """Whether its stream says its usage only when it is asked to."""
        return self.endpoint in ("chat_completions", "completions")

    def body(self, stream: bool = False, include_usage: bool | None = None) -> bytes:
        """The bytes of the request's body."""
        if self.object is None:
            return self.raw.replace(b"@stream@", b"true" if stream else b"false")
        asked = dict(self.object)
        if stream:
            asked["stream"] = True
            if include_usage is not None:
                asked["stream_options"] = {"include_usage": include_usage}
        return json.dumps(asked).encode()

    def half(self, include_usage: bool | None) -> int:
        """How many events are half of the stream that the upstream makes: it is always asked for its
        usage, unless the client said no.
        """
        return len(self.streamed[include_usage is not False]) // 2

    def cut(self, include_usage: bool | None) -> tuple[int, int]:
        """Bytes and tokens of a stream that is cut in the midst of the event behind its half."""
        half, events = self.half(include_usage), self.streamed[include_usage]
        size = sum(len(event) + 2 for event in events[:half])
        return size + (len(events[half]) + 2) // 2, token_events(self.endpoint, events[:half])

    def learn(self, plain: Seen) -> None:
        """From its whole answer."""
        if self.endpoint in USAGE_DUE and plain.object.get("usage"):
            self.usage = tokens_of(plain.object["usage"])
            self.tier = plain.object.get("service_tier")


def _chat(dice: Random, model: str) -> Question:
    words = dice.choice((3, 30, 300, 1500))
    asked: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": "word " * words + str(dice.random())}],
    }
    if dice.random() < 0.3:
        asked["max_tokens"] = dice.randint(1, 40)
    if dice.random() < 0.2:
        asked["n"] = dice.randint(2, 3)
    if dice.random() < 0.4:
        asked["service_tier"] = dice.choice(("flex", "priority", "auto"))
    return Question("chat_completions", "/v1/chat/completions", LABELS[model], model, asked, streams=True)


def _completion(dice: Random) -> Question:
    asked = {"model": "gpt-3.5-turbo-instruct", "prompt": "once " * dice.randint(1, 200) + str(dice.random())}
    return Question("completions", "/v1/completions", asked["model"], asked["model"], asked, streams=True)


def _response(dice: Random, model: str) -> Question:
    asked: dict[str, Any] = {
        "model": model,
        "input": "say " * dice.choice((2, 50, 1500)) + str(dice.random()),
    }
    if dice.random() < 0.4:
        asked["max_output_tokens"] = dice.randint(1, 500)
    if dice.random() < 0.3:
        asked["service_tier"] = dice.choice(("flex", "priority"))
    return Question("responses", "/v1/responses", LABELS[model], model, asked, streams=True)


def _embedding(dice: Random) -> Question:
    model = "text-embedding-3-small"
    texts = ["text " * dice.randint(1, 20) + str(dice.random()) for _ in range(dice.randint(1, 4))]
    asked = {"model": model, "input": texts, "dimensions": dice.randint(2, 32)}
    return Question("embeddings", "/v1/embeddings", model, model, asked)


def _image(dice: Random, model: str) -> Question:
    asked: dict[str, Any] = {"model": model, "prompt": "draw " + str(dice.random()), "n": dice.randint(1, 2)}
    streams = model == "gpt-image-1"
    if streams:
        asked |= {"quality": dice.choice(("low", "medium", "high")), "partial_images": dice.randint(0, 3)}
    return Question("images", "/v1/images/generations", model, model, asked, streams=streams)


def _transcription(dice: Random, model: str) -> Question:
    part = '--sep\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    form = part % ("model", model) + part % ("stream", "@stream@")
    # With its head no more than one read takes: a RST overtakes what the daemon has not read yet.
    audio = bytes(dice.randrange(256) for _ in range(50)) * dice.choice((1, 100, 1200))
    head = '--sep\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\n\r\n'
    raw = (form + head).encode() + audio + b"\r\n--sep--\r\n"
    return Question(
        "audio_transcriptions",
        "/v1/audio/transcriptions",
        model,
        model,
        raw=raw,
        content_type="multipart/form-data; boundary=sep",
        streams=model != "whisper-1",
    )


def _message(dice: Random) -> Question:
    asked = {
        "model": "claude-3-haiku",
        "max_tokens": dice.randint(1, 30),
        "messages": [{"role": "user", "content": "hello " + str(dice.random())}],
    }
    # Anthropic's endpoint has no name of its own, nor is it read as Anthropic's below /mock.
    return Question("messages", "/v1/messages", "other", "", asked, streams=True)


def questions(dice: Random) -> list[Question]:
    """Some of every endpoint."""
    asked = [_chat(dice, model) for model in LABELS for _ in range(6)]
    asked += [_response(dice, model) for model in LABELS for _ in range(3)]
    asked += [_completion(dice) for _ in range(8)]
    asked += [_embedding(dice) for _ in range(6)]
    asked += [_image(dice, model) for model in ("dall-e-2", "gpt-image-1") for _ in range(4)]
    asked += [_transcription(dice, model) for model in ("whisper-1", "gpt-4o-transcribe") for _ in range(4)]
    asked += [_message(dice) for _ in range(4)]
    asked += [
        Question("moderations", "/v1/moderations", object={"input": f"fine {dice.random()}"})
        for _ in range(3)
    ]
    speech = {"model": "tts-1", "voice": "alloy"}
    asked += [
        Question(
            "audio_speech", "/v1/audio/speech", "tts-1", "", {**speech, "input": "a" * dice.randint(1, 9)}
        )
        for _ in range(3)
    ]
    asked += [
        Question("models", "/v1/models", method="GET"),
        Question("models", "/v1/models/gpt-4o", method="GET"),
    ]
    return asked
