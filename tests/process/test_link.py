"""Two processes of one daemon understand each other, and know when the other one is gone."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec import Struct
from twisted.internet.defer import Deferred

from openai_proxy.process.link import Link, LinkEnded, LinkFailed, adopt


class Point(Struct, array_like=True):
    """Something to send."""

    x: int
    y: float


def echo(what: str, argument: Any) -> Any:
    """Says what it was asked for."""
    return [what, argument]


def nothing() -> None:
    """Nobody wants to know."""


class Pair:
    """Two links to each other, in one process."""

    def __init__(self, answer: Callable[[str, Any], Any] = echo) -> None:
        from twisted.internet import reactor

        ours, theirs = socket.socketpair()
        self.ends: list[str] = []
        self.here_ended: Deferred[None] = Deferred()
        self.here = adopt(reactor, ours.detach(), echo, self._here_ended)
        self.there = adopt(reactor, theirs.detach(), answer, lambda: self.ends.append("there"))

    def _here_ended(self) -> None:
        self.ends.append("here")
        self.here_ended.callback(None)

    async def close(self) -> None:
        """Both."""
        await self.here.close()
        await self.there.close()


async def test_both_sides_ask_and_are_answered() -> None:
    """What is asked is answered, in both directions at once."""
    pair = Pair()
    asked, other = pair.here.ask("time", 1), pair.there.ask("place")
    assert await asked == ["time", 1]
    assert await other == ["place", None]
    await pair.close()
    assert pair.ends in ([], ["there"])


async def test_structs_go_over_it() -> None:
    """An answer is decoded as the type that was named; one of another type fails."""
    pair = Pair(lambda what, argument: [Point(1, 2.5), Point(3, float("inf"))])
    assert await pair.here.ask("points", kind=list[Point]) == [Point(1, 2.5), Point(3, float("inf"))]
    with pytest.raises(msgspec.ValidationError):
        await pair.here.ask("points", kind=int)
    await pair.close()


async def test_answers_are_told_apart_though_they_come_in_another_order() -> None:
    """An answer that takes its time goes to who asked for it."""
    waiting: list[Deferred[str]] = []

    def answer(what: str, argument: Any) -> Any:
        if what == "now":
            return "now"
        waiting.append(Deferred())
        return waiting[-1]

    pair = Pair(answer)
    later = [pair.here.ask("later") for _ in range(2)]
    assert await pair.here.ask("now") == "now"
    waiting[1].callback("second")
    assert await later[1] == "second"
    waiting[0].callback("first")
    assert await later[0] == "first"
    await pair.close()


async def test_an_exception_is_told_as_its_text() -> None:
    """Who asks learns why it failed, and the link goes on."""

    def answer(what: str, argument: Any) -> Any:
        if what == "bad":
            raise ValueError("no such thing")
        return what

    pair = Pair(answer)
    with pytest.raises(LinkFailed, match=r"^no such thing$"):
        await pair.here.ask("bad")
    pair.here.tell("bad")
    assert await pair.here.ask("good") == "good"
    await pair.close()


async def test_what_is_told_comes_before_what_is_asked_later() -> None:
    """Messages keep their order, and what was told before a close arrives."""
    told: list[Any] = []
    last: Deferred[None] = Deferred()

    def answer(what: str, argument: Any) -> Any:
        told.append((what, argument))
        if what == "last":
            last.callback(None)
        return len(told)

    pair = Pair(answer)
    pair.here.tell("first", [1])
    assert await pair.here.ask("second") == 2
    pair.here.tell("last", "x" * (1 << 20))
    closed = pair.here.close()
    await last
    await closed
    assert told == [("first", [1]), ("second", None), ("last", "x" * (1 << 20))]
    await pair.close()


async def test_the_end_of_the_other_side_fails_what_is_asked() -> None:
    """A process that dies leaves nobody waiting, and that is said once."""
    pair = Pair(lambda what, argument: Deferred())
    asked = pair.here.ask("for ever")
    pair.there.transport.abortConnection()  # type: ignore[union-attr]
    with pytest.raises(LinkEnded):
        await asked
    await pair.here_ended
    with pytest.raises(LinkEnded):
        await pair.here.ask("again")
    pair.here.tell("nobody")
    await pair.here.close()
    await pair.close()
    assert pair.ends.count("here") == 1


async def test_an_ask_that_is_given_up_is_forgotten() -> None:
    """An answer that comes too late does no harm."""
    late: list[Deferred[str]] = []

    def answer(what: str, argument: Any) -> Any:
        if what == "slow":
            late.append(Deferred())
            return late[0]
        return what

    pair = Pair(answer)
    slow = pair.here.ask("slow")
    slow.addErrback(lambda _: None)
    await pair.here.ask("quick")
    slow.cancel()
    late[0].callback("too late")
    assert await pair.here.ask("next") == "next"
    await pair.close()


async def test_what_is_not_ours_ends_the_link() -> None:
    """Bytes that are no message are not guessed at."""
    pair = Pair()
    pair.there.sendString(b"\xc1")
    await pair.here_ended
    await pair.close()


def test_a_link_without_a_connection_asks_nobody() -> None:
    """Before it is connected it can be closed."""
    closed: list[None] = []
    Link(echo, nothing).close().addCallback(closed.append)
    assert closed == [None]
