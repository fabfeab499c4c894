"""A daemon's end, step by step, by a clock that the test turns."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from openai_proxy.process.drain import IDLE_SECONDS, LOOK_SECONDS, Drain


class Fake:
    """A daemon with so many exchanges and connections."""

    def __init__(self) -> None:
        self.exchanges = 0
        self.connections = 0
        self.calls: list[str] = []

        self.closing: Deferred[None] = succeed(None)

    async def stop_listening(self) -> None:
        self.calls.append("stop listening")
        await self.closing

    def let_idle_go(self, idle_seconds: float) -> None:
        assert idle_seconds == IDLE_SECONDS

    def left(self) -> tuple[int, int]:
        return self.exchanges, self.connections

    def cut(self) -> None:
        self.calls.append("cut")


class Rig:
    def __init__(self, timeout_seconds: float = 60) -> None:
        self.clock = Clock()
        self.it = Fake()
        self.drain = Drain(self.it, self.clock, timeout_seconds)
        self.done: Deferred[None] | None = None

    def begin(self, grace_seconds: float = 0) -> None:
        self.done = self.drain.begin(grace_seconds)
        self.clock.advance(0)

    def is_done(self) -> bool:
        assert self.done is not None
        return self.done.called and not self.clock.getDelayedCalls()


def test_with_nothing_in_flight_it_is_over_at_once() -> None:
    """And nothing is cut."""
    rig = Rig()
    rig.begin()
    assert rig.is_done()
    assert rig.it.calls == ["stop listening"]


def test_connections_are_accepted_through_the_grace() -> None:
    """A load balancer has so long to notice."""
    rig = Rig()
    rig.begin(5)
    rig.clock.advance(4.9)
    assert rig.it.calls == []
    rig.clock.advance(0.1)
    assert rig.it.calls == ["stop listening"]
    assert rig.is_done()


@pytest.mark.parametrize("kind", ["exchanges", "connections"])
def test_what_is_left_is_waited_for(kind: str) -> None:
    """An exchange, and a connection whose client has not its whole answer yet."""
    rig = Rig()
    setattr(rig.it, kind, 1)
    rig.begin()
    rig.clock.pump([LOOK_SECONDS] * 100)
    assert not rig.is_done()
    setattr(rig.it, kind, 0)
    rig.clock.advance(LOOK_SECONDS)
    assert rig.is_done()
    assert "cut" not in rig.it.calls


def test_what_is_left_is_cut_when_the_time_is_over() -> None:
    """The time begins behind the grace."""
    rig = Rig(timeout_seconds=10)
    rig.it.exchanges = 2
    rig.begin(5)
    rig.clock.advance(5)
    rig.clock.pump([LOOK_SECONDS] * 98)
    assert not rig.is_done()
    rig.clock.pump([LOOK_SECONDS] * 4)
    assert rig.it.calls == ["stop listening", "cut"]
    assert rig.is_done()


def test_it_can_be_ended_at_any_time() -> None:
    """In the grace, too: a second SIGTERM waits for nothing."""
    for grace_seconds in (0, 5):
        rig = Rig()
        rig.it.exchanges = 1
        rig.begin(grace_seconds)
        rig.drain.end()
        rig.drain.end()
        rig.clock.advance(0)
        assert rig.is_done()
        assert rig.it.calls[-1] == "cut"


def test_to_end_what_is_over_does_nothing() -> None:
    """A signal may come late."""
    rig = Rig()
    rig.begin()
    rig.drain.end()
    assert rig.is_done()
    assert rig.it.calls == ["stop listening"]


def test_it_can_be_ended_while_a_port_is_closed() -> None:
    """With nothing left, too: it is over once."""
    rig = Rig()
    rig.it.closing = Deferred()
    rig.begin()
    rig.drain.end()
    rig.it.closing.callback(None)
    assert not rig.is_done()
    rig.clock.advance(0)
    assert rig.is_done()
