"""The sockets of a daemon: bound, taken up from a process before it, handed down to one after it."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import suppress
from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.internet.unix import Port as UNIXPort
from twisted.python.failure import Failure

from openai_proxy.config.settings import Listen
from openai_proxy.process.refusals import say_once

SOCKETS: Final = "OPENAI_PROXY_SOCKETS"
"""The variable that tells a process of the sockets that it was handed: JSON, pairs of description and
number."""

BACKLOG: Final = 4096
"""Connections that may wait to be accepted; the kernel's own limit (net.core.somaxconn) is mostly the same.

Twisted's 50 are a tenth of what one turn of a busy reactor lets come: the next would wait for a second.
"""

_NOWHERE: Final = b"\0"
"""An address that is not in the file system: Twisted unlinks none of that kind."""

Socket = tuple[str, int]
"""Where it listens, as it was described, and its descriptor."""


def inherited_sockets(environment: MutableMapping[str, str]) -> list[Socket]:
    """What this process was handed. The variable is taken away: what is started later has nothing of it."""
    said = environment.pop(SOCKETS, None)
    return (
        [] if said is None else [(str(description), int(number)) for description, number in json.loads(said)]
    )


def environment_of(sockets: Sequence[Socket], numbers: Mapping[int, int]) -> dict[str, str]:
    """What tells a child of them. ``numbers``: from a descriptor here to the child's own."""
    return {SOCKETS: json.dumps([(description, numbers[fd]) for description, fd in sockets])}


class _ListeningReactor:
    """A reactor whose ports are all the one socket that was handed down; or else have a long queue.

    For Twisted's endpoints to listen with, whatever they lay over it (TLS, PROXY protocol).
    """

    def __init__(self, reactor: Any, number: int | None) -> None:
        """:param number: the socket's descriptor; None: there is none."""
        self._reactor = reactor
        self._number = number

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def adopted(self, factory: Any) -> Any:
        with socket.socket(fileno=self._number) as handed:
            handed.setblocking(False)
            # It makes a descriptor of its own; this one is closed.
            return self.adoptStreamPort(handed.fileno(), handed.family, factory)

    def adoptStreamPort(self, number: int, family: int, factory: Any) -> Any:
        """For systemd's endpoint, too."""
        if family != socket.AF_UNIX:
            return self._reactor.adoptStreamPort(number, family, factory)
        port: Any = UNIXPort._fromListeningDescriptor(self._reactor, number, factory)
        # Twisted would let everybody connect, whatever mode it was bound with, shorten its queue to 50, and
        # end it for all who have it when it is closed here.
        path, port._bindPath = port._bindPath, _NOWHERE
        port.backlog = BACKLOG
        port._shouldShutdown = False
        port.startListening()
        port._bindPath = path
        return port

    def _listen(self, way: str, address: Any, factory: Any, backlog: int, **more: Any) -> Any:
        if self._number is not None:
            return self.adopted(factory)
        return getattr(self._reactor, way)(address, factory, backlog=max(backlog, BACKLOG), **more)

    def listenTCP(self, port: Any, factory: Any, **more: Any) -> Any:
        return self._listen("listenTCP", port, factory, **more)

    def listenUNIX(self, address: Any, factory: Any, **more: Any) -> Any:
        if more.pop("wantPID", False) and self._number is None:
            # Not by a lock with a process's number: in a container the next one has the same number.
            remove_if_left(os.fsdecode(address))
        return self._listen("listenUNIX", address, factory, **more)

    def listenSSL(self, port: Any, factory: Any, **more: Any) -> Any:
        from openai_proxy.wire.server_tls import ServerTLSFactory

        # Not Twisted's own, which would lose what is said last behind a half-close.
        wrapped = ServerTLSFactory(more.pop("contextFactory"), False, factory, self._reactor)
        return self._listen("listenTCP", port, wrapped, **more)


