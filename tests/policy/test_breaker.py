"""When a target is left alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.config.routing import Breaker as Settings
from openai_proxy.observe.record import AttemptResult
from openai_proxy.policy.breaker import VERDICTS, Breaker, Pass, State, Verdict

CHANGES = {
    (State.CLOSED, State.OPEN),
    (State.OPEN, State.HALF_OPEN),
    (State.HALF_OPEN, State.CLOSED),
    (State.HALF_OPEN, State.OPEN),
}


@dataclass
class Watched:
    """A breaker, and what it told of itself."""

    settings: Settings = field(default_factory=lambda: Settings(min_attempts=4))
    changes: list[tuple[State, State]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.breaker = Breaker(self.settings, lambda old, new: self.changes.append((old, new)))

    def attempts(self, verdicts: str, now: float = 0.0) -> None:
        """One after the other: g(ood), b(ad) or n(othing)."""
        by_letter = {verdict.value[0]: verdict for verdict in Verdict}
        for letter in verdicts:
            leave = self.breaker.begin(now)
            assert leave is not None
            self.breaker.end(leave, by_letter[letter], now)


@pytest.mark.parametrize(
    ("verdicts", "state"),
    [
        ("bbb", State.CLOSED),
        ("bbbb", State.OPEN),
        ("ggbb", State.OPEN),
        ("gggb", State.CLOSED),
        ("gggbb", State.CLOSED),
        ("nnnnnnbbb", State.CLOSED),
        ("bbbnnnnnn", State.CLOSED),
        ("bbbg", State.CLOSED),
        ("bbbgb", State.OPEN),
        ("gggggg", State.CLOSED),
    ],
)
def test_opens_by_the_share_of_failures(verdicts: str, state: State) -> None:
    """Half of at least four, when the last one is a failure; what says nothing does not count."""
    watched = Watched()
    watched.attempts(verdicts)
    assert watched.breaker.state is state


def test_old_failures_are_forgotten() -> None:
    """Only the window counts."""
    watched = Watched()
    watched.attempts("bbb", 0.0)
    watched.attempts("b", 31.0)
    assert watched.breaker.state is State.CLOSED


def test_a_trial() -> None:
    """Open for its time, then one attempt at a time; a bad one opens it again, a good one closes it."""
    watched = Watched()
    breaker = watched.breaker
    watched.attempts("bbbb", 100.0)
    assert breaker.is_open(114.9)
    assert breaker.begin(114.9) is None
    assert breaker.state is State.OPEN
    trial = breaker.begin(115.0)
    assert trial is not None
    assert breaker.is_open(115.0)
    assert breaker.begin(115.0) is None
    breaker.end(trial, Verdict.BAD, 120.0)
    assert breaker.begin(134.9) is None
    watched.attempts("g", 135.0)
    watched.attempts("gbg", 135.0)
    assert watched.changes == [
        (State.CLOSED, State.OPEN),
        (State.OPEN, State.HALF_OPEN),
        (State.HALF_OPEN, State.OPEN),
        (State.OPEN, State.HALF_OPEN),
        (State.HALF_OPEN, State.CLOSED),
    ]


def test_a_trial_that_says_nothing() -> None:
    """Its client left: another takes its place."""
    watched = Watched()
    watched.attempts("bbbb", 0.0)
    watched.attempts("nng", 15.0)
    assert watched.breaker.state is State.CLOSED


def test_a_trial_whose_answer_has_begun() -> None:
    """It closes the breaker without waiting for a stream's end, which then says nothing more."""
    watched = Watched(Settings(min_attempts=1))
    breaker = watched.breaker
    first = breaker.begin(0.0)
    assert first is not None
    breaker.answered(first)
    breaker.end(first, Verdict.BAD, 0.0)
    assert watched.changes == [(State.CLOSED, State.OPEN)]
    trial = breaker.begin(15.0)
    assert trial is not None
    breaker.answered(trial)
    breaker.end(trial, Verdict.BAD, 60.0)
    assert watched.changes[1:] == [(State.OPEN, State.HALF_OPEN), (State.HALF_OPEN, State.CLOSED)]


