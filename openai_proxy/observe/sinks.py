"""Several sinks as one."""

from __future__ import annotations

from collections.abc import Sequence

from openai_proxy.observe.record import Record, Sink
from openai_proxy.wire.fields import Field


class Sinks:
    """Tells each of them everything, in order."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = tuple(sinks)
        self.wants_ids = any(sink.wants_ids for sink in sinks)

    def exchange_began(self, endpoint: str) -> None:
        for sink in self._sinks:
            sink.exchange_began(endpoint)

    def answer_began(self, provider: str, model: str, fields: Sequence[Field], is_stream: bool) -> None:
        for sink in self._sinks:
            sink.answer_began(provider, model, fields, is_stream)

    def exchange_ended(self, record: Record) -> None:
        for sink in self._sinks:
            sink.exchange_ended(record)

    def request_refused(self, status: int, duration_seconds: float) -> None:
        for sink in self._sinks:
            sink.request_refused(status, duration_seconds)
