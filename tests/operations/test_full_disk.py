"""A disk that is full, for the access log and for the daemon's own: it serves, says so once, and recovers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.operations.daemons import until
from tests.operations.load import Counts, Load, Order, Provider
from tests.operations.table import tell
from tests.support.daemon import ROOT, SERVES, Daemon, command, environment

DISK_BYTES = 64 * 1024
FULL = re.compile(r"access log drops lines: No space left on device")
ROOM = re.compile(r"access log drops no more lines: (\d+) were dropped")


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    """The upstream."""
    with Provider() as running:
        yield running


def ask(order: Order) -> Counts:
    """All of it."""
    with Load(order) as load:
        return load.end()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB. Where none can be mounted, /dev/full has to do (``test_dev_full``)."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here; test_dev_full is the same without one")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def enlarge(disk: Path) -> None:
    """Room for all that is to come."""
    subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)


def whole_lines(path: Path) -> int:
    """How many lines are JSON; of those that are not there may be one, where the disk was full."""
    torn = count = 0
    for line in path.read_bytes().splitlines():
        try:
            json.loads(line)
            count += 1
        except ValueError:
            torn += 1
    assert torn <= 1
    return count


def test_dev_full(provider: Provider, tmp_path: Path) -> None:
    """The access log is a link to a device that takes nothing, and then to a file: every line is written, or
    counted as dropped.
    """
    log, file = tmp_path / "access.log", tmp_path / "file"
    log.symlink_to("/dev/full")
    with Daemon("--upstream", provider.url, "--access-log", str(log)) as daemon:
        full = ask(Order(daemon.port, requests=2000))
        daemon.wait_for(FULL)
        (tmp_path / "new").symlink_to(file)
        (tmp_path / "new").replace(log)
        room = ask(Order(daemon.port, requests=500))
        dropped = int(daemon.wait_for(ROOM)[1])
        assert daemon.stop() == 0
    tell("no room for the access log (/dev/full)", full, dropped_lines=dropped)
    tell("room again", room, written_lines=whole_lines(file))
    assert full.lost == room.lost == 0
    assert dropped
    assert whole_lines(file) + dropped == 2500
    assert len(FULL.findall(daemon.output)) == len(ROOM.findall(daemon.output)) == 1


def test_full_disk_for_the_access_log(provider: Provider, disk: Path) -> None:
    """It fills in the midst of the load; then it is made larger, as who finds it full would do."""
    log = disk / "access.log"
    with Daemon("--upstream", provider.url, "--access-log", str(log)) as daemon:
        full = ask(Order(daemon.port, requests=2000))
        daemon.wait_for(FULL)
        enlarge(disk)
        room = ask(Order(daemon.port, requests=500))
        dropped = int(daemon.wait_for(ROOM)[1])
        assert daemon.stop() == 0
        written = whole_lines(log)
    tell("a full disk for the access log", full, dropped_lines=dropped)
    tell("room again", room, written_lines=written)
    assert full.lost == room.lost == 0
    assert written + dropped == 2500
    assert len(FULL.findall(daemon.output)) == len(ROOM.findall(daemon.output)) == 1
    assert "Traceback" not in daemon.output


@contextmanager
def logging_to(path: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A daemon whose stdout and stderr are a file, and the port that it serves at."""
    with path.open("ab") as out:
        process = subprocess.Popen(command(*options), cwd=ROOT, env=environment(), stdout=out, stderr=out)
    try:
        serves = re.compile(SERVES.pattern, re.M)
        until(lambda: serves.search(path.read_text()) is not None)
        found = serves.search(path.read_text())
        assert found is not None
        yield process, found[1]
    finally:
        process.kill()
        process.wait()


def test_full_disk_for_both_logs(provider: Provider, disk: Path) -> None:
    """There is no room to say that there is no room: it serves, and writes on when there is some."""
    log, out = disk / "access.log", disk / "out"
    options = ("--port", "tcp:0:interface=127.0.0.1", "--upstream", provider.url, "--access-log", str(log))
    with logging_to(out, *options) as (process, url):
        port = int(url.rpartition(":")[2])
        fill(disk / "filler")
        full = ask(Order(port, requests=2000))
        enlarge(disk)
        room = ask(Order(port, requests=500))
        until(lambda: ROOM.search(out.read_text()) is not None)
        process.send_signal(signal.SIGTERM)
        status = process.wait(20)
        said = out.read_text()
    tell("a full disk for both logs", full)
    tell("room again", room, exit_status=status)
    assert full.lost == room.lost == 0
    assert status == 0
    assert "Traceback" not in said


def fill(path: Path) -> None:
    """Take all the room that is left."""
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 512):
                pass
        except OSError:
            return
