"""Sockets go from one process to the next, and no connection is lost on the way."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol

from openai_proxy.config.settings import Listen
from openai_proxy.process.listening import (
    BACKLOG,
    Listeners,
    environment_of,
    inherited_sockets,
    remove_if_left,
)

LOOPBACK = "tcp:0:interface=127.0.0.1"


class Greeting(Protocol):
    """Says who has accepted."""

    factory: Any

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self.factory.name)
        self.transport.loseConnection()


def greeter(name: bytes) -> Any:
    """A factory of them."""
    factory: Any = Factory.forProtocol(Greeting)
    factory.name, factory.noisy = name, False
    return factory


def handed(listeners: Listeners) -> list[tuple[str, int]]:
    """As a child would inherit them: descriptors of its own."""
    return [(description, os.dup(fd)) for description, fd in listeners.to_hand_down()]


async def greeting(address: Any) -> bytes:
    """What a new connection is told."""
    from twisted.internet import reactor

    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    heard: Deferred[bytes] = Deferred()

    def ask() -> bytes:
        with socket.socket(family) as client:
            client.settimeout(20)
            client.connect(address)
            return client.recv(100)

    reactor.callInThread(lambda: reactor.callFromThread(heard.callback, ask()))  # type: ignore[attr-defined]
    return await heard


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_a_socket_is_handed_down_and_outlives_who_bound_it(kind: str, tmp_path: Path) -> None:
    """Its first process closes it; the second one is there, at the same place."""
    from twisted.internet import reactor

    path = str(tmp_path / "s")
    listen = Listen(LOOPBACK if kind == "tcp" else f"unix:{path}")
    first = Listeners(reactor)
    port = first.open(listen, greeter(b"first"))
    address = path if kind == "unix" else ("127.0.0.1", port.getHost().port)  # type: ignore[attr-defined]
    assert await greeting(address) == b"first"
    second = Listeners(reactor, handed(first))
    second.open(listen, greeter(b"second"))
    first.share()
    await first.close_all()
    assert await greeting(address) == b"second"
    await second.close_all()
    if kind == "unix":
        # The last one tidies up.
        assert os.listdir(tmp_path) == []


async def test_what_waits_to_be_accepted_is_the_next_ones() -> None:
    """A socket that is held queues connections that whoever adopts it accepts."""
    from twisted.internet import reactor

    holder = Listeners(reactor)
    port: Any = holder.hold(Listen(LOOPBACK))
    with socket.create_connection(("127.0.0.1", port.getHost().port)) as client:
        client.setblocking(False)
        adopter = Listeners(reactor, handed(holder))
        holder.share()
        await holder.close_all()
        adopter.open(Listen(LOOPBACK), greeter(b"adopter"))
        assert await greeting(("127.0.0.1", _port(adopter))) == b"adopter"
        client.setblocking(True)
        client.settimeout(20)
        assert client.recv(100) == b"adopter"
    await adopter.close_all()


def _port(listeners: Listeners) -> int:
    port: Any = listeners.ports[0]
    number: int = port.getHost().port
    return number


async def test_a_description_that_was_not_handed_down_is_bound() -> None:
    """And what was handed down for nobody is closed."""
    from twisted.internet import reactor

    with socket.create_server(("127.0.0.1", 0)) as unused:
        number = os.dup(unused.fileno())
        listeners = Listeners(reactor, [("tcp:1", number)])
        listeners.open(Listen(LOOPBACK), greeter(b"new"))
        listeners.close_unused()
        with pytest.raises(OSError):
            os.fstat(number)
        assert await greeting(("127.0.0.1", _port(listeners))) == b"new"
        await listeners.close_all()


async def test_a_systemd_socket_is_handed_on_without_systemds_variables() -> None:
    """They were for the first process: the next one has the descriptor, under the same description."""
    from twisted.internet import reactor

    with socket.create_server(("127.0.0.1", 0)) as given:
        description = "systemd:domain=INET:index=0"
        listeners = Listeners(reactor, [(description, os.dup(given.fileno()))])
        listeners.open(Listen(description), greeter(b"adopted"))
        assert await greeting(given.getsockname()) == b"adopted"
        await listeners.close_all()


async def test_a_path_of_systemds_socket_unit_stays(tmp_path: Path) -> None:
    """systemd listens there as long as its unit is up: the next daemon is found at the same place."""
    from twisted.internet import reactor

    path = str(tmp_path / "s")
    description = "systemd:domain=UNIX:index=0"
    with socket.socket(socket.AF_UNIX) as given:
        given.bind(path)
        given.listen()
        for name in (b"first", b"second"):
            listeners = Listeners(reactor, [(description, os.dup(given.fileno()))])
            listeners.open(Listen(description), greeter(name))
            assert await greeting(path) == name
            await listeners.close_all()


def test_a_port_in_use_is_told() -> None:
    """As the endpoint tells it."""
    from twisted.internet import reactor

    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(CannotListenError):
        Listeners(reactor).open(
            Listen(f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"), greeter(b"never")
        )


def test_a_child_is_told_its_own_numbers() -> None:
    """The variable is read once, and is gone for what the child starts itself."""
    environment = environment_of([("tcp:1", 7), ("unix:/s", 9)], {7: 4, 9: 5})
    assert inherited_sockets(environment) == [("tcp:1", 4), ("unix:/s", 5)]
    assert environment == {}
    assert inherited_sockets(environment) == []


async def test_a_socket_that_was_left_behind_is_no_obstacle(tmp_path: Path) -> None:
    """Whoever was killed could not remove it; one that is listened at is somebody's, and stays."""
    from twisted.internet import reactor

    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)
    listeners = Listeners(reactor)
    listeners.open(Listen(f"unix:{path}"), greeter(b"new"))
    remove_if_left(path)
    assert await greeting(path) == b"new"
    await listeners.close_all()
    assert os.listdir(tmp_path) == []


