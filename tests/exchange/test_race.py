"""Who is under way: one attempt, or two; and who is left when one of them wins or fails."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from openai_proxy.exchange.race import Race


def race(*attempts: Any) -> tuple[Race, Clock]:
    """With a hedge that is waited for."""
    clock, made = Clock(), Race()
    for attempt in attempts:
        made.enter(attempt)
    made.hedge_at(clock.callLater(1.0, lambda: None))
    return made, clock


def test_who_wins_leaves_the_others() -> None:
    """No hedge is waited for, and the losers are known until their price is."""
    made, clock = race("one", "two")
    assert made.win("two") == made.losers == ["one"]  # type: ignore[arg-type,comparison-overlap]
    assert not clock.getDelayedCalls()
    assert made.end(None) == []


def test_who_fails_leaves_it_to_the_other() -> None:
    """And the last one to nobody."""
    made, clock = race("one", "two")
    assert made.leave("one") == "two"  # type: ignore[arg-type,comparison-overlap]
    assert not clock.getDelayedCalls()
    assert made.leave("two") is None  # type: ignore[arg-type]
    assert made.end(None) == []


def test_the_end_leaves_all_but_the_last() -> None:
    """Behind a hedge that was called, too."""
    made, clock = race("one", "two")
    clock.advance(1)
    assert made.end("one") == ["two"]  # type: ignore[arg-type,comparison-overlap]
    assert made.losers == []
