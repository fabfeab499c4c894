"""Where an object was created: what follows on it has to go there too."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from openai_proxy.observe.members import NOTHING, decoded, text_of

_MOST: Final = 100_000
_SECONDS: Final = 30 * 86400.0
"""As long as OpenAI keeps responses."""
_LONGEST_ANSWER: Final = 1024 * 1024

COLLECTIONS: Final = frozenset({
    "responses", "files", "batches", "uploads", "vector_stores", "file_batches", "containers",
    "conversations", "jobs", "assistants", "threads", "runs", "evals", "videos", "sessions",
})  # fmt: skip
"""Parts of a path that an object's id stands behind: ``/v1/files/{id}``, ``/v1/fine_tuning/jobs/{id}``."""


def _nobody(_: object) -> None:
    """There is no other process."""


class Stickiness:
    """Ids and the providers that made them: the most recently used, for a time since their last use."""

    def __init__(self, most: int = _MOST, seconds: float = _SECONDS) -> None:
        self._most = most
        self._seconds = seconds
        self._by_id: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self.told: Callable[[list[tuple[str, str]]], object] = _nobody
        """Called with the ids, and their provider, that were not known until they were remembered."""

    def __len__(self) -> int:
        return len(self._by_id)

    def remember(self, ids: Iterable[str], provider: str, now: float) -> None:
        """``provider`` has made them.

        Who was the first stays it: some servers let a client choose an id, and with another's it would
        have that one's requests, and their keys, sent elsewhere.
        """
        new = self._kept(ids, provider, now)
        if new:
            self.told([(one, provider) for one in new])

    def learn(self, pairs: Iterable[tuple[str, str]], now: float) -> None:
        """The same of ids and their providers that another process has told of."""
        for one, provider in pairs:
            self._kept((one,), provider, now)

    def known(self) -> list[tuple[str, str]]:
        """All ids with their providers, the most recently used last."""
        return [(one, provider) for one, (provider, _) in self._by_id.items()]

    def _kept(self, ids: Iterable[str], provider: str, now: float) -> list[str]:
        """Those of them that were not known."""
        new = []
        for one in ids:
            maker, used_at = self._by_id.get(one, ("", now))
            if maker and maker != provider and now - used_at <= self._seconds:
                continue
            if maker != provider:
                new.append(one)
            self._by_id[one] = (provider, now)
            self._by_id.move_to_end(one)
        while len(self._by_id) > self._most:
            self._by_id.popitem(last=False)
        return new

    def provider_of(self, ids: Iterable[str], now: float) -> str | None:
        """Who made the first of them that is known."""
        for one in ids:
            provider, used_at = self._by_id.get(one, ("", 0.0))
            if not provider:
                continue
            if now - used_at > self._seconds:
                del self._by_id[one]
                continue
            self.remember((one,), provider, now)
            return provider
        return None

    def forget(self, ids: Iterable[str]) -> None:
        """They were deleted."""
        for one in ids:
            self._by_id.pop(one, None)


def ids_in_path(path: bytes) -> tuple[str, ...]:
    """What may be ids in a path, the outermost first: the outer object was there before the inner one.

    Names of actions may be among them (``compact`` of ``/v1/responses/compact``): nobody made these.
    """
    segments = path.partition(b"?")[0].decode("latin-1").split("/")
    return tuple(name for before, name in pairwise(segments) if before in COLLECTIONS and name)


def names_objects(method: bytes, path: bytes) -> bool:
    """Whether the answer to such a request may name objects that the provider has.

    Not a POST alone: the files that a batch makes are named by the GET that finds it completed.
    """
    segments = path.partition(b"?")[0].decode("latin-1").split("/")
    return method in (b"POST", b"GET") and not COLLECTIONS.isdisjoint(segments)


def objects_in(method: bytes, path: bytes) -> tuple[tuple[str, ...], bool]:
    """Both at once; what is found in a short path is remembered, as few are ever asked for often."""
    return _short_path(method, path) if len(path) <= _SHORT_BYTES else _objects_in(method, path)


def _objects_in(method: bytes, path: bytes) -> tuple[tuple[str, ...], bool]:
    return ids_in_path(path), names_objects(method, path)


_SHORT_BYTES: Final = 128
_short_path = lru_cache(maxsize=1024)(_objects_in)


class _Answer(Struct):
    id: Raw = NOTHING
    output_file_id: Raw = NOTHING
    error_file_id: Raw = NOTHING
    file: Raw = NOTHING
    conversation: Raw = NOTHING
    response: Raw = NOTHING


class _Request(Struct):
    previous_response_id: Raw = NOTHING
    conversation: Raw = NOTHING
    input_file_id: Raw = NOTHING
    training_file: Raw = NOTHING
    container: Raw = NOTHING


_mention = re.compile(
    rb'"(?:file_id|file_ids|vector_store_ids)"[ \t\r\n]*:[ \t\r\n]*'
    # No bracket inside: what is looked at in vain is looked at once.
    rb'(?:"([^"\\]{1,128})"|\[([^][{\\]{1,8192})\])'
)
_text = re.compile(rb'"([^"]{1,128})"')
_MOST_MENTIONED: Final = 64
_answer = msgspec.json.Decoder(_Answer)
_request = msgspec.json.Decoder(_Request)


def ids_in_answer(body: bytes) -> tuple[str, ...]:
    """The ids that a JSON answer, or an event of the Responses API, says were made; none of a large one.

    A batch names the files that it made, an upload its file, a response its conversation.
    """
    return _ids_in(_answer, body) if len(body) <= _LONGEST_ANSWER else ()


def ids_in_request(body: bytes) -> tuple[str, ...]:
    """The ids that a JSON request goes on from."""
    return _ids_in(_request, body)


def ids_mentioned(body: bytes) -> tuple[str, ...]:
    """The ids of files and vector stores that a JSON request has somewhere inside.

    In a response's input and tools, or what a vector store is made of. A text that speaks of such is
    none: its quotes are escaped.
    """
    ids: list[bytes] = []
    for found in _mention.finditer(body):
        one, several = found.groups()
        ids += _text.findall(several) if one is None else [one]
        if len(ids) >= _MOST_MENTIONED:
            break
    return tuple(one.decode("utf-8", "replace") for one in ids[:_MOST_MENTIONED])


def _ids_in(decoder: msgspec.json.Decoder[Any], body: bytes) -> tuple[str, ...]:
    named = decoded(decoder, body)
    ids = [_id_of(raw) for raw in msgspec.structs.astuple(named)] if named is not None else []
    return tuple(one for one in ids if one)


def _id_of(raw: Raw) -> str | None:
    """Of an id, or of an object that has one."""
    text = text_of(raw)
    if text is not None or not len(raw):
        return text
    inner = decoded(_answer, raw)
    return None if inner is None else text_of(inner.id)
