"""Retries are a share of requests."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.config.routing import Retry
from openai_proxy.policy.retry_budget import WINDOW_SECONDS, RetryBudget


def _spend_all(budget: RetryBudget, now: float) -> int:
    spent = 0
    while budget.allows(now):
        budget.spend(now)
        spent += 1
    return spent


def test_a_share_of_the_requests() -> None:
    """A fifth of those of the last ten seconds, and no more."""
    budget = RetryBudget(Retry())
    for _ in range(1000):
        budget.request(100.0)
    assert _spend_all(budget, 100.0) == 200
    assert _spend_all(budget, 100.0 + WINDOW_SECONDS / 2) == 0
    # Both the requests and the retries are forgotten; the floor is left.
    assert _spend_all(budget, 100.0 + WINDOW_SECONDS + 1) == 10


def test_a_quiet_daemon_may_retry() -> None:
    """One a second, with hardly a request."""
    budget = RetryBudget(Retry())
    budget.request(0.0)
    assert _spend_all(budget, 0.0) == 10


def test_none_at_all() -> None:
    """A budget of nothing allows nothing."""
    assert not RetryBudget(Retry(budget_ratio=0.0, budget_min_per_second=0.0)).allows(0.0)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 3)), max_size=200), st.floats(0, 1), st.floats(0, 2))
def test_never_more(events: list[tuple[bool, float]], ratio: float, floor: float) -> None:
    """At no time are there more retries in the window than the share, or the floor."""
    budget = RetryBudget(Retry(budget_ratio=ratio, budget_min_per_second=floor))
    requests: list[float] = []
    retries: list[float] = []
    now = 0.0
    for is_retry, passed in events:
        now += passed
        if not is_retry:
            budget.request(now)
            requests.append(now)
        elif budget.allows(now):
            budget.spend(now)
            retries.append(now)
            # The window is exact to a bucket.
            surely = [at for at in retries if at > now - WINDOW_SECONDS * 0.9]
            maybe = [at for at in requests if at >= now - WINDOW_SECONDS]
            assert len(surely) <= max(ratio * len(maybe), floor * WINDOW_SECONDS)
