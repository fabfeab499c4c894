"""When a second target is asked because the first says nothing."""

from __future__ import annotations

from typing import Final

from openai_proxy.config.routing import Hedge
from openai_proxy.policy.first_tokens import FirstTokens
from openai_proxy.policy.sliding_count import SlidingCount

WINDOW_SECONDS: Final = 60.0


class Hedging:
    """One for all routes of a daemon."""

    def __init__(self, settings: Hedge) -> None:
        self._settings = settings
        self._requests = SlidingCount(WINDOW_SECONDS)
        self._hedges = SlidingCount(WINDOW_SECONDS)
        self._first_tokens: dict[str, FirstTokens] = {}

    def first_token(self, route: str, seconds: float) -> None:
        """A stream of a route (the configuration's name) had its first token so long after its sending."""
        self._first_tokens.setdefault(route, FirstTokens()).add(seconds)

    def after_seconds(self, route: str, hedge: bool | None, has_next: bool, now: float) -> float | None:
        """A stream is sent: how long its first token is waited for before ``may_start`` is asked.

        None: for ever.

        :param hedge: as the route has it; None: as it is set for all.
        :param has_next: whether there is a second target that is not open.
        """
        self._requests.add(now)
        is_on = self._settings.enabled if hedge is None else hedge
        times = self._first_tokens.get(route)
        if not is_on or not has_next or times is None or times.count < self._settings.min_samples:
            return None
        seconds = times.quantile(self._settings.quantile)
        return None if seconds is None else max(seconds, self._settings.min_seconds)

    def may_start(self, now: float) -> bool:
        """The first token has not come: whether the second target is asked now. Counts it, if so."""
        if self._hedges.total(now) + 1 > self._settings.max_ratio * self._requests.total(now):
            return False
        self._hedges.add(now)
        return True
