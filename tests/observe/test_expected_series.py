"""The number of series to expect."""

from __future__ import annotations

from openai_proxy.observe.expected_series import expected_series


def test_each_target_adds_the_same_number_of_series() -> None:
    """None for what is asked for again; the start is the same whatever comes."""
    start, none = expected_series([])
    assert none == start > 0
    sizes = [expected_series([("openai", f"m{n}") for n in range(count)]) for count in (1, 2, 3)]
    assert {before for before, _ in sizes} == {start}
    first, second, third = (after - start for _, after in sizes)
    assert first > 0
    assert 0 < second - first == third - second <= first
    assert expected_series([("openai", "m0")] * 3) == sizes[0]
