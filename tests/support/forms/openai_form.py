"""OpenAI's own API, https://platform.openai.com/docs/api-reference."""

from __future__ import annotations

import base64
import itertools
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from openai.types.audio.speech_create_params import SpeechCreateParams
from openai.types.embedding_create_params import EmbeddingCreateParams
from openai.types.image_generate_params import ImageGenerateParamsNonStreaming
from openai.types.responses.response_create_params import (
    ResponseCreateParamsNonStreaming,
    ResponseCreateParamsStreaming,
)

from tests.support.forms.chat import Flavour, Json, check_chat, chunks, completion, event
from tests.support.forms.form import Asked, FormUpstream, NotThere, need, none_of
from tests.support.forms.said import (
    CACHED,
    DRAWN,
    DRAWN_OF,
    EMBEDDED,
    HEARD,
    HEARD_TEXT,
    INPUT,
    OUTPUT,
    PICTURE,
    REASONING,
    SPEECH,
    TEXT,
    TRANSCRIBED,
    VECTOR,
    WORDS,
    WRITTEN,
)
from tests.support.forms.typed import problems
from tests.support.openai_upstream import Answering

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "invalid_request_error",
    403: "invalid_request_error",
    404: "invalid_request_error",
    429: "rate_limit_error",
}
_FILE = re.compile(r"files/(file-\w+)(/content)?")
_FILE_NUMBERS = itertools.count()
"""Of all upstreams: no two providers make the same id."""


