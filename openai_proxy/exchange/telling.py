"""What an answer of the unified way says of how it came about."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from openai_proxy.providers.translate.refusal import ANTHROPIC, refusal
from openai_proxy.relay.failures import ErrorAnswer
from openai_proxy.wire.fields import Field, NameSet, first_of
from openai_proxy.wire.request import Request

JSON: Final = (b"Content-Type", b"application/json")
_ATTEMPTS: Final = b"x-openai-proxy-attempts"
_PROVIDER: Final = b"x-openai-proxy-provider"
_MODEL: Final = b"x-openai-proxy-model"
SHOULD_RETRY: Final = b"x-should-retry"
OURS: Final = frozenset({_ATTEMPTS, _PROVIDER, _MODEL})
_OURS: Final = NameSet(OURS)
_OURS_AT_END: Final = NameSet(OURS | {SHOULD_RETRY})
_ID: Final = b"x-request-id"
_MESSAGES_ID: Final = b"request-id"
_OF_BODY: Final = frozenset({b"content-length", b"content-type", b"content-encoding"})
LONGEST_MODEL: Final = 256


@lru_cache(maxsize=1024)
def telling_fields(attempts: int, provider: str, model: str, ends_retries: bool) -> tuple[Field, ...]:
    """Who answered, under which name of the model, and after how many attempts.

    :param provider: empty if the request was sent to nobody.
    :param ends_retries: whether the client's SDK is told not to try again: we have.
    """
    fields = [(_ATTEMPTS, b"%d" % attempts)]
    if provider:
        fields.append((_PROVIDER, provider.encode("ascii")))
    # A client's own text, which is not to become a field of its own.
    if model and len(model) <= LONGEST_MODEL and model.isascii() and model.isprintable():
        fields.append((_MODEL, model.encode("ascii")))
    if ends_retries:
        fields.append((SHOULD_RETRY, b"false"))
    return tuple(fields)


def upstream_fields(fields: Sequence[Field], ends_retries: bool) -> list[Field]:
    """Those of an upstream's answer, without what we say in their stead."""
    ours = _OURS_AT_END if ends_retries else _OURS
    return [field for field in fields if not ours[field[0]]]


def without_body(fields: Sequence[Field]) -> list[Field]:
    """Those of an answer whose body is another one now."""
    return [field for field in fields if field[0].lower() not in _OF_BODY]


def with_messages_id(fields: list[Field], request: Request) -> list[Field]:
    """With the answer's id where Anthropic's SDKs look for it; its upstream's, or else ours."""
    if first_of(fields, _MESSAGES_ID) is None:
        fields.append((_MESSAGES_ID, first_of(fields, _ID) or request.request_id))
    return fields


def last_event(dialect: str, told: ErrorAnswer) -> bytes:
    """The event that tells the client of a stream that it is over, in its dialect.

    A line and an event that were cut in the middle are ended before it.
    """
    name = b"event: error\n" if dialect == ANTHROPIC else b""
    body = refusal(dialect, told.status, told.message, told.type, told.code)
    return b"\n\n%bdata: %b\n\n" % (name, body)
