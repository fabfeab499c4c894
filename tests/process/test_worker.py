"""A worker does what its parent tells it, once, and leaves connections to its siblings."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol

from openai_proxy.config.settings import Listen
from openai_proxy.observe.metrics import Metrics, new_registry
from openai_proxy.process.link import Link, adopt
from openai_proxy.process.listening import Listeners
from openai_proxy.process.worker import ACCEPTS, DRAIN, END, READY, RETIRE, Worker, share_fairly
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


async def test_a_burst_is_shared() -> None:
    """In one turn each takes what it may, and the next takes the rest."""
    from twisted.internet import reactor

    taken: list[str] = []

    def listener(name: str) -> Any:
        class Taken(Protocol):
            def connectionMade(self) -> None:
                taken.append(name)
                assert self.transport is not None
                self.transport.abortConnection()  # type: ignore[attr-defined]

        factory: Any = Factory.forProtocol(Taken)
        factory.noisy = False
        return factory

    parent = Listeners(reactor)
    listen = Listen("tcp:0:interface=127.0.0.1")
    port: Any = parent.hold(listen)
    workers = []
    for name in ("one", "two"):
        handed = [(description, os.dup(fd)) for description, fd in parent.to_hand_down()]
        workers.append(Listeners(reactor, handed))
        workers[-1].open(listen, listener(name))
        share_fairly(workers[-1])
    with_clients = [socket.create_connection(("127.0.0.1", port.getHost().port)) for _ in range(4)]
    for one in workers * 2:
        one.ports[0].doRead()  # type: ignore[attr-defined]
    assert taken == ["one", "two"] * 2 and ACCEPTS == 1
    for client in with_clients:
        client.close()
    for one in (*workers, parent):
        await one.close_all()
