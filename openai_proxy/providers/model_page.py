"""A provider's list of models, as it says it: a page of it, read with indulgence."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from openai_proxy.providers.translate.event import decoded_text
from openai_proxy.providers.translate.member import Json
from openai_proxy.providers.translate.untranslatable import UnreadableAnswer

LONGEST_ID: Final = 256
"""In characters: a longer one is no model's name."""

_any = msgspec.json.Decoder()
_GOOGLE: Final = "google"
_GOOGLES: Final = "models/"


class Page(Struct, frozen=True):
    """Of Anthropic's list one of several; every other provider's is the only one."""

    entries: tuple[Json, ...]
    """Of each model, with its name as ``id``."""
    after: str = ""
    """The ``after_id`` of the next page; empty: there is none."""


def page_of(body: bytes) -> Page:
    """What a body lists. Raises :class:`UnreadableAnswer`.

    OpenAI's form (``{"data": [...]}``), Anthropic's with ``has_more`` and ``last_id``, a bare array
    (Together's), and null for no models (Ollama's).
    """
    data = said = decoded_text(_any, body)
    if isinstance(said, dict) and "data" in said:
        data = said["data"] or []
    if not isinstance(data, list):
        raise UnreadableAnswer("expected a list of models")
    entries = tuple(_entry(one) for one in data if isinstance(one, dict) and _is_id(one.get("id")))
    return Page(entries, _after(said))


def _entry(said: Json) -> Json:
    """Google lists `models/gemini-...` in OpenAI's form too, and calls it `gemini-...` in every request."""
    name: str = said["id"]
    if said.get("owned_by") == _GOOGLE and len(name) > len(_GOOGLES):
        return said | {"id": name.removeprefix(_GOOGLES)}
    return said


def _is_id(name: Any) -> bool:
    return isinstance(name, str) and 0 < len(name) <= LONGEST_ID


def _after(said: Any) -> str:
    if not isinstance(said, dict) or said.get("has_more") is not True:
        return ""
    last = said.get("last_id")
    return last if isinstance(last, str) else ""
