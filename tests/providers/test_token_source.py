"""Keys that expire: when they are fetched, who waits, what happens when they cannot be had."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher

from openai_proxy.config.provider import Provider, Token
from openai_proxy.config.secret import Secret
from openai_proxy.providers.token_fetch import TokenUnavailable
from openai_proxy.providers.token_source import (
    EXPIRE_SECONDS,
    FETCH_SECONDS,
    RETRY_SECONDS,
    FetchedKey,
    FixedKey,
    KeySource,
    key_source_of,
)
from openai_proxy.wire.errors import UpstreamError

REFRESH_SECONDS = 100.0
FIRST = Secret("sk-canary-1", "file:/t")
SECOND = Secret("sk-canary-2", "file:/t")


class Source:
    """A key source, and the fetches that it began."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.fetches: list[Deferred[Secret]] = []
        self.cancelled = 0
        self.key = FetchedKey("vertex", self._fetch, REFRESH_SECONDS, self.clock)

    def _fetch(self) -> Deferred[Secret]:
        self.fetches.append(Deferred(self._cancel))
        return self.fetches[-1]

    def _cancel(self, _: Deferred[Secret]) -> None:
        self.cancelled += 1

    def wait(self) -> Deferred[Secret]:
        """What ``current`` gives where the key has to be fetched."""
        waiter = self.key.current()
        assert isinstance(waiter, Deferred)
        return waiter

    def fill(self, key: Secret = FIRST) -> None:
        """With a key that is fetched now."""
        waiter = self.wait()
        self.fetches[-1].callback(key)
        assert result_of(waiter) is key


