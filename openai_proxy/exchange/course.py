"""The course of one exchange: from target to target, until one answers or none is left."""

from __future__ import annotations

import math

from openai_proxy.exchange.gateway import Gateway
from openai_proxy.observe.record import CIRCUIT_OPEN, RESTING, AttemptResult, Move, MoveKind
from openai_proxy.policy.breaker import VERDICTS, Breaker, Pass
from openai_proxy.policy.retry import Decision, Ended
from openai_proxy.policy.retry_fields import RetryFields
from openai_proxy.policy.routing import Candidate, Plan
from openai_proxy.relay.failures import CIRCUIT_IS_OPEN, RATE_LIMITED, ErrorAnswer


class Leg:
    """One attempt as its course sees it: where to, and the leave of the target's breaker."""

    __slots__ = ("_leave", "breaker", "candidate", "move")

    def __init__(self, candidate: Candidate, breaker: Breaker, leave: Pass, move: Move | None) -> None:
        self.candidate = candidate
        self.breaker = breaker
        self.move = move
        self._leave: Pass | None = leave

    def answered(self) -> None:
        """Its answer has begun well."""
        if self._leave is not None:
            self.breaker.answered(self._leave)

    def end(self, result: AttemptResult, now: float) -> None:
        """It has ended; a second time says nothing."""
        leave, self._leave = self._leave, None
        if leave is not None:
            self.breaker.end(leave, VERDICTS[result], now)


class Course:
    """Goes through a plan's candidates in their order, past those that are open or rest."""

    def __init__(self, gateway: Gateway, plan: Plan) -> None:
        self.plan = plan
        self.attempts = 0
        self._gateway = gateway
        self._place = -1
        self._attempts_here = 0
        self._unfit: list[Candidate] = []
        self._passed_over: tuple[str, str] | None = None
        """The first target that no attempt was made at, and why."""

    def next(self, now: float, kind: MoveKind, reason: str = "", from_provider: str = "") -> Leg | None:
        """To the next candidate that lets an attempt in; None: there is none.

        :param reason: why; empty for the exchange's first attempt.
        """
        candidates = self.plan.candidates
        for place in range(self._place + 1, len(candidates)):
            candidate = candidates[place]
            breaker = self._gateway.breaker_of(candidate)
            leave = breaker.begin(now)
            if leave is None:
                if self._passed_over is None and not self.attempts:
                    why = RESTING if breaker.rest_seconds(now) > 0 else CIRCUIT_OPEN
                    self._passed_over = candidate.provider, why
                continue
            self._place = place
            self._attempts_here = 1
            self.attempts += 1
            if not reason and self._passed_over is not None:
                from_provider, reason = self._passed_over
            move = Move(kind, from_provider, reason) if reason else None
            return Leg(candidate, breaker, leave, move)
        return None

    def again(self, leg: Leg, reason: str, now: float) -> Leg | None:
        """To the same candidate; None: its breaker has closed the way meanwhile."""
        leave = leg.breaker.begin(now)
        if leave is None:
            return None
        self._attempts_here += 1
        self.attempts += 1
        move = Move(MoveKind.RETRY, leg.candidate.provider, reason)
        return Leg(leg.candidate, leg.breaker, leave, move)

    def has_next(self, now: float) -> bool:
        """Whether there is another candidate that lets attempts in."""
        return any(
            not breaker.is_open(now) and breaker.rest_seconds(now) == 0
            for breaker in map(self._gateway.breaker_of, self.plan.candidates[self._place + 1 :])
        )

    def decide(
        self,
        leg: Leg,
        result: AttemptResult,
        status: int,
        fields: RetryFields,
        elapsed_seconds: float,
        is_repeatable: bool,
        now: float,
    ) -> Decision:
        """What follows an attempt that has ended before the client had a byte of it."""
        ended = Ended(
            result=result,
            status=status,
            fields=fields,
            attempts=self.attempts,
            attempts_here=self._attempts_here,
            elapsed_seconds=elapsed_seconds,
            is_repeatable=is_repeatable,
            is_open=leg.breaker.is_open(now),
            rest_seconds=leg.breaker.rest_seconds(now),
            has_next=self.has_next(now),
        )
        return self._gateway.retry.decide(ended, self.plan.timeouts, now)

    def pass_over(self, leg: Leg, now: float) -> None:
        """Its target cannot be asked this: no attempt was made there."""
        leg.end(AttemptResult.ABORTED, now)
        self.attempts -= 1
        self._unfit.append(leg.candidate)

    @property
    def is_unfit(self) -> bool:
        """Whether no target can be asked this, however it is."""
        return len(self._unfit) == len(self.plan.candidates)

    def closed(self, now: float) -> ErrorAnswer:
        """What is said where no candidate lets an attempt in, and when the first of them will."""
        waits = []
        fit = [one for one in self.plan.candidates if one not in self._unfit]
        for breaker in map(self._gateway.breaker_of, fit or self.plan.candidates):
            rest = breaker.rest_seconds(now)
            waits.append((rest, RESTING) if rest > 0 else (breaker.closed_seconds(now), CIRCUIT_OPEN))
        seconds, why = min(waits)
        told = RATE_LIMITED if why == RESTING else CIRCUIT_IS_OPEN
        return told.after(max(1, math.ceil(seconds)))
