"""Where a request goes at its provider, and which fields and key it has there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from openai_proxy.config.provider import MODEL, Provider
from openai_proxy.config.secret import Secret
from openai_proxy.providers.credentials import HOLDS_KEY, with_key, without_keys
from openai_proxy.wire.fields import Field, NameSet, first_of

PROVIDER_FIELD: Final = b"x-openai-proxy-provider"
"""Names the provider of a request without a model; for us, and sent to nobody."""
PROVIDER_PARAMETER: Final = b"provider"
"""The same in the query."""

_OUR_PREFIX: Final = b"/v1"
_AUTHORIZATION: Final = b"authorization"
_ANTHROPIC_VERSION: Final = b"anthropic-version"
_FOREIGN: Final = {"openai": b"anthropic-", "anthropic": b"openai-"}
"""What the fields of the other dialect begin with, by a provider's dialect."""
_OURS: Final = NameSet(frozenset({PROVIDER_FIELD}))
_ACCOUNT: Final = frozenset({b"openai-organization", b"openai-project"})
"""Of the client's own account at OpenAI: with a key of ours an error there, and nobody else's business."""
_DOTS: Final = frozenset({".", ".."})


class UnaddressableModel(ValueError):
    """The name cannot stand in a path: no escape keeps every server from reading ``..`` as a way up."""


class Addressing:
    """One provider's addresses, made once. Nothing here waits, and of keys only the last one is kept.

    What it returns may be the objects that it was given; it changes none of them.
    """

    __slots__ = (
        "is_plain",
        "keeps_client_key",
        "prefix",
        "uses_own_key",
        "_also",
        "_credential",
        "_dialect",
        "_dropped",
        "_headers",
        "_is_usual",
        "_looked_at",
        "_model_endpoints",
        "_model_prefix",
        "_native_credential",
        "_own",
        "_prefix",
        "_query",
        "_root",
    )

    def __init__(self, provider: Provider) -> None:
        """:param provider: ready for use: see ``config.provider.resolved``."""
        assert provider.base_url is not None
        assert provider.path_prefix is not None
        self.uses_own_key = provider.has_key
        """Whether the key is ours: then one is to be given to ``native`` and ``unified``."""
        self.keeps_client_key = provider.keeps_client_key
        """Whether the client's own key goes to the provider."""
        self._root = provider.base_url.encode("ascii")
        self.prefix = self._prefix = provider.path_prefix.encode("ascii")
        """What stands at the provider in place of our ``/v1``."""
        self._dialect = provider.dialect
        self._credential = provider.credential
        self._native_credential = provider.native_credential or provider.credential
        forms = (self._credential, self._native_credential)
        self._also = frozenset(form.name.lower().encode("ascii") for form in forms)
        dropped = _ACCOUNT | {name.lower().encode("ascii") for name in provider.drop_headers}
        self._dropped = NameSet(dropped)
        self._headers = list(_constant_fields(provider))
        self._query = [
            (name.encode("ascii"), _parameter(name, provider.query[name])) for name in provider.query
        ]
        paths = provider.model_paths
        self._model_prefix = paths.prefix.split(f"{{{MODEL}}}") if paths is not None else []
        self._model_endpoints = frozenset(
            one.strip("/").encode("ascii") for one in (paths.endpoints if paths is not None else ())
        )
        self._looked_at = NameSet(HOLDS_KEY | self._also | {PROVIDER_FIELD, _ANTHROPIC_VERSION} | dropped)
        self._is_usual = _is_usual(provider)
        """Whether most requests need at most another key in its one place."""
        self._own: tuple[Secret, Field] | None = None
        """The key that was sent last, and its field."""
        self.is_plain = self.keeps_client_key and not self._headers and not self._query
        """Whether ``native`` gives on every request's fields and target as they are."""

    def native(self, fields: list[Field], target: bytes, key: Secret | None) -> tuple[list[Field], bytes]:
        """A request on the transparent way: its fields, and its absolute URL.

        Without a key of ours the client's stays where it is. With one, the client's is taken off in
        every spelling, wherever it may stand, and what ``drop_headers`` names with it.

        :param target: what comes below the provider's root: path and query, byte for byte.
        :param key: ours; None where there is none, and then no client's is sent if ``keeps_client_key``
            is not true.
        """
        if key is not None or not self.keeps_client_key:
            fields, target = self._with_our_key(fields, target, key, is_inside=self._is_inside(target))
        return self._with_constants(fields, target)

    def unified(
        self, fields: list[Field], target: bytes, model: str, key: Secret | None
    ) -> tuple[list[Field], bytes]:
        """A request of our own ``/v1``: its fields, and its absolute URL.

        Without a key of ours the client's goes on, in the form that the provider wants. Fields of the
        other dialect than the provider's are taken off where the client speaks that one.

        :param target: begins with ``/v1``; the provider's own prefix comes in its place.
        :param model: as the provider calls it; empty if there is none.
        :param key: as for :meth:`native`.
        :raises UnaddressableModel: where a path has to name the model, and cannot.
        """
        if self._is_usual and b"?" not in target:
            usual = self._usual(fields, key)
            if usual is not None:
                return usual, self._root + self._prefix + target[len(_OUR_PREFIX) :]
        path, mark, query = target.partition(b"?")
        target = self._path(path[len(_OUR_PREFIX) :], model)
        if mark:
            target += _without_provider(mark + query)
        speaks_anthropic = first_of(fields, _ANTHROPIC_VERSION) is not None
        is_foreign = speaks_anthropic != (self._dialect == "anthropic")
        fields = [field for field in fields if not _OURS[field[0]]]
        if is_foreign:
            foreign = _FOREIGN[self._dialect]
            fields = [field for field in fields if not field[0].lower().startswith(foreign)]
        if key is not None or not self.keeps_client_key:
            fields, target = self._with_our_key(fields, target, key, is_inside=True)
        elif is_foreign or not speaks_anthropic:
            # Anthropic takes a token (OAuth) as a Bearer and a key in either form: its own clients know
            # which they have, and a token in x-api-key would be refused.
            fields, target = with_key(fields, target, self._credential, None, self._also)
        return self._with_constants(fields, target)

    def _usual(self, fields: list[Field], key: Secret | None) -> list[Field] | None:
        """The fields of a request that has one key at the most, and that as a Bearer; None: of another one.

        It is what the rest of ``unified`` would make of them, in a tenth of its time.
        """
        looked_at = self._looked_at
        special = [field for field in fields if looked_at[field[0]]]
        if len(special) > 1 or (special and special[0][0].lower() != _AUTHORIZATION):
            return None
        if key is None:
            return fields
        own = self._own
        if own is None or own[0] is not key:
            credential = self._credential
            value = credential.prefix + key.reveal()
            own = self._own = key, (credential.name.encode("latin-1"), value.encode("latin-1"))
        kept = [field for field in fields if field is not special[0]] if special else list(fields)
        kept.append(own[1])
        return kept

    def _is_inside(self, target: bytes) -> bool:
        """Whether a target is below ``path_prefix``."""
        prefix = self._prefix
        return target.startswith(prefix) and target[len(prefix) : len(prefix) + 1] in (b"/", b"?", b"")

    def _with_our_key(
        self, fields: list[Field], target: bytes, key: Secret | None, *, is_inside: bool
    ) -> tuple[list[Field], bytes]:
        if key is None:
            return without_keys(fields, target, self._also)
        dropped = self._dropped
        fields = [field for field in fields if not dropped[field[0]]]
        credential = self._credential if is_inside else self._native_credential
        return with_key(fields, target, credential, key, self._also)

    def _with_constants(self, fields: list[Field], target: bytes) -> tuple[list[Field], bytes]:
        lacking = [field for name, field in self._headers if first_of(fields, name) is None]
        if self._query:
            target = _with_parameters(target, self._query)
        return [*fields, *lacking] if lacking else fields, self._root + target

    def _path(self, rest: bytes, model: str) -> bytes:
        if model and rest.strip(b"/") in self._model_endpoints:
            before, after = self._model_prefix
            return b"%b%b%b%b" % (before.encode("ascii"), _segment(model), after.encode("ascii"), rest)
        return self._prefix + rest


