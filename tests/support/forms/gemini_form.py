"""Gemini's OpenAI form, https://ai.google.dev/gemini-api/docs/openai."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from tests.support.forms.chat import Flavour, Json, check_chat, chunks, completion
from tests.support.forms.form import Asked, need
from tests.support.forms.openai_form import OpenAIForm
from tests.support.forms.said import INPUT, OUTPUT, PICTURE
from tests.support.openai_upstream import Answering

SIGNATURE = {"extra_content": {"google": {"thought_signature": "EvQBCvEBAXLI2nx="}}}
"""Of the first of several calls: it must come back with it."""
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_NOT_KNOWN = {
    *("store", "metadata", "logit_bias", "prompt_cache_key", "prediction", "safety_identifier"),
    *("verbosity", "service_tier"),
}
"""Members that are answered `Invalid JSON payload received. Unknown name`."""


class GeminiForm(OpenAIForm):
    """Chat, embeddings and images; it has no files, speech, transcriptions or responses in this form."""

    root = "/v1beta/openai/"
    refuses_account = False
    models: ClassVar[Mapping[str, str]] = {
        "gemini-2.5-flash": "gemini-2.5-flash",
        "gemini-embedding-001": "gemini-embedding-001",
        "imagen-4.0-generate-001": "imagen-4.0-generate-001",
    }
    flavour = Flavour(
        usage={"prompt_tokens": INPUT, "completion_tokens": OUTPUT, "total_tokens": INPUT + OUTPUT},
        usage_everywhere=True,
        has_tool_index=False,
        stream_reason="stop",
        call_members=SIGNATURE,
    )
    fields: ClassVar[Mapping[str, str]] = {
        "Server": "scaffolding on HTTPServer2",
        "Server-Timing": "gfet4t7; dur=417",
    }

    def endpoints(self) -> dict[str, Callable[[Asked], Answering]]:
        return {
            "chat/completions": self.chat,
            "embeddings": self.embeddings,
            "images/generations": self.image,
        }

    def chat(self, asked: Asked) -> Answering:
        body = asked.json()
        need(not body.keys() & _NOT_KNOWN, f"Unknown name: {sorted(body.keys() & _NOT_KNOWN)}")
        is_direct = b"Anthropic" not in (asked.message.get("user-agent") or b"")
        check_chat(_without_signatures(body, wanted=is_direct))
        model = self.reply_model(body["model"])
        if body.get("stream"):
            return self.events(chunks(body, model, self.flavour))
        return self.whole(completion(body, model, self.flavour))

    def embeddings(self, asked: Asked) -> Answering:
        need(asked.json().get("input"), "input is empty")
        return super().embeddings(asked)

    def image(self, asked: Asked) -> Answering:
        body = asked.json()
        need(body.keys() <= {"model", "prompt", "n", "response_format", "size"}, f"members: {sorted(body)}")
        self.reply_model(body["model"])
        return self.whole({"created": 1_795_000_000, "data": [{"b64_json": PICTURE}]})

    def error_body(self, status: int, message: str) -> object:
        """A list with one error in it."""
        return [{"error": {"code": status, "message": message, "status": _STATUSES.get(status, "UNKNOWN")}}]


def _without_signatures(body: Json, wanted: bool) -> Json:
    """A client of the Messages dialect has no place for them; any other has to bring them back."""
    found = []
    for message in body["messages"]:
        calls = [dict(call) for call in message.get("tool_calls", ())]
        signatures = [call.pop("extra_content", None) for call in calls]
        expected = [SIGNATURE["extra_content"], *(None for _ in calls[1:])] if calls else []
        need(
            signatures == expected or not (wanted or any(signatures)), "a thought signature is not as it was"
        )
        found.append({**message, "tool_calls": calls} if calls else message)
    return {**body, "messages": found}
