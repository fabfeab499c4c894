"""How each provider does now: its breakers, what is left of its rate limits, its streams."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct

from openai_proxy.observe.circuits import STATES
from openai_proxy.observe.rate_limits import NAME as RATE_LIMIT
from openai_proxy.process.operations import Family

_CIRCUIT: Final = "openai_proxy_circuit_state"
_RESTING: Final = "openai_proxy_target_resting"
_STREAMS: Final = "openai_proxy_streams_open"
_CONNECTIONS: Final = "openai_proxy_upstream_connections"
_REMAINING: Final = f"{RATE_LIMIT}_remaining"
_LIMIT: Final = f"{RATE_LIMIT}_limit"
_UPDATED: Final = f"{RATE_LIMIT}_updated_timestamp_seconds"

FAMILIES: Final = frozenset({_CIRCUIT, _RESTING, _STREAMS, _CONNECTIONS, _REMAINING, _LIMIT, _UPDATED})
"""What is read; small ones, so they can be asked for often."""

_WORST: Final = ("open", "half_open", "closed")
assert set(_WORST) == set(STATES)

Labels = dict[str, str]


class TargetNow(Struct, frozen=True, gc=False):
    """A breaker."""

    model: str
    """As configured; ``any``: of all models of the provider."""
    breaker: str
    """``closed``, ``open`` or ``half_open``: the worst of several processes."""
    is_resting: bool
    """Left alone, for its rate limit is used up."""


class LimitNow(Struct, frozen=True, gc=False):
    """A rate limit, as the upstream last said."""

    model: str
    resource: str
    remaining: float | None
    limit: float | None
    said_at_seconds: float | None
    """Unix time."""


class ProviderNow(Struct, frozen=True):
    """One provider."""

    provider: str
    streams_open: float
    active_connections: float
    idle_connections: float
    targets: list[TargetNow]
    limits: list[LimitNow]


def providers_now(families: Iterable[Family]) -> list[ProviderNow]:
    """Of all that are in a snapshot of ``FAMILIES``, by name."""
    found: dict[str, list[tuple[Labels, float]]] = {
        family.name: [(dict(sample.labels), sample.value) for sample in family.samples]
        for family in families
        if family.name in FAMILIES
    }
    names = {labels["provider"] for rows in found.values() for labels, _ in rows}
    return [
        _provider(name, {kind: list(_of(name, rows)) for kind, rows in found.items()})
        for name in sorted(names)
    ]


def _of(provider: str, rows: list[tuple[Labels, float]]) -> Iterator[tuple[Labels, float]]:
    return ((labels, value) for labels, value in rows if labels["provider"] == provider)


def _provider(name: str, rows: dict[str, list[tuple[Labels, float]]]) -> ProviderNow:
    connections = {labels["state"]: value for labels, value in rows.get(_CONNECTIONS, ())}
    return ProviderNow(
        name,
        sum(value for _, value in rows.get(_STREAMS, ())),
        connections.get("active", 0.0),
        connections.get("idle", 0.0),
        _targets(rows),
        _limits(rows),
    )


def _targets(rows: dict[str, list[tuple[Labels, float]]]) -> list[TargetNow]:
    states: dict[str, set[str]] = defaultdict(set)
    for labels, value in rows.get(_CIRCUIT, ()):
        if value:
            states[labels["model"]].add(labels["state"])
    resting = {labels["model"] for labels, value in rows.get(_RESTING, ()) if value}
    return [
        TargetNow(
            model, next((state for state in _WORST if state in states[model]), "closed"), model in resting
        )
        for model in sorted({*states, *resting})
    ]


def _limits(rows: dict[str, list[tuple[Labels, float]]]) -> list[LimitNow]:
    said: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for kind in (_REMAINING, _LIMIT, _UPDATED):
        for labels, value in rows.get(kind, ()):
            said[labels["model"], labels["resource"]][kind] = value
    return [
        LimitNow(*key, kinds.get(_REMAINING), kinds.get(_LIMIT), kinds.get(_UPDATED))
        for key, kinds in sorted(said.items())
    ]
