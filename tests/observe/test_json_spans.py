"""Where members stand, in any valid JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.observe.json_spans import MOST_STEPS, TangledJson, members

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)
OBJECTS = st.dictionaries(st.text(max_size=8), VALUES, max_size=6)


@given(OBJECTS, st.sampled_from([None, 0, 2, "\t"]), st.booleans())
def test_spans(value: dict[str, Any], indent: Any, ascii_only: bool) -> None:
    """Each member's span holds its value, and nothing is left out."""
    body = b" \n" + json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode(errors="replace") + b" "
    found = {member.name: json.loads(body[member.begin : member.end]) for member in members(body)}
    assert found == json.loads(body)


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"{}", []),
        (b" { } ", []),
        (b'{"a":1,"a":[{"a":2}]}', ["a", "a"]),
        (b'{"\\u0061":"}","b\\"":{"c":"]\\\\"} , "d" : -1.5e3}', ["a", 'b"', "d"]),
        (b'{"a":"\\\\","b":1}', ["a", "b"]),
    ],
)
def test_names(body: bytes, names: list[str]) -> None:
    """Only those of the object itself, in order, with their escapes read."""
    assert [member.name for member in members(body)] == names


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":[' + b"[]," * MOST_STEPS + b"1]}",
        b"{" + b'"x":1,' * MOST_STEPS + b'"a":1}',
        b"{" + b'"x":[[]],' * (MOST_STEPS // 8) + b'"a":1}',
    ],
)
def test_what_nobody_means_is_not_gone_through(body: bytes) -> None:
    """A body of brackets or members alone would hold up everybody for seconds."""
    with pytest.raises(TangledJson):
        list(members(body))


def test_a_long_text_is_gone_through() -> None:
    """Its brackets are no steps."""
    body = b'{"a":"' + b"[{" * MOST_STEPS + b'","b":1}'
    assert [member.name for member in members(body)] == ["a", "b"]
