"""The connections to one origin: reused, bounded, waited for in turn."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from openai_proxy.config.settings import PoolLimits, Timeouts
from openai_proxy.wire.call import Call
from openai_proxy.wire.connection import ClientConnection
from openai_proxy.wire.deadlines import Deadlines
from openai_proxy.wire.dial import Dial
from openai_proxy.wire.errors import (
    ConnectFailed,
    ConnectionClosed,
    ConnectTimedOut,
    PoolExhausted,
    TLSFailed,
)
from openai_proxy.wire.resolver import CachingResolver, ReactorWithResolver
from openai_proxy.wire.tls import ClientTLSFactory, ConnectionCreator


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port; ``host`` is a name or an address without brackets."""

    secure: bool
    host: str
    port: int
    host_field: bytes
    """What follows the request target in a head, Host included."""


class _Factory(Factory):
    """Makes connections for a pool."""

    noisy = False

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def buildProtocol(self, addr: IAddress | None) -> ClientConnection:
        return ClientConnection(self._pool)


class Pool:
    """At most ``limits.connections`` are open; further calls wait in order, most of them briefly.

    Of the idle connections the one used last goes first: the others grow old and are closed.
    """

    def __init__(
        self,
        reactor: Any,
        origin: Origin,
        timeouts: Timeouts,
        limits: PoolLimits,
        deadlines: Deadlines,
        resolver: CachingResolver,
        creator: ConnectionCreator | None,
    ) -> None:
        self.reactor = reactor
        self.origin = origin
        self.timeouts = timeouts
        self.deadlines = deadlines
        self._limits = limits
        self._resolver = resolver
        self._creator = creator
        self._endpoint = self._make_endpoint()
        factory = _Factory(self)
        self._factory: Any = factory if creator is None else ClientTLSFactory(creator, True, factory, reactor)
        self._idle: dict[ClientConnection, None] = {}
        self._connections: set[ClientConnection] = set()
        self._dials: set[Dial] = set()
        self._waiting: OrderedDict[Call, None] = OrderedDict()
        self.opened = {"ok": 0, "timeout": 0, "connect_error": 0, "tls_error": 0}
        """How attempts to connect ended, since the start."""
        self._closed = False
        self._gone: list[Deferred[None]] = []

    def looked_up_since(self, began: float) -> float | None:
        """When the origin's name was looked up, if that was after ``began``."""
        ended = self._resolver.ended.get((self.origin.host, self.origin.port))
        return ended if ended is not None and ended >= began else None

    @property
    def active(self) -> int:
        """Connections that a call has, or will have when they are made."""
        return self.open - self.idle

    @property
    def open(self) -> int:
        """Connections that are there or being made."""
        return len(self._connections) + len(self._dials)

    @property
    def idle(self) -> int:
        """Connections that wait for a call."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """Calls that wait for a connection."""
        return len(self._waiting)

    def start(self, call: Call) -> None:
        """Send ``call`` on an idle connection, on a new one, or when one becomes free."""
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.quiet:
                connection.send(call, True)
                return
            connection.abort()
        if self._closed:
            call.end(Failure(ConnectionClosed("the agent is closed")))
        elif self.open < self._limits.connections:
            self._dial(call)
        elif len(self._waiting) < self._limits.waiting:
            call.queued_at = self.reactor.seconds()
            call.deadline = call.queued_at + self.timeouts.connect_seconds
            self._waiting[call] = None
            self.deadlines.add(call)
        else:
            call.end(Failure(PoolExhausted("all connections are busy, and the queue is full")))

    def leave_queue(self, call: Call) -> bool:
        """``call`` waits no more. False if it did not wait."""
        if call not in self._waiting:
            return False
        del self._waiting[call]
        self.deadlines.discard(call)
        return True

    def release(self, connection: ClientConnection) -> None:
        """An answer ended, and the connection may be used again."""
        if not self._waiting:
            self._idle[connection] = None
        elif connection.quiet:
            connection.send(self._next(), True)
        else:
            # Bytes that nobody asked for; `lost` gives its place to the one that waits.
            connection.abort()

    def expire(self, connection: ClientConnection) -> None:
        """An idle connection has become too old."""
        self._idle.pop(connection, None)
        connection.close()

    def connected(self, connection: ClientConnection, dial: Dial) -> None:
        """A dial succeeded."""
        self.opened["ok"] += 1
        self._dials.discard(dial)
        self._connections.add(connection)
        self.deadlines.add(connection)

    def adopt(self, connection: ClientConnection) -> None:
        """A dial is over, its connection not yet: it counts until it is lost."""
        self._connections.add(connection)

    def dial_ended(self, dial: Dial, error: Exception | None) -> None:
        """A dial failed or was given up."""
        self._dials.discard(dial)
        if isinstance(error, TLSFailed):
            assert self._creator is not None
            self._creator.forget()
            self.opened["tls_error"] += 1
        elif isinstance(error, ConnectFailed):
            self.opened["timeout" if isinstance(error, ConnectTimedOut) else "connect_error"] += 1
            self._resolver.forget(self.origin.host, self.origin.port)
        self._slot_is_free()

    def lost(self, connection: ClientConnection, again: Call | None) -> None:
        """A connection is gone; ``again`` is the call to repeat on a new one."""
        self._connections.discard(connection)
        self._idle.pop(connection, None)
        self.deadlines.discard(connection)
        if again is None or self._closed:
            if again is not None:
                again.end(Failure(ConnectionClosed("the agent is closed")))
            self._slot_is_free()
        else:
            again.repeated = True
            again.connection = None
            self._dial(again)

    def remember_session(self, transport: Any) -> None:
        """A TLS connection has brought an answer, and with it the session to resume."""
        if self._creator is not None:
            self._creator.remember(transport.getHandle())

    def close(self) -> Deferred[None]:
        """Abort everything; fires when nothing is left."""
        self._closed = True
        error = ConnectionClosed("the agent is closed")
        while self._waiting:
            self._next().end(Failure(error))
        for dial in list(self._dials):
            dial.give_up(error)
        for connection in list(self._connections):
            connection.fail(error)
        if not self.open:
            return succeed(None)
        gone: Deferred[None] = Deferred()
        self._gone.append(gone)
        return gone

    def _next(self) -> Call:
        call, _ = self._waiting.popitem(last=False)
        self.deadlines.discard(call)
        call.wait_seconds = self.reactor.seconds() - call.queued_at
        return call

    def _slot_is_free(self) -> None:
        if self._waiting and self.open < self._limits.connections:
            self._dial(self._next())
        if self._closed and not self.open:
            gone, self._gone = self._gone, []
            for deferred in gone:
                deferred.callback(None)

    def _dial(self, call: Call) -> None:
        dial = call.dial = Dial(self, call, self.origin.secure)
        self._dials.add(dial)
        dial.start(self._endpoint, self._factory)

    def _make_endpoint(self) -> Any:
        host, port, seconds = self.origin.host, self.origin.port, self.timeouts.connect_seconds
        if isIPAddress(host):
            return TCP4ClientEndpoint(self.reactor, host, port, seconds)
        if isIPv6Address(host):
            return TCP6ClientEndpoint(self.reactor, host, port, seconds)
        reactor = ReactorWithResolver(self.reactor, self._resolver)
        return HostnameEndpoint(reactor, host, port, seconds)
