"""What is logged is counted by level."""

from __future__ import annotations

from twisted.logger import Logger, LogLevel, LogPublisher

from openai_proxy.observe.log_counter import LogCounter
from openai_proxy.observe.metrics import Metrics, new_registry


def read(metrics: Metrics) -> dict[str, float | None]:
    name = "openai_proxy_log_messages_total"
    return {
        level.name: metrics.registry.get_sample_value(name, {"level": level.name})
        for level in LogLevel.iterconstants()
    }


def test_each_level_is_counted_while_it_is_started() -> None:
    """From the start all are there; what has no level is none of them."""
    metrics, publisher = Metrics(new_registry()), LogPublisher()
    counter, log = LogCounter(metrics, publisher), Logger(observer=publisher)
    log.error("before")
    counter.start()
    for level in LogLevel.iterconstants():
        log.emit(level, "one")
    log.warn("two")
    publisher({"no": "level"})
    counter.stop()
    log.error("after")
    assert read(metrics) == {"debug": 1, "info": 1, "warn": 2, "error": 1, "critical": 1}
