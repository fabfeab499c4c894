"""Which observer reads an answer."""

from __future__ import annotations

from enum import Enum, auto
from functools import lru_cache
from typing import Final

from openai_proxy.observe.answer import ANSWERS
from openai_proxy.observe.chat_events import ChatEvents
from openai_proxy.observe.inflate import Inflate
from openai_proxy.observe.json_observer import JsonObserver
from openai_proxy.observe.message_events import MessageEvents, SaidByMessage
from openai_proxy.observe.observer import Observer
from openai_proxy.observe.said import Said
from openai_proxy.observe.stream_observer import Events, StreamObserver
from openai_proxy.observe.typed_events import TypedEvents
from openai_proxy.observe.usage import EXPECTED, FORMS, NO_QUIRKS, Quirks, UsageMissing

ANTHROPIC: Final = "anthropic"
_CHUNKED: Final = frozenset({"chat_completions", "completions"})
_GZIP: Final = (b"gzip", b"x-gzip")


def observer_for(
    endpoint: str,
    status: int,
    content_type: bytes | None,
    content_encoding: bytes | None,
    dialect: str = "openai",
    quirks: Quirks = NO_QUIRKS,
) -> Observer | None:
    """Who reads this answer; None if it says nothing that is read (see :func:`usage_unobserved`).

    It is chosen by what the answer is, never by what was asked for. Only the answer to a request
    that costs something should be given: a GET of a stored response repeats its usage.
    """
    media, is_zipped = _media_of(content_type, content_encoding)
    if media is _Media.OTHER:
        return None
    inflate = Inflate() if is_zipped else None
    expected = _is_usage_expected(endpoint, status, dialect)
    if media is _Media.EVENTS:
        return StreamObserver(_events(endpoint, dialect, quirks), inflate, expected)
    if dialect == ANTHROPIC:
        return JsonObserver(SaidByMessage(quirks), inflate, expected, status >= 400)
    if status < 400 and endpoint not in FORMS:
        return None
    said = Said(FORMS.get(endpoint), quirks)
    return JsonObserver(said, inflate, expected, status >= 400, ANSWERS.get(endpoint))


class _Media(Enum):
    EVENTS = auto()
    JSON = auto()
    OTHER = auto()


@lru_cache(maxsize=64)
def _media_of(content_type: bytes | None, content_encoding: bytes | None) -> tuple[_Media, bool]:
    """What there is to read, and whether it is zipped. Few fields are ever said, again and again."""
    encoding = (content_encoding or b"identity").strip().lower()
    is_zipped = encoding in _GZIP
    if encoding != b"identity" and not is_zipped:
        return _Media.OTHER, False
    media_type = (content_type or b"").partition(b";")[0].strip().lower()
    if media_type == b"text/event-stream":
        return _Media.EVENTS, is_zipped
    if media_type == b"application/json" or media_type.endswith(b"+json"):
        return _Media.JSON, is_zipped
    return _Media.OTHER, is_zipped


def usage_unobserved(endpoint: str, status: int, content_encoding: bytes | None) -> UsageMissing | None:
    """Why there is no usage of an answer that nobody reads; None if none was due."""
    if not _is_usage_expected(endpoint, status, "openai"):
        return None
    encoding = (content_encoding or b"identity").strip().lower()
    return UsageMissing.NONE_IN_ANSWER if encoding in (b"identity", *_GZIP) else UsageMissing.UNPARSABLE


def _is_usage_expected(endpoint: str, status: int, dialect: str) -> bool:
    return 200 <= status < 300 and (endpoint in EXPECTED or dialect == ANTHROPIC)


def _events(endpoint: str, dialect: str, quirks: Quirks) -> Events:
    if dialect == ANTHROPIC:
        return MessageEvents(quirks)
    if endpoint in _CHUNKED:
        return ChatEvents(FORMS[endpoint], quirks)
    return TypedEvents(FORMS.get(endpoint, FORMS["responses"]), quirks)
