"""Spans on their way to a collector: nothing waits for it, and what is lost is counted."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from openai_proxy.observe.families import Families
from openai_proxy.observe.outcome import Outcome
from openai_proxy.observe.record import Attempt, AttemptResult, Record
from openai_proxy.observe.trace import Traces
from openai_proxy.observe.trace_metrics import TraceMetrics
from openai_proxy.observe.trace_sink import BATCH, MAX_WAITING, QUIET_SECONDS, STOP_SECONDS, Ended, TraceSink


class FakeExporter:
    """Keeps what it is given, and has the problem that it is told to have; waits for ``may_export``."""

    endpoint = "http://collector"

    def __init__(self) -> None:
        self.batches: list[Sequence[Ended]] = []
        self.problem = ""
        self.is_closed = False
        self.began = threading.Event()
        self.may_export = threading.Event()
        self.may_export.set()

    def export(self, batch: Sequence[Ended]) -> str:
        self.began.set()
        assert self.may_export.wait(20)
        self.batches.append(batch)
        return self.problem

    def close(self) -> None:
        self.is_closed = True


class ThreadedClock(Clock):
    """A clock that stands still, whose calls from threads are the reactor's."""

    def callFromThread(self, function: Any, *arguments: Any) -> None:  # noqa: N802 (Twisted's name)
        cast(Any, reactor).callFromThread(function, *arguments)


class Stage:
    def __init__(self) -> None:
        self.clock = ThreadedClock()
        self.exporter = FakeExporter()
        self.metrics = TraceMetrics(Families(CollectorRegistry()))
        self.sink = TraceSink(self.exporter, self.clock, self.metrics, lambda: 1000.0, export_seconds=20)


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What the sink says in the log."""
    lines: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        if event.get("log_namespace", "").endswith("TraceSink"):
            lines.append(event["log_format"].format(**event))

    globalLogPublisher.addObserver(cast(Any, observe))
    yield lines
    globalLogPublisher.removeObserver(cast(Any, observe))


def record(is_traced: bool = True, ended_at: float = 5.0) -> Record:
    trace = Traces(1, Random(1)).begin([], 1.0)
    assert trace is not None
    trace.ended_at = ended_at
    return Record(
        provider="openai",
        endpoint="chat_completions",
        model="gpt-4o",
        status=200,
        outcome=Outcome.OK,
        duration_seconds=1.0,
        received_bytes=1,
        sent_bytes=1,
        attempts=(Attempt("openai", AttemptResult.OK, 1.0),),
        trace=trace if is_traced else None,
    )


async def test_what_waits_is_sent_at_the_end(stage: Stage) -> None:
    """In batches, all of it; what has no trace is nobody's."""
    for _ in range(BATCH + 1):
        stage.sink.exchange_ended(record())
    stage.sink.exchange_ended(record(is_traced=False))
    stage.sink.start()
    await stage.sink.stop()
    assert [len(batch) for batch in stage.exporter.batches] == [BATCH, 1]
    assert stage.exporter.batches[0][0].unix_seconds == 995
    assert stage.metrics.exported == {"ok": 2 * BATCH + 2, "failed": 0}
    assert stage.exporter.is_closed
    await stage.sink.stop()


async def test_it_is_started_once(stage: Stage) -> None:
    """A configuration that is read again goes on with it; one that has ended does not begin again."""
    stage.sink.start()
    stage.sink.start()
    assert [thread.name for thread in threading.enumerate()].count("traces") == 1
    await stage.sink.stop()
    stage.sink.start()
    await stage.sink.stop()


async def test_a_full_batch_does_not_wait(stage: Stage) -> None:
    """The thread is woken by it, long before its time."""
    stage.sink.start()
    for _ in range(BATCH):
        stage.sink.exchange_ended(record())
    assert stage.exporter.began.wait(10)
    await stage.sink.stop()


async def test_memory_has_a_bound(stage: Stage) -> None:
    """A collector that does not answer costs spans, and they are counted."""
    for _ in range(MAX_WAITING + 3):
        stage.sink.exchange_ended(record())
    assert stage.metrics.dropped == 3 * 2
    stage.sink.start()
    await stage.sink.stop()
    stage.sink.exchange_ended(record())
    assert stage.metrics.dropped == 4 * 2
    assert stage.metrics.exported["ok"] == 2 * MAX_WAITING


async def test_a_collector_that_fails_is_a_line_a_minute(stage: Stage, said: list[str]) -> None:
    """With the number of spans since the last one."""
    stage.exporter.problem = "Service Unavailable"
    for _ in range(3):
        stage.sink._failed(2, "Service Unavailable")
    stage.clock.advance(QUIET_SECONDS)
    stage.sink._failed(2, "Gone")
    assert said == [
        "Traces cannot be sent to http://collector: Service Unavailable; 2 spans are lost",
        "Traces cannot be sent to http://collector: Gone; 6 spans are lost",
    ]


async def test_a_failed_batch_is_counted(stage: Stage, said: list[str]) -> None:
    """By its spans."""
    stage.exporter.problem = "refused"
    stage.sink.exchange_ended(record())
    stage.sink.start()
    await stage.sink.stop()
    assert stage.metrics.exported == {"ok": 0, "failed": 2}
    assert len(said) == 1


async def test_the_end_does_not_wait_for_ever(stage: Stage, said: list[str]) -> None:
    """A collector that takes the connection and says nothing keeps no daemon."""
    stage.exporter.may_export.clear()
    for _ in range(BATCH + 1):
        stage.sink.exchange_ended(record())
    stage.sink.start()
    assert stage.exporter.began.wait(10)
    stopped = Deferred.fromCoroutine(stage.sink.stop())
    stage.clock.advance(STOP_SECONDS)
    await stopped
    assert stage.exporter.is_closed and stage.metrics.dropped == 2
    assert said == ["Traces cannot be sent to http://collector: it took too long; 2 spans are lost"]
    stage.exporter.may_export.set()
