"""What a daemon is, in a few lines for its log when it starts. No secret is in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from openai_proxy.config.address import is_local
from openai_proxy.config.settings import Listen, Settings

if TYPE_CHECKING:
    from openai_proxy.config.configuration import Configuration


def started(settings: Settings, configuration: Configuration | None) -> Iterator[str]:
    """Who can reach it, who sees what of it, and whom it asks with whose key.

    :param configuration: None: there is no file.
    """
    where = ", ".join(f"{one.description} ({_reach(one)})" for one in settings.listen)
    workers = f"; {settings.workers} workers" if settings.workers > 1 else ""
    yield f"Clients: {where}{workers}"
    yield _watching(settings)
    yield "Providers: " + ", ".join(_providers(settings, configuration))
    if settings.tracing is not None:
        yield f"Traces: to {settings.tracing.endpoint or 'where the environment says (OTEL_...)'}"


def _reach(listen: Listen) -> str:
    tls = ", TLS" if listen.certificate is not None or listen.description.startswith("ssl:") else ""
    return ("this machine only" if is_local(listen.description) else "whoever can reach it") + tls


def _watching(settings: Settings) -> str:
    admin = settings.admin.listen
    if admin is None:
        return "Metrics: to clients, at /metrics; pages: to this machine only"
    if settings.admin.token is not None:
        return f"Metrics and pages: {admin.description} ({_reach(admin)}), with a token"
    what = "Metrics and pages" if is_local(admin.description) else "Metrics, and no pages without a token"
    return f"{what}: {admin.description} ({_reach(admin)})"


def _providers(settings: Settings, configuration: Configuration | None) -> Iterator[str]:
    if configuration is None:
        yield f"openai {settings.upstream} (key: the client's)"
    else:
        # What only a file asks for is memory that a daemon without one is spared.
        from openai_proxy.config.report import key_of

        for name, provider in configuration.providers.items():
            yield f"{name} {provider.base_url} ({key_of(provider)})"
    if settings.mock:
        yield "mock (no key)"
