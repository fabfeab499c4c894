"""The settings of one daemon: frozen, typed, every unit in its name."""

from dataclasses import dataclass, field

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long an upstream may take, in seconds."""

    connect_seconds: float = 10.0
    """From the first connection attempt to a connected (and, over https, verified) socket."""
    head_seconds: float = 600.0
    """From the request's first byte to the end of the answer's head. 600 is the SDKs' own."""
    idle_seconds: float = 600.0
    """Between two pieces of an answer's body; reasoning models are silent for minutes."""
    pool_idle_seconds: float = 15.0
    """How long an unused connection is kept: shorter than the servers' own, so that a POST
    seldom meets a connection that its server has just closed."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may send, and how slowly."""

    request_target_bytes: int = 16 * 1024
    header_count: int = 200
    header_bytes: int = 64 * 1024
    body_bytes: int = 512 * MEBIBYTE
    header_seconds: float = 10.0
    """From a request's first byte to the end of its header section."""
    keepalive_seconds: float = 75.0
    body_bytes_per_second: int = 128
    """An upload slower than this, averaged since it began, is ended (408)."""
    write_stall_seconds: float = 120.0
    """A client that takes no byte of a waiting answer for so long is cut off."""
    held_body_bytes: int = 32 * MEBIBYTE
    """A JSON body up to this size is read whole before it is sent on."""
    held_total_bytes: int = 256 * MEBIBYTE
    """All bodies held at one time; past it new ones are refused (503)."""


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """How many connections one upstream may have."""

    connections: int = 10_000
    waiting: int = 10_000
    """Requests that may wait for a connection when all are busy; one more is refused."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All that the daemon is told at start."""

    listen: str = "tcp:8080"
    upstream: str = "https://api.openai.com"
    ca_file: str | None = None
    mock: bool = True
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)
    pool: PoolLimits = field(default_factory=PoolLimits)
