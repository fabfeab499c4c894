"""A daemon with a file, all that come after it by upgrades, and what is counted of them."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.operations.daemons import Configuration, children, is_alive, until
from tests.operations.load import Counts, Order
from tests.support.daemon import ROOT, SERVES, command, environment
from tests.support.program import Program

RELOADED = re.compile(r"^\s+timeouts\.head_seconds")
"""Of each reload another line: the same one again and again would be counted in the log, not repeated."""
UPGRADED = re.compile(r"Upgrade: process (\d+) serves now")
NOT_UPGRADED = re.compile(r"The upgrade failed, and nothing has changed")
ENDS = re.compile(r"The daemon is ending")
AGAIN = re.compile(r"Worker \d+ serves again")


@dataclass
class Row:
    """One line of what is told."""

    name: str
    counts: Counts
    more: dict[str, object] = field(default_factory=dict)


Rows = list[Row]


class Served:
    """A daemon with a file, and all that come after it by upgrades."""

    def __init__(self, configuration: Configuration, workers: int = 1) -> None:
        options = ("--config", str(configuration.path), *(("--workers", str(workers)) if workers > 1 else ()))
        self.program = Program(command(*options), SERVES, ROOT, environment())
        self.pids = [self.program.pid]
        self.port = self.program.port

    def send(self, number: signal.Signals, says: re.Pattern[str], times: int = 1) -> str:
        """A signal to who serves now; the last line of those that say so."""
        before = self.program.line_count
        os.kill(self.pids[-1], number)
        found: list[str] = []

        def is_said() -> bool:
            said = self.program.output.splitlines()[before:]
            found[:] = [line for line in said if says.search(line)]
            return len(found) >= times

        until(is_said)
        return found[-1]

    def upgrade(self) -> None:
        """Until the successor serves."""
        said = UPGRADED.search(self.send(signal.SIGUSR2, UPGRADED))
        assert said is not None
        self.pids.append(int(said[1]))

    def end(self) -> int:
        """SIGTERM to the last one, when all before it have ended; the exit status of the first."""
        for pid in self.pids[1:-1]:
            until(lambda pid=pid: not is_alive(pid))  # type: ignore[misc]
        with suppress(ProcessLookupError):
            os.kill(self.pids[-1], signal.SIGTERM)
        until(lambda: not is_alive(self.pids[-1]))
        status = self.program.wait()
        assert "Traceback" not in self.program.output, self.program.output
        return status

    def kill(self) -> None:
        """Whatever is left of it."""
        workers = [worker for pid in self.pids for worker in children(pid)]
        for one in (*workers, *self.pids[1:]):
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        self.program.kill()


@contextmanager
def served(configuration: Configuration, workers: int = 1) -> Iterator[Served]:
    """One that is ended by force, if not otherwise."""
    daemon = Served(configuration, workers)
    try:
        yield daemon
    finally:
        daemon.kill()


def nothing_lost(*rows: Row) -> Rows:
    """Each request has its answer, at the first attempt."""
    for row in rows:
        assert row.counts.lost == 0, row
        assert row.counts.retried == 0, row
        assert row.counts.answered, row
    return list(rows)


def in_flight(daemon: Served, streams: int, events: int, gap_ms: int = 50) -> Order:
    """Streams that go on for a while."""
    return Order(daemon.port, requests=streams, connections=streams, events=events, gap_ms=gap_ms)
