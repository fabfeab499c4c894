"""Transcriptions, whole and as events, and speech: silence, but an MP3."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from openai_proxy.providers.mock.ask import Ask, Refused
from openai_proxy.providers.mock.body import Content, Events, named_event
from openai_proxy.providers.mock.text import words

MAX_INPUT_CHARACTERS = 4096
TOKENS_A_SECOND = 10

_BY_DURATION = "whisper-1"
# MPEG-1 layer III, 32 kbit/s, 44.1 kHz, mono: 144 * 32000 // 44100 bytes. Side information of
# zeros says that there are no samples to decode (ISO/IEC 11172-3).
_SILENT_FRAME = b"\xff\xfb\x10\xc0" + bytes(100)


def transcription(ask: Ask) -> Content:
    """POST /v1/audio/transcriptions; streamed if asked, which whisper-1 does not do. Raises ``Refused``."""
    count, whole = ask.deltas(None)
    seconds = ask.body["seconds"]
    said = list(words(ask.seed, 0, count, whole))
    text = b"".join(said).decode()
    if ask.model == _BY_DURATION:
        usage = {"type": "duration", "seconds": seconds}
        return Content(msgspec.json.encode({"text": text, "usage": usage}), 0)
    heard = TOKENS_A_SECOND * seconds
    usage = {
        "type": "tokens",
        "input_tokens": heard,
        "input_token_details": {"text_tokens": 0, "audio_tokens": heard},
        "output_tokens": count,
        "total_tokens": heard + count,
    }
    if ask.stream:
        done = named_event("transcript.text.done", text=text, usage=usage)
        return Content(Events(_events(said, done), count + 1), heard + count)
    return Content(msgspec.json.encode({"text": text, "usage": usage}), heard + count)


def _events(said: list[bytes], done: bytes) -> Iterator[bytes]:
    for word in said:
        yield named_event("transcript.text.delta", delta=word.decode())
    yield done


def speech(ask: Ask) -> Content:
    """POST /v1/audio/speech: 26 milliseconds of silence for each character. Raises ``Refused``."""
    text = ask.required("input")
    if not isinstance(text, str):
        raise Refused(400, "Invalid type for 'input': expected a string.", "invalid_type", "input")
    if len(text) > MAX_INPUT_CHARACTERS:
        message = f"Invalid 'input': string too long. Expected at most {MAX_INPUT_CHARACTERS} characters."
        raise Refused(400, message, "string_above_max_length", "input")
    if ask.body.get("response_format") not in (None, "mp3"):
        message = "Invalid value for 'response_format': the mock has 'mp3' only."
        raise Refused(400, message, "invalid_value", "response_format")
    return Content(_SILENT_FRAME * len(text), 0, b"audio/mpeg")
