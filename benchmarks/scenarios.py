"""What is measured of one running proxy; each scenario gives one record."""

import json
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.daemons import CHAT, Daemon
from benchmarks.load import Load, Measure, measure, run_wrk
from benchmarks.processes import LOOPBACK, spawned
from benchmarks.scrape import fill, scraping
from benchmarks.streams import Order, Report

CHUNKS_PER_STREAM = 100
LOADS: Mapping[str, Load] = {
    "chat1": Load(1),
    "chat32": Load(32),
    "stream32": Load(32, stream=True, user=f"chunks={CHUNKS_PER_STREAM}"),
}
SAMPLE_SECONDS = 0.2


class StreamsFailed(Exception):
    """The streams client itself failed."""


@dataclass(frozen=True)
class Held:
    """Paced streams through one proxy."""

    report: Report
    resident_before: int
    resident_most: int
    cpu_us_per_100_chunks: float

    def bytes_per_stream(self) -> float:
        """What one more open stream costs."""
        return (self.resident_most - self.resident_before) / self.report.streams


@dataclass(frozen=True)
class Scraped:
    """The same paced streams without a scraper and with one."""

    quiet: Report
    scraped: Report
    scrapes: int
    samples: int
    failures: int
    scrape_ms_median: float


def warm_up(daemon: Daemon) -> None:
    """Let pools fill and just-in-time compilers see both kinds of request."""
    run_wrk(daemon.target, LOADS["chat32"], 1)
    if not daemon.stream_fault:
        run_wrk(daemon.target, LOADS["stream32"], 1)


def loads(daemon: Daemon, seconds: float, names: list[str]) -> dict[str, Measure]:
    """One round of wrk for each named load. Raises LoadFailed."""
    able = [name for name in names if not (LOADS[name].stream and daemon.stream_fault)]
    return {name: measure(daemon.target, LOADS[name], seconds, daemon.tree) for name in able}


def order(daemon: Daemon, streams: int, chunks: int, gap_ms: int) -> Order:
    """Paced streams through this daemon."""
    target = daemon.target
    headers = dict(target.headers or {})
    return Order(LOOPBACK, daemon.port, CHAT, target.model, headers, streams, chunks, gap_ms)


def hold(daemon: Daemon, wanted: Order, folder: Path) -> Held:
    """Hold the streams and watch the memory. Raises StreamsFailed."""
    before, cpu = daemon.tree.resident_bytes(), daemon.tree.cpu_microseconds()
    most = before
    output = folder / f"streams-{time.monotonic_ns()}.json"
    argv = [sys.executable, "-m", "benchmarks.streams", json.dumps(asdict(wanted))]
    limit = time.monotonic() + wanted.seconds() + 60
    with spawned(argv, output) as process:
        while process.poll() is None and time.monotonic() < limit:
            time.sleep(SAMPLE_SECONDS)
            most = max(most, daemon.tree.resident_bytes())
    try:
        report = Report(**json.loads(output.read_text()))
    except ValueError as error:
        raise StreamsFailed(output.read_text()[-200:] or "no report in time") from error
    spent = daemon.tree.cpu_microseconds() - cpu
    return Held(report, before, most, round(100 * spent / max(1, report.chunks), 1))


def scrapes(daemon: Daemon, wanted: Order, every: float, folder: Path) -> Scraped:
    """Make the series, then hold the streams twice: unseen, and scraped ``every`` seconds."""
    fill(daemon.port)
    quiet = hold(daemon, wanted, folder).report
    with scraping(daemon.port, every) as seen:
        scraped = hold(daemon, wanted, folder).report
    return Scraped(
        quiet=quiet,
        scraped=scraped,
        scrapes=len(seen.milliseconds),
        samples=seen.samples,
        failures=seen.failures,
        scrape_ms_median=round(statistics.median(seen.milliseconds or [0.0]), 2),
    )
