"""The settings of one daemon: frozen, typed, every unit in its name."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta

from openai_proxy.config.address import is_local
from openai_proxy.config.secret import Secret

if TYPE_CHECKING:
    from openai_proxy.config.tracing import Tracing

MEBIBYTE = 1024 * 1024

Seconds = Annotated[float, Meta(gt=0, le=366 * 86400)]
SecondsOrNone = Annotated[float, Meta(ge=0, le=366 * 86400)]
Positive = Annotated[int, Meta(gt=0, le=1 << 53)]
NotNegative = Annotated[int, Meta(ge=0, le=1 << 53)]


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long an upstream may take, in seconds."""

    connect_seconds: Seconds = 10.0
    """From the first connection attempt to a connected (and, over https, verified) socket."""
    head_seconds: Seconds = 600.0
    """From the request's last byte, or its last progress, to the end of the answer's head. 600 is
    the SDKs' own."""
    idle_seconds: Seconds = 600.0
    """Between two pieces of an answer's body; reasoning models are silent for minutes."""
    pool_idle_seconds: Seconds = 15.0
    """How long an unused connection is kept: shorter than the servers' own, so that a POST
    seldom meets a connection that its server has just closed."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may send, and how slowly."""

    request_target_bytes: Positive = 16 * 1024
    header_count: Positive = 200
    header_bytes: Positive = 64 * 1024
    body_bytes: Positive = 512 * MEBIBYTE
    header_seconds: Seconds = 10.0
    """From a request's first byte to the end of its header section."""
    keepalive_seconds: Seconds = 75.0
    body_bytes_per_second: NotNegative = 128
    """An upload slower than this, averaged over a minute, is ended (408)."""
    write_stall_seconds: Seconds = 120.0
    """A client that has not taken what waits for it (64 KiB and more) in so long is cut off."""
    held_body_bytes: Positive = 32 * MEBIBYTE
    """A JSON body up to this size is read whole before it is sent on."""
    held_total_bytes: Positive = 256 * MEBIBYTE
    """All bodies held at one time; past it new ones are refused (503)."""


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """How many connections one upstream may have."""

    connections: Positive = 10_000
    waiting: NotNegative = 10_000
    """Requests that may wait for a connection when all are busy; one more is refused."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What is read of answers, and what of them is counted."""

    answers: bool = True
    """Tokens, costs, clocks and errors are read out of answers on their way."""
    include_usage: bool = True
    """Streams are asked for their usage where the client left that open."""
    prices_file: str | None = None
    """An operator's prices, over the package's."""


@dataclass(frozen=True, slots=True)
class Listen:
    """A port that is listened at."""

    description: str
    """Twisted's description of its endpoint."""
    certificate: str | None = None
    """PEM file of what clients over TLS are shown, with all that is between it and a known authority; an
    absolute path. None: clients come without TLS (or the description says of it)."""
    key: str | None = None
    """PEM file of the certificate's key; None: it is in the certificate's file."""


@dataclass(frozen=True, slots=True)
class Admin:
    """The operator's own port."""

    listen: Listen | None = None
    """None: there is none, and metrics are served to clients."""
    token: Secret | None = None
    """What who asks there has to say, if anything: ``Authorization: Bearer ...``."""

    @property
    def shows_all(self) -> bool:
        """Whether it serves more than health and metrics: to who has the token, or to this machine alone."""
        return self.token is not None or self.listen is None or is_local(self.listen.description)


@dataclass(frozen=True, slots=True)
class Drain:
    """How the daemon ends on SIGTERM."""

    grace_seconds: SecondsOrNone = 0.0
    """How long new connections are still accepted, while `/readyz` says 503: what a load balancer needs to
    notice."""
    timeout_seconds: Seconds = 600.0
    """How long what is in flight may go on. What is left then is cut, behind an error event in streams."""


@dataclass(frozen=True, slots=True)
class Logging:
    """How the daemon says what happens to itself, on stdout."""

    format: Literal["text", "json"] = "text"
    """Lines for people, or one object of JSON each."""
    level: Literal["debug", "info", "warn", "error"] = "info"
    """What is less than that is not said."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All that the daemon is told at start."""

    listen: tuple[Listen, ...] = (Listen("tcp:8080"),)
    """The ports that clients connect to."""
    admin: Admin = field(default_factory=Admin)
    upstream: str = "https://api.openai.com"
    ca_file: str | None = None
    mock: bool = True
    access_log: str | None = None
    """An absolute path, or ``-`` for stdout; None: there is none."""
    access_log_sample: int = 1
    """One of so many exchanges that were ok has a line."""
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)
    pool: PoolLimits = field(default_factory=PoolLimits)
    observation: Observation = field(default_factory=Observation)
    drain: Drain = field(default_factory=Drain)
    log: Logging = field(default_factory=Logging)
    tracing: Tracing | None = None
    """None: nothing is traced."""
    workers: int = 1
    """Processes that serve; with several of them, one more holds their sockets and watches over them."""


def _limit_fields() -> dict[str, tuple[str, str, type]]:
    """Name for the operator -> (part of the settings, field, type)."""
    named = {one.name: ("limits", one.name, type(one.default)) for one in fields(Limits)}
    named |= {f"pool_{one.name}": ("pool", one.name, type(one.default)) for one in fields(PoolLimits)}
    named["pool_idle_seconds"] = ("timeouts", "pool_idle_seconds", float)
    return named


LIMIT_FIELDS = _limit_fields()
MAY_BE_ZERO = frozenset({"body_bytes_per_second", "pool_waiting"})


def with_limit(settings: Settings, setting: str) -> Settings:
    """The settings with one limit changed, given as ``name=value``. Raises ValueError."""
    name, _, value = setting.partition("=")
    if name not in LIMIT_FIELDS:
        near = get_close_matches(name, LIMIT_FIELDS, 1)
        raise ValueError(f"there is no limit {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    part, field, kind = LIMIT_FIELDS[name]
    try:
        number = kind(value)
    except ValueError:
        number = -1
    if not (number > 0 or (number == 0 and name in MAY_BE_ZERO)) or number == float("inf"):
        wanted = "a whole number" if kind is int else "a number of seconds"
        raise ValueError(f"{name}={value!r}: {wanted} above 0 is wanted")
    return replace(settings, **{part: replace(getattr(settings, part), **{field: number})})
