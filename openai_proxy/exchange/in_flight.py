"""The exchanges that have not ended, and what can be told of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from openai_proxy.observe.model import OTHER
from openai_proxy.process.operations import InFlight

if TYPE_CHECKING:
    from openai_proxy.exchange.attempt import Attempt
    from openai_proxy.exchange.exchange import Exchange


class Exchanges:
    """Those that one configuration has begun, in the order in which they began."""

    def __init__(self) -> None:
        self._exchanges: dict[Exchange, None] = {}
        self._on_empty: Callable[[], None] | None = None

    def __len__(self) -> int:
        return len(self._exchanges)

    def __iter__(self) -> Iterator[Exchange]:
        return iter(list(self._exchanges))

    def began(self, exchange: Exchange) -> None:
        """It is in flight."""
        self._exchanges[exchange] = None

    def ended(self, exchange: Exchange) -> None:
        """It has its record."""
        self._exchanges.pop(exchange, None)
        if self._on_empty is not None and not self._exchanges:
            on_empty, self._on_empty = self._on_empty, None
            on_empty()

    def when_empty(self, call: Callable[[], None] | None) -> None:
        """Call, once, when none is left: now, if there is none. None: nobody is to be called any more."""
        if call is not None and not self._exchanges:
            call()
        else:
            self._on_empty = call


def told_of(exchange: Exchange) -> InFlight:
    """What an operator sees of an exchange that has not ended."""
    now = exchange.seconds()
    request, attempt = exchange.request, exchange.attempt
    body, watch = request.body, request.channel.watch
    provider = exchange.provider
    model = exchange.model
    if model is None:
        model = exchange.context.models.label(provider, exchange.sent_model)
    reading = None if attempt is None else attempt.reading
    tunnel = exchange.tunnel
    received_bytes = 0 if body is None else body.received_bytes
    return InFlight(
        id=request.request_id.decode("latin-1"),
        age_seconds=max(0.0, now - request.began),
        route=exchange.route,
        endpoint=exchange.endpoint,
        provider=provider.name,
        model=model or OTHER,
        phase=_phase(exchange, attempt),
        is_stream=exchange.is_stream,
        attempts=len(exchange.earlier) + (attempt is not None and attempt.sent_at is not None),
        received_bytes=received_bytes if tunnel is None else tunnel.received_bytes,
        sent_bytes=request.sent_bytes,
        output_events=0 if reading is None else reading.observer.token_events,
        idle_seconds=max(0.0, now - _moved_at(exchange, attempt)),
        is_stalled=watch.write_blocked,
    )


def _phase(exchange: Exchange, attempt: Attempt | None) -> str:
    if exchange.tunnel is not None:
        return "tunnel"
    body = exchange.request.body
    if attempt is None or attempt.sent_at is None:
        is_asked = body is None or body.is_complete or bool(exchange.earlier)
        return "waiting" if is_asked else "request"
    if exchange.given_at is not None:
        return "client"
    return "sent" if attempt.answered_at is None else "answer"


def _moved_at(exchange: Exchange, attempt: Attempt | None) -> float:
    """When a byte of it last moved, as far as that is known without a clock for each."""
    times: list[float] = [exchange.request.began, exchange.request.channel.heard_at]
    if attempt is not None:
        times += [at for at in (attempt.sent_at, attempt.answered_at, attempt.heard_at) if at is not None]
    return max(times)