def _is_usual(provider: Provider) -> bool:
    credential = provider.credential
    return (
        not (provider.headers or provider.query or provider.model_paths)
        and provider.dialect == "openai"
        and credential.place == "header"
        and credential.name.lower().encode("ascii") == _AUTHORIZATION
        and (provider.has_key or provider.keeps_client_key)
    )


def _segment(model: str) -> bytes:
    """A model's name as one segment of a path."""
    # Servers that read %2F as a slash read %2E as a dot too: no escape would help there.
    if not _DOTS.isdisjoint(model.replace("\\", "/").split("/")):
        raise UnaddressableModel("a model's name that cannot stand in a path")
    return quote(model, safe="", errors="replace").encode("ascii")


def _constant_fields(provider: Provider) -> Iterator[tuple[bytes, Field]]:
    """Each with its name in lower case."""
    for name, value in provider.headers.items():
        yield name.lower().encode("ascii"), (name.encode("ascii"), value.encode("ascii"))


def _parameter(name: str, value: str) -> bytes:
    return f"{name}={quote(value, safe='')}".encode("ascii")


def _with_parameters(target: bytes, parameters: Iterable[tuple[bytes, bytes]]) -> bytes:
    """With those that its query lacks, at its end."""
    path, _, query = target.partition(b"?")
    sent = {_name_of(one) for one in query.split(b"&")}
    lacking = [parameter for name, parameter in parameters if name not in sent]
    if not lacking:
        return target
    return b"%b?%b" % (path, b"&".join([query, *lacking] if query else lacking))


def _without_provider(query: bytes) -> bytes:
    """Of a query with its question mark; of one that has nothing else, nothing is left."""
    parameters = query[1:].split(b"&")
    kept = [one for one in parameters if _name_of(one) != PROVIDER_PARAMETER]
    if len(kept) == len(parameters):
        return query
    return b"?" + b"&".join(kept) if kept else b""


def _name_of(parameter: bytes) -> bytes:
    """As a server reads it."""
    return unquote_to_bytes(parameter.partition(b"=")[0])
