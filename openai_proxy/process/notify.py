"""What systemd is told of the daemon's state, by its protocol for services (sd_notify(3))."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from typing import Any, Final

NOTIFY_SOCKET: Final = "NOTIFY_SOCKET"
"""The variable that names the socket of who has started us."""


class Notify:
    """Tells the service manager, if there is one. It never waits, and never raises.

    A daemon that nobody listens to must run as well as one that is watched.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = _address(environment.get(NOTIFY_SOCKET, ""))
        self._sender: socket.socket | None = None
        if self._address:
            # Kept. Made for each word, it would be missing when descriptors are used up, and the watchdog
            # would end a daemon that only has to refuse connections for a while.
            self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            # A full queue drops the word: a reactor that waits for systemd serves nobody.
            self._sender.setblocking(False)

    @property
    def has_manager(self) -> bool:
        """Whether anyone is to be told."""
        return self._sender is not None

    def close(self) -> None:
        """Nobody is told anything any more."""
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.close()

    def ready(self, status: str) -> None:
        """Startup, or a reload, has ended: requests are served. ``status``: one line for people."""
        self._send("READY=1", _status(status))

    def reloading(self) -> None:
        """A reload begins; ``ready`` ends it, whatever came of it."""
        # The time tells systemd which of two reloads has ended (Type=notify-reload, 253 and later).
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, within_seconds: float) -> None:
        """The end has begun, and takes so long at most: that is granted, even past ``TimeoutStopSec=``."""
        self._send("STOPPING=1", f"EXTEND_TIMEOUT_USEC={round(within_seconds * 1_000_000)}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(_status(text))

    def main_pid(self, pid: int) -> None:
        """Another process is the service from now on. Its predecessor says so: with ``NotifyAccess=main``
        systemd believes only who is the service at present, and nothing of what it says afterwards.
        """
        # The successor has petted the watchdog when it was not the service yet, and does so again in half of
        # the time; our own last time may be as long ago.
        self._send(f"MAINPID={pid}", "WATCHDOG=1")

    def watchdog(self) -> None:
        """Still alive."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if self._sender is None:
            return
        try:
            # Names of files that are no UTF-8 may be in a status.
            self._sender.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)
        except OSError:
            pass


class Watchdog:
    """Pets systemd's watchdog from the reactor: one that hangs is restarted (``WatchdogSec=``)."""

    def __init__(self, reactor: Any, notify: Notify, environment: Mapping[str, str]) -> None:
        self._reactor = reactor
        self._notify = notify
        self._call: Any = None
        self.interval_seconds = _interval_seconds(environment) if notify.has_manager else None
        """Half of the time that systemd waits, as sd_watchdog_enabled(3) says; None: it does not watch us."""

    def start(self) -> None:
        """Pet now, and go on. Nothing where systemd does not watch this process."""
        if self.interval_seconds is not None and self._call is None:
            self._pet()

    def stop(self) -> None:
        """Pet no more."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _pet(self) -> None:
        self._notify.watchdog()
        self._call = self._reactor.callLater(self.interval_seconds, self._pet)


def _address(said: str) -> str:
    """A path, or a name in the abstract namespace: written with ``@``, it begins with a zero byte."""
    if said.startswith("@"):
        return "\0" + said[1:]
    # systemd's other kinds (vsock) are for virtual machines that tell their host: none.
    return said if said.startswith("/") else ""


def _status(text: str) -> str:
    """A line end in it would begin an assignment of its own."""
    return "STATUS=" + " ".join(text.split())


def _interval_seconds(environment: Mapping[str, str]) -> float | None:
    try:
        microseconds = int(environment.get("WATCHDOG_USEC", ""))
        watched = int(environment.get("WATCHDOG_PID", os.getpid()))
    except ValueError:
        return None
    # A worker has its parent's variables, and is not the one that is watched. A successor is (MAINPID=): it
    # is started without WATCHDOG_PID, or it would pet nobody, and be killed for it.
    return microseconds / 2e6 if microseconds > 0 and watched == os.getpid() else None
