"""What follows an attempt."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.config.routing import Retry, RouteTimeouts
from openai_proxy.observe.record import AttemptResult as Result
from openai_proxy.policy.retry import Decision, Ended, RetryPolicy, Step, Why, deadline_seconds, is_listed
from openai_proxy.policy.retry_budget import RetryBudget
from openai_proxy.policy.retry_fields import RetryFields

NO_TIMEOUTS = RouteTimeouts()
SETTINGS = Retry(jitter=0.0)
TWICE = Retry(jitter=0.0, attempts_per_target=2)
"""Each target has a second turn before the next has its first."""


def decide(ended: Ended, settings: Retry = SETTINGS, total_seconds: float | None = None) -> Decision:
    """With a budget that is whole."""
    policy = RetryPolicy(settings, RetryBudget(settings), Random(1))
    return policy.decide(ended, RouteTimeouts(total_seconds=total_seconds), 0.0)


def failed(status: int = 500, **more: Any) -> Ended:
    """An attempt that was answered with this status."""
    result = Result.HTTP_429 if status == 429 else Result.HTTP_5XX if status >= 500 else Result.HTTP_4XX
    return Ended(result=result, status=status, **more)


AGAIN = Decision(Step.AGAIN, 0.5)
NEXT = Decision(Step.NEXT)


def given_up(why: Why, ends_retries: bool = False) -> Decision:
    """The end."""
    return Decision(Step.GIVE_UP, why=why, ends_retries=ends_retries)


@pytest.mark.parametrize(
    ("status", "decision"),
    [(status, AGAIN) for status in (408, 409, 429, 500, 502, 503, 504, 529)]
    + [(status, given_up(Why.FINAL)) for status in (400, 401, 402, 403, 404, 413, 422, 451)],
)
def test_statuses(status: int, decision: Decision) -> None:
    """Those that the SDKs retry are retried, and no others."""
    assert decide(failed(status)) == decision


@pytest.mark.parametrize(
    ("result", "alone", "with_next", "with_turns"),
    [
        (Result.CONNECT_ERROR, AGAIN, NEXT, AGAIN),
        (Result.PROTOCOL_ERROR, AGAIN, NEXT, AGAIN),
        (Result.STREAM_ERROR, AGAIN, NEXT, AGAIN),
        (Result.TIMEOUT, AGAIN, NEXT, NEXT),
        (Result.TLS_ERROR, given_up(Why.FINAL), NEXT, NEXT),
        (Result.ABORTED, *[given_up(Why.FINAL)] * 3),
        (Result.OK, *[given_up(Why.FINAL)] * 3),
    ],
)
def test_without_an_answer(
    result: Result, alone: Decision, with_next: Decision, with_turns: Decision
) -> None:
    """A certificate heals by no retry; who was too slow is left for another; who left wants nothing."""
    assert decide(Ended(result=result)) == alone
    assert decide(Ended(result=result, has_next=True)) == with_next
    assert decide(Ended(result=result, has_next=True), TWICE) == with_turns


@pytest.mark.parametrize(
    ("fields", "status", "decision"),
    [
        (RetryFields(after_seconds=3.0), 429, Decision(Step.AGAIN, 3.0)),
        (RetryFields(after_seconds=0.1), 429, AGAIN),
        (RetryFields(after_seconds=10.0), 503, Decision(Step.AGAIN, 10.0)),
        (RetryFields(after_seconds=10.1), 429, given_up(Why.RETRY_AFTER)),
        (RetryFields(should_retry=False), 500, given_up(Why.FINAL)),
        (RetryFields(should_retry=True), 400, AGAIN),
        (RetryFields(should_retry=True, after_seconds=11.0), 429, given_up(Why.RETRY_AFTER)),
    ],
)
def test_fields(fields: RetryFields, status: int, decision: Decision) -> None:
    """What the upstream says is heeded, up to a bound."""
    assert decide(failed(status, fields=fields)) == decision


@pytest.mark.parametrize(
    ("more", "decision"),
    [
        ({}, AGAIN),
        ({"attempts": 2}, AGAIN),
        ({"attempts_here": 2, "attempts": 2}, NEXT),
        ({"is_open": True}, NEXT),
        ({"rest_seconds": 2.0}, NEXT),
        ({"fields": RetryFields(after_seconds=1.0)}, NEXT),
        ({"fields": RetryFields(should_retry=False)}, NEXT),
        ({"attempts": 3, "attempts_here": 1}, given_up(Why.ATTEMPTS, ends_retries=True)),
        ({"has_begun": True}, given_up(Why.BEGUN)),
        ({"is_repeatable": False}, given_up(Why.NOT_REPEATABLE)),
    ],
)
def test_another_target(more: dict[str, Any], decision: Decision) -> None:
    """It is tried when the same one has had its turns, or needs a wait that the other does not."""
    assert decide(failed(has_next=True, **more), TWICE) == decision
    # A target has one turn by default.
    assert decide(failed(has_next=True, **more)) == (NEXT if decision == AGAIN else decision)


@pytest.mark.parametrize(
    ("more", "decision"),
    [
        ({"attempts": 2, "attempts_here": 2}, Decision(Step.AGAIN, 1.0)),
        ({"attempts": 3, "attempts_here": 2}, given_up(Why.ATTEMPTS, ends_retries=True)),
        ({"attempts": 3, "attempts_here": 3}, given_up(Why.ATTEMPTS, ends_retries=True)),
        ({"is_open": True}, given_up(Why.OPEN)),
        ({"rest_seconds": 4.0}, Decision(Step.AGAIN, 4.0)),
        ({"rest_seconds": 40.0}, given_up(Why.RETRY_AFTER)),
        ({"has_begun": True}, given_up(Why.BEGUN)),
    ],
)
def test_no_other_target(more: dict[str, Any], decision: Decision) -> None:
    """All attempts are for the one that there is; open ones are not waited for, resting ones for a little."""
    assert decide(failed(**more)) == decide(failed(**more), TWICE) == decision


def test_no_retries_are_configured() -> None:
    """Then the client may retry itself: nobody has done it for it."""
    assert decide(failed(), Retry(attempts=1)) == given_up(Why.ATTEMPTS)


@pytest.mark.parametrize(
    ("elapsed", "attempts", "has_next", "decision"),
    [
        (1.0, 1, False, AGAIN),
        (1.5, 1, False, given_up(Why.DEADLINE)),
        (1.5, 1, True, NEXT),
        (2.0, 1, True, given_up(Why.DEADLINE)),
        (2.5, 2, True, given_up(Why.DEADLINE, ends_retries=True)),
    ],
)
def test_total_deadline(elapsed: float, attempts: int, has_next: bool, decision: Decision) -> None:
    """Nothing is begun at or past it, and no wait leads there."""
    ended = failed(elapsed_seconds=elapsed, attempts=attempts, has_next=has_next)
    assert decide(ended, total_seconds=2.0) == decision


@pytest.mark.parametrize(
    ("limit", "total", "elapsed", "seconds"),
    [
        (None, None, 5.0, math.inf),
        (3.0, None, 5.0, 3.0),
        (None, 8.0, 5.0, 3.0),
        (2.0, 8.0, 5.0, 2.0),
        (9.0, 8.0, 5.0, 3.0),
        (9.0, 4.0, 5.0, 0.0),
    ],
)
def test_deadline_of_an_attempt(
    limit: float | None, total: float | None, elapsed: float, seconds: float
) -> None:
    """Its own, or what the total one leaves."""
    assert deadline_seconds(limit, RouteTimeouts(total_seconds=total), elapsed) == seconds


def test_back_off() -> None:
    """Doubled with each attempt up to the longest, and a share of it left to chance."""
    many = Retry(attempts=10, attempts_per_target=10, jitter=0.0)
    waits = [decide(failed(attempts=n, attempts_here=n), many).wait_seconds for n in range(1, 8)]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    policy = RetryPolicy(Retry(), RetryBudget(Retry(budget_ratio=1.0)), Random(3))
    drawn = {policy.decide(failed(), NO_TIMEOUTS, float(n)).wait_seconds for n in range(20)}
    assert len(drawn) > 10
    assert all(0.375 <= seconds <= 0.5 for seconds in drawn)


def test_never_sooner_than_asked() -> None:
    """Chance lengthens a Retry-After: not all who were told the same come at once."""
    policy = RetryPolicy(Retry(), RetryBudget(Retry()), Random(3))
    ended = failed(429, fields=RetryFields(after_seconds=2.0))
    assert 2.0 < policy.decide(ended, NO_TIMEOUTS, 0.0).wait_seconds <= 2.125


def test_budget() -> None:
    """Without one no target is asked twice; the first move to another is made, and a second one is not."""
    settings = Retry(budget_ratio=0.0, budget_min_per_second=0.0)
    assert decide(failed(), settings) == given_up(Why.BUDGET, ends_retries=True)
    assert decide(failed(has_next=True), settings) == NEXT
    assert decide(failed(has_next=True, attempts=2), settings) == given_up(Why.BUDGET, ends_retries=True)


def test_what_is_decided_is_spent() -> None:
    """Each retry and each move takes one; a refusal takes none."""
    settings = Retry(budget_ratio=0.0, budget_min_per_second=0.3)
    policy = RetryPolicy(settings, RetryBudget(settings), Random(1))
    steps = [
        policy.decide(ended, NO_TIMEOUTS, 0.0).step
        for ended in (failed(400), failed(), failed(has_next=True, attempts=2), failed(), failed())
    ]
    assert steps == [Step.GIVE_UP, Step.AGAIN, Step.NEXT, Step.AGAIN, Step.GIVE_UP]


ENDED = st.builds(
    Ended,
    result=st.sampled_from(Result),
    status=st.sampled_from([0, 200, 400, 408, 429, 500, 529]),
    fields=st.builds(
        RetryFields,
        after_seconds=st.none() | st.floats(0, 100),
        should_retry=st.none() | st.booleans(),
    ),
    attempts=st.integers(1, 5),
    elapsed_seconds=st.floats(0, 20),
    has_begun=st.booleans(),
    is_repeatable=st.booleans(),
    is_open=st.booleans(),
    rest_seconds=st.floats(0, 20),
    has_next=st.booleans(),
)


@given(ENDED, st.none() | st.floats(0.1, 20))
def test_rules_that_always_hold(ended: Ended, total_seconds: float | None) -> None:
    """Nothing after the first byte, after a body that is gone, to nowhere, or past a deadline."""
    decision = decide(ended, total_seconds=total_seconds)
    assert (decision.why is None) == (decision.step is not Step.GIVE_UP)
    if decision.step is Step.GIVE_UP:
        return
    assert ended.is_repeatable
    assert not ended.has_begun
    assert ended.attempts < SETTINGS.attempts
    assert ended.elapsed_seconds + decision.wait_seconds < (total_seconds or math.inf)
    assert decision.step is Step.AGAIN or ended.has_next
    assert decision.wait_seconds == 0 or decision.wait_seconds >= ended.wanted_seconds


@pytest.mark.parametrize(
    ("status", "is_in"), [(429, True), (500, True), (599, True), (400, False), (0, False), (428, False)]
)
def test_listed(status: int, is_in: bool) -> None:
    """By its number, or by its class."""
    assert is_listed(("429", "5xx"), status) is is_in
