"""The end of a daemon: no new connections, then no idle ones, then what is in flight has its time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

CUT: Final = 3
"""The exit status of a process that had to cut something off at its end."""

LOOK_SECONDS: Final = 0.1
"""How often it is looked at what is left: the most by which an end is late."""
LOG_SECONDS: Final = 10.0
"""How often what is left is told."""
IDLE_SECONDS: Final = 1.0
"""A connection that has not been used for so long is closed. One that has, is left: its client may have sent
a request that is on its way, and the answer to that tells the client to come back elsewhere."""


class Draining(Protocol):
    """What is drained."""

    def stop_listening(self) -> Awaitable[None]:
        """Accept no more connections; those that wait to be accepted are."""

    def let_idle_go(self, idle_seconds: float) -> None:
        """Close the connections that have been idle for so long."""

    def left(self) -> tuple[int, int]:
        """How many exchanges, and how many connections of clients, are left."""

    def cut(self) -> None:
        """End every exchange."""


class Drain:
    """One end, once begun."""

    _log = Logger()
    _is_ended = False
    """Nothing is waited for any more."""

    def __init__(self, it: Draining, clock: IReactorTime, timeout_seconds: float) -> None:
        self._it = it
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._calls: list[IDelayedCall] = []
        self._done: Deferred[None] = Deferred()
        self._ends_at = 0.0
        self._tells_at = 0.0

    def begin(self, grace_seconds: float) -> Deferred[None]:
        """Fires when nothing is left, or is told to be cut.

        :param grace_seconds: how long connections are still accepted.
        """
        now = self._clock.seconds()
        self._ends_at = now + grace_seconds + self._timeout_seconds
        self._tells_at = now
        self._call(grace_seconds, self._leave)
        return self._done

    def end(self) -> None:
        """Wait no longer: cut what is left now."""
        if not self._done.called and not self._is_ended:
            self._is_ended = True
            self._forget_calls()
            self._it.cut()
            # What was said last goes out in the next turn.
            self._call(0, self._done.callback, None)

    def _call(self, seconds: float, call: Callable[..., object], *arguments: object) -> None:
        self._calls = [one for one in self._calls if one.active()]
        self._calls.append(self._clock.callLater(seconds, call, *arguments))

    def _forget_calls(self) -> None:
        calls, self._calls = self._calls, []
        for call in calls:
            if call.active():
                call.cancel()

    def _leave(self) -> None:
        leaving = Deferred.fromCoroutine(self._left_listening())
        leaving.addErrback(lambda failure: self._log.failure("Listening could not be ended", failure))
        leaving.addCallback(lambda _: self._look())

    async def _left_listening(self) -> None:
        await self._it.stop_listening()

    def _look(self) -> None:
        if self._is_ended:
            # While a port was closed, which takes a turn or two.
            return
        self._it.let_idle_go(IDLE_SECONDS)
        exchanges, connections = self._it.left()
        now = self._clock.seconds()
        if not exchanges and not connections:
            self._done.callback(None)
        elif now >= self._ends_at:
            self._log.warn("The drain's time is over: {exchanges} exchanges are cut", exchanges=exchanges)
            self.end()
        else:
            self._tell(now, exchanges)
            self._call(LOOK_SECONDS, self._look)

    def _tell(self, now: float, exchanges: int) -> None:
        if now >= self._tells_at and exchanges:
            self._tells_at = now + LOG_SECONDS
            self._log.info(
                "Draining: {exchanges} exchanges are in flight, for {seconds:.0f} s at most",
                exchanges=exchanges,
                seconds=self._ends_at - now,
            )
