"""What the page shows, once a second, over server-sent events, while somebody looks."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct
from twisted.internet.defer import CancelledError, Deferred, gatherResults, maybeDeferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from openai_proxy import __version__
from openai_proxy.observe import history, providers_now
from openai_proxy.observe.history import History
from openai_proxy.process.operations import InFlight, Operations
from openai_proxy.web.guarded import Answer, error, safe_fields
from openai_proxy.wire.errors import reason_phrase
from openai_proxy.wire.request import Request

EVENT_SECONDS: Final = 1.0
SNAPSHOT_SECONDS: Final = 10.0
"""Between two snapshots of the metrics, for the history."""
WATCHED_SNAPSHOT_SECONDS: Final = 2.0
"""The same while somebody looks."""
ASK_SECONDS: Final = 3.0
"""What is not known by then stays on the page as it was, and the page says so."""
MOST_SUBSCRIBERS: Final = 32
MOST_ROWS: Final = 50
"""Of what is in flight."""

_RETRY: Final = b"retry: 2000\n\n"

Parts = dict[str, bytes]
"""Events of server-sent events, by their names; JSON."""


class InFlightNow(Struct, frozen=True):
    """Sent in every event, so that a page knows that all is well."""

    version: str
    at_seconds: float
    """Unix time."""
    is_whole: bool
    """False: something could not be had in time, and stays as it was."""
    total: int
    stalled: int
    rows: Sequence[InFlight]
    """Those whose clients do not take what waits for them, then the oldest."""


def most_important(every: Sequence[InFlight]) -> list[InFlight]:
    """The rows for a page. ``every`` has the oldest first."""
    return sorted(every, key=lambda row: not row.is_stalled)[:MOST_ROWS]


class Live:
    """Asks while somebody looks; keeps the history from :meth:`start` on, whoever looks."""

    _log = Logger()

    def __init__(
        self,
        operations: Operations,
        reactor: Any,
        wall_seconds: Callable[[], float] = time.time,  # noqa: TID251 (shown as it is, never a difference)
    ) -> None:
        """:param wall_seconds: unix time, which a reactor's clock need not be."""
        self._operations = operations
        self._reactor = reactor
        self._wall_seconds = wall_seconds
        self._history = History()
        self._snapshot_at: float | None = None
        self._is_taking = False
        self._subscribers: dict[Request, bool] = {}
        """Whether it has all parts."""
        self._last: Parts = {}
        self._in_flight: Sequence[InFlight] = ()
        """As it was last said."""
        self._running: set[Deferred[None]] = set()
        self._snapshots: LoopingCall | None = None
        self._events: LoopingCall | None = None
        self._is_failing = False
        self._is_stopped = False

    @property
    def watchers(self) -> int:
        """Open pages."""
        return len(self._subscribers)

    def start(self) -> None:
        """Keep the history: a snapshot now, and every few seconds. May be called again."""
        if self._snapshots is None and not self._is_stopped:
            self._snapshots = self._every(SNAPSHOT_SECONDS, lambda: self._snapshot(SNAPSHOT_SECONDS))

    def stop(self) -> None:
        """End all streams of events, and ask no more. May be called again."""
        self._is_stopped = True
        for loop in (self._snapshots, self._events):
            if loop is not None:
                loop.stop()
        self._snapshots = self._events = None
        for running in list(self._running):
            running.cancel()
        subscribers, self._subscribers = self._subscribers, {}
        for request in subscribers:
            request.on_gone = None
            request.end()

    def subscribe(self, request: Request) -> Answer | None:
        """Begin a stream of events; an answer if there can be none."""
        if self._is_stopped or len(self._subscribers) >= MOST_SUBSCRIBERS:
            retry = (b"Retry-After", b"5")
            return error(503, "Too many pages are open, or the daemon stops.", "too_many_subscribers", retry)
        fields = [(b"Content-Type", b"text/event-stream"), *safe_fields()]
        request.begin(200, reason_phrase(200), fields)
        request.send(_RETRY)
        request.flush()
        if request.method == b"HEAD":
            request.end()
            return None
        self._subscribers[request] = False
        request.on_gone = lambda: self._gone(request)
        self.start()
        if self._events is None:
            self._events = self._every(EVENT_SECONDS, self._tick)
        else:
            self._tell(request, self._last)
        return None

    def _gone(self, request: Request) -> None:
        self._subscribers.pop(request, None)
        if not self._subscribers and self._events is not None:
            self._events.stop()
            self._events = None
            self._last, self._in_flight = {}, ()

    def _every(self, seconds: float, work: Callable[[], Coroutine[Any, Any, None]]) -> LoopingCall:
        # A new one for each start: one that is started again while its last call is still under way would
        # be scheduled twice from then on.
        loop = LoopingCall(lambda: self._run(work()))
        loop.clock = self._reactor
        loop.start(seconds)
        return loop

    def _run(self, work: Coroutine[Any, Any, None]) -> Deferred[None]:
        """Run it so that it can be stopped, and that its failure stops nothing else."""
        running = Deferred.fromCoroutine(work)
        self._running.add(running)
        return running.addErrback(self._failed).addBoth(lambda _: self._running.discard(running))

    def _failed(self, failure: Failure) -> None:
        if not self._is_failing and failure.check(CancelledError) is None:
            # Once: it would be said every second.
            self._is_failing = True
            self._log.failure("The numbers of the page cannot be had", failure=failure)

    async def _asked(self, ask: Callable[[], Deferred[Any]]) -> Any:
        return await maybeDeferred(ask).addTimeout(ASK_SECONDS, self._reactor)

    async def _snapshot(self, due_seconds: float) -> None:
        now, at = self._reactor.seconds(), self._snapshot_at
        if self._is_taking or (at is not None and 0 <= now - at < due_seconds - EVENT_SECONDS / 2):
            return
        self._is_taking, self._snapshot_at = True, now
        try:
            families = await self._asked(lambda: self._operations.families(history.FAMILIES))
            for _ in self._history.add(self._reactor.seconds(), families):
                await deferLater(self._reactor, 0)
        finally:
            self._is_taking = False

    async def _tick(self) -> None:
        self._run(self._snapshot(WATCHED_SNAPSHOT_SECONDS))
        parts = await self._parts()
        # What is in flight in any case: by it a page knows that all is well.
        fresh = {
            name: data for name, data in parts.items() if name == "in_flight" or data != self._last.get(name)
        }
        self._last |= parts
        for request, has_all in list(self._subscribers.items()):
            self._tell(request, fresh if has_all else self._last)

    async def _parts(self) -> Parts:
        operations, encode = self._operations, msgspec.json.encode
        asked = (
            operations.last_errors,
            lambda: operations.families(providers_now.FAMILIES),
            operations.in_flight,
        )
        # All at once, and together: when this is cancelled, each of them is.
        errors, families, every = await gatherResults([self._tried(ask) for ask in asked])
        is_whole = None not in (errors, families, every)
        if is_whole:
            self._is_failing = False
        # First, for it says what time it is.
        if every is not None:
            self._in_flight = every
        parts = {"in_flight": encode(self._in_flight_now(self._in_flight, is_whole))}
        parts["summary"] = encode(self._history.summary())
        if errors is not None:
            parts["errors"] = encode(errors)
        if families is not None:
            parts["providers"] = encode(providers_now.providers_now(families))
        return parts

    def _in_flight_now(self, every: Sequence[InFlight], is_whole: bool) -> InFlightNow:
        stalled = sum(row.is_stalled for row in every)
        rows = most_important(every)
        return InFlightNow(__version__, self._wall_seconds(), is_whole, len(every), stalled, rows)

    def _tried(self, ask: Callable[[], Deferred[Any]]) -> Deferred[Any]:
        """What was asked; None if that fails."""
        return Deferred.fromCoroutine(self._asked(ask)).addErrback(self._failed)

    def _tell(self, request: Request, parts: Parts) -> None:
        if request.channel.write_blocked:
            # It has not taken the last event. It is sent all of the one that it can take.
            self._subscribers[request] = False
            return
        self._subscribers[request] = bool(parts)
        for name, data in parts.items():
            request.send(b"event: %b\ndata: %b\n\n" % (name.encode(), data))
        request.flush()
