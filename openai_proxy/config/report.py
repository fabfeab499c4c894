"""What was understood of a configuration, in lines for its operator. No secret is in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from openai_proxy.config.address import is_local
from openai_proxy.config.configuration import Configuration
from openai_proxy.config.provider import Provider
from openai_proxy.config.routing import Route
from openai_proxy.config.settings import Admin, Listen, Settings


def targets(configuration: Configuration) -> list[tuple[str, str]]:
    """Every provider and model that a route leads to, once, in the order of the file."""
    pairs = (
        (target.provider, target.model or name)
        for name, route in configuration.file.models.items()
        for target in route.targets
    )
    return list(dict.fromkeys(pairs))


def circuits(configuration: Configuration) -> list[tuple[str, str]]:
    """Every target that has a breaker: of a provider all that no route names, and each that one names."""
    return [*((name, "") for name in configuration.providers), *targets(configuration)]


def report(configuration: Configuration, settings: Settings, series: tuple[int, int]) -> Iterator[str]:
    """Listeners, providers, routes, what is of the process, series.

    :param settings: the configuration's, with what options have put before them.
    :param series: at the start, and with every target asked once.
    """
    file = configuration.file
    yield f"{configuration.path}: understood"
    yield "listeners:"
    yield from _columns((*_listener(one), _certificate(one)) for one in settings.listen)
    yield from _admin(settings.admin)
    yield f"providers (default: {configuration.default_provider}):"
    yield from _columns(_ways(name, one) for name, one in configuration.providers.items())
    if file.models:
        yield "routes:"
        yield from _columns(
            (name, route.choice, ", ".join(route.named_targets(name)), _patience(route, file.hedge.enabled))
            for name, route in file.models.items()
        )
    yield from _process(settings)
    start, asked = series
    count = len(targets(configuration))
    yield f"metric series: {start} at the start" + (
        f", {asked} when each of {count} targets has answered a chat completion" if count else ""
    )


def _listener(listen: Listen) -> tuple[str, str]:
    """Where it is, and who reaches it."""
    description = listen.description
    return description, "this machine only" if is_local(description) else "whoever can reach it"


def _certificate(listen: Listen) -> str:
    return f"TLS: {listen.certificate}" if listen.certificate else ""


def _admin(admin: Admin) -> Iterator[str]:
    if admin.listen is None:
        yield "admin: no port of its own; /metrics is served to clients, pages to those of this machine"
        return
    if admin.token is not None:
        shown = f"health to anyone, all else by token: {admin.token.source}"
    elif admin.shows_all:
        shown = "all, without a token"
    else:
        shown = "health and metrics only, as others can reach it and there is no `admin.token`"
    yield "admin:"
    yield from _columns([(*_listener(admin.listen), shown, _certificate(admin.listen))])


def _process(settings: Settings) -> Iterator[str]:
    drain, log = settings.drain, settings.log
    yield (
        f"drain: new connections for {drain.grace_seconds:.10g} s more, "
        f"what is in flight for {drain.timeout_seconds:.10g} s"
    )
    yield f"log: {log.format}, {log.level} and above"
    yield f"workers: {settings.workers}"


def _ways(name: str, provider: Provider) -> tuple[str, ...]:
    """What is below ``/name``, and what our ``/v1`` is there."""
    v1 = provider.path_prefix or "/"
    return f"/{name}", str(provider.base_url), f"/v1 is {v1}", f"{provider.dialect} dialect", key_of(provider)


def key_of(provider: Provider) -> str:
    """Where its key comes from: a reference, never the key."""
    if provider.api_key is not None:
        return f"key: {provider.api_key.source}"
    if provider.token is not None:
        return f"token: {provider.token.file or provider.token.command[0]}"
    return "key: the client's" if provider.keeps_client_key else "key: none"


def _patience(route: Route, is_hedged: bool) -> str:
    """What of its limits is its own."""
    limits = msgspec.structs.asdict(route.timeouts)
    said = [f"{name}: {value:g}" for name, value in limits.items() if value is not None]
    if is_hedged if route.hedge is None else route.hedge:
        said.append("hedged")
    return ", ".join(said)


def _columns(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
