"""What the parts of a file are together: names that must exist, keys that must stay where they belong."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from openai_proxy.config.address import (
    admin_description,
    is_local,
    is_tls,
    listen_description,
    same_place,
)
from openai_proxy.config.file import Admin, File, ListenerTLS
from openai_proxy.config.problems import Place, did_you_mean, dotted
from openai_proxy.config.provider import Provider, by_own_url, resolved
from openai_proxy.config.reader import Reader
from openai_proxy.config.routing import Route

RESERVED = frozenset(
    {"v1", "mock", "metrics", "healthz", "readyz", "inflight", "events", "-", "other", "none"}
)
"""Paths and labels of our own, which no provider can be called."""

_LOCATION = ("like", "base_url", "path_prefix", "parameters")


class References:
    """Checks one file that has been read, and tells its reader what is wrong."""

    def __init__(self, file: File, reader: Reader, catalogue: Mapping[str, Provider]) -> None:
        self._file = file
        self._reader = reader
        self._catalogue = catalogue
        # With those that have a problem of their own: one that is there is not missing.
        self._names = reader.keys_at(("providers",))

    def providers(self) -> dict[str, Provider]:
        """The providers as they are to be used; those with a problem are left out."""
        found: dict[str, Provider] = {}
        for name, provider in self._file.providers.items():
            place: Place = ("providers", name)
            if name in RESERVED:
                self._reader.tell(place, "a name of the daemon's own: call it something else")
            base = self._catalogue.get(provider.like or name)
            if self._is_given(place, "base_url") and not self._is_given(place, "path_prefix"):
                provider = by_own_url(provider)
            self._check_origin(name, provider, base)
            self._check_parameters(provider, base, place)
            if not all(self._reader.is_clean((*place, key)) for key in _LOCATION):
                continue
            if provider.base_url is None:
                continue
            try:
                found[name] = resolved(provider, base, name)
            except ValueError as error:
                self._reader.tell((*place, "base_url"), str(error))
        return found

    def _is_given(self, place: Place, key: str) -> bool:
        return (*place, key) in self._reader.lines

    def _check_origin(self, name: str, provider: Provider, base: Provider | None) -> None:
        place: Place = ("providers", name)
        if provider.like is not None and base is None:
            near = did_you_mean(provider.like, self._catalogue)
            self._reader.tell((*place, "like"), f"the catalogue has no {provider.like!r}{near}")
        elif base is None and provider.base_url is None and self._reader.is_clean((*place, "base_url")):
            near = did_you_mean(name, self._catalogue)
            self._reader.tell(
                place, f"the catalogue has no {name!r}: `base_url` is wanted, or `like` one that it has{near}"
            )

    def _check_parameters(self, provider: Provider, base: Provider | None, place: Place) -> None:
        wanted = provider.wanted_parameters
        for name in sorted(wanted - provider.parameters.keys()):
            self._reader.tell((*place, "parameters", name), "is wanted")
        # What an operator's own URL has made needless is not wrong.
        known = wanted | (base.wanted_parameters if base is not None else frozenset())
        for name in sorted(provider.parameters.keys() - known):
            self._reader.tell(
                (*place, "parameters", name), f"there is no such parameter{did_you_mean(name, known)}"
            )

    def default_provider(self) -> str:
        """Who gets what names no model."""
        given = self._file.default_provider
        if given is not None:
            if given not in self._names:
                self._reader.tell(("default_provider",), self._no_provider(given))
            return given
        if len(self._names) > 1 and "openai" not in self._names:
            names = ", ".join(sorted(self._names))
            self._reader.tell(("default_provider",), f"is wanted, as there are several: one of {names}")
        return self._names[0] if len(self._names) == 1 else "openai"

    def routes(self) -> None:
        """Each target's provider is there; no key can reach another provider than its own."""
        for name, route in self._file.models.items():
            place: Place = ("models", name)
            head = name.partition("/")[0]
            if "/" in name and head in self._names:
                self._reader.tell(place, f"names a model of the provider {head!r}, which needs no route")
            for number, target in enumerate(route.targets):
                if target.provider not in self._names:
                    self._reader.tell(
                        (*place, "targets", number, "provider"), self._no_provider(target.provider)
                    )
            if self._reader.is_clean(place):
                self._check_targets(name, route, place)

    def _check_targets(self, name: str, route: Route, place: Place) -> None:
        seen: set[tuple[str, str]] = set()
        for number, target in enumerate(route.targets):
            key = (target.provider, target.model or name)
            if key in seen:
                self._reader.tell((*place, "targets", number), "the same provider and model as one before it")
            seen.add(key)
        providers = {target.provider for target in route.targets}
        sent = sorted(
            one
            for one in providers
            if one in self._file.providers and self._file.providers[one].keeps_client_key
        )
        if len(providers) > 1 and sent:
            self._reader.tell(
                (*place, "targets"),
                f"several providers, and a client's own key would go to each of {', '.join(sent)}: "
                "give these an `api_key`, or `client_key: drop`",
            )

    def listeners(self) -> None:
        """Keys of ours are not for everybody who can reach a port, unless the operator says so."""
        ours = any(
            ("providers", name, key) in self._reader.lines
            for name in self._names
            for key in ("api_key", "token")
        )
        seen: dict[str, str] = {}
        for number, listener in enumerate(self._file.listeners):
            place: Place = ("listeners", number)
            address = self._address(place, listener.address, listener.tls, listen_description, seen)
            if address and ours and not listener.allow_anonymous and not is_local(address):
                self._reader.tell(
                    place,
                    "anyone who reaches this port could use the keys of `providers`: listen on this machine "
                    "alone (tcp:8080:interface=127.0.0.1), or say `allow_anonymous: true`",
                )
        self._admin(self._file.admin, seen)

    def _admin(self, admin: Admin, seen: dict[str, str]) -> None:
        if admin.address is not None:
            self._address(("admin",), admin.address, admin.tls, admin_description, seen)
        elif admin.token is not None or admin.tls is not None:
            self._reader.tell(
                ("admin", "address"),
                "is wanted: without a port of its own there is nobody to ask for a token",
            )

    def _address(
        self,
        place: Place,
        address: str,
        tls: ListenerTLS | None,
        describe: Callable[[str], str],
        seen: dict[str, str],
    ) -> str | None:
        """Its description, if it is one; ``seen`` has those before it, each with its place."""
        try:
            description = describe(address)
        except ValueError as error:
            self._reader.tell((*place, "address"), str(error))
            return None
        for other, where in seen.items():
            if same_place(description, other):
                self._reader.tell((*place, "address"), f"cannot be listened at beside {where} ({other})")
        seen.setdefault(description, dotted(place))
        if tls is not None and is_tls(description):
            self._reader.tell((*place, "tls"), "`address` says `ssl:` as well: one of them is wanted")
        return description

    def _no_provider(self, name: str) -> str:
        if name in self._catalogue:
            return f"{name!r} is in the catalogue but not among `providers`: add `{name}: {{}}` there"
        return f"there is no provider {name!r}{did_you_mean(name, self._names)}"


def check(file: File, reader: Reader, catalogue: Mapping[str, Provider]) -> tuple[dict[str, Provider], str]:
    """All checks: the providers ready for use, and the name of the default one."""
    references = References(file, reader, catalogue)
    providers = references.providers()
    default = references.default_provider()
    references.routes()
    references.listeners()
    return providers, default
