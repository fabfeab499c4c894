"""The last minutes and the last hour, out of snapshots of the metrics: for a page without Prometheus."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct

from openai_proxy.observe.model import OTHER
from openai_proxy.observe.outcome import Outcome
from openai_proxy.observe.window import Series, Window, quantile
from openai_proxy.process.operations import Family, Sample

RECENT_SECONDS: Final = 300.0
HOUR_SECONDS: Final = 3600.0
RECENT_SLOT_SECONDS: Final = 10.0
HOUR_SLOT_SECONDS: Final = 60.0
MOST_MODELS: Final = 50
"""Pairs of provider and model that are kept apart. Those that come later are ``other``."""
PORTION_SAMPLES: Final = 256
"""About a third of a millisecond of reading: others have their turn between two of them."""

REQUESTS: Final = "requests"
DURATION: Final = "duration"
FIRST_TOKEN: Final = "first_token"  # noqa: S105 (a clock)
INPUT: Final = "input"
OUTPUT: Final = "output"
DOLLARS: Final = "dollars"

_OF_MODEL: Final = {
    "openai_proxy_input_tokens_total": INPUT,
    "openai_proxy_output_tokens_total": OUTPUT,
    "openai_proxy_cost_usd_total": DOLLARS,
}
_CLOCKS: Final = {
    "http_request_duration_seconds_bucket": DURATION,
    "openai_proxy_time_to_first_token_seconds_bucket": FIRST_TOKEN,
}
FAMILIES: Final = frozenset(
    {
        "http_requests",
        *(name.removesuffix("_total") for name in _OF_MODEL),
        *(name.removesuffix("_bucket") for name in _CLOCKS),
    }
)
"""What is read of a snapshot; the rest need not be in it."""


class OutcomeRate(Struct, frozen=True, gc=False):
    """Of the last minutes."""

    outcome: str
    count: float
    per_minute: float


class Clocks(Struct, frozen=True, gc=False):
    """Of the last minutes, in seconds; None: there was nothing to be clocked."""

    provider: str
    model: str
    answers: float
    """With a status of 2xx: only those are clocked."""
    duration_p50: float | None
    duration_p95: float | None
    first_token_p50: float | None
    first_token_p95: float | None


class Used(Struct, frozen=True, gc=False):
    """In an hour; of a younger daemon, what it would be."""

    provider: str
    model: str
    input_tokens: float
    output_tokens: float
    dollars: float


class Minute(Struct, frozen=True, gc=False):
    """One column of the chart."""

    ended_seconds: float
    ok_per_minute: float
    failed_per_minute: float


class Summary(Struct, frozen=True, gc=False):
    """What a page shows."""

    recent_seconds: float = 0.0
    """Which rates and clocks are of."""
    hour_seconds: float = 0.0
    """Out of which the use of an hour is reckoned."""
    rates: Sequence[OutcomeRate] = ()
    clocks: Sequence[Clocks] = ()
    used: Sequence[Used] = ()
    minutes: Sequence[Minute] = ()


class History:
    """Is given snapshots, some seconds apart, and tells what was between them. Holds a bounded number."""

    def __init__(self) -> None:
        self._at_seconds = 0.0
        self._totals: dict[Series, float] | None = None
        self._models: set[tuple[str, str]] = set()
        self._recent = Window(RECENT_SECONDS, RECENT_SLOT_SECONDS)
        self._hour = Window(HOUR_SECONDS, HOUR_SLOT_SECONDS)
        self._summary: Summary | None = Summary()

    def add(self, at_seconds: float, families: Iterable[Family]) -> Iterator[None]:
        """Take in a snapshot of ``FAMILIES``. To be iterated to its end: between two steps others may run.

        :param at_seconds: when it was made, on any clock; one that was put back begins the history anew.
        """
        totals: dict[Series, float] = defaultdict(float)
        for number, sample in enumerate(_samples(families)):
            series = self._series(sample)
            if series is not None:
                totals[series] += sample.value
            if number % PORTION_SAMPLES == PORTION_SAMPLES - 1:
                yield
        self._take(at_seconds, totals)

    def summary(self) -> Summary:
        """Computed once for each snapshot."""
        if self._summary is None:
            self._summary = self._computed()
        return self._summary

    def _series(self, sample: Sample) -> Series | None:
        name, labels = sample.name, dict(sample.labels)
        if name == "http_requests_total":
            return (REQUESTS, labels["outcome"])
        if name in _CLOCKS:
            # A refusal in a millisecond says nothing of how long answers take.
            if labels.get("status_class", "2xx") != "2xx":
                return None
            return (_CLOCKS[name], *self._model(labels), labels["le"])
        return (_OF_MODEL[name], *self._model(labels)) if name in _OF_MODEL else None

    def _model(self, labels: Mapping[str, str]) -> tuple[str, str]:
        pair = (labels["provider"], labels["model"])
        if pair in self._models:
            return pair
        if len(self._models) >= MOST_MODELS:
            return (OTHER, OTHER)
        self._models.add(pair)
        return pair

    def _take(self, at_seconds: float, totals: dict[Series, float]) -> None:
        before, began = self._totals, self._at_seconds
        if before is not None and at_seconds == began:
            return
        self._totals, self._at_seconds = totals, at_seconds
        self._summary = None
        if before is None:
            # What was counted before the first snapshot was counted nobody knows when.
            return
        if at_seconds < began:
            self._recent.clear()
            self._hour.clear()
            return
        increments = dict(_increments(before, totals))
        self._recent.add(began, at_seconds, increments)
        of_hour = {key: value for key, value in increments.items() if key[0] not in (DURATION, FIRST_TOKEN)}
        self._hour.add(began, at_seconds, of_hour)

    def _computed(self) -> Summary:
        recent_seconds, hour_seconds = self._recent.covered_seconds, self._hour.covered_seconds
        if not recent_seconds:
            return Summary()
        recent = self._recent.sums()
        return Summary(
            recent_seconds,
            hour_seconds,
            _rates(recent, recent_seconds),
            _clocks(recent, self._totals or {}),
            _used(self._hour.sums(), hour_seconds),
            _minutes(self._hour),
        )


def _samples(families: Iterable[Family]) -> Iterator[Sample]:
    for family in families:
        if family.name in FAMILIES:
            yield from family.samples


def _increments(
    before: Mapping[Series, float], now: Mapping[Series, float]
) -> Iterator[tuple[Series, float]]:
    for series, value in now.items():
        last = before.get(series, 0.0)
        # One that is less than it was has begun anew, from 0.
        increment = value - last if value >= last else value
        if increment:
            yield series, increment


def _rates(sums: Mapping[Series, float], seconds: float) -> list[OutcomeRate]:
    """The most frequent first."""
    found = [
        OutcomeRate(series[1], count, count * 60 / seconds)
        for series, count in sums.items()
        if series[0] == REQUESTS
    ]
    return sorted(found, key=lambda rate: (-rate.count, rate.outcome))


Buckets = dict[tuple[str, str], dict[str, list[tuple[float, float]]]]


def _clocks(sums: Mapping[Series, float], totals: Iterable[Series]) -> list[Clocks]:
    """Of the models with the most answers first."""
    clocked = {series[1:3] for series in sums if series[0] in (DURATION, FIRST_TOKEN)}
    buckets: Buckets = defaultdict(lambda: {DURATION: [], FIRST_TOKEN: []})
    for series in totals:
        if series[0] in (DURATION, FIRST_TOKEN) and series[1:3] in clocked:
            kind, provider, model, bound = series
            # A bucket to which nothing came is the lower bound of the next.
            buckets[provider, model][kind].append((float(bound), sums.get(series, 0.0)))
    found = [
        Clocks(
            *pair,
            max((count for _, count in kinds[DURATION]), default=0.0),
            *(quantile(q, kinds[kind]) for kind in (DURATION, FIRST_TOKEN) for q in (0.5, 0.95)),
        )
        for pair, kinds in buckets.items()
    ]
    return sorted(found, key=lambda clocks: (-clocks.answers, clocks.provider, clocks.model))


def _used(sums: Mapping[Series, float], seconds: float) -> list[Used]:
    """The dearest first."""
    pairs = {series[1:] for series in sums if series[0] in (INPUT, OUTPUT, DOLLARS)}
    of_hour = HOUR_SECONDS / seconds if seconds else 0.0

    def in_hour(kind: str, pair: Series) -> float:
        return sums.get((kind, *pair), 0.0) * of_hour

    found = [
        Used(pair[0], pair[1], in_hour(INPUT, pair), in_hour(OUTPUT, pair), in_hour(DOLLARS, pair))
        for pair in pairs
    ]
    return sorted(found, key=lambda used: (-used.dollars, -used.output_tokens, used.provider, used.model))


def _minutes(window: Window) -> list[Minute]:
    """The oldest first."""
    found = []
    for slot in window.slots:
        minutes = (slot.ended_seconds - slot.began_seconds) / 60
        counts = {key[1]: value for key, value in slot.increments.items() if key[0] == REQUESTS}
        ok = counts.pop(Outcome.OK.value, 0.0)
        found.append(Minute(slot.ended_seconds, ok / minutes, sum(counts.values()) / minutes))
    return found
