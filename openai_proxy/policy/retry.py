"""What follows an attempt: the end, the same target again, or the next one."""

from __future__ import annotations

import math
from enum import StrEnum
from functools import lru_cache
from typing import Final

from msgspec import Struct

from openai_proxy.config.routing import Retry, RouteTimeouts
from openai_proxy.observe.record import AttemptResult
from openai_proxy.policy.retry_budget import RetryBudget
from openai_proxy.policy.retry_fields import RetryFields
from openai_proxy.policy.routing import Random

_ANSWERED: Final = frozenset({AttemptResult.HTTP_4XX, AttemptResult.HTTP_429, AttemptResult.HTTP_5XX})
_NEVER_AGAIN: Final = frozenset({AttemptResult.OK, AttemptResult.ABORTED})


class Step(StrEnum):
    """What is done next."""

    GIVE_UP = "give_up"
    AGAIN = "again"
    NEXT = "next"


class Why(StrEnum):
    """Why it is the end."""

    FINAL = "final"
    """It was no failure, or one that would come again."""
    BEGUN = "begun"
    """The client has bytes of the answer: nothing else can be its beginning."""
    NOT_REPEATABLE = "not_repeatable"
    """The request's body is gone."""
    ATTEMPTS = "attempts"
    DEADLINE = "deadline"
    BUDGET = "budget"
    RETRY_AFTER = "retry_after"
    """The target wants more rest than we wait for: the client may."""
    OPEN = "open"
    """The target's breaker has opened, and is not waited for."""


class Decision(Struct, frozen=True, gc=False):
    """What follows."""

    step: Step
    wait_seconds: float = 0.0
    """Before it."""
    why: Why | None = None
    """Of ``GIVE_UP``."""
    ends_retries: bool = False
    """Whether the client is told not to retry either (``x-should-retry: false``): it was done for it."""


class Ended(Struct, frozen=True, gc=False, kw_only=True):
    """How an attempt ended, and where its exchange stands."""

    result: AttemptResult
    status: int = 0
    """Of its answer; 0 if there was none."""
    fields: RetryFields = RetryFields()
    attempts: int = 1
    """So far, this one among them."""
    attempts_here: int = 1
    """At this target."""
    elapsed_seconds: float = 0.0
    """Since the exchange began."""
    has_begun: bool = False
    """Whether a byte of an answer has gone to the client."""
    is_repeatable: bool = True
    """Whether the whole body can be sent once more."""
    is_open: bool = False
    """Whether the target's breaker is (``Breaker.is_open``)."""
    rest_seconds: float = 0.0
    """How long the target rests (``Breaker.rest_seconds``)."""
    has_next: bool = False
    """Whether there is another that neither is open nor rests; never where an exchange sticks to one."""

    @property
    def wanted_seconds(self) -> float:
        """How long the target wants to be left alone."""
        return max(self.fields.after_seconds or 0.0, self.rest_seconds)


class RetryPolicy:
    """The rules of one daemon."""

    def __init__(self, settings: Retry, budget: RetryBudget, random: Random) -> None:
        self._settings = settings
        self._budget = budget
        self._random = random

    def decide(self, ended: Ended, timeouts: RouteTimeouts, now: float) -> Decision:
        """What follows; a retry or a move that is decided is spent from the budget.

        A request's first move to another target is never refused for the budget's sake: it is what a
        second target is for, and adds one attempt at most.
        """
        why = self._end(ended, timeouts)
        if why is not None:
            return _given_up(why, ended)
        wait_seconds = self._wait_seconds(ended)
        why = self._against_staying(ended, wait_seconds, timeouts, now)
        if why is None:
            self._budget.spend(now)
            return Decision(Step.AGAIN, wait_seconds)
        if not ended.has_next:
            return _given_up(why, ended)
        has_moved = ended.attempts > ended.attempts_here
        if has_moved and not self._budget.allows(now):
            return _given_up(Why.BUDGET, ended)
        self._budget.spend(now)
        return Decision(Step.NEXT)

    def _end(self, ended: Ended, timeouts: RouteTimeouts) -> Why | None:
        if ended.has_begun:
            return Why.BEGUN
        if not self._is_failure(ended):
            return Why.FINAL
        if not ended.is_repeatable:
            return Why.NOT_REPEATABLE
        if left_seconds(timeouts, ended.elapsed_seconds) <= 0:
            return Why.DEADLINE
        return Why.ATTEMPTS if ended.attempts >= self._settings.attempts else None

    def _is_failure(self, ended: Ended) -> bool:
        if ended.result in _NEVER_AGAIN:
            return False
        if ended.result not in _ANSWERED or ended.fields.should_retry:
            return True
        return is_listed(self._settings.statuses, ended.status)

    def _against_staying(
        self, ended: Ended, wait_seconds: float, timeouts: RouteTimeouts, now: float
    ) -> Why | None:
        """Why the same target is not asked again; None if it is."""
        settings = self._settings
        if ended.fields.should_retry is False or ended.result is AttemptResult.TLS_ERROR:
            return Why.FINAL
        if ended.is_open:
            return Why.OPEN
        if ended.has_next and ended.attempts_here >= settings.attempts_per_target:
            return Why.ATTEMPTS
        if ended.wanted_seconds > (0.0 if ended.has_next else settings.retry_after_max_seconds):
            # Another needs no wait.
            return Why.RETRY_AFTER
        if ended.has_next and ended.result is AttemptResult.TIMEOUT:
            return Why.DEADLINE
        if left_seconds(timeouts, ended.elapsed_seconds) <= wait_seconds:
            return Why.DEADLINE
        return None if self._budget.allows(now) else Why.BUDGET

    def _wait_seconds(self, ended: Ended) -> float:
        """Exponential, and never sooner than the target wants; chance keeps many from coming at once."""
        settings = self._settings
        doubled = settings.backoff_seconds * 2.0 ** min(ended.attempts_here - 1, 16)
        backoff = min(doubled, settings.backoff_max_seconds)
        chance = settings.jitter * self._random.random() * backoff
        wanted = ended.wanted_seconds
        return max(backoff, wanted) + chance if wanted else backoff - chance


def _given_up(why: Why, ended: Ended) -> Decision:
    tried = ended.attempts > 1 and why in (Why.ATTEMPTS, Why.DEADLINE)
    return Decision(Step.GIVE_UP, why=why, ends_retries=tried or why is Why.BUDGET)


def left_seconds(timeouts: RouteTimeouts, elapsed_seconds: float) -> float:
    """Until the total deadline, 0 at least; infinite if there is none."""
    return math.inf if timeouts.total_seconds is None else max(0.0, timeouts.total_seconds - elapsed_seconds)


def deadline_seconds(limit_seconds: float | None, timeouts: RouteTimeouts, elapsed_seconds: float) -> float:
    """How long an attempt may take to its head or first token: its own limit, or the rest of the total."""
    return min(math.inf if limit_seconds is None else limit_seconds, left_seconds(timeouts, elapsed_seconds))


@lru_cache(maxsize=1024)
def is_listed(statuses: tuple[str, ...], status: int) -> bool:
    """Whether a status is in a list such as ``("429", "5xx")``."""
    text = str(status)
    return text in statuses or f"{text[0]}xx" in statuses
