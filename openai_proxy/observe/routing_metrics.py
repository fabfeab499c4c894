"""The numbers of what was done when a target failed or was slow, and of what targets were not sent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Final

from openai_proxy.observe.errors import label_of
from openai_proxy.observe.families import CounterFamily, Families
from openai_proxy.observe.generation import PICODOLLARS_PER_DOLLAR
from openai_proxy.observe.model import OTHER
from openai_proxy.observe.record import CIRCUIT_OPEN, RESTING, Attempt, AttemptResult, MoveKind

RETRY_REASONS: Final = frozenset(AttemptResult) - {AttemptResult.OK, AttemptResult.ABORTED}
"""Why a target was asked again: the result of the attempt before."""

FALLBACK_REASONS: Final = RETRY_REASONS | {CIRCUIT_OPEN, RESTING}
"""Why another one was: also because the first was not to be asked at all."""

HEDGE_RESULTS: Final = ("won", "lost")

MOST_EXPECTED_TARGETS: Final = 4
"""Of a route: between so many, each fallback has its series before there is one."""

_FALLBACKS_CAP: Final = 1000


def first_at_last_target(attempts: Sequence[Attempt]) -> int:
    """From which of the attempts on all were at the target of the last one, of those that ended in a row."""
    first = len(attempts) - 1
    while first > 0:
        move, provider = attempts[first].move, attempts[first].provider
        if move is None or move.kind is not MoveKind.RETRY or attempts[first - 1].provider != provider:
            break
        first -= 1
    return first


class RoutingMetrics:
    """The families of moves from target to target. Few exchanges have one, so no child is kept here."""

    def __init__(self, families: Families, retries: CounterFamily) -> None:
        """:param retries: of provider and reason; repeats on a new connection are counted there too."""
        self._retries = retries
        self._members: frozenset[str] = frozenset()
        self.fallbacks = families.counter(
            "openai_proxy_fallbacks",
            "Attempts at another target in the stead of one that failed or was not to be asked.",
            ("from_provider", "to_provider", "reason"),
            cap=_FALLBACKS_CAP,
        )
        self.client_retries = families.counter(
            "openai_proxy_client_retries",
            "Requests that are a repetition, as their client's SDK says.",
            ("endpoint",),
            cap=20,
        )
        self.dropped_members = families.counter(
            "openai_proxy_dropped_members",
            "Requests with a member that their target does not take and was not sent.",
            ("provider", "member"),
            cap=500,
        )
        self._add_hedge_families(families)

    def _add_hedge_families(self, families: Families) -> None:
        self.hedges = families.counter(
            "openai_proxy_hedges",
            "Second attempts beside a slow first one, by whether theirs was the answer.",
            ("provider", "result"),
            cap=100,
        )
        self.wasted = families.counter(
            "openai_proxy_hedge_wasted_cost_usd",
            "What the attempts that a hedge made superfluous cost by the price table, in US dollars.",
            ("provider",),
            cap=50,
            per_unit=PICODOLLARS_PER_DOLLAR,
        )

    def tried(self, attempts: Sequence[Attempt]) -> None:
        """The attempts of one exchange in the order in which they ended."""
        for attempt in attempts:
            if attempt.move is not None:
                self._moved(attempt, attempt is attempts[-1])
            if attempt.wasted_picodollars is not None:
                self.wasted.child(attempt.provider).value += attempt.wasted_picodollars

    def _moved(self, attempt: Attempt, is_last: bool) -> None:
        move = attempt.move
        assert move is not None
        if move.kind is MoveKind.RETRY:
            reason = label_of(move.reason, RETRY_REASONS)
            self._retries.child(attempt.provider, reason).value += 1
        elif move.kind is MoveKind.FALLBACK:
            reason = label_of(move.reason, FALLBACK_REASONS)
            self.fallbacks.child(move.from_provider, attempt.provider, reason).value += 1
        else:
            self.hedges.child(attempt.provider, "won" if is_last else "lost").value += 1

    def client_retried(self, endpoint: str) -> None:
        """A client asked again."""
        self.client_retries.child(endpoint).value += 1

    def dropped(self, provider: str, members: Iterable[str]) -> None:
        """The target was not sent these members of one request."""
        known = self._members
        for member in {name if name in known else OTHER for name in members}:
            self.dropped_members.child(provider, member).value += 1

    def know_members(self, names: Iterable[str]) -> None:
        """Names that may be labels, besides those told before: from the code or the configuration only."""
        self._members |= frozenset(names)

    def expect(self, provider: str, endpoints: Iterable[str]) -> None:
        """Make the children whose first failure has to be seen."""
        for reason in sorted(RETRY_REASONS):
            self._retries.child(provider, reason.value)
        for endpoint in endpoints:
            self.client_retries.child(endpoint)

    def expect_route(self, providers: Sequence[str]) -> None:
        """The same of a route: its targets' providers in their order."""
        for from_provider, to_provider in combinations(providers[:MOST_EXPECTED_TARGETS], 2):
            # What is only expected leaves half of the places to what happens.
            if len(self.fallbacks.children()) < _FALLBACKS_CAP // 2:
                for reason in sorted(FALLBACK_REASONS):
                    self.fallbacks.child(from_provider, to_provider, str(reason))
        if len(providers) > 1:
            for provider in providers:
                self.wasted.child(provider)
                for result in HEDGE_RESULTS:
                    self.hedges.child(provider, result)
