"""Quantiles of the times to a first token."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.policy.first_tokens import FirstTokens


def sketch_of(times: list[float]) -> FirstTokens:
    """With these in it."""
    sketch = FirstTokens()
    for seconds in times:
        sketch.add(seconds)
    return sketch


def test_nothing_known() -> None:
    """No samples, no quantile."""
    assert FirstTokens().quantile(0.95) is None


@given(st.lists(st.floats(0.0, 600.0), min_size=1, max_size=300), st.floats(0.5, 0.99))
def test_a_tenth_too_many_at_most(times: list[float], share: float) -> None:
    """Never less than the true quantile, and hardly more."""
    sketch = sketch_of(times)
    found = sketch.quantile(share)
    below = [seconds for seconds in times if found is not None and seconds <= found * 1.000001]
    assert found is not None
    assert len(below) >= share * len(times)
    true = sorted(times)[max(0, -int(-share * len(times) // 1) - 1)]
    assert found <= max(0.01, true * 1.1) * 1.000001
    assert sketch.count == len(times)


def test_what_is_new_counts_more() -> None:
    """A provider that has become fast is fast after some thousand samples."""
    sketch = sketch_of([30.0] * 5000 + [0.5] * 4000)
    assert sketch.quantile(0.9) == pytest.approx(0.5, rel=0.1)
    assert sketch.count == 9000


def test_very_long() -> None:
    """More than ten minutes counts as about ten."""
    assert sketch_of([1e9]).quantile(0.5) == pytest.approx(600.0, rel=0.1)
