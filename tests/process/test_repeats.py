"""Events that repeat themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import LogLevel, formatEvent
from twisted.python.failure import Failure

from openai_proxy.process.repeats import MINUTE, MOST, MOST_KINDS, Repeats


class Stage:
    def __init__(self) -> None:
        self.said: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.calls: list[Callable[[], None]] = []
        self.now = 1000.0
        self.repeats = Repeats(self._give, self._later)

    def _give(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        self.said.append(formatEvent(event))

    def _later(self, seconds: float, function: Callable[[], None]) -> None:
        assert seconds == MINUTE
        self.calls.append(function)

    def log(self, form: str, level: Any = LogLevel.warn, **fields: Any) -> None:
        self.repeats(
            {
                "log_format": form,
                "log_level": level,
                "log_namespace": "n",
                "log_time": self.now,
                "log_source": None,
                **fields,
            }
        )


def test_of_one_kind_only_a_few_are_said_and_the_rest_is_counted() -> None:
    """The line that counts them has the last one's words, its level and where it came from."""
    stage = Stage()
    for number in range(MOST + 1234):
        stage.log("{name} failed", name=number)
    stage.log("another", level=LogLevel.error)
    assert stage.said == [*(f"{number} failed" for number in range(MOST)), "another"]
    (call,) = stage.calls
    call()
    assert stage.said[-1] == f"{MOST + 1233} failed ... and 1,234 more like this in the last minute"
    assert (stage.events[-1]["log_level"], stage.events[-1]["log_namespace"]) == (LogLevel.warn, "n")
    stage.log("{name} failed", name="again")
    assert stage.said[-1] == "again failed"


def test_a_minute_later_it_is_said_again() -> None:
    """Also where nobody has called meanwhile, and where the clock was set back."""
    stage = Stage()
    for step in (0.0, MINUTE, -MINUTE):
        stage.now += step
        for _ in range(MOST + 1):
            stage.log("it failed")
    more = [line for line in stage.said if "1 more like this" in line]
    assert len(stage.said) == 3 * MOST + len(more) == 3 * MOST + 2


def test_critical_events_are_always_said() -> None:
    """They are few, and wake someone."""
    stage = Stage()
    for _ in range(100):
        stage.log("gone", level=LogLevel.critical)
    assert len(stage.said) == 100


def test_information_is_the_same_only_in_the_same_words() -> None:
    """A daemon with ten ports says all ten."""
    stage = Stage()
    for number in range(10):
        stage.log("serves on {url}", level=LogLevel.info, url=number)
        stage.log("{log_io}", level=LogLevel.error, log_io=str(number))
    assert len(stage.said) == 20


def test_failures_of_two_types_are_two_kinds() -> None:
    """The first of another error is not lost among many."""
    stage = Stage()
    for _ in range(100):
        stage.log("failed", level=LogLevel.critical, log_failure=Failure(ValueError()))
        stage.log("failed", level=LogLevel.error, log_failure=Failure(ValueError()))
    stage.log("failed", level=LogLevel.error, log_failure=Failure(KeyError()))
    assert len(stage.said) == 100 + MOST + 1


def test_kinds_have_a_bound() -> None:
    """Text from outside may stand in information."""
    stage = Stage()
    for number in range(3 * MOST_KINDS):
        stage.log("{name}", level=LogLevel.info, name=number)
    assert len(stage.repeats._counts) <= MOST_KINDS
