"""Child processes: started in a group of their own, ready when they listen, ended by group."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.procfs import Tree

ROOT = Path(__file__).resolve().parent.parent
LOOPBACK = "127.0.0.1"


class NotStarted(Exception):
    """The process ended, or did not listen in time; the text is the end of its output."""


def free_port() -> int:
    """A port that nothing listens on now. Another process may take it before ours does."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def spawned(
    argv: Sequence[str], output: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``argv`` from the root of the repository; its whole group is ended at the exit.

    What it prints goes to the file ``output``.
    """
    with output.open("wb") as sink:
        process = subprocess.Popen(
            argv,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    for number, seconds in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            break
    # The first process may leave children behind that took its signal as their own affair.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def wait_until_listening(process: subprocess.Popen[bytes], port: int, output: Path, seconds: float) -> float:
    """Seconds from now until ``port`` accepts a connection.

    Raises NotStarted if the process ends before, or ``seconds`` pass.
    """
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        if process.poll() is not None:
            raise NotStarted(f"ended with {process.returncode}: {_tail(output)}")
        with suppress(OSError), socket.create_connection((LOOPBACK, port), 1):
            return time.monotonic() - begin
        time.sleep(0.005)
    raise NotStarted(f"no listener after {seconds:.0f} s: {_tail(output)}")


def _tail(output: Path, characters: int = 300) -> str:
    # No paths: the report names no folder of the machine that it was made on.
    words = [word for word in output.read_text(errors="replace").split() if "/" not in word]
    text = " ".join(words)
    return text[-characters:] or "it printed nothing"


def wait_for_json(process: subprocess.Popen[bytes], output: Path) -> dict[str, int]:
    """The first line that the process prints, which is JSON. Raises NotStarted after 10 s."""
    begin = time.monotonic()
    while time.monotonic() - begin < 10:
        line, end, _ = output.read_text().partition("\n")
        if end:
            value: dict[str, int] = json.loads(line)
            return value
        if process.poll() is not None:
            break
        time.sleep(0.01)
    raise NotStarted(f"no line of JSON: {_tail(output)}")


def tree_of(process: subprocess.Popen[bytes]) -> Tree:
    """The process and all below it."""
    return Tree(process.pid)
