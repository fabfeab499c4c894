"""Lists of models for a client: each provider's own, by the names that requests can have, and all in one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from openai_proxy.policy.routing import Router
from openai_proxy.providers.provider import Provider
from openai_proxy.providers.translate.event import encode
from openai_proxy.providers.translate.member import Json
from openai_proxy.providers.translate.model_list import completion_models, message_models
from openai_proxy.providers.translate.refusal import ANTHROPIC

OUR_NAME: Final = "openai_proxy"
"""Who owns a route."""


class Part(NamedTuple):
    """Some models, in one dialect."""

    names: tuple[str, ...]
    body: bytes
    """Their JSON objects, with commas between them."""


class ModelList:
    """What one provider lists. It is read by many clients, so that what it makes for them is kept."""

    def __init__(self, provider: Provider, entries: Iterable[Json]) -> None:
        """:param entries: as the provider says them, in its dialect; of an ``id`` that is there twice, the
        first counts.
        """
        self._provider = provider
        self._entries: dict[str, Json] = {}
        for entry in entries:
            self._entries.setdefault(entry["id"], entry)
        self._parts: dict[str, Part] = {}

    def part(self, dialect: str, router: Router) -> Part:
        """Under every name that it can be asked for by, those with the provider's name before them first.

        :param router: the same one each time.
        """
        part = self._parts.get(dialect)
        if part is None:
            named = [
                (name, entry) for own, entry in self._entries.items() for name in self._names(router, own)
            ]
            named.sort(key=lambda one: one[0] == one[1]["id"])
            try:
                part = _part(self._in_dialect(dialect, named))
            except RecursionError:
                # Nested as nobody means it: it must not cost all others their list.
                part = Part((), b"")
            self._parts[dialect] = part
        return part

    def _names(self, router: Router, own: str) -> Iterable[str]:
        return router.names_of(self._provider.name, own)

    def _in_dialect(self, dialect: str, named: Sequence[tuple[str, Json]]) -> list[Json]:
        provider = self._provider
        if dialect != provider.dialect:
            body: Json = {"data": [entry | {"id": name} for name, entry in named]}
            made = message_models(body) if dialect == ANTHROPIC else completion_models(body, provider.name)
            data: list[Json] = made["data"]
            return data
        if dialect == ANTHROPIC:
            return [{"type": "model"} | entry | {"id": name} for name, entry in named]
        return [_listed(name, provider.name, entry) for name, entry in named]


def _listed(name: str, owner: str, entry: Json) -> Json:
    """In OpenAI's form, with the members that its SDKs promise, whatever the provider leaves out."""
    said = entry.get("owned_by")
    listed = {"id": name, "object": "model", "created": 0} | entry
    return listed | {"id": name, "owned_by": said if isinstance(said, str) and said else owner}


def _part(made: Sequence[Json]) -> Part:
    return Part(tuple(one["id"] for one in made), b",".join(map(encode, made)))


def part_of_routes(names: Iterable[str], dialect: str) -> Part:
    """The names that a configuration gives to its routes."""
    made = [_listed(name, OUR_NAME, {}) for name in names]
    return _part(message_models({"data": made})["data"] if dialect == ANTHROPIC else made)


def merged(parts: Iterable[Part], dialect: str) -> bytes:
    """The answer: one list, and in Anthropic's form its only page."""
    parts = [part for part in parts if part.names]
    data = b",".join([part.body for part in parts])
    if dialect != ANTHROPIC:
        return b'{"object":"list","data":[%b]}' % data
    first, last = (parts[0].names[0], parts[-1].names[-1]) if parts else (None, None)
    ends = encode({"has_more": False, "first_id": first, "last_id": last})
    return b'{"data":[%b],%b' % (data, ends[1:])
