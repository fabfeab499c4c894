"""Several processes accept at one socket, and each leaves some connections to the others."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

from openai_proxy.config.settings import Listen
from openai_proxy.process.accepting import REST_SECONDS, share_fairly
from openai_proxy.process.listening import Listeners

CLIENTS = 60


class Accepted(Protocol):
    """Counts itself."""

    factory: Any

    def connectionMade(self) -> None:
        self.factory.counted()


class Place:
    """A socket, who accepts at it, and clients that wait there."""

    def __init__(self) -> None:
        from twisted.internet import reactor

        self.counts: Counter[str] = Counter()
        self.whole: Deferred[None] = Deferred()
        self.first = Listeners(reactor)
        self.listen = Listen("tcp:0:interface=127.0.0.1")
        held: Any = self.first.hold(self.listen)
        self.workers: list[Listeners] = []
        address = ("127.0.0.1", held.getHost().port)
        self.clients = [socket.create_connection(address) for _ in range(CLIENTS)]

    def worker(self, name: str) -> Any:
        """One more at the socket."""
        from twisted.internet import reactor

        sockets = [(description, os.dup(fd)) for description, fd in self.first.to_hand_down()]
        listeners = Listeners(reactor, sockets)
        factory: Any = Factory.forProtocol(Accepted)
        factory.noisy, factory.counted = False, lambda: self._counted(name)
        port = listeners.open(self.listen, factory)
        share_fairly(listeners)
        self.workers.append(listeners)
        return port

    def _counted(self, name: str) -> None:
        self.counts[name] += 1
        if self.counts.total() == CLIENTS:
            self.whole.callback(None)

    async def close(self) -> None:
        from twisted.internet import reactor

        for one in self.clients:
            one.close()
        for listeners in (*self.workers, self.first):
            await listeners.close_all()
        await deferLater(reactor, 2 * REST_SECONDS)


@pytest.fixture
def place() -> Iterator[Place]:
    made = Place()
    yield made
    for one in made.clients:
        one.close()


async def test_connections_that_come_at_once_are_everyones(place: Place) -> None:
    """None is left over, and nobody has nearly all of them."""
    place.worker("a")
    place.worker("b")
    await place.whole
    assert min(place.counts.values()) >= CLIENTS // 5
    await place.close()


async def test_one_that_is_alone_takes_all(place: Place) -> None:
    """More each time: a rest for each connection would be a limit to how many come in a second."""
    port = place.worker("a")
    before = port.sessionno
    turns = 0
    accept = port.doRead

    def counted() -> None:
        nonlocal turns
        turns += 1
        accept()

    port.doRead = counted
    await place.whole
    assert port.sessionno - before == CLIENTS
    assert turns < CLIENTS // 4
    await place.close()


async def test_one_that_ends_while_it_rests_takes_what_waits(place: Place) -> None:
    """Whoever is the last to leave a socket leaves nobody waiting there."""
    port = place.worker("a")
    port.doRead()
    assert place.counts == {"a": 1}
    await place.first.close_all()
    await place.workers[0].close_all()
    assert place.counts == {"a": CLIENTS}
    await place.close()
