"""Elements of an array out of pieces."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.observe import json_elements as module
from openai_proxy.observe.json_elements import ElementSplitter

TEXTS = st.text(st.sampled_from('ab "\\[]{}:,\n\té😀'), max_size=6)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=4)
INDENTS = st.sampled_from([None, 0, 2])


def split(splitter: ElementSplitter, data: bytes, size: int) -> list[bytes]:
    return [one for at in range(0, len(data), size) for one in splitter.feed(data[at : at + size])]


@given(st.lists(OBJECTS, max_size=5), INDENTS, st.integers(1, 60), st.booleans())
def test_whole_elements(objects: list[Any], indent: int | None, size: int, escaped: bool) -> None:
    """Each comes out whole, whatever its strings hold and however the bytes are cut."""
    data = json.dumps(objects, indent=indent, ensure_ascii=escaped).encode()
    splitter = ElementSplitter()
    assert [json.loads(one) for one in split(splitter, data, size)] == objects
    assert (splitter.inside, splitter.is_lost, splitter.oversized) == (False, False, 0)


def test_an_element_comes_with_its_last_byte() -> None:
    """Not when the next begins: its time is then."""
    splitter = ElementSplitter()
    assert splitter.feed(b' [{"a":"}') == []
    assert splitter.inside
    assert splitter.feed(b'"}') == [b'{"a":"}"}']
    assert not splitter.inside


@given(st.binary(max_size=200) | st.text('"\\[]{}a', max_size=60).map(str.encode), st.integers(1, 20))
def test_any_bytes(data: bytes, size: int) -> None:
    """What is no JSON raises nothing, and is cut in the same places however it comes."""
    assert split(ElementSplitter(), data, size) == ElementSplitter().feed(data)


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_one_that_is_too_long(size: int) -> None:
    """It is counted, none of it is kept, and the next is not lost."""
    splitter = ElementSplitter(max_bytes=10)
    assert split(splitter, b'[{"a":"' + b"x" * 100, size) == []
    assert len(splitter._held) <= 10
    assert split(splitter, b'"}\n,{"b":1}]', size) == [b'{"b":1}']
    assert splitter.oversized == 1


def test_brackets_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece that would take long is not read to its end; one with as many as may be is."""
    monkeypatch.setattr(module, "MAX_BRACKETS", 8)
    for piece, is_lost in (
        (b"[[][][]", False),
        (b"[[][][]]", False),
        (b"[[][][][", False),
        (b"[[][][][]", True),
    ):
        splitter = ElementSplitter()
        assert splitter.feed(piece) == [b"[]"] * 3
        assert splitter.is_lost == is_lost
