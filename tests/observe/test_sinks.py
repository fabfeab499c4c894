"""Several sinks as one."""

from __future__ import annotations

from typing import Any

from openai_proxy.observe.outcome import Outcome
from openai_proxy.observe.record import Record
from openai_proxy.observe.sinks import Sinks

RECORD = Record(
    provider="mock",
    endpoint="models",
    model="none",
    status=200,
    outcome=Outcome.OK,
    duration_seconds=1.0,
    received_bytes=0,
    sent_bytes=2,
)


class Told:
    """A sink that keeps what it is told."""

    def __init__(self, wants_ids: bool = False) -> None:
        self.wants_ids = wants_ids
        self.told: list[Any] = []

    def exchange_began(self, *told: Any) -> None:
        self.told.append(told)

    answer_began = exchange_ended = request_refused = exchange_began


def test_each_is_told_everything() -> None:
    """All four events, in order, with all that they say."""
    both = (Told(), Told())
    sinks = Sinks(both)
    sinks.exchange_began("models")
    sinks.answer_began("mock", "none", [(b"a", b"b")], True)
    sinks.exchange_ended(RECORD)
    sinks.request_refused(404, 0.5)
    expected = [("models",), ("mock", "none", [(b"a", b"b")], True), (RECORD,), (404, 0.5)]
    assert [sink.told for sink in both] == [expected, expected]


def test_one_that_wants_ids_is_enough() -> None:
    """Ids are made if any of them writes them down."""
    assert Sinks((Told(), Told(wants_ids=True))).wants_ids
    assert not Sinks((Told(), Told())).wants_ids
