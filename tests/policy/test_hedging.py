"""When a second target is asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.config.routing import Hedge
from openai_proxy.policy.hedging import WINDOW_SECONDS, Hedging

ON = Hedge(enabled=True, min_seconds=0.1)


def hedging(settings: Hedge, samples: int = 100) -> Hedging:
    """That knows a route with nine of ten at 0.5 s, and the rest at 4 s."""
    made = Hedging(settings)
    for number in range(samples):
        made.first_token("fast", 4.0 if number % 10 == 0 else 0.5)
    return made


@pytest.mark.parametrize(
    ("settings", "hedge", "samples", "route", "has_next", "seconds"),
    [
        (ON, None, 100, "fast", True, 4.0),
        (Hedge(enabled=True, quantile=0.8), None, 100, "fast", True, 1.0),
        (Hedge(enabled=True, quantile=0.8, min_seconds=0.1), None, 100, "fast", True, 0.5),
        (Hedge(), None, 100, "fast", True, None),
        (Hedge(min_seconds=0.1), True, 100, "fast", True, 4.0),
        (ON, False, 100, "fast", True, None),
        (ON, None, 49, "fast", True, None),
        (ON, None, 100, "slow", True, None),
        (ON, None, 100, "fast", False, None),
    ],
)
def test_how_long_is_waited(
    settings: Hedge, hedge: bool | None, samples: int, route: str, has_next: bool, seconds: float | None
) -> None:
    """The route's own quantile, if it is on, enough is known, and there is another target."""
    waited = hedging(settings, samples).after_seconds(route, hedge, has_next, 0.0)
    assert waited == (None if seconds is None else pytest.approx(seconds, rel=0.1))


def test_a_share_of_the_requests() -> None:
    """One of twenty, of those of the last minute."""
    made = hedging(ON)
    for _ in range(100):
        made.after_seconds("fast", None, True, 0.0)
    assert [made.may_start(0.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert not made.may_start(WINDOW_SECONDS + 1)


def test_a_quiet_daemon_hedges_nothing() -> None:
    """There is no floor: each hedge is paid twice."""
    made = hedging(ON)
    made.after_seconds("fast", None, True, 0.0)
    assert not made.may_start(0.0)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 20)), max_size=150), st.floats(0, 1))
def test_never_more(events: list[tuple[bool, float]], ratio: float) -> None:
    """Of the requests that it was told of, never a larger share is hedged."""
    made = Hedging(Hedge(enabled=True, max_ratio=ratio))
    requests: list[float] = []
    hedges: list[float] = []
    now = 0.0
    for is_hedge, passed in events:
        now += passed
        if not is_hedge:
            made.after_seconds("fast", None, True, now)
            requests.append(now)
        elif made.may_start(now):
            hedges.append(now)
            surely = [at for at in hedges if at > now - WINDOW_SECONDS * 0.9]
            assert len(surely) <= ratio * len([at for at in requests if at >= now - WINDOW_SECONDS])
