"""The families of breakers and rests."""

from __future__ import annotations

from openai_proxy.observe.circuits import ANY_MODEL, MOST_TARGETS, STATES
from openai_proxy.observe.metrics import Metrics, new_registry
from openai_proxy.policy.breaker import State


class Rig:
    """The numbers, and a breaker that is what it is told to be."""

    def __init__(self) -> None:
        self.metrics = Metrics(new_registry())
        self.state = State.CLOSED
        self.rests = False

    def read(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"openai_proxy_{name}", labels)

    def states(self, **labels: str) -> dict[str, float | None]:
        return {state: self.read("circuit_state", **labels, state=state) for state in STATES}


def test_the_states_are_those_that_breakers_have() -> None:
    """A new one of theirs would be shown as none."""
    assert set(STATES) == set(State)


def test_one_state_is_1_and_the_others_are_0() -> None:
    """Read when somebody asks."""
    rig = Rig()
    rig.metrics.watch_circuit("openai", "gpt-5", lambda: rig.state)
    for state in State:
        rig.state = state
        assert rig.states(provider="openai", model="gpt-5") == {one: float(one == state) for one in STATES}


def test_changes_are_counted_and_expected() -> None:
    """By the state that the breaker came to."""
    rig = Rig()
    rig.metrics.watch_circuit("openai", "gpt-5", lambda: rig.state)
    labels = {"provider": "openai", "model": "gpt-5"}
    assert [rig.read("circuit_transitions_total", **labels, to_state=state) for state in STATES] == [0] * 3
    for state in (State.OPEN, State.HALF_OPEN, State.OPEN):
        rig.metrics.circuit_changed("openai", "gpt-5", state)
    assert rig.read("circuit_transitions_total", **labels, to_state="open") == 2
    assert rig.read("circuit_transitions_total", **labels, to_state="half_open") == 1


def test_a_target_of_all_models_has_a_name() -> None:
    """An empty label is no label to Prometheus."""
    rig = Rig()
    rig.metrics.watch_circuit("openai", "", lambda: rig.state)
    rig.metrics.watch_rest("openai", "", lambda: rig.rests)
    rig.metrics.circuit_changed("openai", "", State.OPEN)
    assert rig.states(provider="openai", model=ANY_MODEL)["closed"] == 1
    assert rig.read("circuit_transitions_total", provider="openai", model=ANY_MODEL, to_state="open") == 1
    assert rig.read("target_resting", provider="openai", model=ANY_MODEL) == 0
    rig.rests = True
    assert rig.read("target_resting", provider="openai", model=ANY_MODEL) == 1


def test_a_file_with_targets_without_end_does_not_flood_the_numbers() -> None:
    """Those past the bound are not shown, and that is counted."""
    rig = Rig()
    for number in range(MOST_TARGETS + 3):
        rig.metrics.watch_circuit("openai", f"m{number}", lambda: rig.state)
        rig.metrics.watch_rest("openai", f"m{number}", lambda: rig.rests)
    last = {"provider": "openai", "model": f"m{MOST_TARGETS + 2}"}
    assert set(rig.states(**last).values()) == {None}
    for family in ("circuit_state", "target_resting"):
        assert rig.read("metric_label_overflow_total", metric=f"openai_proxy_{family}") == 3
    # Known ones may be told anew.
    rig.metrics.watch_circuit("openai", "m0", lambda: State.OPEN)
    assert rig.states(provider="openai", model="m0")["open"] == 1
    assert rig.read("metric_label_overflow_total", metric="openai_proxy_circuit_state") == 3
