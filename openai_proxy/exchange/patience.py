"""How long the attempts of one exchange are waited for, as their route has it."""

from __future__ import annotations

import math

from openai_proxy.config.routing import RouteTimeouts
from openai_proxy.policy.retry import left_seconds


class Patience:
    """Its times are on the exchange's clock. None: as long as the daemon itself waits."""

    __slots__ = ("_began", "_first_token_seconds", "_head_seconds", "_is_endless", "_timeouts")

    def __init__(self, timeouts: RouteTimeouts, is_stream: bool, began: float) -> None:
        """:param began: when the first attempt could be sent: all of them share ``total_seconds``."""
        self._timeouts = timeouts
        self._began = began
        head_seconds = timeouts.head_seconds
        self._head_seconds = math.inf if head_seconds is None else head_seconds
        first = timeouts.first_token_seconds if is_stream else None
        self._first_token_seconds = math.inf if first is None else first
        self._is_endless = head_seconds is None and first is None and timeouts.total_seconds is None

    @property
    def awaits_token(self) -> bool:
        """Whether a stream has to have its first token by some time."""
        return self._first_token_seconds < math.inf

    def elapsed_seconds(self, now: float) -> float:
        """Of all attempts."""
        return now - self._began

    def for_head(self, now: float) -> float | None:
        """For an attempt that is sent now: until its answer's head is there."""
        if self._is_endless:
            return None
        return _bounded(min(self._head_seconds, self._first_token_seconds, self._left(now)))

    def for_beginning(self, sent_at: float, now: float) -> float | None:
        """Behind the head: until the answer is known to be one."""
        if self._is_endless:
            return None
        return _bounded(min(sent_at + self._first_token_seconds - now, self._left(now)))

    def _left(self, now: float) -> float:
        return left_seconds(self._timeouts, self.elapsed_seconds(now))


def _bounded(seconds: float) -> float | None:
    return max(0.0, seconds) if seconds < math.inf else None
