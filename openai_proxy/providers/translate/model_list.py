"""``GET /v1/models`` in each dialect; a client that sends ``anthropic-version`` wants Anthropic's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from openai_proxy.providers.translate.member import Json
from openai_proxy.providers.translate.untranslatable import UnreadableAnswer

_NO_DATE = "1970-01-01T00:00:00Z"
"""What Anthropic says where a date is not known."""


def completion_models(body: Json, owner: str) -> Json:
    """OpenAI's list out of a page of Anthropic's. Raises :class:`UnreadableAnswer`.

    :param owner: whose models they are, ``owned_by``.
    """
    made = [
        {
            "id": model["id"],
            "object": "model",
            "created": _seconds(model.get("created_at")),
            "owned_by": owner,
        }
        for model in _listed(body)
    ]
    return {"object": "list", "data": made}


def message_models(body: Json) -> Json:
    """Anthropic's only page out of OpenAI's list. Raises :class:`UnreadableAnswer`."""
    made = [
        {
            "type": "model",
            "id": model["id"],
            "display_name": model["id"],
            "created_at": _date(model.get("created")),
            "lifecycle": "active",
        }
        for model in _listed(body)
    ]
    ends = (made[0]["id"], made[-1]["id"]) if made else (None, None)
    return {"data": made, "has_more": False, "first_id": ends[0], "last_id": ends[1]}


def _listed(body: Json) -> list[Json]:
    data = body.get("data")
    if not isinstance(data, list):
        raise UnreadableAnswer("expected a list of models")
    return [one for one in data if isinstance(one, dict) and isinstance(one.get("id"), str)]


def _seconds(date: Any) -> int:
    try:
        return int(datetime.fromisoformat(date).timestamp())
    except (TypeError, ValueError, OverflowError):
        return 0


def _date(seconds: Any) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (TypeError, ValueError, OverflowError, OSError):
        return _NO_DATE
