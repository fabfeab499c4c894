"""The whole body of an answer: bounded, and let go of when nobody wants it."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss

from openai_proxy.relay.whole import BodyTooLong, whole_body
from openai_proxy.wire.errors import Truncated
from openai_proxy.wire.fields import Fields
from openai_proxy.wire.response import Response


class Upstream:
    """An answer whose body the test plays; it is its transport too."""

    def __init__(self) -> None:
        self.reader: Any = None
        self.stops = 0
        self.response = Response(200, b"OK", Fields(), self._deliver)

    def _deliver(self, reader: IProtocol) -> None:
        self.reader = reader
        reader.makeConnection(self)  # type: ignore[arg-type]

    def stopProducing(self) -> None:
        self.stops += 1

    loseConnection = stopProducing

    def end(self, reason: Exception) -> None:
        self.reader.connectionLost(Failure(reason))


def outcome(deferred: Deferred[bytes]) -> list[Any]:
    """What it has fired with, or the class of what it failed with."""
    seen: list[Any] = []
    deferred.addCallbacks(seen.append, lambda failure: seen.append(failure.type))
    return seen


@pytest.mark.parametrize("end", [ResponseDone(), PotentialDataLoss()])
def test_all_of_it(end: Exception) -> None:
    """Up to the bound, when it has ended."""
    upstream = Upstream()
    seen = outcome(whole_body(upstream.response, 5))
    upstream.reader.dataReceived(b"abc")
    upstream.reader.dataReceived(b"de")
    assert seen == []
    upstream.end(end)
    assert (seen, upstream.stops) == ([b"abcde"], 0)


def test_one_byte_too_many() -> None:
    """The upstream is cut off there, and its end says nothing more."""
    upstream = Upstream()
    seen = outcome(whole_body(upstream.response, 5))
    upstream.reader.dataReceived(b"abcdef")
    assert (seen, upstream.stops) == ([BodyTooLong], 1)
    upstream.end(Truncated())
    assert seen == [BodyTooLong]


def test_cut_off() -> None:
    """Half a body is none."""
    upstream = Upstream()
    seen = outcome(whole_body(upstream.response, 5))
    upstream.reader.dataReceived(b"abc")
    upstream.end(Truncated())
    assert seen == [Truncated]


def test_cancelled() -> None:
    """Nobody wants the rest: the upstream is cut off."""
    upstream = Upstream()
    reading = whole_body(upstream.response, 5)
    seen = outcome(reading)
    reading.cancel()
    assert (seen, upstream.stops) == ([CancelledError], 1)
    upstream.end(Truncated())
    assert seen == [CancelledError]
