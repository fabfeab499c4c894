"""What is waited for from a client: to send, to read, to be idle; and whether a paused one is still there."""

from __future__ import annotations

import socket
from typing import Any, Protocol

from twisted.internet.interfaces import IReactorTime

from openai_proxy.config.settings import Limits
from openai_proxy.wire.deadlines import NEVER

PAUSED_LOOK_SECONDS = 0.1
"""A paused socket does not tell that its client left, so it is looked at so often."""
_TCP_CLOSE, _TCP_CLOSE_WAIT = 7, 8
_PEER_CLOSED = (_TCP_CLOSE, _TCP_CLOSE_WAIT)


class Watched(Protocol):
    """The connection whose client is waited for."""

    transport: Any

    def late(self, now: float) -> None:
        """What was awaited from the client did not come in time."""

    def abortConnection(self) -> None:
        """Cut the connection."""


class ClientWatch:
    """The deadlines of one connection, and the reasons for which it is not read."""

    __slots__ = (
        "_blocked_at",
        "_blocked_seconds",
        "_connection",
        "_pauses",
        "_read_deadline",
        "_seconds",
        "_stall_seconds",
        "_stalls_at",
        "deadline",
        "write_blocked",
    )

    def __init__(self, connection: Watched, clock: IReactorTime, limits: Limits) -> None:
        self.deadline = NEVER
        self._connection = connection
        self._seconds = clock.seconds
        self._stall_seconds = limits.write_stall_seconds
        self._read_deadline = NEVER
        self._stalls_at = NEVER
        self.write_blocked = False
        """Whether the client has not taken what was written to it."""
        self._blocked_at = 0.0
        self._blocked_seconds = 0.0
        self._pauses: set[str] = set()

    def within(self, seconds: float) -> None:
        """Something must come from the client within so many seconds; ``NEVER``: nothing must."""
        self.until(self._seconds() + seconds)

    def until(self, deadline: float) -> None:
        """Something must come from the client by then, on the reactor's clock."""
        self._read_deadline = deadline
        if self._pauses or self.write_blocked:
            self._update()
        else:
            self.deadline = deadline

    def began_waiting(self, seconds: float) -> float:
        """When :meth:`within` was called with so many seconds."""
        return self._read_deadline - seconds

    def write_blocks(self, blocks: bool) -> None:
        """The client has to read, or has read."""
        now = self._seconds()
        if self.write_blocked:
            self._blocked_seconds += now - self._blocked_at
        self.write_blocked = blocks
        self._blocked_at = now
        self._stalls_at = now + self._stall_seconds if blocks else NEVER
        self._update()

    @property
    def blocked_seconds(self) -> float:
        """For how long, in all, the client has not taken what was written to it."""
        if not self.write_blocked:
            return self._blocked_seconds
        return self._blocked_seconds + self._seconds() - self._blocked_at

    def pause(self, why: str) -> None:
        """Read no more until every reason is gone."""
        if not self._pauses:
            self._connection.transport.pauseProducing()
        self._pauses.add(why)
        self._update()

    def resume(self, why: str) -> bool:
        """A reason is gone. True if it was the last one, and reading goes on."""
        if why not in self._pauses:
            return False
        self._pauses.discard(why)
        if self._pauses:
            return False
        self._connection.transport.resumeProducing()
        self._update()
        return True

    def forget(self) -> None:
        """Nothing is awaited any more."""
        self.deadline = self._read_deadline = self._stalls_at = NEVER
        self.write_blocked = False
        self._pauses.clear()

    def _update(self) -> None:
        deadline = min(self._read_deadline, self._stalls_at)
        if self._pauses:
            deadline = min(deadline, self._seconds() + PAUSED_LOOK_SECONDS)
        self.deadline = deadline

    def deadline_passed(self, now: float) -> None:
        if now >= self._stalls_at or (self._pauses and self._peer_closed()):
            self._connection.abortConnection()
        elif now >= self._read_deadline and not self._pauses:
            self._connection.late(now)
        else:
            self._update()

    def _peer_closed(self) -> bool:
        """Whether the client has closed: its FIN waits behind bytes that are not read yet, or it reset."""
        handle = getattr(self._connection.transport, "socket", None)
        if not isinstance(handle, socket.socket) or handle.family == socket.AF_UNIX:
            return False
        return handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in _PEER_CLOSED
