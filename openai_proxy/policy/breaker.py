"""When a target is left alone: after too many failures, and while its rate limit is used up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from openai_proxy.config.routing import Breaker as Settings
from openai_proxy.observe.record import AttemptResult
from openai_proxy.policy.sliding_count import SlidingCount


class State(StrEnum):
    """The label ``state``."""

    CLOSED = "closed"
    """Attempts go through."""
    OPEN = "open"
    """None do, for a while."""
    HALF_OPEN = "half_open"
    """Few do, on trial."""


class Verdict(StrEnum):
    """What an attempt says of its target's health."""

    GOOD = "good"
    BAD = "bad"
    NOTHING = "nothing"


VERDICTS: Final[Mapping[AttemptResult, Verdict]] = MappingProxyType(
    {
        AttemptResult.OK: Verdict.GOOD,
        # The request was wrong, or too much: it answered, so it is alive.
        AttemptResult.HTTP_4XX: Verdict.GOOD,
        AttemptResult.HTTP_429: Verdict.GOOD,
        AttemptResult.HTTP_5XX: Verdict.BAD,
        AttemptResult.TIMEOUT: Verdict.BAD,
        AttemptResult.CONNECT_ERROR: Verdict.BAD,
        AttemptResult.TLS_ERROR: Verdict.BAD,
        AttemptResult.PROTOCOL_ERROR: Verdict.BAD,
        AttemptResult.STREAM_ERROR: Verdict.BAD,
        # The client left, or the fault was ours.
        AttemptResult.ABORTED: Verdict.NOTHING,
    }
)


class Pass(Struct, frozen=True, gc=False):
    """Leave for one attempt; it is given back with the attempt's end."""

    turn: int
    """Of which turn of the breaker it is: what began before a change says nothing after it."""


OnChange = Callable[[State, State], None]


class Breaker:
    """Of one target. Times are of one clock, in seconds.

    Closed, it opens when the failures in the window are too many of no few attempts. Open, after
    ``open_seconds``, the next attempt makes it half-open: on trial. A good trial closes it, a bad one
    opens it again. Whether the target rests is another matter, in any state.
    """

    def __init__(self, settings: Settings, on_change: OnChange) -> None:
        """:param on_change: is told the old and the new state, for the metrics; must not raise."""
        self.state = State.CLOSED
        self._settings = settings
        self._on_change = on_change
        self._attempts = SlidingCount(settings.window_seconds)
        self._failures = SlidingCount(settings.window_seconds)
        self._turn = 0
        self._trials = 0
        """On their way now."""
        self._opens_at = 0.0
        """When trials may begin; of the state ``OPEN``."""
        self._rests_until = 0.0

    def rest_seconds(self, now: float) -> float:
        """How long its rate limit is still used up, as it said."""
        return max(0.0, self._rests_until - now)

    def is_open(self, now: float) -> bool:
        """Whether it lets nothing through for its failures, all trials on their way among them."""
        if self.state is State.OPEN:
            return now < self._opens_at
        return self.state is State.HALF_OPEN and self._trials >= self._settings.trial_attempts

    def closed_seconds(self, now: float) -> float:
        """How long it lets nothing through for its failures; 0 where it does, or trials are on their way."""
        return max(0.0, self._opens_at - now) if self.state is State.OPEN else 0.0

    def begin(self, now: float) -> Pass | None:
        """Leave for an attempt; None: none may begin. Each pass must come back, once, to ``end``."""
        if self.rest_seconds(now) > 0 or self.is_open(now):
            return None
        if self.state is State.OPEN:
            self._change(State.HALF_OPEN)
        if self.state is State.HALF_OPEN:
            self._trials += 1
        return Pass(self._turn)

    def answered(self, leave: Pass) -> None:
        """The attempt's answer has begun well: a trial need not wait for the end of a long stream.

        ``end`` still follows.
        """
        if leave.turn == self._turn and self.state is State.HALF_OPEN:
            self._change(State.CLOSED)

    def end(self, leave: Pass, verdict: Verdict, now: float) -> None:
        """The attempt has ended, however it did."""
        if leave.turn != self._turn or not self._settings.enabled:
            return
        if self.state is State.HALF_OPEN:
            self._trials -= 1
            if verdict is Verdict.GOOD:
                self._change(State.CLOSED)
            elif verdict is Verdict.BAD:
                self._open(now)
        elif verdict is not Verdict.NOTHING:
            self._count(verdict, now)

    def rest(self, seconds: float, now: float) -> None:
        """Its rate limit is used up for so long: nothing goes to it until then, up to a bound.

        Only where the key is ours: a client's own limit is no other client's.
        """
        if not self._settings.enabled:
            return
        until = now + min(seconds, self._settings.rest_max_seconds)
        self._rests_until = max(self._rests_until, until)

    def _count(self, verdict: Verdict, now: float) -> None:
        self._attempts.add(now)
        if verdict is Verdict.GOOD:
            return
        self._failures.add(now)
        attempts, settings = self._attempts.total(now), self._settings
        too_many = self._failures.total(now) >= settings.failure_ratio * attempts
        if attempts >= settings.min_attempts and too_many:
            self._open(now)

    def _open(self, now: float) -> None:
        self._opens_at = now + self._settings.open_seconds
        self._change(State.OPEN)

    def _change(self, state: State) -> None:
        old, self.state = self.state, state
        self._turn += 1
        self._trials = 0
        self._attempts.clear()
        self._failures.clear()
        self._on_change(old, state)
