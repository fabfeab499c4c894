"""Closed-loop load by wrk, and what the proxy's processes spent on it."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.procfs import Tree

SCRIPT = Path(__file__).parent / "lua" / "chat.lua"


class LoadFailed(Exception):
    """wrk could not run, or nothing was answered."""


@dataclass(frozen=True)
class Load:
    """One way to ask: how many connections, streamed or not, and the upstream's knobs."""

    connections: int
    stream: bool = False
    user: str = ""


@dataclass(frozen=True)
class Measure:
    """What one run of wrk saw, and what it cost the tree that served it."""

    requests: int
    failed: int
    requests_per_second: float
    p50_us: float
    p99_us: float
    cpu_us: float
    resident_bytes: int


@dataclass(frozen=True)
class Target:
    """Where to send requests, and what this proxy wants to see in them."""

    url: str
    model: str = "gpt-4o-mini"
    headers: Mapping[str, str] | None = None

    def environment(self, load: Load) -> dict[str, str]:
        """What lua/chat.lua reads."""
        fields = "\n".join(f"{name}: {value}" for name, value in (self.headers or {}).items())
        return {
            "BENCH_MODEL": self.model,
            "BENCH_USER": load.user,
            "BENCH_STREAM": "1" if load.stream else "",
            "BENCH_HEADERS": fields,
        }


def run_wrk(target: Target, load: Load, seconds: float) -> dict[str, float]:
    """Run wrk with one thread; its own report. Raises LoadFailed."""
    argv = ["wrk", "-t1", f"-c{load.connections}", f"-d{max(1, round(seconds))}s"]
    argv += ["--timeout", "20s", "-s", str(SCRIPT), target.url]
    run = subprocess.run(
        argv,
        env={**os.environ, **target.environment(load)},
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=False,
    )
    for line in run.stdout.splitlines():
        if line.startswith("BENCH "):
            report: dict[str, float] = json.loads(line.removeprefix("BENCH "))
            return report
    raise LoadFailed((run.stderr or run.stdout).strip()[-200:])


def measure(target: Target, load: Load, seconds: float, tree: Tree) -> Measure:
    """Load the target, and read its processes before and after. Raises LoadFailed."""
    before = tree.cpu_microseconds()
    report = run_wrk(target, load, seconds)
    spent = tree.cpu_microseconds() - before
    requests = int(report["requests"])
    if not requests:
        raise LoadFailed(f"no answer in {seconds:.0f} s")
    return Measure(
        requests=requests,
        failed=int(report["failed"] + report["status"]),
        requests_per_second=requests / (report["duration_us"] / 1e6),
        p50_us=report["p50_us"],
        p99_us=report["p99_us"],
        cpu_us=spent / requests,
        resident_bytes=tree.resident_bytes(),
    )
