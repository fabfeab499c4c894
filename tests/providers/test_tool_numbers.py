"""Numbers of tool calls: those that are right are left alone, whatever order they come in."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from openai_proxy.providers.tool_numbers import MAX_CALLS, ToolNumbers

PIECES = st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.booleans()), max_size=30)


@settings(deadline=None)
@given(PIECES)
def test_a_stream_as_the_standard_has_it_is_right(pieces: list[tuple[int, bool, bool]]) -> None:
    """Each index has one id, said once, always or never, or late; calls come one after another or mixed."""
    numbers = ToolNumbers()
    for index, has_id, names in pieces:
        call: dict[str, Any] = {"index": index, "function": {"name": "f" if names else None}}
        if has_id:
            call["id"] = f"call_{index}"
        assert numbers.wrong_indices([call]) == {}


@settings(deadline=None)
@given(st.lists(st.sampled_from("abcdef"), max_size=30), st.sampled_from([{}, {"index": 0}, {"index": None}]))
def test_a_call_has_one_number(ids: list[str], said: dict[str, Any]) -> None:
    """Where each piece has its id: the number is the id's place among all that came."""
    numbers = ToolNumbers()
    order = list(dict.fromkeys(ids))
    for one in ids:
        wrong = numbers.wrong_indices([{"id": one, **said}])
        assert wrong.get(0, said.get("index")) == order.index(one)


def test_calls_without_end_are_not_remembered() -> None:
    """Those behind the bound stay as they come."""
    numbers = ToolNumbers()
    calls: list[Any] = [{"id": str(number)} for number in range(MAX_CALLS)]
    assert numbers.wrong_indices([*calls, {}]) == {}
    assert numbers.wrong_indices(calls) == {number: number for number in range(MAX_CALLS)}
    assert numbers.wrong_indices([{"index": 7000}, {"id": "a"}, None]) == {}