def test_what_began_before_a_change_says_nothing_after_it() -> None:
    """A slow failure from before does not open it anew, nor does a slow success close it."""
    watched = Watched()
    late = [watched.breaker.begin(0.0) for _ in range(10)]
    watched.attempts("bbbb", 0.0)
    trial = watched.breaker.begin(15.0)
    for leave, verdict in zip(late, [Verdict.GOOD, Verdict.BAD] * 5, strict=True):
        assert leave is not None
        watched.breaker.end(leave, verdict, 15.0)
    assert watched.changes[-1] == (State.OPEN, State.HALF_OPEN)
    assert watched.breaker.begin(15.0) is None
    assert trial is not None
    watched.breaker.end(trial, Verdict.GOOD, 15.0)
    assert watched.breaker.state is State.CLOSED


def test_a_rest() -> None:
    """A rate-limited target rests until its reset, up to a bound, and its state is no other for it."""
    watched = Watched()
    breaker = watched.breaker
    breaker.rest(20.0, 0.0)
    breaker.rest(5.0, 1.0)
    assert breaker.begin(19.9) is None
    assert breaker.rest_seconds(19.5) == 0.5
    assert not breaker.is_open(19.5)
    assert breaker.begin(20.0) is not None
    breaker.rest(1e9, 20.0)
    assert breaker.rest_seconds(20.0) == 300.0
    assert watched.changes == []


def test_no_breaker() -> None:
    """Where it is off, neither failures nor a rate limit close anything."""
    watched = Watched(Settings(enabled=False, min_attempts=1))
    watched.attempts("bbbbbbbb")
    assert watched.breaker.state is State.CLOSED
    watched.breaker.rest(1.0, 0.0)
    assert watched.breaker.rest_seconds(0.0) == 0.0
    assert watched.breaker.begin(0.0) is not None


def test_every_result_has_a_verdict() -> None:
    """And only the upstream's own failures are bad."""
    assert set(VERDICTS) == set(AttemptResult)
    assert VERDICTS[AttemptResult.HTTP_4XX] is VERDICTS[AttemptResult.HTTP_429] is Verdict.GOOD
    assert VERDICTS[AttemptResult.ABORTED] is Verdict.NOTHING
    assert {result for result, verdict in VERDICTS.items() if verdict is Verdict.BAD} == {
        AttemptResult.HTTP_5XX,
        AttemptResult.TIMEOUT,
        AttemptResult.CONNECT_ERROR,
        AttemptResult.TLS_ERROR,
        AttemptResult.PROTOCOL_ERROR,
        AttemptResult.STREAM_ERROR,
    }


EVENTS = st.lists(
    st.tuples(st.sampled_from(["begin", "begin", "end", "rest"]), st.sampled_from(Verdict), st.floats(0, 12)),
    max_size=150,
)


@given(EVENTS, st.integers(1, 3), st.integers(1, 6))
def test_rules_that_always_hold(
    events: list[tuple[str, Verdict, float]], trial_attempts: int, min_attempts: int
) -> None:
    """Whatever comes in whatever order: few trials, no attempt while open, and a way back in the end."""
    watched = Watched(Settings(min_attempts=min_attempts, trial_attempts=trial_attempts, open_seconds=10.0))
    breaker, out = watched.breaker, list[tuple[Pass, State]]()
    now = opened_at = 0.0
    for kind, verdict, passed in events:
        now += passed
        before = breaker.state
        if kind == "begin" and (leave := breaker.begin(now)) is not None:
            assert before is not State.OPEN or now >= opened_at + 10.0
            out.append((leave, breaker.state))
        elif kind == "end" and out:
            breaker.end(out.pop(0)[0], verdict, now)
            if breaker.state is State.OPEN and before is not State.OPEN:
                opened_at = now
        elif kind == "rest":
            breaker.rest(passed, now)
        on_trial = [leave for leave, state in out if state is State.HALF_OPEN and leave.turn == breaker._turn]
        assert len(on_trial) <= trial_attempts
        assert set(watched.changes) <= CHANGES
    for leave, _ in out:
        breaker.end(leave, Verdict.NOTHING, now)
    watched.attempts("g", now + 1000.0)
    assert breaker.state is State.CLOSED
