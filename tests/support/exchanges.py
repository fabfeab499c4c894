"""Exchanges without a daemon: a sink that keeps what it is told, and a context around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openai_proxy.config.settings import Limits
from openai_proxy.exchange.exchange import ExchangeContext
from openai_proxy.observe.model import ModelNames
from openai_proxy.observe.record import Record, Sink
from openai_proxy.policy.prices import Prices
from openai_proxy.wire.body import HeldBodies
from openai_proxy.wire.fields import Field

PRICES = Prices.load()


class KeptRecords:
    """Keeps what it is told."""

    wants_ids = True

    def __init__(self) -> None:
        self.began: list[str] = []
        self.answers: list[tuple[str, str, bool]] = []
        """Provider, model, and whether it is a stream."""
        self.ended: list[Record] = []

    def exchange_began(self, endpoint: str) -> None:
        self.began.append(endpoint)

    def answer_began(self, provider: str, model: str, fields: Sequence[Field], is_stream: bool) -> None:
        self.answers.append((provider, model, is_stream))

    def exchange_ended(self, record: Record) -> None:
        self.ended.append(record)

    def request_refused(self, status: int, duration_seconds: float) -> None:
        raise AssertionError("an exchange is not refused")


def context(clock: Any, sink: Sink, held_bodies: HeldBodies, limits: Limits | None = None) -> ExchangeContext:
    """What all exchanges share, with the package's prices."""
    names = ModelNames(PRICES.known_name)
    return ExchangeContext(clock, sink, held_bodies, limits or Limits(), names, PRICES)