def result_of(deferred: Deferred[Any]) -> Any:
    """What it has fired with; a failure's error."""
    results: list[Any] = []
    deferred.addCallbacks(results.append, lambda failure: results.append(failure.value))
    assert results, "it has not fired"
    return results[0]


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What is logged."""
    events: list[str] = []
    observer = cast(ILogObserver, lambda event: events.append(formatEvent(event)))
    globalLogPublisher.addObserver(observer)
    yield events
    globalLogPublisher.removeObserver(observer)


@pytest.mark.parametrize("key", [FIRST, None])
def test_a_key_of_the_file_is_there_at_once(key: Secret | None) -> None:
    """And stays: there is no other, whatever the provider says of it."""
    source: KeySource = key_source_of("openai", Provider(api_key=key), Clock(), {})
    assert isinstance(source, FixedKey)
    assert source.current() is key
    source.expire(FIRST)
    source.stop()
    assert source.current() is key


def test_nothing_is_fetched_before_a_request_wants_it() -> None:
    """A provider that nobody asks costs no process."""
    clock = Clock()
    for token in (Token(command=("/bin/false",)), Token(file="/none")):
        source = key_source_of("vertex", Provider(token=token), clock, {})
        assert isinstance(source, FetchedKey)
    assert not clock.getDelayedCalls()


def test_one_fetch_serves_all_who_wait(source: Source) -> None:
    """Whoever leaves meanwhile takes it from nobody; then the key is there at once."""
    first, second, third = source.wait(), source.wait(), source.wait()
    second.cancel()
    assert isinstance(result_of(second), CancelledError)
    assert len(source.fetches) == 1
    source.fetches[0].callback(FIRST)
    assert [result_of(first), result_of(third)] == [FIRST, FIRST]
    assert source.key.current() is FIRST
    assert source.cancelled == 0
    assert not source.clock.getDelayedCalls()


def test_one_that_is_told_may_end_another(source: Source) -> None:
    """Its request is gone then, and nobody is told twice."""
    first, second = source.wait(), source.wait()
    first.addCallback(lambda _: second.cancel())
    source.fetches[0].callback(FIRST)
    assert isinstance(result_of(second), CancelledError)
    assert source.key.current() is FIRST


def test_the_next_is_fetched_while_the_old_is_used(source: Source) -> None:
    """Nobody waits for it, and none is fetched before its time or twice."""
    source.fill()
    source.clock.advance(79)
    assert source.key.current() is FIRST
    assert len(source.fetches) == 1
    source.clock.advance(1)
    assert [source.key.current() for _ in range(3)] == [FIRST, FIRST, FIRST]
    assert len(source.fetches) == 2
    source.fetches[1].callback(SECOND)
    assert source.key.current() is SECOND
    source.clock.advance(79)
    assert source.key.current() is SECOND
    assert len(source.fetches) == 2


def test_a_token_is_as_old_as_the_fetch_that_brought_it(source: Source) -> None:
    """It may have been made when its fetch began."""
    waiter = source.wait()
    source.clock.advance(20)
    source.fetches[0].callback(FIRST)
    assert result_of(waiter) is FIRST
    source.clock.advance(80)
    source.fill(SECOND)


def test_past_its_time_a_token_is_not_used(source: Source) -> None:
    """The request waits for the next."""
    source.fill()
    source.clock.advance(REFRESH_SECONDS)
    waiter = source.wait()
    source.fetches[1].callback(SECOND)
    assert result_of(waiter) is SECOND


def test_a_failed_refresh_leaves_the_old_one(source: Source, lines: list[str]) -> None:
    """Until its time is over; it is tried again, not at once, and each failure is one line."""
    source.fill()
    source.clock.advance(80)
    assert source.key.current() is FIRST
    source.fetches[1].errback(TokenUnavailable("the command failed with status 3"))
    assert source.key.current() is FIRST
    assert len(source.fetches) == 2
    source.clock.advance(RETRY_SECONDS)
    assert source.key.current() is FIRST
    source.fetches[2].errback(ValueError("sk-canary is no token"))
    source.clock.advance(100)
    assert isinstance(source.wait(), Deferred)
    assert len(source.fetches) == 4
    source.fetches[3].callback(SECOND)
    assert source.key.current() is SECOND
    assert lines == [
        "No new key for vertex: the command failed with status 3",
        "No new key for vertex: ValueError",
    ]


def test_a_failed_first_fetch_fails_the_attempt(source: Source, lines: list[str]) -> None:
    """Every attempt that waits, and those right behind it without a further fetch."""
    waiters = [source.wait(), source.wait()]
    source.fetches[0].errback(ValueError("sk-canary"))
    waiters.append(source.wait())
    for waiter in waiters:
        error = result_of(waiter)
        assert isinstance(error, TokenUnavailable)
        assert isinstance(error, UpstreamError)
        assert str(error) == "ValueError"
    assert len(source.fetches) == len(lines) == 1
    source.clock.advance(RETRY_SECONDS)
    source.fill()


def test_a_fetch_has_its_time(source: Source, lines: list[str]) -> None:
    """Then it is cancelled, and whoever waits is told."""
    waiter = source.wait()
    source.clock.advance(FETCH_SECONDS)
    assert str(result_of(waiter)) == "it took more than 30 seconds"
    assert source.cancelled == 1
    assert lines == ["No new key for vertex: it took more than 30 seconds"]
    assert not source.clock.getDelayedCalls()


def test_a_refused_token_is_fetched_anew(source: Source) -> None:
    """Not one that is no longer the current, and not again and again."""
    source.fill()
    source.key.expire(SECOND)
    assert source.key.current() is FIRST
    source.key.expire(FIRST)
    source.fill(SECOND)
    source.key.expire(FIRST)
    source.key.expire(SECOND)
    assert source.key.current() is SECOND
    source.clock.advance(EXPIRE_SECONDS)
    source.key.expire(SECOND)
    source.fill()
    assert len(source.fetches) == 3


def test_a_refused_token_is_not_waited_for_twice(source: Source) -> None:
    """If the next is on its way already, it is that one."""
    source.fill()
    source.clock.advance(80)
    assert source.key.current() is FIRST
    source.key.expire(FIRST)
    waiter = source.wait()
    assert len(source.fetches) == 2
    source.fetches[1].callback(SECOND)
    assert result_of(waiter) is SECOND


def test_stopped(source: Source, lines: list[str]) -> None:
    """The fetch is cancelled, whoever waits is told, nothing is left, and there is no key any more."""
    waiter = source.wait()
    source.key.stop()
    assert isinstance(result_of(waiter), TokenUnavailable)
    assert source.cancelled == 1
    assert isinstance(result_of(source.wait()), TokenUnavailable)
    source.key.stop()
    assert len(source.fetches) == 1
    assert not source.clock.getDelayedCalls()
    assert not lines


def test_a_fetch_that_has_failed_before_it_returns(source: Source) -> None:
    """Its waiter is told as any other."""
    key = FetchedKey("vertex", lambda: fail(TokenUnavailable("no")), REFRESH_SECONDS, source.clock)
    waiter = key.current()
    assert isinstance(waiter, Deferred)
    assert str(result_of(waiter)) == "no"


def test_a_source_does_not_show_its_key(source: Source) -> None:
    """Nor what it has fetched."""
    source.fill()
    shown = repr(source.key) + repr(vars(source.key)) + repr(vars(FixedKey(FIRST)))
    assert "canary" not in shown
