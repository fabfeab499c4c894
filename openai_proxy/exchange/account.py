"""What is told of an exchange at its end: its record, out of its times and its reading."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace
from twisted.logger import Logger

from openai_proxy.observe.choice import is_usage_expected
from openai_proxy.observe.model import NONE, OTHER, is_same_model
from openai_proxy.observe.outcome import Outcome
from openai_proxy.observe.record import (
    SLOW_SECONDS,
    AttemptResult,
    DisconnectPhase,
    Error,
    ErrorSource,
    Generation,
    Record,
)
from openai_proxy.observe.record import Attempt as AttemptRecord
from openai_proxy.observe.trace import AttemptSpan
from openai_proxy.observe.usage import UNTOLD, Usage, UsageMissing
from openai_proxy.policy.cost import cost_picodollars

if TYPE_CHECKING:
    from openai_proxy.exchange.attempt import Attempt
    from openai_proxy.exchange.exchange import Exchange
    from openai_proxy.exchange.reading import Reading
    from openai_proxy.observe.trace import Trace

_log = Logger()

_AFTER_SENDING: Final = frozenset(
    {"upstream_timeout", "upstream_connection_closed", "upstream_invalid_response"}
)
"""Codes of our errors where an upstream had the request, or most of it, and may have worked on it."""


def record_of(exchange: Exchange) -> Record:
    """Of an exchange that has ended now."""
    context, request, attempt = exchange.context, exchange.request, exchange.attempt
    now = exchange.seconds()
    provider = exchange.provider
    outcome = exchange.outcome or Outcome.PROXY_ERROR
    if exchange.model is None:
        exchange.model = context.models.label(provider, exchange.sent_model)
    elif exchange.model == OTHER and attempt is not None:
        exchange.model = _learned(exchange, attempt, outcome)
    # The clock may have been set back.
    duration_seconds = max(0.0, now - request.began)
    blocked_seconds = _blocked_seconds(exchange)
    is_odd = outcome is not Outcome.OK or duration_seconds >= SLOW_SECONDS
    return Record(
        provider=provider.name,
        endpoint=exchange.endpoint,
        model=exchange.model,
        route=exchange.route,
        method=request.method,
        status=exchange.status,
        outcome=outcome,
        duration_seconds=duration_seconds,
        received_bytes=_received_bytes(exchange),
        sent_bytes=request.sent_bytes,
        request_id=request.request_id if is_odd or context.sink.wants_ids else b"",
        phase=_phase(exchange, attempt) if outcome is Outcome.CLIENT_DISCONNECT else None,
        first_byte_seconds=_first_byte_seconds(exchange, attempt),
        overhead_seconds=_overhead_seconds(exchange, attempt, now),
        is_stream=exchange.is_stream,
        attempts=_attempts(exchange, attempt, now, blocked_seconds),
        client_retry=exchange.client_retry,
        dropped=exchange.dropped,
        error=exchange.error or _error_in(exchange, attempt),
        generation=_generation_if(exchange, attempt, keeps_pace=blocked_seconds == 0),
        trace=None if exchange.trace is None else _traced(exchange, now),
    )


def attempt_record(exchange: Exchange, attempt: Attempt, now: float, blocked_seconds: float) -> AttemptRecord:
    """Of one that was sent, and has ended at its answer's last byte or else now."""
    assert attempt.sent_at is not None
    ended_at = now if attempt.received_at is None else attempt.received_at
    result = attempt.result or result_of_status(attempt.status)
    sent_at = max(attempt.sent_at, _asked_at(exchange))
    seconds = max(0.0, ended_at - sent_at - blocked_seconds)
    return AttemptRecord(
        attempt.target.provider.name,
        result,
        seconds,
        attempt.timings,
        attempt.failed_again,
        attempt.move,
        span=None if exchange.trace is None else _span_of(exchange, attempt, ended_at),
    )


