"""The daemon as users run it: a child ``twistd`` on a free port."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sysconfig
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

from tests.support.sockets import Message, Peer

ROOT = Path(__file__).parents[2]
ANY_PORT = "tcp:0:interface=127.0.0.1"
_SERVES = re.compile(r"serves on (\S+)$")


def command(*options: str) -> list[str]:
    """``twistd -n openaiproxy`` of the interpreter that runs the tests."""
    twistd = str(Path(sysconfig.get_path("scripts")) / "twistd")
    return [twistd, "--nodaemon", "--pidfile=", "openaiproxy", *options]


def environment(**changes: str) -> dict[str, str]:
    """Where this checkout is found, installed or not."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **changes}


def run(*options: str, seconds: float = 20) -> subprocess.CompletedProcess[str]:
    """A command line that is expected to end by itself."""
    return subprocess.run(
        command(*options), cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=seconds
    )


class Daemon:
    """Starts when it is made and serves when that returns; ``stop`` or ``with`` ends it.

    ``url`` is what it said in its log that it serves on. ``AssertionError`` with its output if
    it ends, or says nothing of a port, within ``seconds``. With a ``port`` of None it listens
    where its options say; ``url`` is the first of these places then.
    """

    def __init__(
        self,
        *options: str,
        port: str | None = ANY_PORT,
        env: Mapping[str, str] | None = None,
        seconds: float = 20,
    ) -> None:
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._process = subprocess.Popen(
            command(*(() if port is None else ("--port", port)), *options),
            cwd=ROOT,
            env=environment(**(env or {})),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.pid = self._process.pid
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.url = self.wait_for(_SERVES, seconds)[1]
        except BaseException:
            self.kill()
            raise

    @property
    def output(self) -> str:
        """All that it has written to stdout and stderr so far."""
        with self._changed:
            return "".join(self._lines)

    @property
    def port(self) -> int:
        """The TCP port."""
        port = urlsplit(self.url).port
        assert port is not None
        return port

    def wait_for(self, pattern: re.Pattern[str], seconds: float = 20) -> re.Match[str]:
        """The first line of its output that matches, when it has come."""
        end = time.monotonic() + seconds
        seen = 0
        with self._changed:
            while True:
                for line in self._lines[seen:]:
                    if found := pattern.search(line.rstrip("\n")):
                        return found
                seen = len(self._lines)
                left = end - time.monotonic()
                if self._ended or left <= 0:
                    raise AssertionError(f"no line {pattern.pattern!r} in:\n{''.join(self._lines)}")
                self._changed.wait(left)

    def connect(self) -> Peer:
        """A new connection of a client."""
        return Peer.connect(self.port)

    def ask(self, method: str, target: str, *fields: str, body: bytes = b"") -> Message:
        """One request on a connection of its own, and its whole answer."""
        with self.connect() as client:
            client.send_request(method, target, *fields, body=body)
            return client.read_answer(method)

    def terminate(self) -> None:
        """SIGTERM."""
        self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = 20) -> int:
        """Its exit status, when it has ended."""
        code = self._process.wait(seconds)
        self._reader.join(seconds)
        return code

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        if self._process.poll() is None:
            self.terminate()
        try:
            return self.wait()
        finally:
            self.kill()

    def kill(self) -> None:
        """End it by force, if it is still there, and let go of its pipes."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join(20)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def forget_peak(self) -> int:
        """Begin a new peak; the bytes of memory that it has now (VmRSS of proc(5))."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        return self._memory("VmRSS:")

    def peak_bytes(self) -> int:
        """The most memory that it had since :meth:`forget_peak` (VmHWM)."""
        return self._memory("VmHWM:")

    def _memory(self, name: str) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition(name)[2].split()[0]) * 1024

    def __enter__(self) -> Daemon:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
