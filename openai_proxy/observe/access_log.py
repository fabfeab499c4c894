"""The access log: one line of JSON for each exchange, with nothing in it that was said."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random
from time import gmtime, strftime
from typing import Final

import msgspec
from msgspec import Struct

from openai_proxy.observe.endpoint import OTHER
from openai_proxy.observe.errors import CODES, TYPES, error_of_refusal, label_of
from openai_proxy.observe.key_like import is_key_like
from openai_proxy.observe.model import NONE
from openai_proxy.observe.outcome import Outcome, outcome_of_refusal
from openai_proxy.observe.record import (
    Attempt,
    AttemptResult,
    DisconnectPhase,
    ErrorSource,
    Generation,
    Record,
)
from openai_proxy.observe.usage import Usage, UsageMissing
from openai_proxy.wire.fields import Field

_METHODS: Final = {
    name.encode(): name
    for name in ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")
}
# What an upstream or a client may write as it likes: a name, or it is not repeated.
_is_id = re.compile(rb"[A-Za-z0-9_.:-]{1,128}").fullmatch
_PICODOLLARS_PER_MICRODOLLAR: Final = 1_000_000
_NO_GENERATION: Final = Generation(model=NONE)
_NO_USAGE: Final = Usage()


class Line(Struct, frozen=True, gc=False, kw_only=True):
    """The members of a line, in their order; all are always there. docs/access-log.md says what they mean."""

    time: str
    weight: int = 1
    request_id: str | None = None
    route: str | None = None
    provider: str
    endpoint: str
    model: str
    answer_model: str | None = None
    method: str | None = None
    status: int
    outcome: Outcome
    phase: DisconnectPhase | None = None
    is_stream: bool = False
    duration_seconds: float
    first_byte_seconds: float | None = None
    first_token_seconds: float | None = None
    first_visible_seconds: float | None = None
    overhead_seconds: float | None = None
    received_bytes: int | None = None
    sent_bytes: int | None = None
    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    usage_missing: UsageMissing | None = None
    cost_microdollars: int | None = None
    retries: int = 0
    attempts: int = 0
    attempt_results: Sequence[AttemptResult] = ()
    tried: Sequence[tuple[str, AttemptResult]] | None = None
    connection_reused: bool | None = None
    error_source: ErrorSource | None = None
    error_type: str | None = None
    error_code: str | None = None


class AccessLog:
    """A sink that writes lines. One of ``one_in`` good exchanges, and every other one."""

    wants_ids = True

    def __init__(
        self,
        write: Callable[[bytes], object],
        now: Callable[[], float],
        one_in: int = 1,
        random: Random | None = None,
    ) -> None:
        """
        :param write: takes a line with its end; see ``LineWriter.line``.
        :param now: seconds since 1970.
        :param random: chooses the sample. Every ``one_in``-th would see one kind only of two that alternate.
        """
        self._write = write
        self._now = now
        self._one_in = one_in
        self._random = (random or Random()).random
        self._encode = msgspec.json.Encoder().encode
        self._second = -1
        self._second_text = ""

    def exchange_began(self, endpoint: str) -> None:
        """See ``Sink``."""

    def answer_began(self, provider: str, model: str, fields: Sequence[Field], is_stream: bool) -> None:
        """See ``Sink``."""

    def exchange_ended(self, record: Record) -> None:
        weight = self._one_in if record.outcome is Outcome.OK else 1
        if weight == 1 or self._random() * weight < 1:
            self._write(self._encode(_line_of(record, self._time(), weight)) + b"\n")

    def request_refused(self, status: int, duration_seconds: float) -> None:
        error = error_of_refusal(status)
        line = Line(
            time=self._time(),
            provider=NONE,
            endpoint=OTHER,
            model=NONE,
            status=status,
            outcome=outcome_of_refusal(status),
            duration_seconds=_rounded(duration_seconds),
            error_source=error.source,
            error_type=error.type,
            error_code=error.code,
        )
        self._write(self._encode(line) + b"\n")

    def _time(self) -> str:
        """ISO 8601, UTC, milliseconds: ``2026-01-31T23:59:59.999Z``."""
        milliseconds = int(self._now() * 1000)
        second = milliseconds // 1000
        if second != self._second:
            self._second = second
            self._second_text = strftime("%Y-%m-%dT%H:%M:%S", gmtime(second))
        return f"{self._second_text}.{milliseconds % 1000:03}Z"


def _line_of(record: Record, time: str, weight: int) -> Line:
    generation = record.generation or _NO_GENERATION
    usage = generation.usage
    counts = usage or _NO_USAGE
    error = record.error
    return Line(
        time=time,
        weight=weight,
        request_id=_id(record.request_id),
        route=record.route or None,
        provider=record.provider,
        endpoint=record.endpoint,
        model=record.model,
        answer_model=generation.model if record.generation else None,
        method=_METHODS.get(record.method, OTHER) if record.method else None,
        status=record.status,
        outcome=record.outcome,
        phase=record.phase,
        is_stream=record.is_stream,
        duration_seconds=_rounded(record.duration_seconds),
        first_byte_seconds=_rounded_if(record.first_byte_seconds),
        first_token_seconds=_rounded_if(generation.first_token_seconds),
        first_visible_seconds=_rounded_if(generation.first_visible_seconds),
        overhead_seconds=_rounded_if(record.overhead_seconds),
        received_bytes=record.received_bytes,
        sent_bytes=record.sent_bytes,
        input_tokens=counts.input_tokens,
        cached_input_tokens=counts.cached_input_tokens if usage else None,
        cache_write_tokens=counts.cache_write_tokens if usage else None,
        output_tokens=counts.output_tokens,
        reasoning_tokens=counts.reasoning_tokens if usage else None,
        usage_missing=generation.usage_missing,
        cost_microdollars=_microdollars(generation.cost_picodollars),
        retries=_retries(record.attempts),
        attempts=len(record.attempts),
        attempt_results=[attempt.result for attempt in record.attempts],
        tried=_tried(record.attempts),
        connection_reused=_reused(record.attempts),
        error_source=error.source if error else None,
        error_type=_known(error.type, TYPES) if error else None,
        error_code=_known(error.code, CODES) if error else None,
    )


def _rounded(seconds: float) -> float:
    """To microseconds; round() takes three times as long."""
    return int(seconds * 1e6 + 0.5) / 1e6


def _rounded_if(seconds: float | None) -> float | None:
    return None if seconds is None else int(seconds * 1e6 + 0.5) / 1e6


def _id(text: bytes) -> str | None:
    if not text:
        return None
    if not _is_id(text):
        return OTHER
    shown = text.decode("ascii")
    return OTHER if is_key_like(shown) else shown


def _known(text: str | None, known: frozenset[str]) -> str | None:
    return label_of(text, known) if text else None


def _microdollars(picodollars: int | None) -> int | None:
    """Rounded half up."""
    if picodollars is None:
        return None
    return (picodollars + _PICODOLLARS_PER_MICRODOLLAR // 2) // _PICODOLLARS_PER_MICRODOLLAR


def _retries(attempts: Sequence[Attempt]) -> int:
    """Requests sent upstream beyond the first: new attempts, and repeats on a fresh connection."""
    count = max(len(attempts) - 1, 0)
    for attempt in attempts:
        if attempt.repeated:
            count += 1
    return count


def _tried(attempts: Sequence[Attempt]) -> list[tuple[str, AttemptResult]] | None:
    """Who was asked and how that ended; None if it was the first target alone, once."""
    for attempt in attempts:
        if attempt.move is not None:
            return [(attempt.provider, attempt.result) for attempt in attempts]
    return None


def _reused(attempts: Sequence[Attempt]) -> bool | None:
    """Of the last attempt; None if it had no connection."""
    timings = attempts[-1].timings if attempts else None
    return None if timings is None else timings.reused
