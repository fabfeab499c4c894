"""The endpoint that generates images: always the same one, of one pixel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from openai_proxy.providers.mock.ask import Ask
from openai_proxy.providers.mock.body import CREATED, Content, Events, named_event
from openai_proxy.providers.mock.text import token_count

MAX_IMAGES = 10
MAX_PARTIAL_IMAGES = 3

_PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
_OUTPUT_TOKENS = {"low": 272, "medium": 1056, "high": 4160}
"""Of an image of 1024x1024 by gpt-image-1, by quality (the guide "Image generation", "Cost")."""


def image(ask: Ask) -> Content:
    """POST /v1/images/generations; only gpt-image-* says its usage and can stream. Raises ``Refused``."""
    prompt = ask.required("prompt")
    count = ask.integer("n", 1, MAX_IMAGES) or 1
    data = [{"b64_json": _PNG}] * count
    if not ask.model.startswith("gpt-image"):
        return Content(msgspec.json.encode({"created": CREATED, "data": data}), 0)
    asked = ask.body.get("quality")
    quality = asked if isinstance(asked, str) and asked in _OUTPUT_TOKENS else "medium"
    usage = _usage(token_count(prompt), _OUTPUT_TOKENS[quality] * count)
    look = {"size": "1024x1024", "quality": quality, "background": "opaque", "output_format": "png"}
    if ask.stream:
        partial = ask.integer("partial_images", 0, MAX_PARTIAL_IMAGES) or 0
        return Content(Events(_events(partial, look, usage), partial + 1), usage["total_tokens"])
    answer = {"created": CREATED, **look, "data": data, "usage": usage}
    return Content(msgspec.json.encode(answer), usage["total_tokens"])


def _usage(input_tokens: int, output_tokens: int) -> dict[str, Any]:
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {"text_tokens": input_tokens, "image_tokens": 0},
        "output_tokens": output_tokens,
        "output_tokens_details": {"text_tokens": 0, "image_tokens": output_tokens},
        "total_tokens": input_tokens + output_tokens,
    }


def _events(partial: int, look: dict[str, str], usage: dict[str, Any]) -> Iterator[bytes]:
    made: dict[str, Any] = {"b64_json": _PNG, "created_at": CREATED, **look}
    for index in range(partial):
        yield named_event("image_generation.partial_image", **made, partial_image_index=index)
    yield named_event("image_generation.completed", **made, usage=usage)
