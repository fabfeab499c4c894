"""Names: one look-up for all who wait for it, and a short memory."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from openai_proxy.wire.resolver import CACHE_SECONDS, CachingResolver, ThreadResolver

ADDRESS = IPv4Address("TCP", "127.0.0.1", 80)


class Reactor(Clock):
    """A clock whose resolver keeps what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Any] = []

    def resolveHostName(self, receiver: Any, *_: object) -> None:  # noqa: N802
        self.asked.append(receiver)


def as_resolver(reactor: Reactor) -> Any:
    return reactor


class Receiver:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def resolutionBegan(self, resolution: object) -> None:  # noqa: N802
        self.told.append("began")

    def addressResolved(self, address: object) -> None:  # noqa: N802
        self.told.append(address)

    def resolutionComplete(self) -> None:  # noqa: N802
        self.told.append("complete")


def ask(resolver: CachingResolver, name: str = "host") -> Receiver:
    receiver: Any = Receiver()
    resolver.resolveHostName(receiver, name, 80)
    assert isinstance(receiver, Receiver)
    return receiver


def test_those_who_ask_meanwhile_share_one_look_up() -> None:
    """A slow name takes one thread, however many requests wait for it; each gets the addresses."""
    reactor = Reactor()
    resolver = CachingResolver(reactor, as_resolver(reactor))
    receivers = [ask(resolver) for _ in range(3)]
    ask(resolver, "other")
    assert len(reactor.asked) == 2
    reactor.asked[0].addressResolved(ADDRESS)
    reactor.asked[0].resolutionComplete()
    assert [receiver.told for receiver in receivers] == [["began", ADDRESS, "complete"]] * 3


def test_what_was_found_is_remembered_for_a_while_and_failures_are_not() -> None:
    """Until its time is over, or no connection came of it."""
    reactor = Reactor()
    resolver = CachingResolver(reactor, as_resolver(reactor))
    ask(resolver)
    reactor.asked[0].resolutionComplete()
    ask(resolver)
    assert len(reactor.asked) == 2, "nothing was found the first time"
    reactor.asked[1].addressResolved(ADDRESS)
    reactor.asked[1].resolutionComplete()
    assert ask(resolver).told == ["began", ADDRESS, "complete"]
    resolver.forget("host", 80)
    ask(resolver)
    assert len(reactor.asked) == 3
    reactor.asked[2].addressResolved(ADDRESS)
    reactor.asked[2].resolutionComplete()
    reactor.advance(CACHE_SECONDS)
    ask(resolver)
    assert len(reactor.asked) == 4


class Waiting(Receiver):
    """Can be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.complete: Deferred[list[object]] = Deferred()

    def resolutionComplete(self) -> None:  # noqa: N802
        super().resolutionComplete()
        self.complete.callback(self.told)


def look_up(reactor: Any, name: str) -> Deferred[list[object]]:
    receiver: Any = Waiting()
    ThreadResolver(reactor).resolveHostName(receiver, name, 80)
    complete: Deferred[list[object]] = receiver.complete
    return complete


async def test_the_system_is_asked_in_a_thread() -> None:
    """A name of this machine has its loopback address, with the port that was asked for."""
    from twisted.internet import reactor

    began, *addresses, complete = await look_up(reactor, "localhost")
    assert (began, complete) == ("began", "complete")
    assert {getattr(address, "host", "") for address in addresses} <= {"127.0.0.1", "::1"}
    assert {getattr(address, "port", 0) for address in addresses} == {80}


@pytest.mark.parametrize("name", ["a" * 64 + ".example", "\0", "two..dots", "no-such-name.invalid"])
async def test_a_name_that_is_none_has_no_address(name: str) -> None:
    """Whatever is wrong with it: the look-up ends."""
    from twisted.internet import reactor

    assert await look_up(reactor, name) == ["began", "complete"]


async def test_look_ups_do_not_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred names whose servers do not answer keep neither another name nor the process's end."""
    from twisted.internet import reactor

    answers = threading.Event()

    def getaddrinfo(name: str, *_: object) -> list[Any]:
        assert name == "good" or answers.wait(20)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    try:
        hanging = [look_up(reactor, f"bad-{number}") for number in range(100)]
        assert await look_up(reactor, "good") == ["began", ADDRESS, "complete"]
        assert not any(one.called for one in hanging)
        threads = [thread for thread in threading.enumerate() if thread.name.startswith("look-up bad")]
        assert len(threads) == 100
        assert all(thread.daemon for thread in threads)
    finally:
        answers.set()
    for one in hanging:
        assert await one == ["began", ADDRESS, "complete"]


async def test_no_thread_is_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """The look-up ends with nothing, and nobody waits for it for ever."""
    from twisted.internet import reactor

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    assert await look_up(reactor, "localhost") == ["began", "complete"]
