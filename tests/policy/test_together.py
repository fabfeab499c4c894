"""The decisions together, over a clock that is moved by hand: one of three targets fails."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from openai_proxy.config.routing import Breaker as BreakerSettings
from openai_proxy.config.routing import Retry, Route, Target
from openai_proxy.observe.record import AttemptResult as Result
from openai_proxy.policy.breaker import VERDICTS, Breaker
from openai_proxy.policy.retry import Ended, RetryPolicy, Step
from openai_proxy.policy.retry_budget import RetryBudget
from openai_proxy.policy.retry_fields import RetryFields
from openai_proxy.policy.routing import Candidate, Router

REQUESTS_PER_SECOND = 20
NAMES = ("a", "b", "c")
STATUSES = {Result.HTTP_5XX: 500, Result.HTTP_429: 429, Result.OK: 200}


class Daemon:
    """Asks targets in turn, as an exchange will."""

    def __init__(self, failing: dict[str, Result], retry: Retry, choice: str = "weighted") -> None:
        self.now = 0.0
        self.failing = failing
        self.attempts: Counter[str] = Counter()
        random = Random(5)
        targets = tuple(Target(provider=name) for name in NAMES)
        route = Route(targets=targets, choice="weighted" if choice == "weighted" else "ordered")
        self._router = Router(NAMES, {"m": route}, "a")
        self._random = random
        self._budget = RetryBudget(retry)
        self._policy = RetryPolicy(retry, self._budget, random)
        self._breakers = {
            name: Breaker(BreakerSettings(open_seconds=15.0), lambda old, new: None) for name in NAMES
        }

    def request(self) -> tuple[bool, int]:
        """Whether it was answered, and by how many attempts."""
        self._budget.request(self.now)
        plan = self._router.plan("m", self._random)
        waiting = [one for one in plan.candidates if self._admits(one)]
        attempts = here = 0
        while waiting:
            attempts, here = attempts + 1, here + 1
            ended = self._attempt(waiting, attempts, here)
            if ended.result is Result.OK:
                return True, attempts
            decision = self._policy.decide(ended, plan.timeouts, self.now)
            if decision.step is Step.GIVE_UP:
                return False, attempts
            if decision.step is Step.NEXT:
                here = 0
                waiting = [one for one in waiting[1:] if self._admits(one)]
        return False, attempts

    def _admits(self, candidate: Candidate) -> bool:
        breaker = self._breakers[candidate.provider]
        return not breaker.is_open(self.now) and breaker.rest_seconds(self.now) == 0

    def _attempt(self, waiting: list[Candidate], attempts: int, here: int) -> Ended:
        name = waiting[0].provider
        breaker = self._breakers[name]
        leave = breaker.begin(self.now)
        assert leave is not None
        self.attempts[name] += 1
        result = self.failing.get(name, Result.OK)
        breaker.end(leave, VERDICTS[result], self.now)
        fields = RetryFields(after_seconds=5.0) if result is Result.HTTP_429 else RetryFields()
        if fields.rest_seconds is not None:
            breaker.rest(fields.rest_seconds, self.now)
        return Ended(
            result=result,
            status=STATUSES.get(result, 0),
            fields=fields,
            attempts=attempts,
            attempts_here=here,
            is_open=breaker.is_open(self.now),
            rest_seconds=breaker.rest_seconds(self.now),
            has_next=any(map(self._admits, waiting[1:])),
        )


@pytest.mark.parametrize("choice", ["ordered", "weighted"])
@pytest.mark.parametrize("result", [Result.CONNECT_ERROR, Result.TIMEOUT, Result.HTTP_429, Result.HTTP_5XX])
@pytest.mark.parametrize("attempts_per_target", [1, 2])
def test_one_of_three_fails(result: Result, choice: str, attempts_per_target: int) -> None:
    """Every request is answered, and the failing target is soon asked now and then only."""
    daemon = Daemon({"a": result}, Retry(attempts_per_target=attempts_per_target), choice)
    for number in range(60 * REQUESTS_PER_SECOND):
        daemon.now = number / REQUESTS_PER_SECOND
        answered, attempts = daemon.request()
        assert answered
        assert attempts <= 1 + attempts_per_target
    # A breaker opens after twenty and tries each fifteen seconds; a rest of five is tried out as often.
    assert daemon.attempts["a"] <= 20 + 2 * 60 / 5
    assert sum(daemon.attempts.values()) == 60 * REQUESTS_PER_SECOND + daemon.attempts["a"]


def test_all_fail() -> None:
    """Nobody is answered, and there is no storm: hardly more attempts than requests."""
    daemon = Daemon(dict.fromkeys(NAMES, Result.HTTP_5XX), Retry())
    for number in range(60 * REQUESTS_PER_SECOND):
        daemon.now = number / REQUESTS_PER_SECOND
        assert not daemon.request()[0]
    assert sum(daemon.attempts.values()) <= 3 * (20 + 2 * 60 / 15) + 10


def test_it_recovers() -> None:
    """A target that is well again is asked as often as the others, after one trial."""
    daemon = Daemon({"a": Result.HTTP_5XX}, Retry())
    for number in range(120 * REQUESTS_PER_SECOND):
        daemon.now = number / REQUESTS_PER_SECOND
        if number == 60 * REQUESTS_PER_SECOND:
            daemon.failing.clear()
            daemon.attempts.clear()
        assert daemon.request()[0]
    assert daemon.attempts["a"] > 0.7 * daemon.attempts["b"]
