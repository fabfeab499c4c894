"""Where a provider's key comes from: the file's own, or a token that is fetched anew before it expires."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, fail
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from openai_proxy.config.provider import Provider
from openai_proxy.config.secret import Secret
from openai_proxy.providers.token_fetch import Fetch, TokenUnavailable, fetch_of

FETCH_SECONDS: Final = 30.0
"""How long one fetch may take."""
AHEAD: Final = 0.8
"""So much of ``refresh_seconds`` a token is used before the next one is fetched, beside the traffic."""
RETRY_SECONDS: Final = 5.0
"""No fetch so soon after one that failed: each request would begin a process."""
EXPIRE_SECONDS: Final = 10.0
"""Tokens are thrown away no more often: an account that is locked refuses every one."""


class KeySource(Protocol):
    """Gives the key that a provider's requests get."""

    def current(self) -> Secret | Deferred[Secret] | None:
        """The key; None where there is none of ours.

        A Deferred where it has to be fetched first: fails with :class:`TokenUnavailable`. To cancel it
        is to stop waiting; the fetch goes on for others.
        """

    def expire(self, key: Secret) -> None:
        """The provider refused it (401): if it is still the current one, another is fetched next time."""

    def stop(self) -> None:
        """Fetch no more; whoever waits is told that there is none."""


class FixedKey:
    """A key that stays what it is, or none."""

    def __init__(self, key: Secret | None) -> None:
        self._key = key

    def current(self) -> Secret | None:
        """At once."""
        return self._key

    def expire(self, key: Secret) -> None:
        """Nothing: there is no other."""

    def stop(self) -> None:
        """Nothing to stop."""


class FetchedKey:
    """A key that expires. It is fetched when a request wants one: an idle daemon asks nobody.

    One fetch at a time, for all who wait. From ``AHEAD`` on the next is fetched while the old one is
    used; if that fails, the old one is used until ``refresh_seconds`` are over.
    """

    _log = Logger()

    def __init__(self, provider: str, fetch: Fetch, refresh_seconds: float, clock: IReactorTime) -> None:
        """``provider``: its name, for the log."""
        self._provider = provider
        self._fetch = fetch
        self._refresh_seconds = refresh_seconds
        self._clock = clock
        self._key: Secret | None = None
        self._asked_at = -math.inf
        """When the fetch of the key, or the one under way, began: it may be as old as that."""
        self._key_at = -math.inf
        self._failed_at = -math.inf
        self._expired_at = -math.inf
        self._reason = "stopped"
        self._is_stopped = False
        self._fetching: Deferred[Any] | None = None
        self._waiting: list[Deferred[Secret]] = []

    def current(self) -> Secret | Deferred[Secret]:
        """See :class:`KeySource`."""
        now = self._clock.seconds()
        age_seconds = now - self._key_at
        may_fetch = not self._is_stopped and now - self._failed_at >= RETRY_SECONDS
        key = self._key
        if key is not None and age_seconds < self._refresh_seconds:
            if age_seconds >= AHEAD * self._refresh_seconds and self._fetching is None and may_fetch:
                self._begin(now)
            return key
        if self._fetching is None and not may_fetch:
            return fail(TokenUnavailable(self._reason))
        waiter: Deferred[Secret] = Deferred(self._left)
        self._waiting.append(waiter)
        if self._fetching is None:
            self._begin(now)
        return waiter

    def expire(self, key: Secret) -> None:
        """See :class:`KeySource`. At most once in ``EXPIRE_SECONDS``."""
        now = self._clock.seconds()
        if key == self._key and now - self._expired_at >= EXPIRE_SECONDS:
            self._key = None
            self._expired_at = now

    def stop(self) -> None:
        """See :class:`KeySource`."""
        self._is_stopped = True
        self._reason = "stopped"
        self._key = None
        if self._fetching is not None:
            self._fetching.cancel()

    def _begin(self, now: float) -> None:
        self._asked_at = now
        fetching = self._fetching = self._fetch()
        fetching.addTimeout(FETCH_SECONDS, self._clock)
        fetching.addCallbacks(self._fetched, self._failed)

    def _fetched(self, key: Secret) -> None:
        self._fetching = None
        self._key, self._key_at = key, self._asked_at
        self._tell(lambda waiter: waiter.callback(key))

    def _failed(self, failure: Failure) -> None:
        self._fetching = None
        if not self._is_stopped:
            self._failed_at = self._clock.seconds()
            self._reason = _reason_of(failure)
            # No failure and no text of one that is not ours: either may have the output in it.
            self._log.warn(
                "No new key for {provider}: {reason}", provider=self._provider, reason=self._reason
            )
        self._tell(lambda waiter: waiter.errback(TokenUnavailable(self._reason)))

    def _tell(self, tell: Callable[[Deferred[Secret]], None]) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            # One that is told may end another's request.
            if not waiter.called:
                tell(waiter)

    def _left(self, waiter: Deferred[Secret]) -> None:
        if waiter in self._waiting:
            self._waiting.remove(waiter)


def _reason_of(failure: Failure) -> str:
    if failure.check(TokenUnavailable):
        return str(failure.value)
    if failure.check(TimeoutError, CancelledError):
        return f"it took more than {FETCH_SECONDS:.0f} seconds"
    return type(failure.value).__name__


def key_source_of(name: str, provider: Provider, reactor: Any, environment: Mapping[str, str]) -> KeySource:
    """Where the keys of a configured provider come from.

    :param reactor: with time, processes and threads.
    :param environment: what a command gets of it: see ``token_fetch.COMMAND_VARIABLES``.
    """
    if provider.token is None:
        return FixedKey(provider.api_key)
    fetch = fetch_of(provider.token, reactor, environment)
    return FetchedKey(name, fetch, provider.token.refresh_seconds, reactor)
