"""A program that serves, as a child process: what it says, and how it ends."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.support.sockets import Message, Peer


class Program:
    """Starts when it is made and serves when that returns; ``stop`` or ``with`` ends it.

    ``url`` is the first group of ``serves`` in a line of its output. ``AssertionError`` with that
    output if it ends, or says nothing of the kind, within ``seconds``. It inherits ``pass_fds``.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        serves: re.Pattern[str],
        folder: Path,
        env: Mapping[str, str],
        seconds: float = 20,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._process = subprocess.Popen(
            arguments,
            cwd=folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=pass_fds,
        )
        self.pid = self._process.pid
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.url = self.wait_for(serves, seconds)[1]
        except BaseException:
            self.kill()
            raise

    @property
    def output(self) -> str:
        """All that it has written to stdout and stderr so far."""
        with self._changed:
            return "".join(self._lines)

    @property
    def nobody_is_left(self) -> bool:
        """Whether all have ended that could write there."""
        with self._changed:
            return self._ended

    @property
    def port(self) -> int:
        """The TCP port."""
        port = urlsplit(self.url).port
        assert port is not None
        return port

    @property
    def line_count(self) -> int:
        """How many lines it has written so far."""
        with self._changed:
            return len(self._lines)

    def wait_for(self, pattern: re.Pattern[str], seconds: float = 20, after: int = 0) -> re.Match[str]:
        """The first line of its output that matches, when it has come; not of the first ``after`` ones."""
        end = time.monotonic() + seconds
        seen = after
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

    def exit_status(self, seconds: float = 20) -> int:
        """The same, though others go on to write what it wrote."""
        return self._process.wait(seconds)

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

    def __enter__(self) -> Self:
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
