"""The daemon as users run it: a child ``twistd`` on a free port."""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from tests.support.program import Program

ROOT = Path(__file__).parents[2]
ANY_PORT = "tcp:0:interface=127.0.0.1"
SERVES = re.compile(r"(?<!a worker of )openai_proxy \S+ serves on (\S+)( with \d+ workers)?$")
_ENDS = re.compile(r"The daemon is ending")


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


class Daemon(Program):
    """Serves when it is made; ``url`` is what it said in its log that it serves on.

    With a ``port`` of None it listens where its options say; ``url`` is the first of these places then.
    """

    def __init__(
        self,
        *options: str,
        port: str | None = ANY_PORT,
        env: Mapping[str, str] | None = None,
        seconds: float = 20,
    ) -> None:
        arguments = command(*(() if port is None else ("--port", port)), *options)
        super().__init__(arguments, SERVES, ROOT, environment(**(env or {})), seconds)

    def end_now(self) -> int:
        """SIGTERM, and another one when the first was taken: nothing is waited for. The exit status."""
        self.terminate()
        self.wait_for(_ENDS)
        self.terminate()
        return self.wait()

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
