"""The models endpoints: a short fixed list."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import msgspec

from openai_proxy.providers.mock.ask import Refused
from openai_proxy.providers.mock.body import CREATED, Content

_MODELS: dict[str, dict[str, Any]] = {
    name: {"id": name, "object": "model", "created": CREATED, "owned_by": "system"}
    for name in (
        "gpt-4o",
        "gpt-4o-mini",
        "gpt-4.1",
        "gpt-4.1-mini",
        "gpt-3.5-turbo-instruct",
        "text-embedding-3-large",
        "text-embedding-3-small",
    )
}


def models() -> Content:
    """GET /v1/models."""
    return Content(msgspec.json.encode({"object": "list", "data": list(_MODELS.values())}), 0)


def model(name: str) -> Content:
    """GET /v1/models/{id}; ``name`` may be percent-encoded. Raises ``Refused`` for one not in the list."""
    name = unquote(name)
    found = _MODELS.get(name)
    if found is None:
        message = f"The model '{name[:256]}' does not exist"
        raise Refused(404, message, "model_not_found", "model")
    return Content(msgspec.json.encode(found), 0)
