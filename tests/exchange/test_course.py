"""The course of an exchange: which target is next, and that each leave of a breaker comes back once."""

from __future__ import annotations

from random import Random

import pytest

from openai_proxy.config.routing import Breaker, Hedge, Retry
from openai_proxy.exchange.course import Course, Leg
from openai_proxy.exchange.gateway import Gateway
from openai_proxy.observe.record import AttemptResult, Move, MoveKind
from openai_proxy.policy.breaker import State
from openai_proxy.policy.retry import Step
from openai_proxy.policy.retry_fields import RetryFields
from openai_proxy.policy.routing import Candidate, Plan

ONE, TWO = Candidate("one", "a"), Candidate("two", "b")


def gateway(**breaker: float) -> Gateway:
    """Of two providers; a breaker opens at the first failure."""
    settings = Breaker(**{"min_attempts": 1, "open_seconds": 10.0, **breaker})  # type: ignore[arg-type]
    targets = dict.fromkeys(("one", "two"))
    return Gateway(targets, {}, "one", Retry(), settings, Hedge(), Random(1), lambda *_: None)  # type: ignore[arg-type]


def first_of(course: Course, now: float = 0.0) -> Leg:
    """The first leg that there is."""
    leg = course.next(now, MoveKind.FALLBACK)
    assert leg is not None
    return leg


def test_candidates_come_in_their_order() -> None:
    """Each once; the first has no move, what follows says why."""
    course = Course(gateway(), Plan((ONE, TWO)))
    first = first_of(course)
    assert (first.candidate, first.move) == (ONE, None)
    second = course.next(0.0, MoveKind.FALLBACK, "http_5xx", "one")
    assert second is not None
    assert (second.candidate, second.move) == (TWO, Move(MoveKind.FALLBACK, "one", "http_5xx"))
    assert course.attempts == 2
    assert course.next(0.0, MoveKind.FALLBACK, "http_5xx", "two") is None


@pytest.mark.parametrize(("rest", "why"), [(5.0, "rate_limited"), (0.0, "circuit_open")])
def test_who_lets_nobody_in_is_passed_over(rest: float, why: str) -> None:
    """The first attempt says who was, and why."""
    shared = gateway()
    breaker = shared.breaker_of(ONE)
    if rest:
        breaker.rest(rest, 0.0)
    else:
        first_of(Course(shared, Plan((ONE,)))).end(AttemptResult.HTTP_5XX, 0.0)
    leg = first_of(Course(shared, Plan((ONE, TWO))))
    assert (leg.candidate, leg.move) == (TWO, Move(MoveKind.FALLBACK, "one", why))


def test_a_target_that_cannot_be_asked_is_no_attempt() -> None:
    """Its leave is given back, so that a trial is still to be had there."""
    shared = gateway()
    first_of(Course(shared, Plan((ONE,)))).end(AttemptResult.TIMEOUT, 0.0)
    course = Course(shared, Plan((ONE, TWO)))
    leg = first_of(course, now=11.0)
    assert shared.breaker_of(ONE).state is State.HALF_OPEN
    course.pass_over(leg, 11.0)
    assert course.attempts == 0
    assert first_of(Course(shared, Plan((ONE,))), now=11.0).candidate is ONE


def test_a_leave_comes_back_once() -> None:
    """What ends twice counts once."""
    shared = gateway(min_attempts=2)
    leg = first_of(Course(shared, Plan((ONE,))))
    leg.end(AttemptResult.HTTP_5XX, 0.0)
    leg.end(AttemptResult.HTTP_5XX, 0.0)
    leg.answered()
    assert shared.breaker_of(ONE).state is State.CLOSED


def test_the_same_target_again() -> None:
    """A retry says what it follows on; none is made where the circuit has opened meanwhile."""
    shared = gateway()
    course = Course(shared, Plan((ONE, TWO)))
    leg = first_of(course)
    again = course.again(leg, "timeout", 0.0)
    assert again is not None and again.move == Move(MoveKind.RETRY, "one", "timeout")
    again.end(AttemptResult.TIMEOUT, 0.0)
    assert course.again(leg, "timeout", 0.0) is None
    assert course.attempts == 2


def test_has_next_is_of_those_that_let_attempts_in() -> None:
    """Neither who was asked nor who rests is one, and to ask begins no trial."""
    shared = gateway()
    course = Course(shared, Plan((ONE, TWO)))
    first_of(course)
    assert course.has_next(0.0)
    shared.breaker_of(TWO).rest(5.0, 0.0)
    assert not course.has_next(0.0)
    assert course.has_next(6.0)


def test_what_follows_is_decided_by_where_the_course_stands() -> None:
    """The next one, and at the last one the same again."""
    course = Course(gateway(min_attempts=9), Plan((ONE, TWO)))
    leg = first_of(course)
    said = RetryFields()
    decision = course.decide(leg, AttemptResult.HTTP_5XX, 500, said, 0.0, True, 0.0)
    assert decision.step is Step.NEXT
    last = course.next(0.0, MoveKind.FALLBACK, "http_5xx", "one")
    assert last is not None
    decision = course.decide(last, AttemptResult.HTTP_5XX, 500, said, 0.0, True, 0.0)
    assert decision.step is Step.AGAIN
    assert course.decide(last, AttemptResult.HTTP_5XX, 500, said, 0.0, False, 0.0).step is Step.GIVE_UP


def test_closed_says_who_is_back_first() -> None:
    """In whole seconds, one at least; as the rate limit that it is, or as open circuits."""
    shared = gateway()
    course = Course(shared, Plan((ONE, TWO)))
    shared.breaker_of(ONE).rest(2.5, 0.0)
    first_of(Course(shared, Plan((TWO,)))).end(AttemptResult.HTTP_5XX, 0.0)
    told = course.closed(0.0)
    assert (told.status, told.retry_after_seconds) == (429, 3)
    told = course.closed(2.6)
    assert (told.status, told.retry_after_seconds) == (503, 1)