def remove_if_left(path: str) -> None:
    """Remove a socket that nobody listens at any more: whoever has left it was killed."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
        with socket.socket(socket.AF_UNIX) as asking:
            # It answers at once: the kernel does, or nobody.
            asking.connect(path)
    except ConnectionRefusedError:
        with suppress(OSError):
            os.unlink(path)
    except OSError:
        # What is wrong with it is said when it is listened at.
        pass


class Listeners:
    """Opens ports by their descriptions; a socket that was handed down is used in place of a new one."""

    def __init__(self, reactor: Any, inherited: Sequence[Socket] = ()) -> None:
        self._reactor = reactor
        self._inherited = list(inherited)
        self._open: list[tuple[str, IListeningPort]] = []
        self._held: set[IListeningPort] = set()

    @property
    def ports(self) -> list[IListeningPort]:
        """Those that are open, in the order in which they were opened."""
        return [port for _, port in self._open]

    def open(self, listen: Listen, factory: Any) -> IListeningPort:
        """Listen, at once. Raises what the endpoint fails with: mostly CannotListenError."""
        description = listen.description
        number = self._taken(description)
        reactor = _ListeningReactor(self._reactor, number)
        if number is not None and description.startswith("systemd:"):
            # The variables that its endpoint asks for were for the first process only.
            listening: Deferred[IListeningPort] = maybeDeferred(reactor.adopted, factory)
        else:
            listening = serverFromString(reactor, description).listen(factory)
        port = _now(listening)
        say_once(port)
        if description.startswith("systemd:"):
            _share(port)
        self._open.append((description, port))
        return port

    def hold(self, listen: Listen) -> IListeningPort:
        """The same, and accept nothing: for others to adopt it."""
        factory = Factory()
        factory.noisy = False
        port = self.open(listen, factory)
        port.stopReading()  # type: ignore[attr-defined]
        self._held.add(port)
        # Nor is it ended for them when it is closed here.
        port._shouldShutdown = False  # type: ignore[attr-defined]
        return port

    def _taken(self, description: str) -> int | None:
        for place, (name, number) in enumerate(self._inherited):
            if name == description:
                del self._inherited[place]
                return number
        return None

    def close_unused(self) -> None:
        """Of what was handed down, let go of what nobody has opened."""
        while self._inherited:
            os.close(self._inherited.pop()[1])

    def to_hand_down(self) -> list[Socket]:
        """All that are open, for a child to inherit."""
        return [(description, port.fileno()) for description, port in self._open]  # type: ignore[attr-defined]

    def share(self) -> None:
        """Other processes listen at the same sockets, and go on when these are closed here."""
        for _, port in self._open:
            _share(port)

    async def close(self, port: IListeningPort) -> None:
        """Listen no more at one of them. Connections that wait to be accepted are accepted."""
        if port not in self.ports:
            return
        self._open = [one for one in self._open if one[1] is not port]
        if port not in self._held:
            # The kernel would reset them. Twisted's own limit is mostly 1, and a worker may be taking a rest.
            port.numberAccepts = BACKLOG  # type: ignore[attr-defined]
            type(port).doRead(port)  # type: ignore[attr-defined]
        await maybeDeferred(port.stopListening)

    async def close_all(self) -> None:
        """Listen at none."""
        for port in self.ports:
            await self.close(port)


def _share(port: Any) -> None:
    """Closed here, it goes on: another process listens there, or systemd for the next daemon.

    Twisted would shut the socket down, for all who have it, and remove its place in the file system.
    """
    port._shouldShutdown = False
    if isinstance(port, UNIXPort):
        port._bindPath = _NOWHERE


def _now(listening: Deferred[IListeningPort]) -> IListeningPort:
    """What Twisted's endpoints fire with at once."""
    ports: list[IListeningPort] = []
    failures: list[Failure] = []
    listening.addCallbacks(ports.append, failures.append)
    for failure in failures:
        failure.raiseException()
    (port,) = ports
    return port
