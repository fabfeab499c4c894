"""A sink that has spans made of records, and sent, by a thread of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import Any, Final, NamedTuple, Protocol

from twisted.internet.defer import Deferred, TimeoutError
from twisted.logger import Logger

from openai_proxy.observe.record import Record
from openai_proxy.observe.trace_metrics import TraceMetrics
from openai_proxy.wire.fields import Field

MAX_WAITING: Final = 2048
"""Exchanges whose spans are not sent yet; of one more there are none."""
BATCH: Final = 64
"""Exchanges whose spans are sent together. Making them stops the reactor now and then: not for long."""
EXPORT_SECONDS: Final = 5.0
"""The longest that a span waits for others, where the collector takes them."""
STOP_SECONDS: Final = 5.0
"""How long the end waits for what is queued."""
QUIET_SECONDS: Final = 60.0
"""Between two lines of the log about a collector that takes nothing."""


class Ended(NamedTuple):
    """An exchange that has ended."""

    record: Record
    unix_seconds: float
    """What its clock has to be moved by, to be unix time."""


class Exporter(Protocol):
    """Sends spans; called by the thread, but for ``close``."""

    endpoint: str

    def export(self, batch: Sequence[Ended]) -> str:
        """Send those of these exchanges, and wait. Why it failed; empty if it did not."""

    def close(self) -> None:
        """Let go of the collector; whatever is being sent is not tried again."""


def spans_of(record: Record) -> int:
    """How many it has: its own, and one for each attempt."""
    return 1 + len(record.attempts)


class TraceSink:
    """Takes at once, whatever the collector does; what finds no place is dropped and counted."""

    wants_ids = True
    _log = Logger()

    def __init__(
        self,
        exporter: Exporter,
        reactor: Any,
        metrics: TraceMetrics,
        unix_seconds: Callable[[], float],
        export_seconds: float = EXPORT_SECONDS,
    ) -> None:
        self._exporter = exporter
        self._reactor = reactor
        self._metrics = metrics
        self._unix_seconds = unix_seconds
        self._export_seconds = export_seconds
        self._queue: deque[Ended] = deque()
        self._wake = Event()
        self._stops = False
        self._ended: Deferred[None] | None = None
        self._said_at: float | None = None
        self._lost = 0
        """Spans, since it was last said."""

    def exchange_began(self, endpoint: str) -> None:
        """Nothing is known yet."""

    def answer_began(self, provider: str, model: str, fields: Sequence[Field], is_stream: bool) -> None:
        """The record will say it."""

    def request_refused(self, status: int, duration_seconds: float) -> None:
        """It was no exchange."""

    def exchange_ended(self, record: Record) -> None:
        """Have spans of it made, if it has a trace."""
        trace = record.trace
        if trace is None:
            return
        queue = self._queue
        if len(queue) >= MAX_WAITING or self._stops:
            self._metrics.dropped += spans_of(record)
            return
        queue.append(Ended(record, self._unix_seconds() - trace.ended_at))
        if len(queue) == BATCH:
            # To wake a thread for each would cost more than all else that is done here.
            self._wake.set()

    def start(self) -> None:
        """Begin to send. May be called again."""
        if self._ended is not None or self._stops:
            return
        self._ended = Deferred()
        # daemon: a collector that does not answer must not keep the process.
        Thread(target=self._run, args=(self._ended,), name="traces", daemon=True).start()

    async def stop(self) -> None:
        """Send what waits, for :data:`STOP_SECONDS` at most; what comes later is dropped."""
        ended, self._ended = self._ended, None
        if ended is None:
            return
        self._stops = True
        self._wake.set()
        try:
            await ended.addTimeout(STOP_SECONDS, self._reactor)
        except TimeoutError:
            left = sum(spans_of(one.record) for one in self._queue.copy())
            self._queue.clear()
            self._metrics.dropped += left
            self._lost += left
            self._say("it took too long", at_once=True)
        self._exporter.close()

    def _run(self, ended: Deferred[None]) -> None:
        """The thread."""
        while not self._stops:
            self._wake.wait(self._export_seconds)
            self._wake.clear()
            while self._queue:
                self._export()
        self._call(self._over, ended)

    def _export(self) -> None:
        batch: list[Ended] = []
        while self._queue and len(batch) < BATCH:
            try:
                batch.append(self._queue.popleft())
            except IndexError:
                # `stop` has cleared it.
                break
        if not batch:
            return
        problem = self._exporter.export(batch)
        count = sum(spans_of(one.record) for one in batch)
        self._metrics.exported["failed" if problem else "ok"] += count
        if problem:
            self._call(self._failed, count, problem)

    def _call(self, function: Callable[..., object], *arguments: object) -> None:
        self._reactor.callFromThread(function, *arguments)

    def _over(self, ended: Deferred[None]) -> None:
        if not ended.called:
            ended.callback(None)

    def _failed(self, count: int, problem: str) -> None:
        self._lost += count
        self._say(problem)

    def _say(self, problem: str, at_once: bool = False) -> None:
        now = self._reactor.seconds()
        if not at_once and self._said_at is not None and 0 <= now - self._said_at < QUIET_SECONDS:
            return
        self._said_at = now
        self._log.warn(
            "Traces cannot be sent to {endpoint}: {problem}; {count} spans are lost",
            endpoint=self._exporter.endpoint,
            problem=problem,
            count=self._lost,
        )
        self._lost = 0
