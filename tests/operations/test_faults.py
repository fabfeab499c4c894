"""Faults around a daemon under load: killed, without descriptors, its clock set, its names not told."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest

from tests.operations.daemons import Configuration, cpu_seconds, descriptors, scrape, total, until
from tests.operations.load import Counts, Load, Order, Provider, loads
from tests.operations.table import tell
from tests.support.daemon import ROOT, SERVES, Daemon, command, environment
from tests.support.program import Program
from tests.support.sockets import Peer

CLOCK = Path(__file__).parent / "clock"
HOUR = 3600.0


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    """The upstream."""
    with Provider() as running:
        yield running


def ask(order: Order) -> Counts:
    """All of it."""
    with Load(order) as load:
        return load.end()


def lines_of(path: Path) -> list[dict[str, Any]]:
    """An access log, all of whose lines are whole."""
    return [json.loads(line) for line in path.read_text().splitlines()]


# kill -9


def test_killed_and_started_again(provider: Provider, tmp_path: Path) -> None:
    """It loses what is in flight, no stream seems whole, and the next start serves at once where it was:
    a pid file, a socket in the file system and a log that were left behind are no hindrance.
    """
    path, pid_file, log = str(tmp_path / "socket"), tmp_path / "pid", tmp_path / "access.log"
    unix = {"address": f"unix:{path}"}
    configuration = Configuration(tmp_path, provider, access_log={"file": str(log)})
    configuration.write(listeners=[{"address": "tcp:0:interface=127.0.0.1"}, unix])

    def start() -> Program:
        arguments = command("--config", str(configuration.path))
        arguments[arguments.index("--pidfile=")] = f"--pidfile={pid_file}"
        return Program(arguments, SERVES, ROOT, environment())

    with start() as first:
        port = first.port
        asked = Order(port, connections=8, pause_ms=2)
        with loads(asked, Order(port, requests=10, connections=10, events=500, gap_ms=50)) as (load, streams):
            load.wait_for(answered=200)
            streams.wait_for(in_flight=10)
            os.kill(first.pid, signal.SIGKILL)
            first.wait()
            counts, cut = load.stop(), streams.end()
    tell("kill -9: requests", counts)
    tell("kill -9: streams", cut)
    assert (cut.sent, cut.cut) == (10, 10)
    assert counts.lost - counts.refused <= 8, "one for each connection at the most"
    assert (counts.wrong, counts.statuses) == (0, {})
    before = len(lines_of(log))

    configuration.write(listeners=[{"address": f"tcp:{port}:interface=127.0.0.1"}, unix])
    with start() as second:
        both = ask(Order(port, requests=500)) + ask(Order(0, requests=500, unix=path))
        assert pid_file.read_text() == str(second.pid)
        assert second.stop() == 0
    tell("kill -9: after the next start", both)
    assert (both.answered, both.lost) == (1000, 0)
    assert len(lines_of(log)) == before + 1000
    assert "Traceback" not in second.output


def test_a_socket_whose_lock_names_another_process(provider: Provider, tmp_path: Path) -> None:
    """In a container the next daemon, or who else is there, has the pid of the one that was killed."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    Path(f"{path}.lock").symlink_to(str(os.getpid()))
    with Daemon("--upstream", provider.url, port=f"unix:{path}"):
        assert ask(Order(0, requests=10, unix=str(path))).lost == 0


# Descriptors used up


