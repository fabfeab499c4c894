"""What is told of the last minutes and the last hour."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from openai_proxy.observe.history import (
    FAMILIES,
    MOST_MODELS,
    PORTION_SAMPLES,
    History,
    OutcomeRate,
    Summary,
)
from openai_proxy.observe.metrics import Metrics, new_registry
from openai_proxy.observe.outcome import Outcome
from openai_proxy.observe.snapshot import families_of
from openai_proxy.process.operations import Family
from tests.support.operator_page import generation, record


def take(history: History, at_seconds: float, families: Iterable[Family]) -> int:
    """Take in a snapshot; the steps that it took."""
    return sum(1 for _ in history.add(at_seconds, families))


class Rig:
    """Metrics, and their history."""

    def __init__(self) -> None:
        self.metrics = Metrics(new_registry())
        self.history = History()
        self.at_seconds = 1000.0
        self.look(0)

    def look(self, after_seconds: float) -> Summary:
        """A snapshot so much later, and what is told then."""
        self.at_seconds += after_seconds
        take(self.history, self.at_seconds, families_of(self.metrics.registry, FAMILIES))
        return self.history.summary()

    def ended(self, outcome: Outcome = Outcome.OK, **changes: object) -> None:
        self.metrics.exchange_began("chat_completions")
        self.metrics.exchange_ended(record(outcome, **changes))


def test_the_families_that_are_read_are_there() -> None:
    """A family that is called otherwise one day would be missing on the page, and nowhere else."""
    names = {family.name for family in families_of(Metrics(new_registry()).registry)}
    assert names >= FAMILIES


def test_before_anything_is_known() -> None:
    """Nothing is told, and nothing divided by 0."""
    assert History().summary() == Summary()
    assert Rig().history.summary() == Summary()


def test_requests_by_outcome() -> None:
    """What ended between the snapshots, not before them; a minute's worth, the most frequent first."""
    rig = Rig()
    rig.ended()
    rig.history = History()
    rig.look(0)
    for _ in range(5):
        rig.ended()
    rig.ended(Outcome.UPSTREAM_ERROR)
    summary = rig.look(10)
    assert summary.recent_seconds == 10
    assert summary.rates == [OutcomeRate("ok", 5, 30), OutcomeRate("upstream_error", 1, 6)]
    assert [(one.ok_per_minute, one.failed_per_minute) for one in summary.minutes] == [(30, 6)]
    assert rig.look(10).rates == [OutcomeRate("ok", 5, 15), OutcomeRate("upstream_error", 1, 3)]


def test_what_is_older_than_five_minutes_is_not_in_the_rates() -> None:
    """But in the chart of the hour, and gone from there after one."""
    rig = Rig()
    rig.ended()
    rig.look(10)
    for _ in range(31):
        summary = rig.look(10)
    assert summary.rates == [] and summary.recent_seconds == 300
    assert sum(one.ok_per_minute for one in summary.minutes) > 0
    for _ in range(400):
        summary = rig.look(10)
    assert sum(one.ok_per_minute for one in summary.minutes) == 0
    assert 60 <= len(summary.minutes) <= 61 and 3590 <= summary.hour_seconds <= 3660


def test_clocks_by_model() -> None:
    """Quantiles of good answers only; of first tokens where there were streams."""
    rig = Rig()
    rig.ended(duration_seconds=0.0001, model="gpt-4o")
    rig.look(10)
    rig.history = History()
    rig.look(0)
    for seconds in (0.2, 0.3, 0.7, 0.8):
        rig.ended(duration_seconds=seconds, model="gpt-4o", generation=generation("gpt-4o", 1, 1, 0, 0.06))
    for _ in range(50):
        rig.ended(Outcome.CLIENT_ERROR, status=400, duration_seconds=0.0001)
    rig.ended(duration_seconds=3.0, model="gpt-4o-mini")
    first, second = rig.look(10).clocks
    assert (first.provider, first.model, first.answers) == ("openai", "gpt-4o", 4)
    # 0.25 to 0.5 has the second of four: its upper end. 0.5 to 1 has the rest: 1.8 of 2.
    assert first.duration_p50 == pytest.approx(0.5) and first.duration_p95 == pytest.approx(0.95)
    assert first.first_token_p50 == pytest.approx(0.075)
    assert (second.model, second.first_token_p50) == ("gpt-4o-mini", None)
    # The only one is between 2.5 and 5, though the buckets below it never rose.
    assert second.duration_p50 == pytest.approx(3.75)


def test_tokens_and_dollars_of_an_hour() -> None:
    """Of a younger one: as many as it would be; the dearest first."""
    rig = Rig()
    rig.ended(generation=generation("gpt-4o", 100, 10, 5 * 10**11, None))
    rig.ended(generation=generation("gpt-4o-mini", 300, 30, 10**11, None))
    summary = rig.look(360)
    assert summary.hour_seconds == 360
    assert [one.model for one in summary.used] == ["gpt-4o", "gpt-4o-mini"]
    assert [one.input_tokens for one in summary.used] == [pytest.approx(1000), pytest.approx(3000)]
    assert [one.output_tokens for one in summary.used] == [pytest.approx(100), pytest.approx(300)]
    assert [one.dollars for one in summary.used] == [pytest.approx(5.0), pytest.approx(1.0)]
    for _ in range(54):
        summary = rig.look(60)
    assert summary.used[0].input_tokens == pytest.approx(100) and summary.hour_seconds == 3600


def test_counters_that_begin_anew() -> None:
    """They count from 0: nothing is negative, and nothing lost but what nobody saw."""
    rig = Rig()
    for _ in range(9):
        rig.ended()
    rig.look(10)
    rig.metrics = Metrics(new_registry())
    for _ in range(4):
        rig.ended()
    assert rig.look(10).rates == [OutcomeRate("ok", 13, 39)]


def test_a_clock_that_is_put_back() -> None:
    """The history begins anew; the same time twice is no time at all."""
    rig = Rig()
    rig.ended()
    rig.look(10)
    rig.ended()
    assert rig.look(0).rates == [OutcomeRate("ok", 1, 6)]
    assert rig.look(5).rates == [OutcomeRate("ok", 2, 8)]
    assert rig.look(-3600) == Summary()
    rig.ended()
    assert rig.look(10).rates == [OutcomeRate("ok", 1, 6)]


def test_models_have_a_bound() -> None:
    """Those that come later are one; nothing of them is lost."""
    rig = Rig()
    for number in range(MOST_MODELS + 20):
        rig.ended(model=f"m{number}", generation=generation(f"m{number}", 1, 0, 0, None))
    used = rig.look(3600).used
    assert len(used) == MOST_MODELS + 1
    assert sum(one.input_tokens for one in used) == MOST_MODELS + 20


def test_a_large_snapshot_is_read_in_portions() -> None:
    """So that others have their turn; until it has been read nothing of it is told."""
    rig = Rig()
    for number in range(90):
        rig.ended(model=f"m{number}")
    families = families_of(rig.metrics.registry, FAMILIES)
    steps = rig.history.add(1010, families)
    next(steps)
    assert rig.history.summary() == Summary()
    count = 1 + sum(1 for _ in steps)
    assert count == sum(len(family.samples) for family in families) // PORTION_SAMPLES
    assert rig.history.summary().rates


def test_other_families_are_not_looked_at() -> None:
    """Whatever is in a snapshot."""
    rig = Rig()
    assert take(rig.history, 2000, [Family("x", "counter", "", [])]) == 0
    take(rig.history, 2010, families_of(rig.metrics.registry))
    assert rig.history.summary().recent_seconds == 1010