async def test_who_may_connect_to_a_unix_socket_stays_as_it_was(tmp_path: Path) -> None:
    """Whoever adopts it changes neither its mode nor the length of its queue."""
    from twisted.internet import reactor

    path = str(tmp_path / "s")
    listen = Listen(f"unix:{path}:mode=600")
    first = Listeners(reactor)
    first.open(listen, greeter(b"first"))
    second = Listeners(reactor, handed(first))
    port: Any = second.open(listen, greeter(b"second"))
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert port.backlog == BACKLOG
    first.share()
    await first.close_all()
    await second.close_all()


async def test_a_unix_socket_is_not_ended_for_others_by_who_has_adopted_it(tmp_path: Path) -> None:
    """A process beside this one ends: connections are accepted here as before."""
    from twisted.internet import reactor

    path = str(tmp_path / "s")
    first = Listeners(reactor)
    first.open(Listen(f"unix:{path}"), greeter(b"first"))
    second = Listeners(reactor, handed(first))
    second.open(Listen(f"unix:{path}"), greeter(b"second"))
    second.share()
    await second.close_all()
    assert await greeting(path) == b"first"
    await first.close_all()


async def test_a_unix_socket_of_systemds_stays_where_it_is(tmp_path: Path) -> None:
    """Its mode is systemd's, and so is its path: the next start of the daemon is handed the same socket."""
    from twisted.internet import reactor

    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as given:
        given.bind(path)
        os.chmod(path, 0o600)
        given.listen()
        description = "systemd:domain=UNIX:index=0"
        listeners = Listeners(reactor, [(description, os.dup(given.fileno()))])
        listeners.open(Listen(description), greeter(b"adopted"))
        assert os.stat(path).st_mode & 0o777 == 0o600
        await listeners.close_all()
        assert os.listdir(tmp_path) == ["s"]
        again = Listeners(reactor, [(description, os.dup(given.fileno()))])
        again.open(Listen(description), greeter(b"again"))
        assert await greeting(path) == b"again"
        await again.close_all()
