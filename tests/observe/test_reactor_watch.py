"""How late the reactor is."""

from __future__ import annotations

from twisted.internet.task import Clock

from openai_proxy.observe.metrics import Metrics, new_registry
from openai_proxy.observe.process import TICK_SECONDS
from openai_proxy.observe.reactor_watch import ReactorWatch

LAG = "openai_proxy_reactor_lag_seconds"
LAST_TICK = "openai_proxy_reactor_last_tick_timestamp_seconds"


class Rig:
    """A watch of a clock, and what is shown of it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.unix = Clock()
        self.unix.advance(1_000_000)
        self.metrics = Metrics(new_registry(), self.unix.seconds)
        self.watch = ReactorWatch(self.clock, self.metrics)

    def read(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


def test_a_reactor_in_time_has_no_lag() -> None:
    """Ten ticks a second, in the lowest bucket."""
    rig = Rig()
    assert rig.read(f"{LAG}_count") == 0
    rig.watch.start()
    rig.clock.pump([TICK_SECONDS] * 10)
    assert rig.read(f"{LAG}_count") == 10
    assert rig.read(f"{LAG}_bucket", le="0.001") == 10
    rig.watch.stop()


def test_a_reactor_that_was_held_up_has() -> None:
    """By as much as it came too late."""
    rig = Rig()
    rig.watch.start()
    rig.clock.advance(TICK_SECONDS + 3)
    assert rig.read(f"{LAG}_bucket", le="2.5") == 0
    assert rig.read(f"{LAG}_bucket", le="5.0") == 1
    rig.watch.stop()


def test_a_reactor_that_hangs_is_seen_by_its_last_tick() -> None:
    """A time of the world outside, there from the start."""
    rig = Rig()
    assert rig.read(LAST_TICK) is None
    rig.watch.start()
    assert rig.read(LAST_TICK) == 1_000_000
    rig.unix.advance(60)
    assert rig.read(LAST_TICK) == 1_000_000
    rig.clock.advance(TICK_SECONDS)
    assert rig.read(LAST_TICK) == 1_000_060
    rig.watch.stop()


def test_nothing_is_left_when_it_stops() -> None:
    """However often it is stopped; and it can be started again."""
    rig = Rig()
    rig.watch.stop()
    rig.watch.start()
    rig.watch.stop()
    rig.watch.stop()
    assert not rig.clock.getDelayedCalls()
    rig.watch.start()
    assert rig.read("openai_proxy_reactor_delayed_calls") == 1
    rig.watch.stop()
