"""Moderations, audio and images of the mock, held against the types of the official SDK."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import ImageGenCompletedEvent, ImageGenPartialImageEvent, ImagesResponse
from openai.types import ModerationCreateResponse as Moderated
from openai.types.audio import Transcription, TranscriptionTextDeltaEvent, TranscriptionTextDoneEvent

from openai_proxy.providers.mock.answers import MAX_BODY_BYTES, Answer, answer
from openai_proxy.providers.mock.form import SEARCHED_BYTES, parse_form
from openai_proxy.providers.mock.knobs import Knobs
from openai_proxy.wire.fields import first_of
from tests.providers.test_mock_answers import data_of, error_of, events, post, relaxed, whole

TRANSCRIPTIONS = "/v1/audio/transcriptions"


def field(name: str, value: str) -> bytes:
    return f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode()


def file(content: bytes, name: str = "a.mp3") -> bytes:
    head = (
        f'Content-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: audio/mpeg\r\n\r\n'
    )
    return head.encode() + content


def form(*parts: bytes, boundary: bytes = b"b0") -> bytes:
    joined = b"".join(b"--%b\r\n%b\r\n" % (boundary, part) for part in parts)
    return joined + b"--%b--\r\n" % boundary


def transcribe(raw: bytes, knobs: Knobs | None = None) -> Answer:
    return answer(b"POST", b"mock://mock" + TRANSCRIPTIONS.encode(), raw, knobs or Knobs())


def usage_of(transcription: Transcription) -> dict[str, Any]:
    assert transcription.usage
    return transcription.usage.model_dump()


# Moderations.


@pytest.mark.parametrize(
    ("given_", "results"), [("a", 1), (["a", "b", "c"], 3), ([{"type": "text", "text": "a"}], 1)]
)
def test_moderation(given_: Any, results: int) -> None:
    """A result for each text, nothing flagged, and no usage."""
    body = whole(post("moderations", input=given_))
    moderated = Moderated.model_validate_json(body)
    assert [result.flagged for result in moderated.results] == [False] * results
    assert moderated.model == "gpt-4o-mini"
    assert "usage" not in json.loads(body)


def test_moderation_names_a_model() -> None:
    """Where the request names none."""
    body = whole(post("moderations", model=None, input="a"))
    assert "model" in error_of(post("moderations", model="", input="a"))["message"]
    assert Moderated.model_validate_json(body).model == "omni-moderation-latest"


# Transcriptions.


@pytest.mark.parametrize("file_first", [False, True])
@pytest.mark.parametrize("size", [1, 16_000 * 10, 4 << 20])
def test_transcription(size: int, file_first: bool) -> None:
    """The model is found on either side of a file of any size; audio goes in, text comes out."""
    parts = [field("model", "gpt-4o-transcribe"), file(b"\0" * size)]
    transcription = Transcription.model_validate_json(
        whole(transcribe(form(*(reversed(parts) if file_first else parts))))
    )
    usage = usage_of(transcription)
    assert usage["type"] == "tokens"
    assert usage["input_tokens"] == usage["input_token_details"]["audio_tokens"]
    assert usage["input_tokens"] == 10 * (size // 16_000 + 1)
    assert usage["output_tokens"] == len(transcription.text) / 4
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


@pytest.mark.parametrize("stream", ["true", "false"])
def test_transcription_by_duration(stream: str) -> None:
    """whisper-1 counts seconds, and does not stream."""
    raw = form(field("model", "whisper-1"), field("stream", stream), file(bytes(40_000)))
    transcription = Transcription.model_validate_json(whole(transcribe(raw)))
    assert transcription.text
    assert usage_of(transcription) == {"type": "duration", "seconds": 3}


def test_transcription_events() -> None:
    """Text as it is heard, and at the end all of it with the usage of the whole answer."""
    parts = (field("model", "gpt-4o-transcribe"), file(bytes(40_000)))
    direct = Transcription.model_validate_json(whole(transcribe(form(*parts), Knobs(chunks=5))))
    *deltas, done = [
        data_of(event) for event in events(transcribe(form(field("stream", "true"), *parts), Knobs(chunks=5)))
    ]
    said = [TranscriptionTextDeltaEvent.model_validate_json(delta).delta for delta in deltas]
    ended = TranscriptionTextDoneEvent.model_validate_json(done)
    assert (len(said), "".join(said), ended.text) == (5, direct.text, direct.text)
    assert ended.usage
    assert ended.usage.model_dump() == usage_of(direct)


def test_a_boundary_changes_nothing() -> None:
    """Clients make it up anew for each request."""
    parts = (field("model", "gpt-4o-transcribe"), file(b"a"))
    assert whole(transcribe(form(*parts))) == whole(transcribe(form(*parts, boundary=b"b1")))


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (file(b"x", name="model"),),
        (file(b"x", name='name="model'),),
        (field("model", ""),),
        (field("models", "m"),),
        (file(bytes(SEARCHED_BYTES)), field("model", "m"), file(bytes(SEARCHED_BYTES))),
    ],
)
def test_no_model_in_the_form(parts: tuple[bytes, ...]) -> None:
    """A file's name is no model, and it is looked for near the ends only."""
    answered = transcribe(form(*parts))
    assert answered.status == 400
    assert error_of(answered)["message"] == "you must provide a model parameter"


