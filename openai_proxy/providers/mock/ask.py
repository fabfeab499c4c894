"""What a request's JSON body asks of the mock provider."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import msgspec

from openai_proxy.providers.mock.knobs import MAX_CHUNKS
from openai_proxy.providers.mock.text import default_count

MAX_MODEL_BYTES = 256

_NOT_JSON = (
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using "
    "your HTTP library correctly. The OpenAI API expects a JSON payload, but what was sent was "
    "not valid JSON.)"
)
_KIND = {bool: "a boolean", int: "an integer", float: "a decimal number", str: "a string"}
_KIND |= {list: "an array", dict: "an object", type(None): "null"}


class Refused(Exception):
    """The request gets an error answer, of these members (OpenAI's error form)."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        param: str | None = None,
        type_: str = "invalid_request_error",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.type = type_


@dataclass(frozen=True, slots=True)
class Ask:
    """One parsed request.

    ``seed`` is a hash of path and body without what only sets the transport of the answer
    (``stream``, ``stream_options``): streamed or not, the text and the ids are the same.
    """

    body: dict[str, Any]
    model: str
    seed: bytes
    chunks: int | None = None

    @property
    def stream(self) -> bool:
        return self.body.get("stream") is True

    @property
    def service_tier(self) -> str:
        """The tier that is given: the one that was asked for, if it costs another price."""
        tier = self.body.get("service_tier")
        return tier if tier in ("flex", "priority") else "default"

    @property
    def include_usage(self) -> bool:
        options = self.body.get("stream_options")
        return isinstance(options, dict) and options.get("include_usage") is True

    def integer(self, name: str, low: int, high: int = 1 << 53) -> int | None:
        """The member ``name`` if it is there and not null. Raises :class:`Refused`."""
        value = self.body.get(name)
        if value is None:
            return None
        if type(value) is not int:
            kind = _KIND[type(value)]
            message = f"Invalid type for '{name}': expected an integer, but got {kind} instead."
            raise Refused(400, message, "invalid_type", name)
        if value < low:
            message = f"Invalid '{name}': integer below minimum value. Expected a value >= {low}."
            raise Refused(400, message, "integer_below_min_value", name)
        if value > high:
            message = f"Invalid '{name}': integer above maximum value. Expected a value <= {high}."
            raise Refused(400, message, "integer_above_max_value", name)
        return value

    def required(self, name: str) -> Any:
        """The member ``name``, which must be there. Raises :class:`Refused`."""
        value = self.body.get(name)
        if value is None:
            message = f"Missing required parameter: '{name}'."
            raise Refused(400, message, "missing_required_parameter", name)
        return value

    def deltas(self, limit: int | None, choices: int = 1) -> tuple[int, bool]:
        """How many content deltas each choice has, and whether ``limit`` tokens left the text whole."""
        planned = default_count(self.seed) if self.chunks is None else self.chunks
        count = planned if limit is None else min(planned, limit)
        if max(count, 1) * choices > MAX_CHUNKS:
            message = f"More than {MAX_CHUNKS} content deltas: lower 'n' or the header 'x-mock-chunks'."
            raise Refused(400, message, "invalid_value", "n")
        return count, count == planned


def parse_ask(path: str, raw: bytes, chunks: int | None = None) -> Ask:
    """The request to ``path`` with the body ``raw``, whatever its Content-Type. Raises :class:`Refused`."""
    try:
        body = msgspec.json.decode(raw)
        if not isinstance(body, dict):
            raise Refused(400, _NOT_JSON)
        return ask_of(path, body, chunks)
    except (ValueError, RecursionError):
        # ValueError is what msgspec raises for bad syntax and bad UTF-8 alike.
        raise Refused(400, _NOT_JSON) from None


def ask_of(path: str, body: dict[str, Any], chunks: int | None = None) -> Ask:
    """The request to ``path`` that says ``body``. Raises :class:`Refused`, for depth RecursionError."""
    text = {name: value for name, value in body.items() if name not in _TRANSPORT}
    digest = msgspec.json.encode(text, order="deterministic")
    seed = blake2b(digest, digest_size=16, person=path.encode()[-16:]).digest()
    return Ask(body, _model(body, _DEFAULT_MODELS.get(path)), seed, chunks)


_TRANSPORT = frozenset({"stream", "stream_options"})

_DEFAULT_MODELS = {"/v1/moderations": "omni-moderation-latest", "/v1/images/generations": "dall-e-2"}
"""Where a request need not name one."""


def _model(body: dict[str, Any], default: str | None) -> str:
    model = body.get("model")
    if model is None:
        model = default
    if model is None or model == "":
        raise Refused(400, "you must provide a model parameter")
    if not isinstance(model, str):
        kind = _KIND[type(model)]
        message = f"Invalid type for 'model': expected a string, but got {kind} instead."
        raise Refused(400, message, "invalid_type", "model")
    if len(model.encode()) > MAX_MODEL_BYTES:
        # The name is in every chunk of a stream.
        raise Refused(404, "The requested model does not exist.", "model_not_found", "model")
    return model
