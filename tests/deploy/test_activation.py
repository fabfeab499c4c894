"""The daemon with systemd's sockets and systemd's ear, both played by the test."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemon import ROOT, command, environment
from tests.support.program import Program
from tests.support.sockets import SECONDS, Peer

AS_SYSTEMD = """
import os, sys
held, *command = sys.argv[1:]
os.dup2(int(held), 3)
pid = str(os.getpid())
os.environ |= {"LISTEN_PID": pid, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "clients", "WATCHDOG_PID": pid}
os.execv(command[0], command)
"""


def activated(held: socket.socket, family: str, **variables: str) -> Program:
    """A daemon that is started for a socket that others hold, too."""
    options = command("--port", f"systemd:domain={family}:name=clients")
    arguments = [sys.executable, "-c", AS_SYSTEMD, str(held.fileno()), *options]
    serves, number = re.compile(r"serves on (\S+)$"), held.fileno()
    return Program(arguments, serves, ROOT, environment(**variables), pass_fds=(number,))


def held_socket(family: str, folder: Path) -> tuple[socket.socket, Callable[[], Peer]]:
    """As a socket unit holds it, and what connects to it."""
    if family == "UNIX":
        held, path = socket.socket(socket.AF_UNIX), str(folder / "http.sock")
        held.bind(path)
        held.listen()
        return held, lambda: Peer.connect_unix(path)
    try:
        held = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    address = held.getsockname()[:2]
    return held, lambda: Peer(socket.create_connection(address, SECONDS))


@pytest.mark.parametrize("family", ["INET6", "UNIX"])
def test_any_kind_of_socket_outlives_the_daemon(family: str, tmp_path: Path) -> None:
    """A connection between two daemons is served by the second, and the place stays where clients look."""
    held, connect = held_socket(family, tmp_path)
    with held:
        for _ in range(2):
            with connect() as client:
                client.send_request("GET", "/readyz")
                with activated(held, family) as daemon:
                    assert client.read_answer("GET").status == 200
                    assert daemon.stop() == 0


class Ear:
    """What systemd hears, in order."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)
        self._socket.settimeout(SECONDS)

    def next(self, word: str) -> dict[str, str]:
        """The variables of the next datagram that has ``word``; those before it are passed over."""
        while True:
            said = dict(line.split("=", 1) for line in self._socket.recv(4096).decode().splitlines())
            if word in said:
                return said

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[Ear]:
    """At a path, as systemd's."""
    made = Ear(str(tmp_path / "notify"))
    yield made
    made.close()


def test_systemd_hears_of_start_and_end(ear: Ear) -> None:
    """READY when requests are answered, STOPPING when the drain begins."""
    with (
        socket.create_server(("127.0.0.1", 0)) as held,
        activated(held, "INET", NOTIFY_SOCKET=ear.path) as daemon,
    ):
        assert ear.next("READY")["STATUS"].endswith("serves")
        assert daemon.ask("GET", "/readyz").status == 200
        daemon.terminate()
        # The drain of the settings, and something for the end itself.
        assert int(ear.next("STOPPING")["EXTEND_TIMEOUT_USEC"]) == 630_000_000
        assert daemon.wait() == 0


def ready_status(held: socket.socket) -> int:
    """What whoever serves at the socket says."""
    with Peer.connect(held.getsockname()[1]) as client:
        client.send_request("GET", "/readyz")
        return client.read_answer("GET").status


def test_an_upgrade_keeps_systemds_socket_and_its_watchdog(ear: Ear) -> None:
    """The predecessor names its successor and pets for it; the successor serves at the same socket, without
    the variables that named the first process, and pets then. Behind both there is room for another.
    """
    with socket.create_server(("127.0.0.1", 0)) as held:
        daemon = activated(held, "INET", NOTIFY_SOCKET=ear.path, WATCHDOG_USEC="2000000")
        try:
            ear.next("READY")
            os.kill(daemon.pid, signal.SIGUSR2)
            named = ear.next("MAINPID")
            assert named["WATCHDOG"] == "1"
            ear.next("WATCHDOG")
            assert ready_status(held) == 200
            os.kill(int(named["MAINPID"]), signal.SIGTERM)
            ear.next("STOPPING")
            # Its output ends with the last of both.
            assert daemon.wait() == 0
        finally:
            daemon.kill()
        with activated(held, "INET"):
            assert ready_status(held) == 200