def _span_of(exchange: Exchange, attempt: Attempt, ended_at: float) -> AttemptSpan:
    assert attempt.sent_at is not None
    provider, reading = attempt.target.provider, attempt.reading
    return AttemptSpan(
        span_id=attempt.span_id,
        sent_at=attempt.sent_at,
        answered_at=attempt.answered_at,
        ended_at=ended_at,
        status=attempt.status,
        seller=provider.priced_as,
        base_url=provider.base_url,
        model=attempt.model or exchange.asked_model,
        said_model=None if reading is None else reading.observer.said.model,
    )


def _traced(exchange: Exchange, now: float) -> Trace | None:
    trace = exchange.trace
    if trace is not None:
        trace.asked_at, trace.ended_at, trace.model = _asked_at(exchange), now, exchange.asked_model
    return trace


def result_of_status(status: int) -> AttemptResult:
    """Of an attempt that was answered."""
    if status < 400:
        return AttemptResult.OK
    if status == 429:
        return AttemptResult.HTTP_429
    return AttemptResult.HTTP_4XX if status < 500 else AttemptResult.HTTP_5XX


def _teaches(exchange: Exchange) -> bool:
    """Whether its answer says which models there are."""
    return 200 <= exchange.status < 300 and exchange.generates


def _learned(exchange: Exchange, attempt: Attempt, outcome: Outcome) -> str:
    """The label of a name that had none: its own, if the answer says that there is such a model."""
    reading, name = attempt.reading, attempt.model
    said = None if reading is None else reading.observer.said.model
    is_meant = outcome is Outcome.OK if said is None else is_same_model(name, said)
    if not is_meant or not _teaches(exchange) or (reading is not None and reading.error is not None):
        return OTHER
    return exchange.context.models.answered(attempt.target.provider, name, teaches=True)


def _blocked_seconds(exchange: Exchange) -> float:
    """How long the upstream was not read, for the client did not take what had come."""
    blocked = exchange.blocked_at_end
    if blocked is None:
        blocked = exchange.request.channel.watch.blocked_seconds
    return blocked - exchange.blocked_before


def _received_bytes(exchange: Exchange) -> int:
    if exchange.tunnel is not None:
        return exchange.tunnel.received_bytes
    body = exchange.request.body
    return body.received_bytes if body is not None else 0


def _phase(exchange: Exchange, attempt: Attempt | None) -> DisconnectPhase:
    if attempt is None or attempt.sent_at is None:
        was_sent = bool(exchange.earlier)
        return DisconnectPhase.BEFORE_FIRST_BYTE if was_sent else DisconnectPhase.BEFORE_UPSTREAM
    # An answer whose beginning was held back has not begun for its client.
    has_begun = attempt.answered_at is not None and exchange.request.status
    return DisconnectPhase.MID_STREAM if has_begun else DisconnectPhase.BEFORE_FIRST_BYTE


def _asked_at(exchange: Exchange) -> float:
    """When the last byte of the request came: before that, nobody but the client is waited for."""
    body = exchange.request.body
    if body is None or not body.is_complete:
        return exchange.ready_at
    return max(exchange.ready_at, body.completed_at)


def _first_byte_seconds(exchange: Exchange, attempt: Attempt | None) -> float | None:
    if attempt is None or attempt.answered_at is None:
        return None
    return max(0.0, attempt.answered_at - _asked_at(exchange))


def _overhead_seconds(exchange: Exchange, attempt: Attempt | None, now: float) -> float | None:
    """Before the request was first sent, and after the answer's last byte came; no waiting is in it."""
    if attempt is None or attempt.sent_at is None or attempt.received_at is None:
        return None
    first_sent_at = exchange.first_sent_at or attempt.sent_at
    given_at = now if exchange.given_at is None else exchange.given_at
    return max(0.0, first_sent_at - exchange.ready_at + given_at - attempt.received_at)


def _attempts(
    exchange: Exchange, attempt: Attempt | None, now: float, blocked_seconds: float
) -> tuple[AttemptRecord, ...]:
    if attempt is None or attempt.sent_at is None:
        return exchange.earlier
    last = attempt_record(exchange, attempt, now, blocked_seconds)
    return (*exchange.earlier, last) if exchange.earlier else (last,)


