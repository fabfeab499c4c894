"""The number of series to expect."""

from __future__ import annotations

from openai_proxy.observe.expected_series import expected_series


def test_each_target_adds_the_same_number_of_series() -> None:
    """None for what is asked for again; the start is the same whatever comes."""
    start, none = expected_series(["openai"], [])
    assert none == start > 0
    sizes = [expected_series(["openai"], [("openai", f"m{n}") for n in range(count)]) for count in (1, 2, 3)]
    assert {before for before, _ in sizes} == {start}
    first, second, third = (after - start for _, after in sizes)
    assert first > 0
    assert 0 < second - first == third - second <= first
    assert expected_series(["openai"], [("openai", "m0")] * 3) == sizes[0]


def test_each_provider_has_series_from_the_start() -> None:
    """Those whose first failure has to be seen."""
    (one, _), (two, _), (three, _) = (expected_series(names, []) for names in ("a", "ab", "abc"))
    assert 0 < two - one == three - two


def test_routes_and_breakers_have_series_from_the_start() -> None:
    """Three states and three changes of each breaker, a rest, and the fallbacks of each route."""
    plain, _ = expected_series(["one", "two"], [])
    with_breaker, _ = expected_series(["one", "two"], [], circuits=[("one", "gpt-5")])
    assert with_breaker - plain == 7
    with_route, _ = expected_series(["one", "two"], [], routes=[("one", "two")])
    twice, _ = expected_series(["one", "two"], [], routes=[("one", "two")] * 2)
    assert plain < with_route == twice
