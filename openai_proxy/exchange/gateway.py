"""What all exchanges of the unified way share: targets, and the policies that choose among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import replace
from functools import partial
from typing import Final

from openai_proxy.config.routing import Breaker as BreakerSettings
from openai_proxy.config.routing import Hedge, Retry, Route, RouteTimeouts
from openai_proxy.config.settings import Timeouts
from openai_proxy.exchange.question import Question
from openai_proxy.exchange.target import Target
from openai_proxy.policy.breaker import Breaker, State
from openai_proxy.policy.hedging import Hedging
from openai_proxy.policy.retry import RetryPolicy
from openai_proxy.policy.retry_budget import RetryBudget
from openai_proxy.policy.routing import Candidate, Plan, Random, Router
from openai_proxy.policy.stickiness import Stickiness

CircuitChanged = Callable[[str, str, str], None]
"""Told the provider, the configured model (empty: any) and the new state."""


_TIMEOUTS: Final = Timeouts()


def _timeouts_of(route: RouteTimeouts, timeouts: Timeouts) -> Timeouts | None:
    if route.head_seconds is None and route.idle_seconds is None:
        return None
    return replace(
        timeouts,
        head_seconds=route.head_seconds or timeouts.head_seconds,
        idle_seconds=route.idle_seconds or timeouts.idle_seconds,
    )


class Gateway:
    """One daemon's; made once of its configuration."""

    def __init__(
        self,
        targets: Mapping[str, Target],
        routes: Mapping[str, Route],
        default_provider: str,
        retry: Retry,
        breaker: BreakerSettings,
        hedge: Hedge,
        random: Random,
        circuit_changed: CircuitChanged,
        timeouts: Timeouts = _TIMEOUTS,
    ) -> None:
        """:param targets: by their providers' names.
        :param timeouts: the daemon's own.
        """
        self.targets = targets
        self.routes = routes
        self._timeouts = {name: _timeouts_of(route.timeouts, timeouts) for name, route in routes.items()}
        self.default = targets[default_provider]
        self.random = random
        only_one = len(targets) == 1
        self.router = Router(targets.keys(), routes, default_provider, default_has_slashes=only_one)
        self.budget = RetryBudget(retry)
        self.retry = RetryPolicy(retry, self.budget, random)
        self.hedging = Hedging(hedge)
        self.hedges = hedge.enabled
        self.stickiness = Stickiness()
        self.breakers: dict[tuple[str, str], Breaker] = {}
        """By provider, and the model's name where it is the configuration's (else empty)."""
        self._breaker_settings = breaker
        self._circuit_changed = circuit_changed
        for name in targets:
            self.breaker_of(Candidate(name, ""))
        for name, route in routes.items():
            for target in route.targets:
                model = target.model or name
                self.breaker_of(Candidate(target.provider, model, model))

    def plan(self, question: Question, now: float) -> Plan:
        """Where a request goes. Raises NoRoute."""
        model = question.routed_by
        if question.provider:
            return self.router.plan_at(question.provider, model)
        plan = self.router.plan(model, self.random)
        ids = question.ids + question.mentioned
        if not ids:
            return plan
        made_by = self.stickiness.provider_of(ids, now)
        if made_by is None:
            if not question.ids:
                return plan
            # Of an object that nobody here has made, the first target is as good as any.
            made_by = plan.candidates[0].provider
        return plan.stuck_to(made_by, model.removeprefix(made_by + "/"))

    def timeouts_of(self, plan: Plan) -> Timeouts | None:
        """What its route says of heads and bodies; None: nothing."""
        return self._timeouts.get(plan.route)

    def breaker_of(self, candidate: Candidate) -> Breaker:
        """A target's; there are no more than the configuration has targets."""
        key = (candidate.provider, candidate.configured_model)
        breaker = self.breakers.get(key)
        if breaker is None:
            breaker = self.breakers[key] = Breaker(
                self._breaker_settings, partial(_changed, self._circuit_changed, *key)
            )
        return breaker

    def take_over(self, before: Gateway, unchanged: Set[str]) -> None:
        """What was learned by one before it, as far as it holds: who made which object, and who is well.

        :param unchanged: the providers that are what they were.
        """
        self.stickiness = before.stickiness
        if self._breaker_settings == before._breaker_settings:
            for key, breaker in before.breakers.items():
                if key in self.breakers and key[0] in unchanged:
                    self.breakers[key] = breaker


def _changed(told: CircuitChanged, provider: str, model: str, _: State, state: State) -> None:
    told(provider, model, state.value)
