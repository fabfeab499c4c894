"""What is said of connections that cannot be accepted."""

from __future__ import annotations

from typing import Any, Final, cast

from twisted.internet.interfaces import IListeningPort
from twisted.logger import ILogObserver, LogEvent, Logger

SAID_EVERY_SECONDS: Final = 60.0


class Refusals:
    """A warning a minute, with their number and what to do, for what Twisted says in three lines of each.

    Without a free descriptor a client's connection is accepted with one that is kept for that, and closed:
    it is not left waiting, and the reactor does not spin. Those lines would name each client, and fill the
    disk as well.
    """

    _log = Logger()

    def __init__(self) -> None:
        self.closed = 0
        """Connections, since the start."""
        self._next_at = 0.0

    def __call__(self, event: LogEvent) -> None:
        """One of Twisted's: of a connection that was closed (``address``), or failed (``acceptError``)."""
        if "address" in event:
            self.closed += 1
            self._say(event["log_time"])
        elif "acceptError" in event:
            self._log.warn("A connection could not be accepted: {reason}", reason=event["acceptError"])

    def _say(self, now: float) -> None:
        # A clock that was set back would keep it silent.
        if self._next_at - SAID_EVERY_SECONDS <= now < self._next_at:
            return
        self._next_at = now + SAID_EVERY_SECONDS
        self._log.warn(
            "No file descriptor is left: {count} new connections were closed so far. "
            "More are allowed by LimitNOFILE= (systemd) or ulimit -n",
            count=self.closed,
        )


_refusals: Final = Refusals()


def say_once(port: IListeningPort) -> None:
    """What this port refuses is said with that of all others."""
    whole: Any = port
    whole._logger = Logger("twisted.internet.tcp.Port", observer=cast(ILogObserver, _refusals))
