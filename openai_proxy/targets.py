"""From a configuration to what it leads to: a target for each provider, and the ways there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import Any, Protocol

from twisted.web.iweb import IAgent
from twisted.web.resource import IResource

from openai_proxy.config.configuration import Configuration
from openai_proxy.config.provider import Provider as ConfiguredProvider
from openai_proxy.config.settings import Observation, Settings
from openai_proxy.exchange.exchange import ExchangeContext
from openai_proxy.exchange.gateway import Gateway
from openai_proxy.exchange.model_lists import ModelLists
from openai_proxy.exchange.target import Target
from openai_proxy.observe.metrics import Metrics
from openai_proxy.policy.breaker import Breaker
from openai_proxy.providers.addressing import Addressing
from openai_proxy.providers.configured import provider_of, wants_asking
from openai_proxy.providers.request_rules import RequestRules
from openai_proxy.providers.token_source import KeySource, key_source_of
from openai_proxy.providers.translate.dropped import NAMES
from openai_proxy.providers.translate.translation import Options
from openai_proxy.relay.client import TransparentClient
from openai_proxy.web.relay import Relay
from openai_proxy.web.unified import Unified


class Fetching(Protocol):
    """Something that asks for what is needed before it is."""

    def stop(self) -> None:
        """Ask no more."""


class Wiring:
    """The targets of one daemon, and what leads to them."""

    def __init__(
        self,
        configuration: Configuration,
        settings: Settings,
        agent: IAgent,
        reactor: Any,
        metrics: Metrics,
        before: Wiring | None = None,
    ) -> None:
        """:param before: what of it has not changed is kept: keys, breakers, stickiness."""
        self.configuration = configuration
        self._metrics = metrics
        self._seconds = reactor.seconds
        known = {} if before is None else before.configuration.providers
        unchanged = {name for name, one in configuration.providers.items() if known.get(name) == one}
        self.targets: dict[str, Target] = {
            name: _target(
                name,
                provider,
                settings.observation,
                agent,
                reactor,
                before.targets[name].keys if before is not None and name in unchanged else None,
            )
            for name, provider in configuration.providers.items()
        }
        """By their providers' names, in the order of the file."""
        self.gateway = self._gateway(settings)
        if before is not None:
            self.gateway.take_over(before.gateway, unchanged)
        # Where there is one provider and no route its own list is the answer, byte for byte.
        has_many = len(self.targets) > 1 or bool(configuration.file.models)
        self._lists = ModelLists(self.gateway, reactor) if has_many else None

    def _gateway(self, settings: Settings) -> Gateway:
        file = self.configuration.file
        return Gateway(
            self.targets,
            file.models,
            self.configuration.default_provider,
            file.retry,
            file.breaker,
            file.hedge,
            Random(),
            self._metrics.circuit_changed,
            settings.timeouts,
        )

    def watch(self) -> None:
        """Show its circuits, and make the series of its routes."""
        metrics, file, seconds = self._metrics, self.configuration.file, self._seconds
        for (provider, model), breaker in self.gateway.breakers.items():
            metrics.watch_circuit(provider, model, partial(_state, breaker))
            metrics.watch_rest(provider, model, partial(_rests, breaker, seconds))
        for route in file.models.values():
            metrics.expect_route([target.provider for target in route.targets])
        metrics.know_members(NAMES)
        for configured in self.configuration.providers.values():
            metrics.know_members([*configured.quirks.drop, *configured.quirks.rename, "stream_options"])

    def routes(self, context: ExchangeContext) -> dict[bytes, IResource]:
        """``/v1``, and a transparent way to each provider."""
        routes: dict[bytes, IResource] = {b"v1": Unified(self.gateway, context, self._lists)}
        for name, target in self.targets.items():
            prefix = name.encode("ascii")
            routes[prefix] = Relay(target, b"/" + prefix, context)
        return routes

    @property
    def fetching(self) -> Iterator[Fetching]:
        """What fetches lists and keys, and has to be stopped at its end; some may be another wiring's too."""
        if self._lists is not None:
            yield self._lists
        for target in self.targets.values():
            if target.keys is not None:
                yield target.keys


def _state(breaker: Breaker) -> str:
    return breaker.state.value


def _rests(breaker: Breaker, seconds: Callable[[], float]) -> bool:
    return breaker.rest_seconds(seconds()) > 0


def _target(
    name: str,
    configured: ConfiguredProvider,
    observation: Observation,
    agent: IAgent,
    reactor: Any,
    keys: KeySource | None,
) -> Target:
    if keys is None and configured.has_key:
        keys = key_source_of(name, configured, reactor, os.environ)
    provider = provider_of(name, configured, observation)
    quirks = configured.quirks
    has_rules = quirks.rename or quirks.drop or quirks.strip_stream_options
    return Target(
        provider,
        TransparentClient(agent),
        addressing=Addressing(configured),
        keys=keys,
        rules=RequestRules(quirks) if has_rules else None,
        fixes=quirks if quirks.fixes_answers else None,
        translation=Options(includes_usage=wants_asking(configured), quirks=provider.quirks),
    )
