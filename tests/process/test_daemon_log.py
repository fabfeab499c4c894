"""What the daemon says of itself: levels, forms, and what is lost."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.logger import ILogObserver, Logger, LogPublisher
from zope.interface.verify import verifyObject

from openai_proxy.config.settings import Logging
from openai_proxy.process.daemon_log import DaemonLog, is_ours
from openai_proxy.process.repeats import MOST


class Stage:
    def __init__(self, logging: Logging) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.later: list[Callable[[], None]] = []
        self.log = DaemonLog(logging, self.writer, lambda _, function: self.later.append(function))
        self.logger = Logger("here", observer=LogPublisher(self.log))

    def lines(self) -> list[str]:
        try:
            return os.read(self.reader, 1 << 20).decode().splitlines()
        except BlockingIOError:
            return []


@pytest.fixture
def stage() -> Iterator[Callable[..., Stage]]:
    stages: list[Stage] = []

    def make(**logging: Any) -> Stage:
        stages.append(Stage(Logging(**logging)))
        return stages[-1]

    yield make
    for one in stages:
        os.close(one.reader)
        os.close(one.writer)


@pytest.mark.parametrize(
    ("level", "said"),
    [
        ("debug", ["debug", "info", "warn", "error", "critical"]),
        ("info", ["info", "warn", "error", "critical"]),
        ("warn", ["warn", "error", "critical"]),
        ("error", ["error", "critical"]),
    ],
)
def test_levels(stage: Callable[..., Stage], level: str, said: list[str]) -> None:
    """What is less than that is not said."""
    one = stage(level=level, format="json")
    for name in ("debug", "info", "warn", "error", "critical"):
        getattr(one.logger, name)("it is {what}", what=name)
    assert [json.loads(line)["level"] for line in one.lines()] == said


def test_it_is_an_observer_that_never_raises(
    stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twisted would take one that does off the log."""
    one = stage()
    assert verifyObject(ILogObserver, one.log)

    def broken(event: object) -> str:
        raise RuntimeError("no form")

    monkeypatch.setattr(one.log, "_form", broken)
    one.logger.warn("first")
    monkeypatch.undo()
    one.logger.warn("second")
    first, second = one.lines()
    assert first == "An event of the log could not be written: RuntimeError"
    assert second.endswith("second")


@pytest.mark.parametrize("form", ["text", "json"])
def test_repeats_are_counted(stage: Callable[..., Stage], form: str) -> None:
    """And said at the end, if not before."""
    one = stage(format=form)
    for _ in range(MOST + 7):
        one.logger.error("it failed")
    assert len(one.later) == 1
    one.log.flush()
    lines = one.lines()
    assert len(lines) == MOST + 1
    assert "it failed ... and 7 more like this in the last minute" in lines[-1]
    assert form == "text" or json.loads(lines[-1])["more"] == 7


@pytest.mark.parametrize("form", ["text", "json"])
def test_lost_lines_are_told_in_the_same_form(form: str) -> None:
    """When one can be written again."""
    reader, writer = os.pipe()
    with open("/dev/full", "wb") as full:
        descriptor = os.dup(full.fileno())
        log = DaemonLog(Logging(format=form), descriptor)  # type: ignore[arg-type]
        logger = Logger("here", observer=LogPublisher(log))
        logger.warn("one")
        os.dup2(writer, descriptor)
        logger.warn("two")
    lines = os.read(reader, 10_000).decode().splitlines()
    for each in (reader, writer, descriptor):
        os.close(each)
    assert "1 lines of the log were lost: No space left on device" in lines[0]
    assert "two" in lines[1]
    assert form == "text" or [json.loads(line)["level"] for line in lines] == ["warn", "warn"]


@pytest.mark.parametrize(
    ("options", "ours"),
    [
        (None, False),
        ({"nodaemon": 1}, True),
        ({"nodaemon": 1, "logfile": "-"}, True),
        ({"nodaemon": 1, "logfile": "/var/log/it"}, False),
        ({"nodaemon": 1, "syslog": 1}, False),
        ({"nodaemon": 1, "logger": "a.b"}, False),
        ({"nodaemon": 0}, False),
    ],
)
def test_whose_log_it_is(options: dict[str, Any] | None, ours: bool) -> None:
    """Ours only where nobody chose another."""
    assert is_ours(options) is ours
