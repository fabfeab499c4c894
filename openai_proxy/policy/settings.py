"""What sets this floor's decisions: frozen, with the names of the configuration file's keys."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class RouteTarget(Struct, frozen=True, kw_only=True):
    """One of the places where a route's requests can go."""

    provider: str
    model: str | None = None
    """What the provider calls the model; None: the route's name."""
    weight: int = 1
    """Its share of a weighted route's first attempts; 0: only when others have failed."""


class RouteTimeouts(Struct, frozen=True, kw_only=True):
    """How long a route's requests may take; None: the daemon's own limit, or no end."""

    head_seconds: float | None = None
    idle_seconds: float | None = None
    first_token_seconds: float | None = None
    """From a stream's request to its first token; past it the next target is tried."""
    total_seconds: float | None = None
    """All attempts together, up to the answer's first byte for the client."""


class Route(Struct, frozen=True, kw_only=True):
    """A model's name for clients, and where its requests go."""

    targets: tuple[RouteTarget, ...]
    choice: Literal["ordered", "weighted"] = "ordered"
    timeouts: RouteTimeouts = RouteTimeouts()
    hedge: bool | None = None
    """None: ``Hedge.enabled``."""


class Retry(Struct, frozen=True, kw_only=True):
    """When a request is tried again, before its first byte has gone to the client."""

    attempts: int = 3
    """All attempts of one request, at all targets."""
    attempts_per_target: int = 2
    statuses: tuple[str, ...] = ("408", "409", "429", "5xx")
    """Answers that count as failures: the SDKs' own choice."""
    backoff_seconds: float = 0.5
    """Before the first retry at the same target; doubled for each one after it."""
    backoff_max_seconds: float = 8.0
    jitter: float = 0.25
    """The share of a wait that is left to chance."""
    retry_after_max_seconds: float = 10.0
    """A Retry-After up to this is waited for; past it the next target is tried, or the answer given."""
    budget_ratio: float = 0.2
    """Retries as a share of requests, of all routes together."""
    budget_min_per_second: float = 1.0
    """Retries that are always allowed, so that a quiet daemon has some."""


class Breaker(Struct, frozen=True, kw_only=True):
    """When a target is left alone for a while."""

    enabled: bool = True
    failure_ratio: float = 0.5
    """The share of failures in the window that opens it."""
    window_seconds: float = 30.0
    min_attempts: int = 20
    """With fewer in the window it stays closed."""
    open_seconds: float = 15.0
    """How long it stays open before it lets attempts through on trial."""
    trial_attempts: int = 1
    """How many at a time are on trial; the first good one closes it."""
    rest_max_seconds: float = 300.0
    """The longest rest of a rate-limited target, whatever its reset says."""


class Hedge(Struct, frozen=True, kw_only=True):
    """When a second target is asked because the first is slow."""

    enabled: bool = False
    quantile: float = 0.95
    """Of the route's times to the first token: past it the second is asked."""
    min_seconds: float = 1.0
    """Never sooner than this."""
    min_samples: int = 50
    """With fewer times known, none."""
    max_ratio: float = 0.05
    """Hedges as a share of requests: past it there are none."""
