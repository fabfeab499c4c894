"""What pytest-twisted leaves open: coroutine tests, a time limit, and a check for what leaks."""

from __future__ import annotations

import gc
import inspect
import signal
from collections.abc import Iterator
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, globalLogPublisher
from twisted.python.failure import Failure

TEST_TIMEOUT_SECONDS = 60


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "timeout_seconds(n): the time limit of one coroutine test")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Any:
    """Run a coroutine test as a Deferred with a time limit: a hang fails, and the next test runs."""
    from twisted.internet import reactor

    function = pyfuncitem.obj
    if not inspect.iscoroutinefunction(inspect.unwrap(function)):
        return None
    marker = pyfuncitem.get_closest_marker("timeout_seconds")
    seconds = marker.args[0] if marker else TEST_TIMEOUT_SECONDS

    def run(**arguments: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(function(**arguments)).addTimeout(seconds, reactor)

    run.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    pyfuncitem.obj = run
    return None


def pytest_collection_finish() -> None:
    """Keep what is loaded by now out of the collector: it would be walked once a test."""
    gc.collect()
    gc.freeze()


def _spin() -> None:
    from twisted.internet import reactor

    for _ in range(3):
        pytest_twisted.blockon(deferLater(reactor, 0))


def _selectables() -> set[Any]:
    from twisted.internet import reactor

    return set(reactor.getReaders()) | set(reactor.getWriters())


@pytest.fixture(scope="session", autouse=True)
def ended_by_sigterm() -> None:
    """SIGTERM interrupts the run. Left to the reactor, it would stop that, and every later test would fail
    with "illegal switch in blockon".
    """
    _spin()
    # After the first turn: the reactor sets its own when it starts.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[list[Any]]:
    """Fail a test that leaves a delayed call, a socket or a logged failure behind.

    A test that expects a logged failure takes this fixture and empties the list.
    """
    from twisted.internet import reactor

    _spin()
    calls, selectables = set(reactor.getDelayedCalls()), _selectables()
    failures: list[Any] = []

    def observe(event: dict[str, Any]) -> None:
        if event.get("log_failure") is not None:
            failures.append(event)

    observer = cast(ILogObserver, observe)
    globalLogPublisher.addObserver(observer)
    try:
        yield failures
        _spin()
        gc.collect()
        _spin()
    finally:
        globalLogPublisher.removeObserver(observer)
    left_calls = [call for call in reactor.getDelayedCalls() if call not in calls]
    internal: set[Any] = getattr(reactor, "_internalReaders", set())
    left = [one for one in _selectables() - selectables if one not in internal]
    for call in left_calls:
        call.cancel()
    for one in left:
        one.connectionLost(Failure(ConnectionError("left by a test")))
    problems = [f"left behind: {thing!r}" for thing in (*left_calls, *left)]
    problems += [f"logged: {event['log_failure'].getTraceback()}" for event in failures]
    assert not problems, "\n".join(problems)