def _error_in(exchange: Exchange, attempt: Attempt | None) -> Error | None:
    """Of an answer that tells of one, in its status or inside."""
    if attempt is None:
        return None
    reading = attempt.reading
    said = None if reading is None else reading.error
    if said is not None:
        return Error(ErrorSource.UPSTREAM, *said)
    if exchange.status >= 400 and attempt.answered_at is not None:
        return Error(ErrorSource.UPSTREAM)
    return None


def _generation_if(exchange: Exchange, attempt: Attempt | None, keeps_pace: bool) -> Generation | None:
    """An answer that nobody foresaw must not cost the record: it is all that is known of the exchange."""
    if not exchange.generates or attempt is None:
        # Whatever else is read was generated for another request.
        return None
    try:
        return _generation(exchange, attempt, keeps_pace)
    except OverflowError:
        # Numbers that no upstream means: nothing is broken here, and the log is not theirs to fill.
        pass
    except Exception:
        _log.failure("What was read of an answer could not be counted")
    return Generation(model=exchange.model or NONE, usage_missing=UsageMissing.UNPARSABLE)


def _unanswered(exchange: Exchange, attempt: Attempt) -> UsageMissing | None:
    """Why there is no usage of a request that was sent and had no answer; None if none was due."""
    if attempt.sent_at is None or attempt.answered_at is not None:
        return None
    if not attempt.target.provider.observes or not is_usage_expected(attempt.endpoint, 200):
        return None
    if attempt.endpoint in UNTOLD:
        return None
    body = exchange.request.body
    if body is not None and not body.is_complete:
        # Nobody works on half a request.
        return None
    if exchange.error is None:
        return UsageMissing.DISCONNECT if attempt.result is AttemptResult.ABORTED else None
    return UsageMissing.NO_ANSWER if exchange.error.code in _AFTER_SENDING else None


def _generation(exchange: Exchange, attempt: Attempt, keeps_pace: bool) -> Generation | None:
    reading = attempt.reading
    if reading is None:
        missing = attempt.usage_missing or _unanswered(exchange, attempt)
        return None if missing is None else Generation(model=exchange.model or NONE, usage_missing=missing)
    usage = reading.observer.usage
    cost = None if usage is None else _cost(exchange, attempt, usage)
    model = _answer_model(exchange, attempt, reading)
    return reading.generation(_asked_at(exchange), model, cost, keeps_pace)


def _answer_model(exchange: Exchange, attempt: Attempt, reading: Reading) -> str:
    """As a label: the answer's own name, or else the one that was asked for."""
    name = reading.observer.said.model
    if name is None or name == attempt.model:
        return exchange.model or NONE
    provider = attempt.target.provider
    if _teaches(exchange):
        return exchange.context.models.answered(provider, name, teaches=True)
    return exchange.context.models.label(provider, name)


def _cost(exchange: Exchange, attempt: Attempt, usage: Usage) -> int | None:
    """In pico-dollars; None without a price."""
    context = exchange.context
    name, seller = usage.model or attempt.model, attempt.target.provider.priced_as
    price = context.prices.price_of(seller, name, usage.service_tier, context.unix_seconds())
    return None if price is None else cost_picodollars(usage, price)


def with_waste(exchange: Exchange, winner: Attempt, losers: Sequence[Attempt]) -> tuple[AttemptRecord, ...]:
    """The attempts before the last one, and what each of those has cost that were slower than another.

    Whoever was slower has read the same question: its input was paid, by what the faster one counted.
    None where that is not known, or has no price.
    """
    earlier = exchange.earlier
    for loser in losers:
        wasted = _wasted_picodollars(exchange, winner, loser)
        name = loser.target.provider.name
        earlier = tuple(
            replace(one, wasted_picodollars=wasted)
            if one.provider == name and one.result is AttemptResult.ABORTED
            else one
            for one in earlier
        )
    return earlier


def _wasted_picodollars(exchange: Exchange, winner: Attempt, loser: Attempt) -> int | None:
    usage = None if winner.reading is None else winner.reading.observer.usage
    if usage is None or usage.input_tokens is None:
        return None
    return _cost(exchange, loser, Usage(input_tokens=usage.input_tokens))
