"""JSON objects out of pieces."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.observe.json_objects import ObjectSplitter

TEXTS = st.text(st.sampled_from('ab "\\[]{}:,\n\té😀'), max_size=6)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=4)
INDENTS = st.sampled_from([None, 0, 2])


def split(splitter: ObjectSplitter, data: bytes, size: int) -> list[bytes]:
    return [one for at in range(0, len(data), size) for one in splitter.feed(data[at : at + size])]


@given(st.lists(OBJECTS, max_size=5), INDENTS, st.integers(1, 60), st.booleans())
def test_the_elements_of_an_array(objects: list[Any], indent: int | None, size: int, escaped: bool) -> None:
    """Each comes out whole, whatever its strings hold and however the bytes are cut."""
    data = json.dumps(objects, indent=indent, ensure_ascii=escaped).encode()
    splitter = ObjectSplitter()
    assert [json.loads(one) for one in split(splitter, data, size)] == objects
    assert (splitter.is_array, splitter.inside, splitter.oversized) == (True, False, 0)


@given(OBJECTS, INDENTS, st.integers(1, 60))
def test_an_object_alone(value: Any, indent: int | None, size: int) -> None:
    """It comes out at its last brace, and is no array though there are some in it."""
    data = json.dumps(value, indent=indent).encode()
    splitter = ObjectSplitter()
    assert split(splitter, b" \n" + data[:-1], size) == []
    assert splitter.inside
    assert splitter.feed(data[-1:] + b"\n") == [data]
    assert (splitter.is_array, splitter.inside) == (False, False)


@given(st.binary(max_size=200), st.integers(1, 20))
def test_any_bytes(data: bytes, size: int) -> None:
    """What is no JSON raises nothing, and is cut in the same places however it comes."""
    assert split(ObjectSplitter(), data, size) == ObjectSplitter().feed(data)


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_one_that_is_too_long(size: int) -> None:
    """It is counted, none of it is kept, and the next is not lost."""
    splitter = ObjectSplitter(max_bytes=10)
    assert split(splitter, b'[{"a":"' + b"x" * 100, size) == []
    assert len(splitter._held) <= 10
    assert split(splitter, b'"}\n,{"b":1}]', size) == [b'{"b":1}']
    assert splitter.oversized == 1
