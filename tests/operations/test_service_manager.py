"""A daemon under a service manager, as users run it: what systemd is told, and by whom."""

from __future__ import annotations

import os
import re
import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.daemon import ROOT, command, environment
from tests.support.program import Program
from tests.support.service_manager import ServiceManager, Word

WATCHED = """
import os, sys
os.environ["WATCHDOG_PID"] = str(os.getpid())
os.execv(sys.argv[1], sys.argv[1:])
"""
"""As systemd does it: the variable has the number of the process that is started."""
FILE = "listeners: [{address: 'tcp:0:interface=127.0.0.1'}]\nproviders: {openai: {}}\n"


@contextmanager
def watched(manager: ServiceManager, folder: Path, *options: str) -> Iterator[Program]:
    """A daemon with a file, which is to pet the watchdog each half second."""
    file = folder / "proxy.yaml"
    file.write_text(FILE)
    arguments = [sys.executable, "-c", WATCHED, *command("--config", str(file), *options)]
    variables = environment(**manager.environment, WATCHDOG_USEC="1000000")
    with Program(arguments, re.compile(r"serves on (\S+)$"), ROOT, variables) as daemon:
        yield daemon


def said(pid: int, line: str) -> Callable[[Word], bool]:
    """Whether a word is of that process, and begins with that line."""
    return lambda word: word.pid == pid and word.text.partition("\n")[0] == line


def wait_for_end(pid: int) -> None:
    """Of that process alone; others may still have its output open."""
    descriptor = os.pidfd_open(pid)
    try:
        ended, _, _ = select.select([descriptor], [], [], 20)
        assert ended
    finally:
        os.close(descriptor)


def test_a_life_is_told(tmp_path: Path) -> None:
    """READY when it serves, the watchdog petted, reloads begun and ended, STOPPING at the end."""
    with ServiceManager() as manager, watched(manager, tmp_path) as daemon:
        manager.wait_for(said(daemon.pid, "READY=1"))
        for _ in range(2):
            manager.wait_for(said(daemon.pid, "WATCHDOG=1"))
        for text in (FILE + "mock: false\n", "nonsense: true\n"):
            (tmp_path / "proxy.yaml").write_text(text)
            os.kill(daemon.pid, signal.SIGHUP)
            begun = manager.wait_for(said(daemon.pid, "RELOADING=1"))
            assert re.search(r"^MONOTONIC_USEC=\d+$", begun.text, re.MULTILINE)
            # Whatever has come of it: it serves.
            manager.wait_for(said(daemon.pid, "READY=1"))
        assert "STATUS=" in manager.heard[-1].text
        daemon.terminate()
        manager.wait_for(said(daemon.pid, "STOPPING=1"))
        assert daemon.wait() == 0


def test_a_successor_is_made_the_service(tmp_path: Path) -> None:
    """Its predecessor names it, says nothing more, and ends; the watchdog is petted by the new one."""
    with ServiceManager() as manager, watched(manager, tmp_path) as daemon:
        manager.wait_for(said(daemon.pid, "READY=1"))
        os.kill(daemon.pid, signal.SIGUSR2)
        named = manager.wait_for(lambda word: word.text.startswith("MAINPID="))
        successor = int(named.text.partition("\n")[0].removeprefix("MAINPID="))
        try:
            assert named.pid == daemon.pid != successor
            heard = len(manager.heard)
            wait_for_end(daemon.pid)
            for _ in range(2):
                manager.wait_for(said(successor, "WATCHDOG=1"))
            assert {word.pid for word in manager.heard[heard:]} == {successor}
        finally:
            os.kill(successor, signal.SIGTERM)
        manager.wait_for(said(successor, "STOPPING=1"))
        assert daemon.wait() == 0


def test_only_the_parent_of_workers_speaks(tmp_path: Path) -> None:
    """READY comes when all workers serve; none of them says a word."""
    with ServiceManager() as manager, watched(manager, tmp_path, "--workers", "2") as daemon:
        manager.wait_for(said(daemon.pid, "READY=1"))
        for _ in range(2):
            manager.wait_for(said(daemon.pid, "WATCHDOG=1"))
        daemon.terminate()
        manager.wait_for(said(daemon.pid, "STOPPING=1"))
        assert daemon.wait() == 0
        assert {word.pid for word in manager.heard} == {daemon.pid}
