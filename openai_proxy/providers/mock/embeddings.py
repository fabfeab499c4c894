"""The embeddings endpoint: vectors of length one, the same for the same text."""

from __future__ import annotations

import struct
from array import array
from base64 import b64encode
from hashlib import blake2b, shake_128
from math import sqrt
from typing import Any

import msgspec

from openai_proxy.providers.mock.ask import Ask, Refused
from openai_proxy.providers.mock.body import Content
from openai_proxy.providers.mock.text import token_count

MAX_INPUTS = 2048
MAX_DIMENSIONS = 3072
MAX_NUMBERS = 2048 * 1536
"""Numbers in one answer; an answer is made in one turn of the reactor."""


def embeddings(ask: Ask) -> Content:
    """POST /v1/embeddings, as floats or as base64 of little-endian float32. Raises ``Refused``."""
    inputs = _inputs(ask.required("input"))
    default = 3072 if ask.model == "text-embedding-3-large" else 1536
    dimensions = ask.integer("dimensions", 1, MAX_DIMENSIONS) or default
    if len(inputs) * dimensions > MAX_NUMBERS:
        raise Refused(400, f"More than {MAX_NUMBERS} numbers asked for.", "array_above_max_length", "input")
    form = ask.body.get("encoding_format")
    if form not in (None, "float", "base64"):
        message = "Invalid value for 'encoding_format': expected 'float' or 'base64'."
        raise Refused(400, message, "invalid_value", "encoding_format")
    tokens = sum(token_count(one) for one in inputs)
    data = [
        {"object": "embedding", "index": index, "embedding": _encoded(one, ask.model, dimensions, form)}
        for index, one in enumerate(inputs)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    answer = {"object": "list", "data": data, "model": ask.model, "usage": usage}
    return Content(msgspec.json.encode(answer), tokens)


def _inputs(value: Any) -> list[Any]:
    """The texts, or lists of token numbers, to embed, one by one."""
    inputs = value if isinstance(value, list) and not _is_tokens(value) else [value]
    if not inputs or not all(isinstance(one, str) or _is_tokens(one) for one in inputs):
        raise Refused(400, "'$.input' is invalid.", None, "input")
    if len(inputs) > MAX_INPUTS:
        message = f"Invalid 'input': array too long. Expected an array with maximum length {MAX_INPUTS}."
        raise Refused(400, message, "array_above_max_length", "input")
    return inputs


def _is_tokens(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(one) is int for one in value)


def _encoded(value: Any, model: str, dimensions: int, form: str | None) -> list[float] | str:
    numbers = vector(msgspec.json.encode([model, value]), dimensions)
    if form == "base64":
        return b64encode(struct.pack(f"<{dimensions}f", *numbers)).decode()
    return numbers


def vector(seed: bytes, dimensions: int) -> list[float]:
    """``dimensions`` numbers of seven decimals, together of length one."""
    digest = shake_128(blake2b(seed).digest()).digest(2 * dimensions)
    numbers = array("h", digest).tolist()
    scale = 1e7 / (sqrt(sum(number * number for number in numbers)) or 1.0)
    return [int(number * scale) / 1e7 for number in numbers]
