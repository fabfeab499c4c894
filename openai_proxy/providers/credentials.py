"""Keys in requests: every spelling of a client's is found and taken off, ours is put in the provider's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from openai_proxy.config.provider import CREDENTIAL_FIELDS, Credential
from openai_proxy.config.secret import Secret
from openai_proxy.wire.fields import Field, NameSet

_AUTHORIZATION: Final = b"authorization"
_BEARER: Final = b"bearer "
_KEY_FIELDS: Final = frozenset(name.encode() for name in CREDENTIAL_FIELDS)
_KEY_PARAMETERS: Final = frozenset({b"key", b"api_key", b"api-key", b"access_token", b"subscription-key"})
_COMPANIONS: Final = frozenset({b"cookie", b"ocp-apim-subscription-key"})
"""Fields that may let a client in beside its key: where that one is taken off, so are they."""
_SUBPROTOCOLS: Final = b"sec-websocket-protocol"
HOLDS_KEY: Final = _KEY_FIELDS | _COMPANIONS | {_SUBPROTOCOLS}
"""Fields that a client's key may stand in, in lower case."""
_HOLDS_KEY: Final = NameSet(_KEY_FIELDS | {_SUBPROTOCOLS})
_KEY_SUBPROTOCOL: Final = b"openai-insecure-api-key."
"""What browsers, whose WebSockets have no header fields, put before their key."""
_TOKEN: Final = re.compile(rb"eyJ[\w-]+\.[\w-]+\.[\w-]*")
"""A signed token (RFC 7519), as Entra gives them for Azure: no provider takes one but as a Bearer."""
_VISIBLE: Final = re.compile(rb"[\x21-\x7e]+")

Credentialled = tuple[list[Field], bytes]
"""A request's fields and its target (path and query)."""


def without_keys(
    fields: Sequence[Field], target: bytes, also: frozenset[bytes] = frozenset()
) -> Credentialled:
    """The request without any key of its client; what holds none stays as it came, byte for byte.

    :param also: in lower case, more fields and parameters that have a key.
    """
    may_hold_key = _may_hold_key(also)
    kept: list[Field] = []
    for field in fields:
        if not may_hold_key[field[0]]:
            kept.append(field)
        elif field[0].lower() == _SUBPROTOCOLS:
            kept += _tidy(field)
    return kept, _without_parameters(target, also)


def with_key(
    fields: Sequence[Field],
    target: bytes,
    credential: Credential,
    secret: Secret | None,
    also: frozenset[bytes] = frozenset(),
) -> Credentialled:
    """The request with the configured key in the place of any of its client's.

    Without a configured one the client's own goes on, in the provider's form and no other. A request
    whose one key is in its place, or that has none in a form that can be changed, stays as it came. So
    does one whose one key is a signed token.

    :param also: as for :func:`without_keys`; the credential's own name is one of them anyway.
    """
    name = credential.name.encode("latin-1")
    if secret is not None:
        key = secret.reveal().encode("latin-1")
    else:
        keys = list(client_keys(fields, target))
        wanted = name.lower() if credential.place == "header" else b"?" + name.lower()
        if not keys or (len(keys) == 1 and (keys[0][0] == wanted or _is_token(*keys[0]))):
            return list(fields), target
        key = dict(reversed(keys)).get(wanted, keys[0][1])
    kept, target = without_keys(fields, target, also | {name.lower()})
    value = credential.prefix.encode("latin-1") + key
    if credential.place == "query":
        between = b"&" if b"?" in target else b"?"
        return kept, b"%b%b%b=%b" % (target, between, name, quote_from_bytes(value, safe="").encode())
    kept.append((name, value))
    return kept, target


def query_of_keys(query: bytes) -> bytes:
    """What of a query is a client's key, without its question mark."""
    return b"&".join(one for one in query.split(b"&") if _name_of(one) in _KEY_PARAMETERS)


def client_keys(fields: Sequence[Field], target: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The keys that a client sent, each with its place: a field's name, or ``?`` and a parameter's.

    None that could not stand elsewhere: an Authorization of another scheme than Bearer, or a parameter
    whose escapes would end a field.
    """
    for name, value in fields:
        if _HOLDS_KEY[name]:
            lower = name.lower()
            yield from ((lower, key) for key in _keys_in(lower, value))
    if b"?" not in target:
        return
    for parameter in target.partition(b"?")[2].split(b"&"):
        name = _name_of(parameter)
        key = unquote_to_bytes(parameter.partition(b"=")[2])
        if name in _KEY_PARAMETERS and _VISIBLE.fullmatch(key):
            yield b"?" + name, key


def _is_token(place: bytes, key: bytes) -> bool:
    return place == _AUTHORIZATION and _TOKEN.fullmatch(key) is not None


def _keys_in(name: bytes, value: bytes) -> list[bytes]:
    if name == _AUTHORIZATION:
        return [value[len(_BEARER) :].strip()] if value[: len(_BEARER)].lower() == _BEARER else []
    if name == _SUBPROTOCOLS:
        subprotocols = [one for one in _listed(value) if one.startswith(_KEY_SUBPROTOCOL)]
        return [one.removeprefix(_KEY_SUBPROTOCOL) for one in subprotocols]
    return [value]


def _without_parameters(target: bytes, also: frozenset[bytes]) -> bytes:
    path, mark, query = target.partition(b"?")
    if not mark:
        return target
    parameters = query.split(b"&")
    kept = [one for one in parameters if _name_of(one) not in _KEY_PARAMETERS | also]
    if len(kept) == len(parameters):
        return target
    return path + mark + b"&".join(kept) if kept else path


def _name_of(parameter: bytes) -> bytes:
    """As a server reads it: ``%6Bey`` is ``key`` too."""
    return unquote_to_bytes(parameter.partition(b"=")[0].replace(b"+", b" ")).lower()


def _listed(value: bytes) -> list[bytes]:
    return [one.strip() for one in value.split(b",")]


def _tidy(field: Field) -> list[Field]:
    """Without the subprotocols that are keys; nothing if none is left."""
    name, value = field
    if _KEY_SUBPROTOCOL not in value:
        return [field]
    kept = [one for one in _listed(value) if not one.startswith(_KEY_SUBPROTOCOL)]
    return [(name, b", ".join(kept))] if kept else []


@lru_cache(maxsize=256)
def _may_hold_key(also: frozenset[bytes]) -> NameSet:
    return NameSet(HOLDS_KEY | also)
