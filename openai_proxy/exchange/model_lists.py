"""The lists of all providers: asked for at once, and those that are nobody's own kept for a while."""

from __future__ import annotations

import math
from typing import Final

from msgspec import Struct
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from openai_proxy.exchange.gateway import Gateway
from openai_proxy.exchange.model_fetch import fetched_models
from openai_proxy.exchange.model_list import ModelList
from openai_proxy.exchange.target import Target
from openai_proxy.wire.errors import UpstreamError
from openai_proxy.wire.fields import Field

FRESH_SECONDS: Final = 60.0
"""For so long nobody asks the provider again."""
KEPT_SECONDS: Final = 600.0
"""For so long a list stands in for one that cannot be had."""
RETRY_SECONDS: Final = 10.0
"""No fetch so soon after one that failed: each client would wait for it in vain."""

Listed = ModelList | UpstreamError
"""A provider's list, or why there is none."""


class CachedModels:
    """The list of a provider whose key is not the client's: one for all.

    It is fetched when somebody asks: an idle daemon asks nobody. One fetch at a time, for all who wait.
    """

    _log = Logger()

    def __init__(self, target: Target, clock: IReactorTime) -> None:
        self._target = target
        self._clock = clock
        self._list: ModelList | None = None
        self._listed_at = self._failed_at = -math.inf
        self._error = UpstreamError("stopped")
        self._is_stopped = False
        self._fetching: Deferred[ModelList] | None = None
        self._waiting: list[Deferred[Listed]] = []

    def current(self) -> Deferred[Listed]:
        """Never fails, unless it is cancelled; that leaves the fetch as it is."""
        now = self._clock.seconds()
        if self._list is not None and now - self._listed_at < FRESH_SECONDS:
            return succeed(self._list)
        if self._fetching is None and (self._is_stopped or now - self._failed_at < RETRY_SECONDS):
            return succeed(self._instead(now))
        waiter: Deferred[Listed] = Deferred()
        self._waiting.append(waiter)
        if self._fetching is None:
            fetching = self._fetching = fetched_models(self._target, self._clock)
            fetching.addCallbacks(self._fetched, self._failed)
        return waiter

    def stop(self) -> None:
        """Fetch no more; whoever waits has what there is."""
        self._is_stopped = True
        if self._fetching is not None:
            self._fetching.cancel()

    def _instead(self, now: float) -> Listed:
        if self._list is not None and now - self._listed_at < KEPT_SECONDS:
            return self._list
        self._list = None
        return self._error

    def _fetched(self, models: ModelList) -> None:
        self._list, self._listed_at = models, self._clock.seconds()
        self._tell(models)

    def _failed(self, failure: Failure) -> None:
        now = self._failed_at = self._clock.seconds()
        if not self._is_stopped:
            self._error = self._told(failure)
        self._tell(self._instead(now))

    def _told(self, failure: Failure) -> UpstreamError:
        name, error = self._target.provider.name, failure.value
        if isinstance(error, UpstreamError):
            reason = str(error) or type(error).__name__
            self._log.warn("No list of models of {provider}: {reason}", provider=name, reason=reason)
            # Without the frames that it was raised in: they hold the key.
            return error.with_traceback(None)
        self._log.failure("The list of models of {provider} failed", failure, provider=name)
        return UpstreamError("failed")

    def _tell(self, listed: Listed) -> None:
        self._fetching = None
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(listed)


class Gathered(Struct, frozen=True):
    """What one client is to be told; in the order of the providers."""

    lists: tuple[ModelList, ...]
    missing: dict[str, UpstreamError]
    """Providers that were asked and have no list now, by their names."""


class ModelLists:
    """One daemon's."""

    def __init__(self, gateway: Gateway, clock: IReactorTime) -> None:
        self.gateway = gateway
        self._clock = clock
        self._cached = {
            name: CachedModels(target, clock)
            for name, target in gateway.targets.items()
            if target.addressing is not None and not target.addressing.keeps_client_key
        }

    def gathered(self, fields: tuple[Field, ...], query: bytes) -> Deferred[Gathered]:
        """All lists that a client can have. To cancel it is to stop waiting.

        Of the providers that get the client's own key only the default one is asked: a key is for no other.

        :param fields: of the client's request, and its query, both with its key.
        """
        return Deferred.fromCoroutine(self._gathered(fields, query))

    async def _gathered(self, fields: tuple[Field, ...], query: bytes) -> Gathered:
        default = self.gateway.default
        own: Deferred[ModelList] | None = None
        if default.provider.name not in self._cached:
            own = fetched_models(default, self._clock, fields, query)
        waiting = {name: cached.current() for name, cached in self._cached.items()}
        listed: dict[str, Listed] = {}
        if own is not None:
            # First: a client that leaves cancels what is waited for, and nobody else wants this one.
            listed[default.provider.name] = await _or_error(own)
        for name, waiter in waiting.items():
            listed[name] = await waiter
        in_order = [(name, listed[name]) for name in self.gateway.targets if name in listed]
        return Gathered(
            tuple(one for _, one in in_order if isinstance(one, ModelList)),
            {name: one for name, one in in_order if isinstance(one, UpstreamError)},
        )

    def stop(self) -> None:
        """Fetch no more."""
        for cached in self._cached.values():
            cached.stop()


async def _or_error(fetching: Deferred[ModelList]) -> Listed:
    try:
        return await fetching
    except UpstreamError as error:
        return error
