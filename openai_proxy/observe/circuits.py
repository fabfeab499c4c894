"""The numbers of the targets' breakers: in which state each is, how often it changed, and who rests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from openai_proxy.observe.families import Families, Rows

STATES: Final = ("closed", "open", "half_open")
"""The label ``state``: what the breakers of ``policy`` can be."""

ANY_MODEL: Final = "any"
"""The label ``model`` of a target that takes every model of its provider."""

MOST_TARGETS: Final = 200
"""Whose states are shown; three samples each, and as many counters of changes."""

_STATE: Final = "openai_proxy_circuit_state"
_RESTING: Final = "openai_proxy_target_resting"

Target = tuple[str, str]


class CircuitMetrics:
    """The families of breakers. A target is a provider and a model as configured, or ``ANY_MODEL``."""

    def __init__(self, families: Families) -> None:
        self._families = families
        self._circuits: dict[Target, Callable[[], str]] = {}
        self._resting: dict[Target, Callable[[], bool]] = {}
        families.gauge(
            _STATE,
            "Whether a target's breaker is in this state: 1 of one state, 0 of the others.",
            ("provider", "model", "state"),
            self._states,
        )
        families.gauge(
            _RESTING,
            "Whether a target is left alone because its rate limit is used up.",
            ("provider", "model"),
            lambda: [(target, float(read())) for target, read in list(self._resting.items())],
        )
        self._transitions = families.counter(
            "openai_proxy_circuit_transitions",
            "Changes of a target's breaker, by the state that it came to.",
            ("provider", "model", "to_state"),
            cap=len(STATES) * MOST_TARGETS,
        )

    def watch(self, provider: str, model: str, read: Callable[[], str]) -> None:
        """Show the state that ``read`` tells, one of ``STATES``; its changes are expected from now on."""
        if self._has_place(self._circuits, (provider, model or ANY_MODEL), _STATE):
            self._circuits[provider, model or ANY_MODEL] = read
            for state in STATES:
                self._transitions.child(provider, model or ANY_MODEL, state)

    def watch_rest(self, provider: str, model: str, read: Callable[[], bool]) -> None:
        """Show whether the target rests."""
        if self._has_place(self._resting, (provider, model or ANY_MODEL), _RESTING):
            self._resting[provider, model or ANY_MODEL] = read

    def forget(self) -> None:
        """Show no target any more: those that there are now are watched anew. What was counted stays."""
        self._circuits, self._resting = {}, {}

    def changed(self, provider: str, model: str, to_state: str) -> None:
        """A breaker has come to another state."""
        self._transitions.child(provider, model or ANY_MODEL, str(to_state)).value += 1

    def _has_place(
        self,
        kept: dict[Target, Callable[[], str]] | dict[Target, Callable[[], bool]],
        target: Target,
        name: str,
    ) -> bool:
        if target in kept or len(kept) < MOST_TARGETS:
            return True
        self._families.overflowed(name)
        return False

    def _states(self) -> Rows:
        for (provider, model), read in list(self._circuits.items()):
            now = read()
            for state in STATES:
                yield (provider, model, state), float(state == now)
