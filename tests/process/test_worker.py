"""A worker does what its parent tells it, once, and leaves connections to its siblings."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.defer import Deferred

from openai_proxy.observe.metrics import Metrics, new_registry
from openai_proxy.process.link import Link, adopt
from openai_proxy.process.upgrade import READY
from openai_proxy.process.worker import DRAIN, END, RETIRE, Worker
from tests.support.operations import FLYING, FakeOperations


class Pair:
    """A worker, and the parent's end of its link."""

    def __init__(self) -> None:
        from twisted.internet import reactor

        ours, theirs = socket.socketpair()
        self.did: list[object] = []
        self.told: list[tuple[str, Any]] = []
        self.gone: Deferred[None] = Deferred()
        self.operations = FakeOperations(Metrics(new_registry()).registry)
        self.link: Link = adopt(reactor, ours.detach(), self._told, lambda: self.gone.callback(None))
        self.worker = Worker(reactor, theirs.detach(), self.operations, self._drain, self._end)

    def _told(self, what: str, argument: Any) -> Any:
        self.told.append((what, argument))
        return [] if what == "in_flight" else None

    def _drain(self, grace_seconds: float | None) -> None:
        self.did.append(grace_seconds)

    def _end(self) -> None:
        self.did.append("end")


async def test_it_drains_once_however_often_it_is_told() -> None:
    """By its parent and by signals, in any order; and is ended once."""
    pair = Pair()
    pair.link.tell(DRAIN, 3)
    pair.link.tell(DRAIN, 5)
    # Answered behind them.
    await pair.link.ask("in_flight")
    pair.worker.drain()
    assert pair.did == [3]
    pair.link.tell(END)
    pair.link.tell(END)
    await pair.link.ask("in_flight")
    assert pair.did == [3, "end"]
    await pair.worker.leave()
    await pair.gone


async def test_it_tells_that_it_serves_and_what_it_counted_last() -> None:
    """The parent has its last numbers before it is gone."""
    pair = Pair()
    pair.operations.flying = [FLYING]
    assert len(await pair.link.ask("in_flight")) == 1
    pair.worker.ready()
    await pair.worker.leave()
    await pair.gone
    (ready, pid), (retire, families) = pair.told
    assert (ready, pid, retire) == (READY, os.getpid(), RETIRE)
    assert "http_requests" in [family[0] for family in families]
    assert not pair.did


async def test_it_drains_when_its_parent_is_gone() -> None:
    """Nobody would end it, and it listens no more than its parent did; it asks nobody then."""
    pair = Pair()
    await pair.link.close()
    left = Deferred.fromCoroutine(_until(lambda: bool(pair.did)))
    await left
    assert pair.did == [None]
    await pair.worker.leave()


async def _until(is_so: Any) -> None:
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    while not is_so():
        await deferLater(reactor, 0)
