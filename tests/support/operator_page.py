"""The admin site on a real port, over operations that a test makes, with a clock that it moves."""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import Clock, LoopingCall, deferLater

from openai_proxy.config.secret import Secret
from openai_proxy.config.settings import Limits
from openai_proxy.observe.metrics import Metrics, new_registry
from openai_proxy.observe.outcome import Outcome
from openai_proxy.observe.record import Attempt, AttemptResult, Generation, Record
from openai_proxy.observe.usage import Usage
from openai_proxy.web.admin import AdminSite
from openai_proxy.web.gate import AdminGate
from openai_proxy.web.live import Live
from openai_proxy.web.pages import NotFound, Page
from tests.support.operations import FakeOperations

TOKEN = "let-me-in"


def record(outcome: Outcome = Outcome.OK, **changes: Any) -> Record:
    """An answered chat, or what differs from it."""
    status = 200 if outcome is Outcome.OK else 500
    usual: dict[str, Any] = {
        "provider": "openai",
        "endpoint": "chat_completions",
        "model": "gpt-4o",
        "status": status,
        "outcome": outcome,
        "duration_seconds": 1.0,
        "received_bytes": 3,
        "sent_bytes": 4,
        "attempts": (Attempt("openai", AttemptResult.OK, 0.5),),
    }
    return Record(**usual | changes)


def generation(model: str, inputs: int, outputs: int, picodollars: int, first: float | None) -> Generation:
    """Of a stream, if there is a first token."""
    usage = Usage(input_tokens=inputs, output_tokens=outputs)
    return Generation(model=model, usage=usage, cost_picodollars=picodollars, first_token_seconds=first)


class Exporter(Page):
    """In the stead of prometheus_client's."""

    def __init__(self) -> None:
        super().__init__(lambda: (200, {"metrics": "here"}), NotFound(lambda *_: None, lambda: 0.0))


class OperatorPage:
    """Serves from :meth:`start` to :meth:`stop`. Its time is ``clock``'s, which :meth:`run` moves."""

    def __init__(self, token: str | None = None) -> None:
        self.metrics = Metrics(new_registry())
        self.operations = FakeOperations(self.metrics.registry)
        self.clock = Clock()
        self.clock.advance(time.time())
        self.live = Live(self.operations, self.clock, self.clock.seconds)
        self._token = None if token is None else Secret(token, "env:TOKEN")
        self._running: LoopingCall | None = None
        self.port: IListeningPort | None = None

    def start(self, reactor: Any) -> str:
        """Listen; the URL of the page."""
        gate = AdminGate(self._token, is_private=True)
        ready: tuple[int, dict[str, object]] = (200, {"status": "ok"})
        self.site = AdminSite(reactor, Limits(), self.operations, Exporter(), gate, self.live, lambda: ready)
        self.port = port = reactor.listenTCP(0, self.site, interface="127.0.0.1")
        self.live.start()
        return f"http://127.0.0.1:{port.getHost().port}/"

    def ended(self, ended: Record) -> None:
        """One exchange."""
        self.metrics.exchange_began(ended.endpoint)
        self.metrics.exchange_ended(ended)

    def run(self, reactor: Any, every_seconds: float = 0.05) -> None:
        """Let a second of the page's time go by so often."""
        self._running = LoopingCall(self.clock.advance, 1.0)
        self._running.clock = reactor
        self._running.start(every_seconds)

    async def stop(self, reactor: Any) -> None:
        """Serve no more, and let go of all."""
        if self._running is not None and self._running.running:
            self._running.stop()
        self.live.stop()
        if self.port is not None:
            stopping: Deferred[Any] = maybeDeferred(self.port.stopListening)
            await stopping
        self.site.abort_all()
        await deferLater(reactor, 0)
