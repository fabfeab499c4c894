"""What is said of routes, and of what happens when a target fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta

from openai_proxy.config.section import Broken, Section
from openai_proxy.config.settings import Seconds

ModelName = Annotated[
    str,
    Meta(pattern=r"^[\x21-\x7e]{1,128}$", description="1 to 128 visible ASCII characters without a space"),
]
Ratio = Annotated[float, Meta(ge=0, le=1)]
Status = Annotated[str, Meta(pattern=r"^[1-5](xx|[0-9][0-9])$", description="429, or 5xx for all of them")]


class Target(Section, frozen=True):
    """One of the places where a route's requests can go."""

    provider: str
    """One of `providers`."""
    model: ModelName | None = None
    """What the provider calls the model; not given: the route's name."""
    weight: Annotated[int, Meta(ge=0, le=1000)] = 1
    """Its share of a weighted route's first attempts; 0: only when others have failed."""


class RouteTimeouts(Section, frozen=True):
    """How long a route's requests may take; what is not given is the daemon's, or has no end."""

    head_seconds: Seconds | None = None
    """To the head of an answer; not given: `timeouts.head_seconds`."""
    idle_seconds: Seconds | None = None
    """Between two pieces of an answer; not given: `timeouts.idle_seconds`."""
    first_token_seconds: Seconds | None = None
    """From a stream's request to its first token; past it the next target is tried."""
    total_seconds: Seconds | None = None
    """All attempts together, up to the answer's first byte for the client."""

    def rules(self) -> Iterator[Broken]:
        if self.first_token_seconds and self.total_seconds and self.first_token_seconds > self.total_seconds:
            yield "first_token_seconds", "is above `total_seconds`"


class Route(Section, frozen=True):
    """A model's name for clients, and where its requests go."""

    targets: Annotated[tuple[Target, ...], Meta(min_length=1)]
    """The places."""
    choice: Literal["ordered", "weighted"] = "ordered"
    """`ordered`: the first, and the next when it fails. `weighted`: by weight, and then the others."""
    timeouts: RouteTimeouts = RouteTimeouts()
    """How long its requests may take."""
    hedge: bool | None = None
    """Whether slow streams are hedged; not given: `hedge.enabled`."""

    def named_targets(self, name: str) -> Iterator[str]:
        """Each target of the route ``name`` as ``provider/model``, with its weight where that counts."""
        for target in self.targets:
            share = f" ({target.weight})" if self.choice == "weighted" else ""
            yield f"{target.provider}/{target.model or name}{share}"

    def rules(self) -> Iterator[Broken]:
        if self.choice == "weighted" and not any(target.weight for target in self.targets):
            yield "targets", "every target has weight 0"
        if self.choice == "ordered" and any(target.weight != 1 for target in self.targets):
            yield "targets", "weights are for `choice: weighted`"


class Retry(Section, frozen=True):
    """When a request is tried again, before its first byte has gone to the client."""

    attempts: Annotated[int, Meta(ge=1, le=10)] = 3
    """All attempts of one request, at all targets."""
    attempts_per_target: Annotated[int, Meta(ge=1, le=10)] = 1
    """At one target, before the next is tried. Where there is no next, `attempts` is the only bound."""
    statuses: tuple[Status, ...] = ("408", "409", "429", "5xx")
    """Answers that count as failures."""
    backoff_seconds: Seconds = 0.5
    """Before the first retry at the same target; doubled for each one after it."""
    backoff_max_seconds: Seconds = 8.0
    """The longest wait of our own."""
    jitter: Ratio = 0.25
    """The share of a wait that is left to chance."""
    retry_after_max_seconds: Seconds = 10.0
    """A Retry-After up to this is waited for; past it the next target is tried, or the answer given."""
    budget_ratio: Ratio = 0.2
    """Retries as a share of requests, of all routes together: past it there are none."""
    budget_min_per_second: Annotated[float, Meta(ge=0, le=1000)] = 1.0
    """Retries that are always allowed, so that a quiet daemon has some."""

    def rules(self) -> Iterator[Broken]:
        if self.backoff_seconds > self.backoff_max_seconds:
            yield "backoff_seconds", "is above `backoff_max_seconds`"


class Breaker(Section, frozen=True):
    """When a target is left alone for a while."""

    enabled: bool = True
    """Whether there is one for each target; without one it does not rest either."""
    failure_ratio: Annotated[float, Meta(gt=0, le=1)] = 0.5
    """The share of failures in the window that opens it."""
    window_seconds: Seconds = 30.0
    """How far back attempts are counted."""
    min_attempts: Annotated[int, Meta(ge=1, le=100_000)] = 20
    """With fewer in the window it stays closed."""
    open_seconds: Seconds = 15.0
    """How long it stays open before it lets attempts through on trial."""
    trial_attempts: Annotated[int, Meta(ge=1, le=100)] = 1
    """How many at a time are on trial; the first good one closes it."""
    rest_max_seconds: Seconds = 300.0
    """The longest rest of a rate-limited target, whatever its reset says."""


class Hedge(Section, frozen=True):
    """When a second target is asked because the first is slow."""

    enabled: bool = False
    """Whether streams are hedged: the first token wins, and the other is cancelled, but paid."""
    quantile: Annotated[float, Meta(ge=0.5, lt=1)] = 0.95
    """Of the route's times to the first token: past it the second is asked."""
    min_seconds: Seconds = 1.0
    """Never sooner than this."""
    min_samples: Annotated[int, Meta(ge=1, le=100_000)] = 50
    """With fewer times known, none."""
    max_ratio: Ratio = 0.05
    """Hedges as a share of requests: past it there are none."""
