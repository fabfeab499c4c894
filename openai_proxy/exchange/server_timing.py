"""Where the time went until an answer's head, for whoever reads the answer: a ``Server-Timing`` field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from openai_proxy.wire.fields import Field

if TYPE_CHECKING:
    from openai_proxy.exchange.attempt import Attempt
    from openai_proxy.exchange.exchange import Exchange

NAME: Final = b"Server-Timing"


def server_timing(exchange: Exchange, attempt: Attempt | None) -> Field:
    """What is known when the head is made, in milliseconds (W3C Server Timing).

    ``earlier``, attempts before this one, only where there were some; ``queue``, for a free connection;
    ``connect``, look-up, TCP and TLS, only of a new connection; ``upstream``, from the request's last byte
    to the answer's head, or to the end of what was held back of the answer, or to a failure; ``proxy``, the
    rest since the last byte that had to be there before anything could be sent.

    :param attempt: whose answer it is, or that failed last; None: nobody is asked now.
    """
    now = exchange.seconds()
    ready_at = exchange.ready_at or now
    sent_at = None if attempt is None else attempt.sent_at
    if attempt is None or sent_at is None:
        return NAME, _of_none(exchange, ready_at, now)
    first_sent_at = sent_at if exchange.first_sent_at is None else exchange.first_sent_at
    until = _until(attempt, now)
    queue = connect = 0.0
    timings = attempt.timings
    if timings is not None:
        queue = timings.pool_wait_seconds
        if not timings.reused:
            connect = timings.connect_seconds + (timings.lookup_seconds or 0.0) + (timings.tls_seconds or 0.0)
    body = exchange.request.body
    asked_at = 0.0 if body is None else body.completed_at
    upstream = until - max(sent_at + queue + connect, asked_at)
    proxy = first_sent_at - ready_at + now - until
    # The clock may have been set back.
    values = (queue * 1e3, upstream * 1e3 if upstream > 0 else 0.0, proxy * 1e3 if proxy > 0 else 0.0)
    if connect or first_sent_at < sent_at:
        return NAME, _in_full(values, sent_at - first_sent_at, connect)
    return NAME, b"queue;dur=%.1f, upstream;dur=%.1f, proxy;dur=%.1f" % values


def _until(attempt: Attempt, now: float) -> float:
    """When what the head waited for had come."""
    if attempt.answered_at is None:
        return now
    if attempt.is_held:
        return now if attempt.received_at is None else attempt.received_at
    return attempt.answered_at


def _of_none(exchange: Exchange, ready_at: float, now: float) -> bytes:
    first_sent_at = exchange.first_sent_at
    if first_sent_at is None:
        return b"proxy;dur=%.1f" % (max(0.0, now - ready_at) * 1e3)
    earlier, proxy = max(0.0, now - first_sent_at), max(0.0, first_sent_at - ready_at)
    return b"earlier;dur=%.1f, proxy;dur=%.1f" % (earlier * 1e3, proxy * 1e3)


def _in_full(values: tuple[float, float, float], earlier: float, connect: float) -> bytes:
    queue, upstream, proxy = values
    parts = [b"earlier;dur=%.1f" % (earlier * 1e3)] if earlier > 0 else []
    parts.append(b"queue;dur=%.1f" % queue)
    if connect:
        parts.append(b"connect;dur=%.1f" % (connect * 1e3))
    parts += (b"upstream;dur=%.1f" % upstream, b"proxy;dur=%.1f" % proxy)
    return b", ".join(parts)
