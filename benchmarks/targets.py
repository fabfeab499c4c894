"""What the daemon promises of its own speed, held against a run."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.results import (
    BARE,
    GO,
    MEBIBYTE,
    OURS,
    ROUTED,
    STOCK,
    TRANSLATED,
    Results,
    added_by_scrape,
    added_delay,
    added_p50,
    over,
)
from benchmarks.results import ratio as cpu_ratio


@dataclass(frozen=True)
class Target:
    """A number that must not be larger than ``must``, and is aimed to be no larger than ``aim``."""

    title: str
    value: Callable[[Results], float | None]
    must: float
    aim: float | None = None

    def verdict(self, value: float | None) -> str:
        """One word."""
        if value is None:
            return "not measured"
        if self.aim is not None and value <= self.aim:
            return "aim reached"
        return "kept" if value <= self.must else "MISSED"


def _streams_not_whole(results: Results) -> float | None:
    held = results[OURS].held
    return None if held is None else held.report.streams - held.report.whole


def _kilobytes_per_stream(results: Results) -> float | None:
    held = results[OURS].held
    return None if held is None else held.bytes_per_stream() / 1000


def _transfer_megabytes(results: Results) -> float | None:
    added = [one.added_bytes for one in results[OURS].transfers.values()]
    return max(added) / MEBIBYTE if added else None


def _transfers_unequal(results: Results) -> float | None:
    transfers = results[OURS].transfers.values()
    return sum(not one.equal for one in transfers) if transfers else None


def _idle_megabytes(results: Results) -> float | None:
    return over(results[OURS].idle_bytes, MEBIBYTE)


TARGETS = (
    Target("CPU per chat request / Go reference", lambda r: cpu_ratio(r, OURS, GO, "chat32"), 1.0, 0.75),
    Target(
        "CPU per 100-chunk stream / Go reference", lambda r: cpu_ratio(r, OURS, GO, "stream32"), 1.0, 0.85
    ),
    Target(
        "CPU per chat request / stock Twisted + treq",
        lambda r: cpu_ratio(r, OURS, STOCK, "chat32"),
        0.2,
        0.12,
    ),
    Target("CPU per chat request / --no-observe", lambda r: cpu_ratio(r, OURS, BARE, "chat32"), 1.2),
    Target("CPU per 100-chunk stream / --no-observe", lambda r: cpu_ratio(r, OURS, BARE, "stream32"), 1.25),
    Target("CPU per chat request, routed / Go reference", lambda r: cpu_ratio(r, ROUTED, GO, "chat32"), 1.0),
    Target(
        "CPU per 100-chunk stream, routed / Go reference", lambda r: cpu_ratio(r, ROUTED, GO, "stream32"), 1.0
    ),
    Target(
        "CPU per 100-chunk stream, translated / passed through",
        lambda r: cpu_ratio(r, TRANSLATED, OURS, "stream32"),
        3.0,
    ),
    Target(
        "added p50 at one connection / Go reference",
        lambda r: over(added_p50(r, OURS), added_p50(r, GO)),
        1.5,
        1,
    ),
    Target("paced streams that did not end whole", _streams_not_whole, 0, 0),
    Target("memory per paced stream, KB", _kilobytes_per_stream, 25, 16),
    Target(
        "added chunk delay p99 of paced streams, ms", lambda r: added_delay(r, OURS, "delay_p99_ms"), 50, 20
    ),
    Target("memory added by a large transfer, MB", _transfer_megabytes, 16),
    Target("large transfers whose sha256 differs", _transfers_unequal, 0),
    Target("chunk delay p99 added by scrapes, ms", lambda r: added_by_scrape(r[OURS], "delay_p99_ms"), 10, 5),
    Target("idle memory, MB", _idle_megabytes, 55, 45),
    Target("start, s", lambda r: r[OURS].start_seconds, 1.0, 0.6),
)
