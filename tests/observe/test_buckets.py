"""The bounds of the histograms."""

import pytest

from openai_proxy.observe import buckets


@pytest.mark.parametrize("name", buckets.ALL)
def test_bounds_rise(name: str) -> None:
    """A bound out of order would never be reached, and an int would be another label."""
    bounds = buckets.ALL[name]
    assert list(bounds) == sorted(set(bounds))
    assert all(type(bound) is float for bound in bounds)


def test_they_are_the_six() -> None:
    """A new one has to be documented."""
    assert set(buckets.ALL) == {"DUR", "TTFT", "ITL", "OVER", "CONN", "LAG"}
