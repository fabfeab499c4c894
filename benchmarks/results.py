"""What a whole run found, and the numbers that are made from it."""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from benchmarks.load import Measure
from benchmarks.scenarios import Held, Scraped
from benchmarks.transfer import Transfer

DIRECT = "direct"
OURS = "ours"
BARE = "bare"
ROUTED = "routed"
TRANSLATED = "translated"
GO = "go"
STOCK = "stock"
MEBIBYTE = 1024 * 1024

Round = Mapping[str, Measure]


@dataclass
class Result:
    """All that is known of one peer; what was not measured is empty or None."""

    title: str
    missing: str = ""
    start_seconds: float | None = None
    idle_bytes: int | None = None
    rounds: list[Round | None] = field(default_factory=list)
    """One entry a round, None where it failed: entry N of two peers was measured side by side."""
    transfers: Mapping[str, Transfer] = field(default_factory=dict)
    held: Held | None = None
    scraped: Scraped | None = None
    failures: list[str] = field(default_factory=list)

    def values(self, load: str, field_name: str) -> list[float | None]:
        """One value a round."""
        return [getattr(one[load], field_name) if one and load in one else None for one in self.rounds]

    def middle(self, load: str, field_name: str) -> float | None:
        """The median over the rounds."""
        return _median(self.values(load, field_name))

    def failed_requests(self) -> int:
        """Requests that wrk did not see answered with 2xx or 3xx, over all rounds."""
        return sum(one.failed for round_ in self.rounds if round_ for one in round_.values())

    def loaded_bytes(self) -> int | None:
        """The most resident memory at the end of a round."""
        seen = [one.resident_bytes for round_ in self.rounds if round_ for one in round_.values()]
        return max(seen, default=None)


Results = dict[str, Result]


def ratio(results: Results, name: str, base: str, load: str, field_name: str = "cpu_us") -> float | None:
    """The median of the ratios within each round, which holds when the machine drifts."""
    if name not in results or base not in results:
        return None
    pairs = zip(results[name].values(load, field_name), results[base].values(load, field_name), strict=False)
    return _median([ours / theirs for ours, theirs in pairs if ours is not None and theirs])


def added_p50(results: Results, name: str) -> float | None:
    """The median over the rounds of p50 at one connection, less that of asking the upstream itself."""
    if DIRECT not in results or name not in results:
        return None
    direct = results[DIRECT].values("chat1", "p50_us")
    pairs = zip(results[name].values("chat1", "p50_us"), direct, strict=False)
    return _median([ours - base for ours, base in pairs if ours is not None and base is not None])


def added_delay(results: Results, name: str, quantile: str) -> float | None:
    """Milliseconds that a chunk comes later than from the upstream itself: quantile less quantile."""
    held, direct = results[name].held, results[DIRECT].held if DIRECT in results else None
    if held is None or direct is None:
        return None
    return less(getattr(held.report, quantile), getattr(direct.report, quantile))


def added_by_scrape(result: Result, quantile: str) -> float | None:
    """Milliseconds that a chunk comes later when the proxy is scraped."""
    if result.scraped is None:
        return None
    return less(getattr(result.scraped.scraped, quantile), getattr(result.scraped.quiet, quantile))


def less(first: float | None, second: float | None) -> float | None:
    """The difference, if both are known."""
    return None if first is None or second is None else first - second


def over(first: float | None, second: float | None) -> float | None:
    """The quotient, if both are known."""
    return first / second if first is not None and second else None


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
