"""What is changed in a request so that its answer can be read on the way."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from openai_proxy.observe.usage import FORMS
from openai_proxy.providers.provider import Provider
from openai_proxy.wire.fields import Field

_NAME: Final = b"accept-encoding"
_READABLE: Final = frozenset({b"gzip", b"x-gzip", b"identity"})
_LONGEST: Final = 256


_WITH_USAGE_EVENT: Final = frozenset({"chat_completions", "completions"})


def is_read(provider: Provider, generates: bool, endpoint: str) -> bool:
    """Whether the answer will say what it used."""
    return generates and provider.observes and endpoint in FORMS


def has_usage_event(provider: Provider, generates: bool, endpoint: str) -> bool:
    """Whether a stream says what it used only when it is asked (``stream_options.include_usage``)."""
    return generates and endpoint in _WITH_USAGE_EVENT and provider.observes and provider.includes_usage


def narrow_encodings(fields: list[Field], plain: bool) -> None:
    """Leave in Accept-Encoding what can be read: gzip and identity; ``plain``: identity alone.

    A request without the field stays without it. One that accepts nothing of that is asked to be
    answered plainly, which every client understands (RFC 9110 section 12.5.3).
    """
    size = len(_NAME)
    for place, (name, value) in enumerate(fields):
        if len(name) == size and name.lower() == _NAME:
            fields[place] = (name, narrowed(value, plain) if len(value) <= _LONGEST else b"identity")


@lru_cache(maxsize=256)
def narrowed(value: bytes, plain: bool) -> bytes:
    """One value of Accept-Encoding, without what cannot be read."""
    members = [member.strip() for member in value.split(b",")]
    kept = [member for member in members if member.partition(b";")[0].strip().lower() in _READABLE]
    if plain or not kept:
        return b"identity"
    return value if len(kept) == len(members) else b", ".join(kept)
