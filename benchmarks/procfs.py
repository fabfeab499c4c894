"""CPU time and memory of a whole process tree, read from /proc."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


@dataclass(frozen=True)
class Tree:
    """A process and its descendants, found anew at each reading.

    Time of a child that has ended and been waited for is counted with its parent's; so no
    reading is ever less than one before it, unless a child is reaped by a stranger.
    """

    root: int

    def pids(self) -> list[int]:
        """The root and all that live below it; empty if the root is gone."""
        found: list[int] = []
        waiting = [self.root]
        while waiting:
            pid = waiting.pop()
            with suppress(OSError):
                for task in (PROC / str(pid) / "task").iterdir():
                    waiting += map(int, (task / "children").read_text().split())
                found.append(pid)
        return found

    def cpu_microseconds(self) -> int:
        """User and system time so far, in steps of one clock tick (10 ms on Linux)."""
        ticks = 0
        for pid in self.pids():
            with suppress(OSError):
                # The name in parentheses may itself hold spaces and parentheses.
                fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
                ticks += sum(map(int, fields[11:15]))
        return ticks * 1_000_000 // TICKS_PER_SECOND

    def resident_bytes(self) -> int:
        """Resident memory now; pages that two processes share count twice."""
        return self._sum_of("VmRSS")

    def peak_bytes(self) -> int:
        """The most resident memory of each process since ``forget_peak``, summed."""
        return self._sum_of("VmHWM")

    def forget_peak(self) -> None:
        """Let ``peak_bytes`` start from the memory of now (proc(5), clear_refs)."""
        for pid in self.pids():
            with suppress(OSError):
                (PROC / str(pid) / "clear_refs").write_text("5")

    def _sum_of(self, field: str) -> int:
        total = 0
        for pid in self.pids():
            with suppress(OSError):
                for line in (PROC / str(pid) / "status").read_text().splitlines():
                    if line.startswith(field + ":"):
                        total += int(line.split()[1]) * 1024
        return total
