"""All that is known of an exchange when it has ended."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from openai_proxy.observe.intervals import IntervalCounts
from openai_proxy.observe.outcome import Outcome
from openai_proxy.observe.trace import AttemptSpan, Trace
from openai_proxy.observe.usage import Usage, UsageMissing
from openai_proxy.wire.fields import Field
from openai_proxy.wire.response import Timings


class AttemptResult(StrEnum):
    """How one attempt to get an answer ended: the label ``result``."""

    OK = "ok"
    HTTP_4XX = "http_4xx"
    HTTP_429 = "http_429"
    HTTP_5XX = "http_5xx"
    TIMEOUT = "timeout"
    CONNECT_ERROR = "connect_error"
    TLS_ERROR = "tls_error"
    PROTOCOL_ERROR = "protocol_error"
    """Closed before its head was whole, or not HTTP."""
    STREAM_ERROR = "stream_error"
    """Begun with a status below 400, then cut off, silent, without its end mark or with an error in it."""
    ABORTED = "aborted"
    """Given up by us: the client left, or the queue for a connection was full."""


class DisconnectPhase(StrEnum):
    """When a client left: the label ``phase``."""

    BEFORE_UPSTREAM = "before_upstream"
    """Its body was still awaited."""
    BEFORE_FIRST_BYTE = "before_first_byte"
    MID_STREAM = "mid_stream"


class MoveKind(StrEnum):
    """How an attempt follows on others."""

    RETRY = "retry"
    """At the same target."""
    FALLBACK = "fallback"
    """At another one, in its stead."""
    HEDGE = "hedge"
    """At another one, beside it."""


CIRCUIT_OPEN = "circuit_open"
"""Why the first target was passed over: its breaker was open."""
RESTING = "rate_limited"
"""Why it was passed over: its rate limit was used up."""
SLOW = "slow"
"""Why a second target was asked beside it: no token had come."""


class Move(Struct, frozen=True, gc=False):
    """From one target to another, or to the same one again."""

    kind: MoveKind
    from_provider: str
    reason: str
    """The result of the attempt before, or ``CIRCUIT_OPEN``, ``RESTING`` or ``SLOW``."""


class Attempt(Struct, frozen=True, gc=False):
    """One request to one upstream."""

    provider: str
    result: AttemptResult
    duration_seconds: float
    """From the request's sending (its last byte, where the client sent that later) to the answer's last
    byte, or to what ended it; without the time in which the client did not take what had come."""
    timings: Timings | None = None
    """How its connection came about; None if there was none, or no answer."""
    failed_again: bool = False
    """Of one without an answer: whether it was sent a second time, as ``Timings.repeated`` says of others."""
    move: Move | None = None
    """Why it was made; None of an exchange's first, at the first of its targets."""
    wasted_picodollars: int | None = None
    """Of one whose answer another one's was faster than: what its input cost, as far as can be told."""
    span: AttemptSpan | None = None
    """Of an exchange with a trace."""

    @property
    def repeated(self) -> bool:
        """Whether the request was sent a second time: its first connection had been closed meanwhile."""
        return self.failed_again or (self.timings is not None and self.timings.repeated)


class ErrorSource(StrEnum):
    """Whose words an error is in: the label ``source``."""

    CLIENT = "client"
    """A request that was refused here, before it was an exchange."""
    PROXY = "proxy"
    UPSTREAM = "upstream"


class Error(Struct, frozen=True, gc=False):
    """What the client was told, or what an answer with an error in it said."""

    source: ErrorSource
    type: str | None = None
    """As it was written: any text, not a label. None: not said."""
    code: str | None = None


class Generation(Struct, frozen=True, gc=False, kw_only=True):
    """What was read of an answer that generates something."""

    model: str
    """As a label: of the name that the answer gives, or else of the one that was asked for."""
    usage: Usage | None = None
    usage_missing: UsageMissing | None = None
    """Why there is no usage, where some was due."""
    cost_picodollars: int | None = None
    """None: no usage, or no price for it."""
    first_token_seconds: float | None = None
    """From the request's last byte to the first token of any kind; of a stream."""
    first_visible_seconds: float | None = None
    seconds_per_output_token: float | None = None
    intervals: IntervalCounts | None = None
    """Between events with tokens."""


class Record(Struct, frozen=True, gc=False, kw_only=True):
    """One ended exchange; sinks are made from it and know nothing of each other."""

    provider: str
    """The provider's name."""
    endpoint: str
    model: str
    """As a label: a known name, ``other`` or ``none``."""
    route: str = ""
    """The resource that took it: ``/v1``, ``/openai``, ``/mock``."""
    method: bytes = b""
    status: int
    outcome: Outcome
    duration_seconds: float
    """From the request's first byte to the answer's last."""
    received_bytes: int
    """Of the request's body, or from the client through a tunnel."""
    sent_bytes: int
    """Of the answer's body, or to the client through a tunnel."""
    request_id: bytes = b""
    """The ``x-request-id`` that the client was sent; only where a sink wants it (``Sink.wants_ids``), and of
    slow and failed ones."""
    phase: DisconnectPhase | None = None
    """Of an outcome ``client_disconnect``."""
    first_byte_seconds: float | None = None
    """From the request's last byte to the head of the upstream's answer."""
    overhead_seconds: float | None = None
    """Ours: from the last byte that we needed of the request until it was sent on, and from the answer's
    last byte until that was written. None if there was no whole answer."""
    is_stream: bool = False
    """Whether ``answer_began`` was told of a stream."""
    attempts: tuple[Attempt, ...] = ()
    """As they ended; the last one's answer is the client's."""
    client_retry: int = 0
    """Which retry of the client's own this is, as its SDK says (``x-stainless-retry-count``)."""
    dropped: tuple[str, ...] = ()
    """Members of the request that its target does not take, and was not sent."""
    error: Error | None = None
    generation: Generation | None = None
    trace: Trace | None = None
    """None: it has no spans."""


SLOW_SECONDS = 10.0
"""An exchange of so long has its request id on its sample, as a failed one has."""


class Sink(Protocol):
    """Something made from records. It must not raise, and must not wait."""

    wants_ids: bool

    def exchange_began(self, endpoint: str) -> None:
        """An exchange was accepted."""

    def answer_began(self, provider: str, model: str, fields: Sequence[Field], is_stream: bool) -> None:
        """An upstream's answer with a status below 400, or 429, has begun. ``fields`` are its fields
        (they hold secrets): to be kept as they are, and read when somebody asks.
        """

    def exchange_ended(self, record: Record) -> None:
        """It ended: called exactly once for each that began."""

    def request_refused(self, status: int, duration_seconds: float) -> None:
        """A request was answered with an error before it was an exchange."""
