"""One attempt to connect, for one call: name, addresses, TCP, TLS, in one time limit."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.error import TimeoutError as TCPTimedOut
from twisted.python.failure import Failure

from openai_proxy.wire.errors import ConnectFailed, ConnectTimedOut, PoolExhausted, TLSFailed

if TYPE_CHECKING:
    from openai_proxy.wire.call import Call
    from openai_proxy.wire.connection import ClientConnection
    from openai_proxy.wire.pool import Pool

_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})
"""Our own lack, which is not the upstream's fault."""


class Dial:
    """Ends with the call on a new connection, or with the call's failure; the pool is told."""

    __slots__ = (
        "_began",
        "_call",
        "_connected_at",
        "_connection",
        "_deferred",
        "_looked_up_at",
        "_pool",
        "_secure",
        "deadline",
    )

    def __init__(self, pool: Pool, call: Call, secure: bool) -> None:
        self._pool = pool
        self._call: Call | None = call
        self._secure = secure
        self._connection: ClientConnection | None = None
        self._deferred: Deferred[Any] | None = None
        self._began = self._connected_at = pool.reactor.seconds()
        self._looked_up_at: float | None = None
        self.deadline = self._began + pool.timeouts.connect_seconds

    def start(self, endpoint: Any, factory: Any) -> None:
        """Connect; the call is sent as soon as the connection is ready."""
        self._pool.deadlines.add(self)
        deferred = self._deferred = endpoint.connect(factory)
        deferred.addCallbacks(self._connected, self._failed)

    def ready(self) -> None:
        """TLS is verified, or there is none: hand the call over."""
        connection, call = self._connection, self._call
        if connection is None or call is None:
            return
        self._pool.deadlines.discard(self)
        self._call = None
        connection.dial = None
        call.dialled = self._seconds()
        self._pool.connected(connection, self)
        connection.send(call, False)

    def _seconds(self) -> tuple[float | None, float, float | None]:
        looked_up = self._looked_up_at
        return (
            None if looked_up is None else looked_up - self._began,
            self._connected_at - (self._began if looked_up is None else looked_up),
            self._pool.reactor.seconds() - self._connected_at if self._secure else None,
        )

    def lost(self) -> None:
        """The connection went away before it was ready."""
        self._connection = None
        self._end(TLSFailed("TLS failed: certificate, name or protocol"))

    def cancel(self) -> None:
        """The call wants it no more."""
        self._end(None)

    def give_up(self, error: Exception) -> None:
        """End it, and the call with ``error``."""
        self._end(error)

    def deadline_passed(self, now: float) -> None:
        """Too slow, in whichever part."""
        self._end(ConnectTimedOut("no connection in time"))

    def _connected(self, protocol: Any) -> None:
        self._deferred = None
        connection: ClientConnection = protocol.wrappedProtocol if self._secure else protocol
        if self._call is None:
            connection.abort()
            return
        self._connection = connection
        self._connected_at = self._pool.reactor.seconds()
        self._looked_up_at = self._pool.looked_up_since(self._began)
        connection.dial = self
        if not self._secure:
            self.ready()

    def _failed(self, failure: Failure) -> None:
        self._deferred = None
        if getattr(failure.value, "osError", None) in _NO_DESCRIPTORS:
            self._end(PoolExhausted("no descriptor is left for a connection"))
        elif failure.check(TCPTimedOut) is not None:
            self._end(ConnectTimedOut("no connection in time"))
        else:
            # The type only: the text of Twisted's own holds the address.
            self._end(ConnectFailed(f"no connection: {type(failure.value).__name__}"))

    def _end(self, error: Exception | None) -> None:
        call, self._call = self._call, None
        if call is None:
            return
        self._pool.deadlines.discard(self)
        deferred, self._deferred = self._deferred, None
        if deferred is not None:
            deferred.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.dial = None
            self._pool.adopt(connection)
            connection.abort()
        call.dial = None
        self._pool.dial_ended(self, error)
        if error is not None:
            call.end(Failure(error))
