"""What a request of the unified way asks for: its model, its provider, the objects that it goes on from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote, unquote_to_bytes

import msgspec

from openai_proxy.observe.asked import Asked, asked_in
from openai_proxy.observe.model import OTHER
from openai_proxy.observe.multipart_model import boundary_in, model_in_form
from openai_proxy.policy.stickiness import ids_in_request, ids_mentioned, objects_in
from openai_proxy.providers.addressing import PROVIDER_FIELD, PROVIDER_PARAMETER
from openai_proxy.wire.fields import NameSet, first_of
from openai_proxy.wire.request import Request

_MODELS: Final = b"/v1/models/"
_MESSAGES: Final = b"/v1/messages"
_RETRY_COUNT: Final = b"x-stainless-retry-count"
_ANTHROPIC_VERSION: Final = b"anthropic-version"
_NOTED: Final = NameSet(frozenset({PROVIDER_FIELD, _RETRY_COUNT, _ANTHROPIC_VERSION}))
_MODEL: Final = "model"
_LONGEST_PROVIDER: Final = 64
_LONGEST_DECODED: Final = 1024 * 1024
_MOST_RETRIES: Final = 99
_JSON_ALONE: Final = frozenset(
    {"chat_completions", "completions", "embeddings", "messages", "audio_speech", "responses"}
)
"""Endpoints that generate from a JSON object and nothing else."""
_MODEL_OPTIONAL: Final = frozenset({"responses"})
"""Of these: a prompt that is kept at the provider may name the model."""

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])

Wrong = tuple[str, str, str | None]
"""What is wrong with a request: a message for its client, a code, and the member that it is about."""


class Question:
    """Of one request; the body comes later, and may never."""

    def __init__(self, request: Request) -> None:
        self.path, _, self.query = request.uri.partition(b"?")
        self.boundary: bytes | None = None
        """Of a form; None: it is none."""
        if request.body is not None and request.method == b"POST" and not request.is_readable:
            content_type = first_of(request.fields, b"content-type")
            self.boundary = None if content_type is None else boundary_in(content_type)
        # Few requests have any of these: one look at the fields is enough.
        noted = {name.lower(): value for name, value in reversed(request.fields) if _NOTED[name]}
        self.client_dialect = (
            "anthropic" if _ANTHROPIC_VERSION in noted or _is_messages(self.path) else "openai"
        )
        """By the path, or by the field that Anthropic's SDKs send."""
        self.client_retry = _count(noted.get(_RETRY_COUNT))
        """Which of its own retries the client says that this is; 0 if it says nothing."""
        ids, self.names_objects = objects_in(request.method, self.path)
        """Whether the answer may name objects that requests to come go on from."""
        self.asked = Asked()
        self.body: bytes | None = None
        """The whole of it, where that is held."""
        self.provider = self._provider(noted.get(PROVIDER_FIELD))
        """The one that the client names beside the model; empty if none."""
        self.model = self._model_in_target()
        """The client's own text; empty if it names none."""
        self.is_unread = False
        """Whether the body is too long to be read, but for its beginning."""
        self.ids = ids
        """Of objects that the request is about."""
        self.mentioned: tuple[str, ...] = ()
        """Of objects that it may be in need of, if they are known."""

    def read(self, body: bytes | None, beginning: bytes) -> None:
        """The body is here; None: it is too long, and ``beginning`` is all that is known of it."""
        self.body = body
        self.is_unread = body is None
        if self.boundary is not None:
            self.model = model_in_form(beginning if body is None else body, self.boundary)
        elif body is not None:
            self.asked = asked_in(body)
            self.model = self.asked.model
            if self.names_objects:
                self.ids += ids_in_request(body)
                self.mentioned = ids_mentioned(body)
        else:
            self.model = OTHER

    @property
    def routed_by(self) -> str:
        """The model that chooses the target: empty where none is known."""
        return "" if self.is_unread and self.boundary is None else self.model

    def forget(self) -> None:
        """It is answered: a long stream needs no memory for its question."""
        self.body = None

    def wrong(self, endpoint: str) -> Wrong | None:
        """What is wrong with a body that names no model, at an endpoint that generates.

        Whoever got it could only say the same, and perhaps in another dialect than the client's.
        """
        if self.model or self.body is None or endpoint not in _JSON_ALONE:
            return None
        content = _object_in(self.body)
        if content is None:
            return "The request's body is no JSON object.", "invalid_json", None
        if "model" in content and content["model"] not in ("", b'""'):
            return "`model` has to be a string.", "invalid_type", "model"
        if endpoint in _MODEL_OPTIONAL:
            return None
        return "`model` is missing.", "missing_required_parameter", "model"

    def target_for(self, model: str) -> bytes:
        """The request target, where it names the model itself: with another name in its place."""
        if not model or model == self.model or self.body is not None or self.boundary is not None:
            return self._target(self.path, self.query)
        if self.path.startswith(_MODELS):
            return self._target(_MODELS + quote(model, safe="").encode("ascii"), self.query)
        renamed = b"model=" + quote(model, safe="").encode("ascii")
        parameters = [
            renamed if _name_of(one) == b"model" else one for one in self.query.split(b"&") if self.query
        ]
        return self._target(self.path, b"&".join(parameters))

    @staticmethod
    def _target(path: bytes, query: bytes) -> bytes:
        return b"%b?%b" % (path, query) if query else path

    def _provider(self, named: bytes | None) -> str:
        if named is None:
            if not self.query:
                return ""
            named = _parameter(self.query, PROVIDER_PARAMETER)
        return named.decode("latin-1")[:_LONGEST_PROVIDER]

    def _model_in_target(self) -> str:
        if self.path.startswith(_MODELS):
            return unquote(self.path[len(_MODELS) :].decode("latin-1"))
        return _parameter(self.query, b"model").decode("utf-8", "replace") if self.query else ""


def _is_messages(path: bytes) -> bool:
    return path.startswith(_MESSAGES) and path[len(_MESSAGES) : len(_MESSAGES) + 1] in (b"", b"/")


def _count(said: bytes | None) -> int:
    return min(int(said), _MOST_RETRIES) if said is not None and said.isdigit() and len(said) <= 4 else 0


def _object_in(body: bytes) -> Mapping[str, object] | None:
    """The members at a body's top; of a long one they are not decoded, which would hold up everybody."""
    try:
        if len(body) > _LONGEST_DECODED:
            return {name: bytes(value) for name, value in _members.decode(body).items() if name == _MODEL}
        # Only a wrong request is read twice; NaN is no JSON, and servers take it.
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _parameter(query: bytes, name: bytes) -> bytes:
    for one in query.split(b"&"):
        if _name_of(one) == name:
            return unquote_to_bytes(one.partition(b"=")[2].replace(b"+", b" "))
    return b""


def _name_of(parameter: bytes) -> bytes:
    return unquote_to_bytes(parameter.partition(b"=")[0])
