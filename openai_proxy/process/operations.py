"""What an operator may ask of a running daemon, whether it is one process or a parent with workers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from msgspec import Struct
from twisted.internet.defer import Deferred

Labels = tuple[tuple[str, str], ...]


class Exemplar(Struct, frozen=True, gc=False, array_like=True):
    """What a sample was made of, once: a request's id."""

    labels: Labels
    value: float
    timestamp: float | None = None
    """Unix time, in seconds."""


class Sample(Struct, frozen=True, gc=False, array_like=True):
    """One line of an exposition."""

    name: str
    labels: Labels
    value: float
    exemplar: Exemplar | None = None


class Family(Struct, frozen=True, gc=False, array_like=True):
    """A metric family, as ``prometheus_client`` knows it, in a form that goes over a socket."""

    name: str
    type: str
    """``counter``, ``gauge``, ``histogram``, ..."""
    documentation: str
    samples: list[Sample]


class InFlight(Struct, frozen=True, gc=False, kw_only=True):
    """An exchange that has not ended. Nothing in it is secret, and no client's own text but ``id``."""

    id: str
    """The ``x-request-id`` that the client is told."""
    age_seconds: float
    route: str
    """The resource that took it: ``/v1``, ``/openai``, ``/mock``."""
    endpoint: str
    provider: str
    model: str
    """As a label."""
    phase: str
    """``request`` (its body is read), ``waiting`` (for a key, a connection, or between two attempts),
    ``sent`` (for an answer's head), ``answer`` (its body is relayed), ``client`` (all is there, and the
    client has to take it), ``tunnel``."""
    is_stream: bool
    attempts: int
    """Begun so far."""
    received_bytes: int
    """Of the request's body."""
    sent_bytes: int
    """Of the answer's body."""
    output_events: int
    """Events with output in them, so far: about as many as tokens."""
    idle_seconds: float
    """Since a byte of it last moved in either direction."""
    is_stalled: bool
    """Whether its client does not take what waits for it."""
    worker: int | None = None
    """Which of several processes has it."""


class ErrorSeen(Struct, frozen=True, gc=False, kw_only=True):
    """An exchange that ended badly. No text of a client or of an upstream is in it but the id."""

    at_seconds: float
    """Unix time."""
    id: str
    provider: str
    endpoint: str
    model: str
    """As a label."""
    status: int
    outcome: str
    error_type: str
    """As a label."""
    error_code: str
    """As a label."""
    duration_seconds: float


class Reloaded(Struct, frozen=True, gc=False):
    """What came of a reload."""

    is_done: bool
    """False: nothing has changed."""
    lines: list[str]
    """What is different now, or each problem. Secrets are masked."""


class Operations(Protocol):
    """Asked by the admin pages, whichever process serves them."""

    def families(self, names: Collection[str] | None = None) -> Deferred[list[Family]]:
        """All metrics, of all processes as one; or only the families with these names.

        A name is the family's in a registry: a counter's without ``_total``.
        """

    def in_flight(self) -> Deferred[list[InFlight]]:
        """Every exchange now, the oldest first."""

    def last_errors(self) -> Deferred[list[ErrorSeen]]:
        """The last exchanges that ended badly, the latest first; some 50."""

    def end(self, request_id: str) -> Deferred[bool]:
        """End an exchange for its operator: an error for its client, then a cut. False: there is none."""

    def reload(self) -> Deferred[Reloaded]:
        """Read the configuration again: all of it, or nothing."""
