"""What an answer of the unified way says of how it came about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from openai_proxy.wire.fields import Field

JSON: Final = (b"Content-Type", b"application/json")
_ATTEMPTS: Final = b"x-openai-proxy-attempts"
_PROVIDER: Final = b"x-openai-proxy-provider"
_MODEL: Final = b"x-openai-proxy-model"
SHOULD_RETRY: Final = b"x-should-retry"
OURS: Final = frozenset({_ATTEMPTS, _PROVIDER, _MODEL})
_OF_BODY: Final = frozenset({b"content-length", b"content-type", b"content-encoding"})
_LONGEST_MODEL: Final = 256


def telling_fields(attempts: int, provider: str, model: str, ends_retries: bool) -> list[Field]:
    """Who answered, under which name of the model, and after how many attempts.

    :param provider: empty if the request was sent to nobody.
    :param ends_retries: whether the client's SDK is told not to try again: we have.
    """
    fields = [(_ATTEMPTS, b"%d" % attempts)]
    if provider:
        fields.append((_PROVIDER, provider.encode("ascii")))
    # A client's own text, which is not to become a field of its own.
    if model and len(model) <= _LONGEST_MODEL and model.isascii() and model.isprintable():
        fields.append((_MODEL, model.encode("ascii")))
    if ends_retries:
        fields.append((SHOULD_RETRY, b"false"))
    return fields


def upstream_fields(fields: Sequence[Field], ends_retries: bool) -> list[Field]:
    """Those of an upstream's answer, without what we say in their stead."""
    ours = OURS | {SHOULD_RETRY} if ends_retries else OURS
    return [field for field in fields if field[0].lower() not in ours]


def without_body(fields: Sequence[Field]) -> list[Field]:
    """Those of an answer whose body is another one now."""
    return [field for field in fields if field[0].lower() not in _OF_BODY]
