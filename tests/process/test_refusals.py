"""What is said of connections that cannot be accepted."""

from __future__ import annotations

from typing import Any

from twisted.logger import LogEvent, capturedLogs, formatEvent

from openai_proxy.process.refusals import SAID_EVERY_SECONDS, Refusals

ADDRESS = ("192.0.2.7", 4711)


def said_of(events: list[dict[str, Any]]) -> list[LogEvent]:
    """What :class:`Refusals` makes of Twisted's events."""
    refusals = Refusals()
    with capturedLogs() as said:
        for event in events:
            refusals(event)
    return list(said)


def closed(at: float) -> list[dict[str, Any]]:
    """As Twisted tells of one connection."""
    return [
        {"log_time": at, "log_format": "EMFILE encountered; releasing reserved file descriptor."},
        {"log_time": at, "log_format": "EMFILE recovery: Closed socket from {address}", "address": ADDRESS},
        {"log_time": at, "log_format": "Re-reserving EMFILE recovery file descriptor."},
    ]


def test_a_hundred_closed_connections_are_one_warning() -> None:
    """It tells what to do, and names no client."""
    (said,) = said_of([event for _ in range(100) for event in closed(1000.0)])
    assert said["log_level"].name == "warn"
    assert "LimitNOFILE" in formatEvent(said)
    assert ADDRESS[0] not in repr(said)


def test_a_minute_later_it_is_said_again_with_their_number() -> None:
    """Of a lack that goes on somebody is told again; so is it where the clock was set back."""
    times = [1000.0, 1001.0, 1000.0 + SAID_EVERY_SECONDS, 500.0]
    said = said_of([event for at in times for event in closed(at)])
    assert [event["count"] for event in said] == [1, 3, 4]


def test_another_reason_is_told() -> None:
    """The machine's descriptors are used up (ENFILE), not the process's."""
    form = "Could not accept new connection ({acceptError})"
    (said,) = said_of([{"log_time": 1.0, "log_format": form, "acceptError": "ENFILE"}])
    assert "ENFILE" in formatEvent(said)
    assert said["log_level"].name == "warn"