class OpenAIForm(FormUpstream):
    """What is at ``root`` is OpenAI's ``/v1``."""

    root = "/v1/"
    refuses_account = True
    models: ClassVar[Mapping[str, str]] = {
        "gpt-4o": "gpt-4o-2024-08-06",
        "text-embedding-3-small": "text-embedding-3-small",
        "gpt-4o-mini-tts": "gpt-4o-mini-tts",
        "gpt-4o-transcribe": "gpt-4o-transcribe",
        "gpt-image-1": "gpt-image-1",
    }
    """What it is asked for, and what it says that it was."""
    flavour = Flavour(members={"system_fingerprint": "fp_scripted", "service_tier": "default"})
    fields: ClassVar[Mapping[str, str]] = {
        "Date": "Mon, 23 Nov 2026 12:00:00 GMT",
        "x-request-id": "req_scripted",
        "openai-processing-ms": "17",
        "openai-version": "2020-10-01",
        "x-ratelimit-remaining-tokens": "149984",
    }
    chat_members: ClassVar[Mapping[str, Any]] = {}
    """Of a chat completion's request, besides those of OpenAI's."""

    def __init__(self, key: str, is_ours: bool = True) -> None:
        self.uploads: dict[str, bytes] = {}
        super().__init__(key, is_ours)

    def answer_to(self, asked: Asked) -> Answering:
        return self.at(asked, self.path_below(asked))

    def path_below(self, asked: Asked) -> str:
        """The path below the root. Raises ``NotThere``."""
        if not asked.path.startswith(self.root):
            raise NotThere(f"Invalid URL ({asked.method} {asked.path})")
        return asked.path.removeprefix(self.root)

    def endpoints(self) -> dict[str, Callable[[Asked], Answering]]:
        """Where a POST makes something."""
        return {
            "chat/completions": self.chat,
            "embeddings": self.embeddings,
            "audio/speech": self.speech,
            "audio/transcriptions": self.transcription,
            "images/generations": self.image,
            "responses": self.response,
            "files": self.upload,
        }

    def at(self, asked: Asked, path: str) -> Answering:
        """The answer of an endpoint. Raises ``NotThere``."""
        found = self.endpoints().get(path)
        if found is not None and asked.method == "POST":
            return found(asked)
        file = _FILE.fullmatch(path)
        if file is not None and file[1] in self.uploads:
            return self.file(asked.method, file[1], bool(file[2]))
        raise NotThere(f"Invalid URL ({asked.method} {asked.path})")

    def reply_model(self, name: object) -> str:
        """What an answer calls it. Raises ``NotThere``."""
        if not isinstance(name, str) or name not in self.models:
            raise NotThere(f"The model `{name}` does not exist or you do not have access to it.")
        return self.models[name]

    def error_body(self, status: int, message: str) -> object:
        kind = ERROR_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
        return {"error": {"message": message, "type": kind, "param": None, "code": f"code_{status}"}}

    def chat(self, asked: Asked) -> Answering:
        """Whole, or streamed."""
        body = asked.json()
        check_chat(body, self.chat_members)
        model = self.reply_model(body["model"])
        if body.get("stream"):
            return self.events(chunks(body, model, self.flavour))
        return self.whole(completion(body, model, self.flavour))

    def embeddings(self, asked: Asked) -> Answering:
        """In base64 where that is asked for."""
        body = asked.json()
        none_of(problems(body, EmbeddingCreateParams))
        model = self.reply_model(body["model"])
        count = 1 if isinstance(body["input"], str) else len(body["input"])
        vector: object = list(VECTOR)
        if body.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack(f"<{len(VECTOR)}f", *VECTOR)).decode()
        data = [{"object": "embedding", "index": place, "embedding": vector} for place in range(count)]
        usage = {"prompt_tokens": EMBEDDED, "total_tokens": EMBEDDED}
        return self.whole({"object": "list", "data": data, "model": model, "usage": usage})

    def speech(self, asked: Asked) -> Answering:
        """Bytes."""
        body = asked.json()
        none_of(problems(body, SpeechCreateParams))
        self.reply_model(body["model"])
        return self.raw(SPEECH, "audio/mpeg")

    def transcription(self, asked: Asked) -> Answering:
        """Of a sound that is all zeros."""
        form = asked.form()
        need(form.keys() <= {"model", "file", "response_format", "language"}, f"parts: {sorted(form)}")
        need(form.get("file") == bytes(1000), "the file is another")
        self.reply_model(form.get("model", b"").decode())
        details = {"audio_tokens": HEARD - 2, "text_tokens": 2}
        usage = {"type": "tokens", "input_tokens": HEARD, "output_tokens": TRANSCRIBED}
        usage |= {"total_tokens": HEARD + TRANSCRIBED, "input_token_details": details}
        return self.whole({"text": HEARD_TEXT, "usage": usage})

    def image(self, asked: Asked) -> Answering:
        """One picture."""
        body = asked.json()
        none_of(problems(body, ImageGenerateParamsNonStreaming))
        self.reply_model(body["model"])
        usage = {"input_tokens": DRAWN_OF, "output_tokens": DRAWN, "total_tokens": DRAWN_OF + DRAWN}
        usage["input_tokens_details"] = {"text_tokens": DRAWN_OF, "image_tokens": 0}  # type: ignore[assignment]
        return self.whole({"created": 1_795_000_000, "data": [{"b64_json": PICTURE}], "usage": usage})

    def response(self, asked: Asked) -> Answering:
        """Whole, or streamed."""
        body = asked.json()
        streamed = body.get("stream") is True
        form = ResponseCreateParamsStreaming if streamed else ResponseCreateParamsNonStreaming
        none_of(problems(body, form))
        made = _response(self.reply_model(body["model"]))
        return self.events(_response_events(made)) if streamed else self.whole(made)

    def upload(self, asked: Asked) -> Answering:
        """A file, kept."""
        form = asked.form()
        need(form.keys() == {"purpose", "file"} and form["purpose"] == b"batch", f"parts: {sorted(form)}")
        name = f"file-{next(_FILE_NUMBERS)}"
        self.uploads[name] = form["file"]
        return self.whole(self._file_object(name))

    def file(self, method: str, name: str, content: bool) -> Answering:
        """What was uploaded."""
        if content:
            return self.raw(self.uploads[name], "application/octet-stream")
        if method == "DELETE":
            del self.uploads[name]
            return self.whole({"id": name, "object": "file", "deleted": True})
        return self.whole(self._file_object(name))

    def _file_object(self, name: str) -> Json:
        made = {"id": name, "object": "file", "bytes": len(self.uploads[name]), "created_at": 1_795_000_000}
        return {**made, "filename": "batch.jsonl", "purpose": "batch", "status": "processed"}


def _response(model: str) -> Json:
    content = [{"type": "output_text", "text": TEXT, "annotations": [], "logprobs": []}]
    message = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant"}
    return {
        "id": "resp_scripted",
        "object": "response",
        "created_at": 1_795_000_000,
        "status": "completed",
        "model": model,
        "output": [{**message, "content": content}],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "service_tier": "default",
        "usage": {
            "input_tokens": INPUT,
            "input_tokens_details": {"cached_tokens": CACHED, "cache_write_tokens": WRITTEN},
            "output_tokens": OUTPUT,
            "output_tokens_details": {"reasoning_tokens": REASONING},
            "total_tokens": INPUT + OUTPUT,
        },
    }


def _response_events(made: Json) -> Iterable[bytes]:
    where = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "logprobs": []}
    begun = {**made, "status": "in_progress", "output": [], "usage": None}
    found: list[Json] = [{"type": "response.created", "response": begun}]
    found += [{"type": "response.output_text.delta", "delta": word, **where} for word in WORDS]
    found += [{"type": "response.output_text.done", "text": TEXT, **where}]
    found += [{"type": "response.completed", "response": made}]
    return [event({**one, "sequence_number": place}, one["type"]) for place, one in enumerate(found)]
