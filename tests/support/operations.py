"""What an operator may ask, as a test says it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from prometheus_client.registry import Collector
from twisted.internet.defer import Deferred, succeed

from openai_proxy.observe.snapshot import families_of
from openai_proxy.process.operations import ErrorSeen, Family, InFlight, Reloaded

FLYING = InFlight(
    id="req_1",
    age_seconds=12.34,
    route="/v1",
    endpoint="chat_completions",
    provider="openai",
    model="gpt-4o",
    phase="answer",
    is_stream=True,
    attempts=1,
    received_bytes=321,
    sent_bytes=65_432,
    output_events=210,
    idle_seconds=0.05,
    is_stalled=False,
)
SEEN = ErrorSeen(
    at_seconds=1_767_225_599.0,
    id="req_9",
    provider="openai",
    endpoint="chat_completions",
    model="gpt-4o",
    status=429,
    outcome="upstream_rate_limited",
    error_type="rate_limit_error",
    error_code="rate_limit_exceeded",
    duration_seconds=0.25,
)


class FakeOperations:
    """Says what it was given; keeps what it was told."""

    def __init__(self, registry: Collector | None = None) -> None:
        self.registry = registry
        self.flying: list[InFlight] = []
        self.errors: list[ErrorSeen] = []
        self.reloaded = Reloaded(True, [])
        self.ended: list[str] = []
        self.asked = 0
        """How often families were asked for."""
        self.answers: Deferred[Any] | None = None
        """In the stead of every answer."""

    def _say(self, answer: Any) -> Deferred[Any]:
        return succeed(answer) if self.answers is None else self.answers

    def families(self, names: Collection[str] | None = None) -> Deferred[list[Family]]:
        self.asked += 1
        return self._say([] if self.registry is None else families_of(self.registry, names))

    def in_flight(self) -> Deferred[list[InFlight]]:
        return self._say(self.flying)

    def last_errors(self) -> Deferred[list[ErrorSeen]]:
        return self._say(self.errors)

    def end(self, request_id: str) -> Deferred[bool]:
        self.ended.append(request_id)
        return self._say(any(one.id == request_id for one in self.flying))

    def reload(self) -> Deferred[Reloaded]:
        return self._say(self.reloaded)
