"""How long an attempt is waited for: the shortest of what its route says."""

from __future__ import annotations

import pytest

from openai_proxy.config.routing import RouteTimeouts
from openai_proxy.exchange.patience import Patience


@pytest.mark.parametrize(
    ("timeouts", "is_stream", "head", "beginning"),
    [
        ({}, True, None, None),
        ({"head_seconds": 5.0}, True, 5.0, None),
        ({"first_token_seconds": 4.0}, True, 4.0, 3.0),
        ({"first_token_seconds": 4.0}, False, None, None),
        ({"head_seconds": 2.0, "first_token_seconds": 4.0}, True, 2.0, 3.0),
        ({"head_seconds": 5.0, "total_seconds": 13.0}, False, 3.0, 2.0),
        ({"first_token_seconds": 4.0, "total_seconds": 40.0}, True, 4.0, 3.0),
        ({"total_seconds": 1.0}, True, 0.0, 0.0),
    ],
)
def test_patience(
    timeouts: dict[str, float], is_stream: bool, head: float | None, beginning: float | None
) -> None:
    """An exchange that began at 0; its attempt is sent at 10, and has its head at 11."""
    patience = Patience(RouteTimeouts(**timeouts), is_stream, 0.0)
    assert patience.for_head(10.0) == head
    assert patience.for_beginning(10.0, 11.0) == beginning
    assert patience.awaits_token is (is_stream and "first_token_seconds" in timeouts)
    assert patience.elapsed_seconds(11.0) == 11.0


def test_what_is_late_already_is_not_waited_for() -> None:
    """Never less than nothing."""
    patience = Patience(RouteTimeouts(first_token_seconds=1.0), True, 0.0)
    assert patience.for_beginning(0.0, 60.0) == 0.0
