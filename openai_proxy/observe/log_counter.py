"""A log observer that counts."""

from __future__ import annotations

from typing import cast

from twisted.logger import ILogObserver, LogEvent, LogPublisher, globalLogPublisher

from openai_proxy.observe.metrics import Metrics


class LogCounter:
    """Counts what is logged while it is started.

    Other threads log too, and two that count at the same moment may count one: the price of no lock, which
    a message that is logged while the lock is held would wait for for ever.
    """

    def __init__(self, metrics: Metrics, publisher: LogPublisher = globalLogPublisher) -> None:
        self._counts = metrics.process.log_messages
        self._publisher = publisher
        self._observer = cast(ILogObserver, self._count)

    def start(self) -> None:
        """Count from now on."""
        self._publisher.addObserver(self._observer)

    def stop(self) -> None:
        """Count no more."""
        self._publisher.removeObserver(self._observer)

    def _count(self, event: LogEvent) -> None:
        level = event.get("log_level")
        if level is not None:
            self._counts[level.name] += 1