def test_a_form_in_another_hand() -> None:
    """Fields of a part's own, quotes left out, any case; what is no UTF-8 is no error."""
    raw = b"--b\r\ncontent-disposition: form-data;name=model\r\nX: y\r\n\r\nm\xff\r\n--b--"
    assert parse_form(TRANSCRIPTIONS, raw).model == "m\ufffd"


def test_a_form_that_is_too_large() -> None:
    """Is a 413, as JSON is."""
    raw = form(field("model", "m"))
    answered = answer(b"POST", TRANSCRIPTIONS.encode(), raw, Knobs(), MAX_BODY_BYTES + 1)
    assert answered.status == 413


@relaxed
@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_form(before: bytes, after: bytes) -> None:
    """Whatever stands around it, an answer comes, and it is the same twice."""
    raw = before + form(field("model", "m")) + after
    first, second = transcribe(raw), transcribe(raw)
    assert first.status in (200, 400)
    assert whole(first) == whole(second)


# Speech.


def test_speech() -> None:
    """Frames of an MP3, as many as characters, and no JSON."""
    answered = post("audio/speech", input="Hello", voice="alloy")
    assert first_of(answered.fields, b"content-type") == b"audio/mpeg"
    assert isinstance(answered.body, bytes)
    assert first_of(answered.fields, b"content-length") == b"%d" % len(answered.body)
    frames = answered.body.split(b"\xff\xfb\x10\xc0")
    assert [len(frame) for frame in frames] == [0, *[100] * 5]


def test_speech_is_never_in_gzip() -> None:
    """The knob is for what is text."""
    knobs = Knobs(gzip=True)
    assert post("audio/speech", knobs, input="Hello").fields == post("audio/speech", input="Hello").fields
    assert post("audio/speech", knobs, input="Hello").body == post("audio/speech", input="Hello").body


# Images.


@pytest.mark.parametrize("model", ["dall-e-3", None])
def test_image_without_usage(model: str | None) -> None:
    """Other models say nothing of tokens; none named is one of them."""
    made = ImagesResponse.model_validate_json(whole(post("images/generations", model=model, prompt="A cat")))
    assert made.usage is None
    assert made.data and len(made.data) == 1


@pytest.mark.parametrize(
    ("asked", "tokens"),
    [
        ({}, 1056),
        ({"quality": "low"}, 272),
        ({"quality": "high", "n": 3}, 3 * 4160),
        ({"quality": []}, 1056),
    ],
)
def test_image(asked: dict[str, Any], tokens: int) -> None:
    """Tokens by quality, for each image; each is a true PNG."""
    made = ImagesResponse.model_validate_json(
        whole(post("images/generations", model="gpt-image-1", prompt="A cat", **asked))
    )
    assert made.usage and made.data
    assert (made.usage.input_tokens, made.usage.output_tokens) == (2, tokens)
    assert made.usage.total_tokens == 2 + tokens
    for one in made.data:
        png = base64.b64decode(one.b64_json or "")
        assert png.startswith(b"\x89PNG\r\n\x1a\n")
        assert png.endswith(b"IEND\xaeB`\x82")
        place = png.index(b"IDAT")
        assert zlib.decompress(png[place + 4 : -16]) == b"\0\0"
        assert zlib.crc32(png[place:-16]).to_bytes(4, "big") == png[-16:-12]


def test_image_events() -> None:
    """As many partial images as were asked for, then the image with its usage."""
    *partial, last = events(
        post("images/generations", model="gpt-image-1", prompt="A cat", stream=True, partial_images=2)
    )
    indices = [
        ImageGenPartialImageEvent.model_validate_json(data_of(event)).partial_image_index for event in partial
    ]
    assert indices == [0, 1]
    completed = ImageGenCompletedEvent.model_validate_json(data_of(last))
    assert completed.usage.output_tokens == 1056
    assert last.startswith(b"event: image_generation.completed\n")


@pytest.mark.parametrize(
    ("answered", "code", "param"),
    [
        (post("moderations"), "missing_required_parameter", "input"),
        (post("moderations", input=["a"] * 1025), "array_above_max_length", "input"),
        (post("audio/speech"), "missing_required_parameter", "input"),
        (post("audio/speech", input=["a"]), "invalid_type", "input"),
        (post("audio/speech", input="a" * 4097), "string_above_max_length", "input"),
        (post("audio/speech", input="a", response_format="wav"), "invalid_value", "response_format"),
        (post("images/generations"), "missing_required_parameter", "prompt"),
        (post("images/generations", prompt="a", n=11), "integer_above_max_value", "n"),
        (
            post("images/generations", model="gpt-image-1", prompt="a", stream=True, partial_images=4),
            "integer_above_max_value",
            "partial_images",
        ),
    ],
)
def test_refused(answered: Answer, code: str, param: str) -> None:
    """What cannot be answered gets an error in OpenAI's form."""
    error = error_of(answered)
    assert (answered.status, error["code"], error["param"]) == (400, code, param)