def test_without_descriptors(provider: Provider) -> None:
    """Who is connected is served, a new client is closed at once and not left waiting, the daemon does not
    spin; and with descriptors again all are served.
    """
    with Daemon("--upstream", provider.url) as daemon:
        assert ask(Order(daemon.port, requests=100, connections=4)).lost == 0
        kept = Order(daemon.port, connections=4, pause_ms=2)
        with Load(kept) as load:
            load.wait_for(answered=50)
            _, hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (descriptors(daemon.pid) + 8, hard))
            idle = [Peer.connect(daemon.port) for _ in range(40)]
            assert idle[-1].wait_end() in ("FIN", "RST")
            began, spent = time.monotonic(), cpu_seconds(daemon.pid)
            load.more(200)
            shut_out = ask(Order(daemon.port, requests=50, connections=2, keeps=False))
            load.more(200)
            share = (cpu_seconds(daemon.pid) - spent) / (time.monotonic() - began)
            for one in idle:
                one.close()
            resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (hard, hard))
            until(lambda: ask(Order(daemon.port, requests=1, connections=1, keeps=False)).lost == 0)
            after = ask(Order(daemon.port, requests=300, keeps=False))
            served = load.stop()
        assert daemon.stop() == 0
    tell("no descriptors: kept connections", served, cpu=f"{share:.0%}")
    tell("no descriptors: new connections", shut_out)
    tell("no descriptors: afterwards", after)
    assert served.lost == 0
    assert (shut_out.reset, shut_out.late) == (50, 0)
    assert after.lost == 0
    assert share < 0.6
    assert "Traceback" not in daemon.output


def test_without_descriptors_it_says_so_once(provider: Provider) -> None:
    """A warning that tells what to do, and no line for each connection."""
    with Daemon("--upstream", provider.url) as daemon:
        _, hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (descriptors(daemon.pid) + 3, hard))
        before = daemon.line_count
        idle = [Peer.connect(daemon.port) for _ in range(3)]
        for _ in range(100):
            with Peer.connect(daemon.port) as one:
                one.wait_end()
        for one in idle:
            one.close()
        assert daemon.stop() == 0
        said = daemon.output.splitlines()[before:]
    assert len(said) < 20, said[-20:]
    assert len([line for line in said if "LimitNOFILE" in line]) == 1
    assert not any("EMFILE" in line for line in said)


# The clock


@pytest.mark.parametrize("steps", [(HOUR, 0.0), (-HOUR, 0.0)], ids=["forward-and-back", "back-and-forward"])
def test_the_clock_is_set(provider: Provider, tmp_path: Path, steps: Sequence[float]) -> None:
    """No stream, request or idle connection ends, no duration is negative or an hour long; the lines of the
    access log tell the time that it is.
    """
    step, log = tmp_path / "step", tmp_path / "access.log"
    _set(step, 0.0)
    env = {"PYTHONPATH": f"{CLOCK}:{ROOT}", "CLOCK_STEP": str(step)}
    with (
        Daemon("--upstream", provider.url, "--access-log", str(log), env=env) as daemon,
        daemon.connect() as idle,
    ):
        idle.send_request("GET", "/healthz")
        assert idle.read_answer().status == 200
        streamed = Order(daemon.port, requests=20, connections=20, events=30, gap_ms=50, patience_seconds=10)
        asked = Order(daemon.port, connections=4, pause_ms=1, patience_seconds=10)
        with loads(streamed, asked) as (streams, load):
            for seconds in steps:
                streams.wait_for(in_flight=20)
                load.more(100)
                _set(step, seconds)
                load.more(100)
            both = [streams.end(), load.stop()]
        idle.send_request("GET", "/healthz")
        assert idle.read_answer().status == 200
        durations = {
            key: value
            for key, value in scrape(daemon).items()
            if key[0].endswith(("_seconds_sum", "lag_seconds"))
        }
        assert daemon.stop() == 0
    tell("clock set: streams", both[0])
    tell("clock set: requests", both[1])
    assert both[0].lost == both[1].lost == 0
    assert durations
    assert {key: value for key, value in durations.items() if not 0 <= value < HOUR / 2} == {}
    lines = lines_of(log)
    assert all(0 <= line["duration_seconds"] < HOUR / 2 for line in lines)
    hours = {line["time"][:13] for line in lines}
    assert len(hours) > 1


