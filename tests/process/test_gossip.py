"""What one process of a daemon has seen made, all know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.testing import StringTransport

from openai_proxy.process.gossip import MADE, PORTION, Gossip, Pair
from openai_proxy.process.link import Link


class Kept:
    """A store that forgets nothing."""

    def __init__(self, *pairs: Pair) -> None:
        self.pairs = dict(pairs)
        self.times: list[float] = []

    def learn(self, pairs: Sequence[Pair], now: float) -> None:
        self.pairs.update(pairs)
        self.times.append(now)

    def known(self) -> list[Pair]:
        return list(self.pairs.items())


class Process:
    """One with links to others."""

    def __init__(self, *pairs: Pair) -> None:
        self.store = Kept(*pairs)
        self.gossip = Gossip(self.store, lambda: 7.0)
        self.heard = 0

    def make(self, pair: Pair) -> None:
        """As ``Stickiness`` does it."""
        self.store.pairs.update([pair])
        self.gossip.made([pair])


class Between:
    """A link between two processes, in memory."""

    def __init__(self, one: Process, other: Process) -> None:
        self.ends = [self._end(one), self._end(other)]
        for process, link in zip((one, other), self.ends, strict=True):
            process.gossip.join(link)

    def _end(self, process: Process) -> Link:
        def asked(what: str, argument: Any) -> None:
            assert what == MADE
            process.heard += 1
            process.gossip.heard(link, argument)

        link = Link(asked, lambda: process.gossip.leave(link))
        link.makeConnection(StringTransport())
        return link

    def carry(self) -> bool:
        """What is said to each other now; whether there was any."""
        said = []
        for link in self.ends:
            transport: Any = link.transport
            said.append(transport.value())
            transport.clear()
        self.ends[1].dataReceived(said[0])
        self.ends[0].dataReceived(said[1])
        return any(said)


def settle(*links: Between) -> None:
    """All that anybody has to say; it comes to an end."""
    for _ in range(20):
        if not any([link.carry() for link in links]):
            return
    raise AssertionError("they go on for ever")


def test_what_one_worker_has_seen_the_others_know() -> None:
    """By way of their parent; each is told once, and who told it is not told again."""
    parent, one, two, three = Process(), Process(), Process(), Process()
    links = [Between(parent, worker) for worker in (one, two, three)]
    one.make(("resp_1", "b"))
    two.make(("file-1", "a"))
    settle(*links)
    for process in (parent, one, two, three):
        assert process.store.pairs == {"resp_1": "b", "file-1": "a"}
    assert [process.heard for process in (parent, one, two, three)] == [2, 1, 1, 2]
    assert three.store.times == [7.0, 7.0]


def test_one_that_comes_later_is_told_all() -> None:
    """A worker in place of another one, or a successor; in portions."""
    parent = Process(*((f"file-{number}", "a") for number in range(PORTION + 1)))
    new = Process()
    settle(Between(parent, new))
    assert new.store.pairs == parent.store.pairs
    assert new.heard == 2


def test_successors_and_predecessors_workers_know_the_same() -> None:
    """A chain of parents, each with a worker."""
    before, after, old, new = Process(), Process(), Process(("x", "b")), Process()
    links = [Between(before, old), Between(before, after), Between(after, new)]
    settle(*links)
    assert new.store.pairs == {"x": "b"}
    new.make(("y", "a"))
    settle(*links)
    assert old.store.pairs == {"x": "b", "y": "a"}


def test_a_process_without_a_store_and_a_link_that_is_gone_are_no_trouble() -> None:
    """A daemon without a choice of providers keeps nothing."""
    keeper, empty = Process(("x", "b")), Process()
    empty.gossip = Gossip(None, float)
    link = Between(keeper, empty)
    settle(link)
    link.ends[0].connectionLost()
    keeper.make(("y", "b"))
    link.ends[0].connectionLost()
    assert empty.store.pairs == {}
