"""What was in the last seconds."""

from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.policy.sliding_count import BUCKETS, SlidingCount

STEPS = st.lists(st.tuples(st.floats(0, 30), st.integers(0, 5)), max_size=60)


@given(STEPS)
def test_exact_to_a_tenth_of_the_window(steps: list[tuple[float, int]]) -> None:
    """All of the last nine tenths is counted, and nothing from before the window."""
    window = 10.0
    count = SlidingCount(window)
    added: list[tuple[float, int]] = []
    now = 1000.0
    for passed, many in steps:
        now += passed
        count.add(now, many)
        added.append((now, many))
        total = count.total(now)
        assert total >= sum(many for at, many in added if at > now - window * (BUCKETS - 1) / BUCKETS)
        assert total <= sum(many for at, many in added if at >= now - window)
        assert len(count._buckets) <= BUCKETS + 1


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(0, 5)), max_size=40))
def test_any_clock(steps: list[tuple[float, int]]) -> None:
    """A clock that jumps to and fro never makes it negative or more than was added."""
    count = SlidingCount(10.0)
    for at, (now, many) in enumerate(steps):
        count.add(now, many)
        assert many <= count.total(now) <= sum(one for _, one in steps[: at + 1])


def test_cleared() -> None:
    """Nothing is left."""
    count = SlidingCount(10.0)
    count.add(5.0, 3)
    count.clear()
    assert count.total(5.0) == 0
