"""What is different between two configurations, in lines for their operator. No secret is in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from openai_proxy.config.address import listen_description
from openai_proxy.config.configuration import Configuration
from openai_proxy.config.file import Listener, ListenerTLS
from openai_proxy.config.problems import Place, dotted
from openai_proxy.config.provider import Credential, ModelPaths, Provider, Token
from openai_proxy.config.reader import fields_of, is_section
from openai_proxy.config.routing import Route
from openai_proxy.config.secret import Secret

Change = tuple[Place, str]

_MASKED: Final[frozenset[tuple[type, str]]] = frozenset(
    {(Provider, "headers"), (Provider, "query"), (Token, "command"), (Credential, "prefix")}
)
"""Texts that are no ``Secret``, and can hold one all the same: a key of a gateway before the provider, a
program's argument.
"""


def difference(old: Configuration, new: Configuration) -> list[str]:
    """Each change on a line, with its path, in the order of docs/configuration.md.

    Empty: nothing that has an effect. A secret that is another one behind the same reference is a change;
    what the files hold that a configuration only names (prices, certificates, authorities) is not looked at.
    """
    return [f"{dotted(place)}: {said}" for place, said in _changes(old, new)]


def _changes(old: Configuration, new: Configuration) -> Iterator[Change]:
    for field in fields_of(type(new.file)):
        if field.name == "listeners":
            yield from _of_listeners(old.file.listeners, new.file.listeners)
        elif field.name == "providers":
            yield from _of_providers(old, new)
        elif field.name == "default_provider":
            yield from _between(("default_provider",), old.default_provider, new.default_provider)
        else:
            yield from _between((field.key,), getattr(old.file, field.name), getattr(new.file, field.name))


def _of_listeners(old: tuple[Listener, ...], new: tuple[Listener, ...]) -> Iterator[Change]:
    """By where they listen: another one before it makes no listener another."""
    before = {listen_description(one.address): (number, one) for number, one in enumerate(old)}
    kept = {listen_description(one.address) for one in new}
    for description, (number, one) in before.items():
        if description not in kept:
            yield ("listeners", number), _removed((), one)
    for number, one in enumerate(new):
        known = before.get(listen_description(one.address))
        if known is None:
            yield ("listeners", number), _added((), one)
        else:
            yield from _of_fields(("listeners", number), known[1], one, skipped="address")


def _of_providers(old: Configuration, new: Configuration) -> Iterator[Change]:
    """What the operator has said of each; where that is the same, what has come of it."""
    for name, provider in old.providers.items():
        if name not in new.providers:
            yield ("providers", name), _removed((), provider)
    for name, provider in new.providers.items():
        place: Place = ("providers", name)
        if name not in old.providers:
            yield place, _added((), provider)
            continue
        was, now = old.file.providers.get(name), new.file.providers.get(name)
        changes = [] if was is None or now is None else list(_of_fields(place, was, now))
        yield from changes or _of_fields(place, old.providers[name], provider)


def _between(place: Place, old: Any, new: Any, *, is_masked: bool = False) -> Iterator[Change]:
    if isinstance(new, dict):
        yield from _of_entries(place, old, new, is_masked=is_masked)
    elif is_section(type(old)) and is_section(type(new)):
        yield from _of_fields(place, old, new)
    elif is_section(type(new)):
        yield place, _added(place, new)
    elif is_section(type(old)):
        yield place, _removed(place, old)
    elif old != new or _source(old) != _source(new):
        is_masked = is_masked or _source(old) == _source(new) != ""
        yield place, "changed" if is_masked else f"{_shown(old)} -> {_shown(new)}"


def _of_fields(place: Place, old: Any, new: Any, skipped: str = "") -> Iterator[Change]:
    section: type = type(new)
    for field in fields_of(section):
        was, now = getattr(old, field.name), getattr(new, field.name)
        if isinstance(new, Route) and field.name == "targets":
            was, now = _targets(place, old), _targets(place, new)
        if field.name != skipped:
            is_masked = (section, field.name) in _MASKED
            yield from _between((*place, field.key), was, now, is_masked=is_masked)


def _of_entries(
    place: Place, old: Mapping[str, Any], new: Mapping[str, Any], *, is_masked: bool
) -> Iterator[Change]:
    for name in old:
        if name not in new:
            yield (*place, name), "removed" if is_masked else _removed((*place, name), old[name])
    for name, value in new.items():
        here = (*place, name)
        if name in old:
            yield from _between(here, old[name], value, is_masked=is_masked)
        else:
            yield here, "added" if is_masked else _added(here, value)


def _added(place: Place, value: Any) -> str:
    summary = _SUMMARIES.get(type(value), _nothing)(place, value)
    return f"added ({summary})" if summary else "added"


def _removed(place: Place, value: Any) -> str:
    return _added(place, value).replace("added", "removed", 1)


def _nothing(_: Place, value: Any) -> str:
    return "" if is_section(type(value)) else _shown(value)


def _targets(place: Place, route: Route) -> tuple[str, ...]:
    return tuple(route.named_targets(str(place[-1])))


_SUMMARIES: Final[Mapping[type, Callable[[Place, Any], str]]] = {
    Listener: lambda _, one: listen_description(one.address),
    ListenerTLS: lambda _, one: str(one.certificate),
    Provider: lambda _, one: str(one.base_url),
    Token: lambda _, one: str(one.file or one.command[0]),
    ModelPaths: lambda _, one: str(one.prefix),
    Route: lambda place, one: _shown(_targets(place, one)),
}
"""What is said of a section that is there or not, as a whole."""


def _source(value: Any) -> str:
    return value.source if isinstance(value, Secret) else ""


def _shown(value: Any) -> str:
    """As it could stand in the file; what would not be read as one text of one line, in quotes."""
    if value is None:
        return "not given"
    if isinstance(value, Secret):
        return value.source
    if isinstance(value, tuple):
        return ", ".join(map(_shown, value)) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value)
    is_one = text.isprintable() and text == text.strip() and "," not in text
    return text if text and is_one else repr(text)
