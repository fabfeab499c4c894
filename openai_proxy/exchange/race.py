"""The attempts of one exchange that are under way at a time: one, or two where the first was slow."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from openai_proxy.exchange.routed_attempt import RoutedAttempt


class Race:
    """Whoever has the first token wins; whoever fails leaves it to the other."""

    __slots__ = ("_attempts", "_hedge", "losers")

    def __init__(self) -> None:
        self._attempts: list[RoutedAttempt] = []
        self._hedge: IDelayedCall | None = None
        self.losers: list[RoutedAttempt] = []
        """Of a race that was won."""

    def hedge_at(self, call: IDelayedCall) -> None:
        """A second one is begun then, if the first has neither won nor failed."""
        self._hedge = call

    def enter(self, attempt: RoutedAttempt) -> None:
        """It is under way."""
        self._attempts.append(attempt)

    def leave(self, attempt: RoutedAttempt) -> RoutedAttempt | None:
        """It has failed; the other one, if there is one. None is begun beside it any more."""
        self._stop_hedge()
        self._attempts = [other for other in self._attempts if other is not attempt]
        return self._attempts[0] if self._attempts else None

    def win(self, attempt: RoutedAttempt) -> list[RoutedAttempt]:
        """Its answer is the client's; those that nobody waits for now."""
        self.losers = self.end(attempt)
        return self.losers

    def end(self, last: RoutedAttempt | None) -> list[RoutedAttempt]:
        """Nobody waits for any but the last; those others."""
        self._stop_hedge()
        attempts, self._attempts = self._attempts, []
        return [other for other in attempts if other is not last]

    def _stop_hedge(self) -> None:
        hedge, self._hedge = self._hedge, None
        if hedge is not None and hedge.active():
            hedge.cancel()