def _set(path: Path, seconds: float) -> None:
    """In place: the other one has it open."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT), "w") as file:
        file.write(f"{seconds:+032.1f}")


# Names


class Nameserver:
    """On port 53 of an address of this machine. Silent until ``speaks`` is set; then names are 127.0.0.1."""

    address = "127.0.0.99"

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((self.address, 53))
        self.speaks = threading.Event()
        self.asked = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                question, client = self._socket.recvfrom(512)
            except OSError:
                return
            if not question:
                return
            self.asked.set()
            if self.speaks.is_set():
                self._socket.sendto(_answer(question), client)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", (self.address, 53))
        self._thread.join(20)
        self._socket.close()


def _answer(question: bytes) -> bytes:
    """One A record; for other types none (RFC 1035 section 4)."""
    end = question.index(b"\0", 12) + 5
    is_a = struct.unpack(">H", question[end - 4 : end - 2])[0] == 1
    head = question[:2] + struct.pack(">HHHHH", 0x8180, 1, int(is_a), 0, 0)
    record = struct.pack(">HHHIH", 0xC00C, 1, 1, 60, 4) + bytes((127, 0, 0, 1))
    return head + question[12:end] + (record if is_a else b"")


def can_mount() -> bool:
    """Whether this user may mount in a namespace of its own, and listen at port 53."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    bind = ["unshare", "-m", "mount", "--bind", "/etc/hosts", "/etc/hosts"]
    return subprocess.run(bind, capture_output=True).returncode == 0


@contextmanager
def daemon_with_nameserver(folder: Path, *options: str) -> Iterator[Program]:
    """Its /etc/resolv.conf is another one's, for it alone."""
    resolv = folder / "resolv.conf"
    resolv.write_text(f"nameserver {Nameserver.address}\noptions timeout:1 attempts:2\n")
    script = f'mount --bind {resolv} /etc/resolv.conf && exec "$@"'
    arguments = ["unshare", "-m", "sh", "-c", script, "sh", *command(*options)]
    with Program(arguments, SERVES, ROOT, environment()) as running:
        yield running


def test_names_are_not_told(provider: Provider, tmp_path: Path) -> None:
    """Twelve providers whose names hang: the others are served, one of them by a name that needs no server;
    each of the twelve has a 504 in time; metrics are told; and names that come are used.
    """
    if not can_mount():
        # A right, and not a program that could be installed: many a container has it not.
        pytest.skip("nothing can be mounted here: /etc/resolv.conf of the daemon cannot be another")
    configuration = Configuration(tmp_path, provider, timeouts={"connect_seconds": 1.0})
    providers = configuration.content["providers"]
    key = providers["load"]["api_key"]
    names = [f"far-{number}" for number in range(12)]
    for name in names:
        providers[name] = {"base_url": f"http://{name}.test:{provider.port}/v1", "api_key": key}
    providers["near"] = {"base_url": f"http://localhost:{provider.port}/v1", "api_key": key}
    configuration.write(default_provider="load")
    with (
        Nameserver() as nameserver,
        daemon_with_nameserver(tmp_path, "--config", str(configuration.path)) as daemon,
    ):
        far = [
            Order(daemon.port, requests=3, connections=3, path=f"/{name}/v1/chat/completions")
            for name in names
        ]
        near = Order(daemon.port, requests=100, path="/near/v1/chat/completions")
        with loads(*far) as hanging:
            assert nameserver.asked.wait(20)
            served = ask(Order(daemon.port, requests=500)) + ask(near)
            assert total(scrape(daemon), "http_requests_total", provider="near") == 100
            lost = sum((one.end() for one in hanging), Counts())
        nameserver.speaks.set()
        # What hung goes on hanging for resolv.conf's seconds; whoever asks meanwhile shares its end.
        until(lambda: all(ask(Order(daemon.port, requests=1, path=one.path)).lost == 0 for one in far))
        after = sum((ask(Order(daemon.port, requests=20, path=one.path)) for one in far), Counts())
        nameserver.speaks.clear()
        assert daemon.stop() == 0
    tell("names hang: other providers", served)
    tell("names hang: these providers", lost)
    tell("names hang: afterwards", after)
    assert served.lost == after.lost == 0
    assert lost.statuses == {"504": 36}
    assert "Traceback" not in daemon.output
