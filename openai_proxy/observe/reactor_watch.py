"""A tick that shows how late the reactor is."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IDelayedCall

from openai_proxy.observe.metrics import Metrics
from openai_proxy.observe.process import TICK_SECONDS


class ReactorWatch:
    """Measures how late the reactor is, ten times a second, while it is started."""

    def __init__(self, reactor: Any, metrics: Metrics) -> None:
        self._reactor = reactor
        self._process = metrics.process
        self._seconds = metrics.seconds
        self._due_seconds = 0.0
        self._call: IDelayedCall | None = None
        metrics.process.reactor = reactor

    def start(self) -> None:
        """The first tick is due in ``TICK_SECONDS``."""
        self._due_seconds = self._reactor.seconds() + TICK_SECONDS
        self._process.last_tick_seconds = self._seconds()
        self._call = self._reactor.callLater(TICK_SECONDS, self._tick)

    def stop(self) -> None:
        """No call is left."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _tick(self) -> None:
        # A clock that was set back is no lag.
        self._process.lag.observe(max(0.0, self._reactor.seconds() - self._due_seconds))
        self.start()
