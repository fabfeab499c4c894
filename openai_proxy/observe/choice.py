"""Which observer reads an answer."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from functools import lru_cache
from typing import Final

from openai_proxy.observe.answer import ANSWERS
from openai_proxy.observe.chat_events import ChatEvents
from openai_proxy.observe.elements_observer import ElementsObserver
from openai_proxy.observe.endpoint import GENERATE_CONTENT
from openai_proxy.observe.generate_events import GenerateEvents
from openai_proxy.observe.inflate import Inflate
from openai_proxy.observe.json_observer import JsonObserver
from openai_proxy.observe.message_events import MessageEvents, SaidByMessage
from openai_proxy.observe.observer import Observer
from openai_proxy.observe.said import Said
from openai_proxy.observe.stream_observer import Events, StreamObserver
from openai_proxy.observe.typed_events import TypedEvents
from openai_proxy.observe.usage import EXPECTED, FORMS, NO_QUIRKS, UNTOLD, Quirks, UsageMissing

ANTHROPIC: Final = "anthropic"
_CHUNKED: Final = frozenset({"chat_completions", "completions"})
_GZIP: Final = (b"gzip", b"x-gzip")
_EMPTY: Final = (204, 205)
"""Answers without content."""


def observer_for(
    endpoint: str,
    status: int,
    content_type: bytes | None,
    content_encoding: bytes | None,
    dialect: str = "openai",
    quirks: Quirks = NO_QUIRKS,
) -> Observer | None:
    """Who reads this answer; None if it says nothing that is read (see :func:`usage_unobserved`).

    It is chosen by what the answer is, never by what was asked for; its form by the endpoint, and
    by the provider's dialect where the endpoint does not say. Only the answer to a request
    that costs something should be given: a GET of a stored response repeats its usage.
    """
    choice = _choice(endpoint, status, content_type, content_encoding, dialect)
    if choice is None:
        return None
    make, is_zipped, is_usage_expected = choice
    return make(quirks, Inflate() if is_zipped else None, is_usage_expected)


_Make = Callable[[Quirks, Inflate | None, bool], Observer]


@lru_cache(maxsize=256)
def _choice(
    endpoint: str, status: int, content_type: bytes | None, content_encoding: bytes | None, dialect: str
) -> tuple[_Make, bool, bool] | None:
    """What makes the observer, and whether the body is zipped, and whether usage is expected in it.

    Few fields are ever said, again and again.
    """
    media, is_zipped = _media_of(content_type, content_encoding)
    make = _maker(media, endpoint, status, dialect)
    return None if make is None else (make, is_zipped, is_usage_expected(endpoint, status))


def _maker(media: _Media, endpoint: str, status: int, dialect: str) -> _Make | None:
    is_error = status >= 400
    form, answers = FORMS.get(endpoint), ANSWERS.get(endpoint)
    if media is _Media.EVENTS:
        return lambda quirks, inflate, is_usage_expected: StreamObserver(
            _events(endpoint, dialect, quirks), inflate, is_usage_expected
        )
    if media is _Media.OTHER:
        return None
    if is_message(endpoint, dialect):
        return lambda quirks, inflate, is_usage_expected: JsonObserver(
            SaidByMessage(quirks), inflate, is_usage_expected, is_error
        )
    if endpoint == GENERATE_CONTENT and not is_error:
        return lambda quirks, inflate, is_usage_expected: ElementsObserver(
            GenerateEvents(quirks), inflate, is_usage_expected
        )
    if form is None and not is_error:
        return None
    return lambda quirks, inflate, is_usage_expected: JsonObserver(
        Said(form, quirks), inflate, is_usage_expected, is_error, answers
    )


class _Media(Enum):
    EVENTS = auto()
    JSON = auto()
    OTHER = auto()


def _media_of(content_type: bytes | None, content_encoding: bytes | None) -> tuple[_Media, bool]:
    """What there is to read, and whether it is zipped."""
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
    if endpoint in UNTOLD and 200 <= status < 300:
        return UsageMissing.NOT_IN_API
    if not is_usage_expected(endpoint, status):
        return None
    encoding = (content_encoding or b"identity").strip().lower()
    return UsageMissing.NONE_IN_ANSWER if encoding in (b"identity", *_GZIP) else UsageMissing.UNPARSABLE


def is_usage_expected(endpoint: str, status: int) -> bool:
    """Whether such an answer to a request that generates says what it used."""
    return endpoint in EXPECTED and 200 <= status < 300 and status not in _EMPTY


def is_message(endpoint: str, dialect: str) -> bool:
    """Whether its form is that of Anthropic's Messages.

    Its provider has the layers of others too: these endpoints answer in their own form everywhere.
    """
    return endpoint == "messages" or (dialect == ANTHROPIC and endpoint not in FORMS)


def _events(endpoint: str, dialect: str, quirks: Quirks) -> Events:
    if is_message(endpoint, dialect):
        return MessageEvents(quirks)
    if endpoint in _CHUNKED:
        return ChatEvents(FORMS[endpoint], quirks)
    if endpoint == GENERATE_CONTENT:
        return GenerateEvents(quirks)
    return TypedEvents(FORMS.get(endpoint, FORMS["responses"]), quirks)
