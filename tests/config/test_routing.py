"""Rules of routes, and of what happens when a target fails."""

from __future__ import annotations

import pytest

from openai_proxy.config.routing import Breaker, Hedge, Retry, Route, RouteTimeouts, Target
from openai_proxy.config.section import Section

A, B = Target(provider="a"), Target(provider="b")


@pytest.mark.parametrize(
    "section",
    [
        Retry(),
        Breaker(),
        Hedge(),
        RouteTimeouts(first_token_seconds=1, total_seconds=1),
        Route(targets=(A, B)),
        Route(targets=(A, Target(provider="b", weight=0)), choice="weighted"),
    ],
)
def test_what_is_right_breaks_no_rule(section: Section) -> None:
    """The defaults among them."""
    assert list(section.rules()) == []


@pytest.mark.parametrize(
    ("section", "key"),
    [
        (Retry(backoff_seconds=9, backoff_max_seconds=8), "backoff_seconds"),
        (RouteTimeouts(first_token_seconds=2, total_seconds=1), "first_token_seconds"),
        (Route(targets=(Target(provider="a", weight=2), B)), "targets"),
        (Route(targets=(Target(provider="a", weight=0),), choice="weighted"), "targets"),
    ],
)
def test_what_cannot_be_meant_is_told(section: Section, key: str) -> None:
    """With the key that it is about."""
    assert [place for place, _ in section.rules()] == [key]
