"""Names: one look-up for all who wait for it, and a short memory."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock

from openai_proxy.wire.resolver import CACHE_SECONDS, CachingResolver

ADDRESS = IPv4Address("TCP", "127.0.0.1", 80)


class Reactor(Clock):
    """A clock whose resolver keeps what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.nameResolver = self
        self.asked: list[Any] = []

    def resolveHostName(self, receiver: Any, *_: object) -> None:  # noqa: N802
        self.asked.append(receiver)


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
    resolver = CachingResolver(reactor)
    receivers = [ask(resolver) for _ in range(3)]
    ask(resolver, "other")
    assert len(reactor.asked) == 2
    reactor.asked[0].addressResolved(ADDRESS)
    reactor.asked[0].resolutionComplete()
    assert [receiver.told for receiver in receivers] == [["began", ADDRESS, "complete"]] * 3


def test_what_was_found_is_remembered_for_a_while_and_failures_are_not() -> None:
    """Until its time is over, or no connection came of it."""
    reactor = Reactor()
    resolver = CachingResolver(reactor)
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
