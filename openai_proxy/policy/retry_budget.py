"""How many retries there may be: a share of the requests, so that a failing provider meets no storm."""

from __future__ import annotations

from typing import Final

from openai_proxy.config.routing import Retry
from openai_proxy.policy.sliding_count import SlidingCount

WINDOW_SECONDS: Final = 10.0


class RetryBudget:
    """One for all routes of a daemon."""

    def __init__(self, settings: Retry) -> None:
        self._ratio = settings.budget_ratio
        self._floor = settings.budget_min_per_second * WINDOW_SECONDS
        self._requests = SlidingCount(WINDOW_SECONDS)
        self._retries = SlidingCount(WINDOW_SECONDS)

    def request(self, now: float) -> None:
        """A client's request has come."""
        self._requests.add(now)

    def allows(self, now: float) -> bool:
        """Whether one more retry fits."""
        allowed = max(self._floor, self._ratio * self._requests.total(now))
        return self._retries.total(now) + 1 <= allowed

    def spend(self, now: float) -> None:
        """A retry is made, allowed or not."""
        self._retries.add(now)
