"""An event as a line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import Logger, LogLevel
from twisted.python import log as legacy_log
from twisted.python.failure import Failure

from openai_proxy.process.log_form import MAX_CHARACTERS, json_line, text_line

AT = 1_700_000_000.25


def event(form: str = "It is {what}", level: Any = LogLevel.warn, **fields: Any) -> dict[str, Any]:
    return {
        "log_format": form,
        "log_level": level,
        "log_namespace": "here",
        "log_time": AT,
        "log_source": object(),
        **fields,
    }


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


class Odd(int):
    def __repr__(self) -> str:
        raise RuntimeError


def failed(error: Exception) -> Failure:
    try:
        raise error
    except Exception:
        return Failure()


def test_a_line_of_json_has_all_that_the_event_says() -> None:
    """Its own fields beside time, level, namespace and message; numbers are numbers."""
    line = json_line(event(what="well", count=3, share=0.5, is_so=True, none=None, data=b"a\xff"))
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "warn",
        "namespace": "here",
        "message": "It is well",
        "what": "well",
        "count": 3,
        "share": 0.5,
        "is_so": True,
        "none": None,
        "data": "a\\xff",
    }


def test_a_failure_has_type_text_and_traceback() -> None:
    """One line all the same."""
    line = json_line(event("Failed", log_failure=failed(ValueError("two\nlines"))))
    failure = json.loads(line)["failure"]
    assert (failure["type"], failure["text"]) == ("ValueError", "two\nlines")
    assert "Traceback" in failure["traceback"] and line.count("\n") == 1


@pytest.mark.parametrize(
    "make",
    [
        Unprintable,
        lambda: Odd(3),
        lambda: float("nan"),
        lambda: float("inf"),
        lambda: 1 << 70,
        lambda: "\x00\n\r\x1b[2J\u2028\ud800",
        lambda: b"\xff\x00",
        lambda: {"a": Unprintable()},
        lambda: failed(ValueError(Unprintable())),
        lambda: {1, 2},
    ],
)
def test_no_value_breaks_a_line(make: Callable[[], Any]) -> None:
    """What is no JSON is text, or says that it has none."""
    value = make()
    for one in (event(what=value), event("Failed", log_failure=failed(ValueError(value)))):
        line = json_line(one)
        assert line.isascii() and line.endswith("}\n") and line[:-1].isprintable()
        json.loads(line, parse_constant=pytest.fail)
        assert text_line(one)


@given(st.dictionaries(st.text(max_size=8), st.text() | st.binary() | st.floats() | st.integers()), st.text())
def test_any_event_is_a_line_or_none(fields: dict[str, Any], form: str) -> None:
    """A format that does not fit its fields is told as such; a field's name is not one of ours."""
    one = {**fields, **event(form)}
    line = json_line(one)
    assert bool(line) == bool(form)
    if line:
        told = json.loads(line)
        assert (told["level"], told["namespace"]) == ("warn", "here") and line.count("\n") == 1
    text = text_line(one)
    assert not (set(text) & {chr(code) for code in range(32)}) - {"\n", "\t"}


def test_long_texts_are_cut() -> None:
    """A line of a megabyte is nobody's reading."""
    line = json.loads(json_line(event(what="x" * MAX_CHARACTERS * 2)))
    assert len(line["what"]) == len(line["message"]) == MAX_CHARACTERS + 3


def test_text_is_what_twistd_writes() -> None:
    """Time, namespace and level, message; further lines are indented."""
    line = text_line(event("It is\n{what}", what="so"))
    assert line.endswith(" [here#warn] It is\n\tso\n")
    assert line.startswith("2023-11-1")


def test_events_of_the_older_log_are_events() -> None:
    """``twisted.python.log`` says the same in another form."""
    seen: list[dict[str, Any]] = []
    legacy_log.theLogPublisher._observerPublisher.addObserver(seen.append)
    try:
        legacy_log.msg("of old", system="there")
    finally:
        legacy_log.theLogPublisher._observerPublisher.removeObserver(seen.append)
    assert json.loads(json_line(seen[0]))["message"] == "of old"
    assert "[there] of old" in text_line(seen[0])


def test_an_event_that_says_nothing_has_no_line() -> None:
    """As twistd has it."""
    assert json_line({}) == text_line({}) == ""
    kept: list[dict[str, Any]] = []
    Logger("x", observer=kept.append).info()  # type: ignore[arg-type]
    assert json_line(kept[0]) == ""
