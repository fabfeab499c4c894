"""A decoded copy, and no bomb."""

from __future__ import annotations

import gzip
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.observe.inflate import Inflate, InflateError


@given(st.lists(st.binary(max_size=300), max_size=3), st.lists(st.integers(0, 1000), max_size=8))
def test_any_split(members: list[bytes], cuts: list[int]) -> None:
    """However it is cut, and of how many members it is."""
    data = b"".join(gzip.compress(member) for member in members)
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    inflate = Inflate()
    assert b"".join(inflate.feed(data[i:j]) for i, j in pairwise(places)) == b"".join(members)


def test_a_bomb() -> None:
    """A piece that becomes too large is not made; one that just fits is."""
    assert Inflate(1000).feed(gzip.compress(b"a" * 1000)) == b"a" * 1000
    with pytest.raises(InflateError):
        Inflate(1000).feed(gzip.compress(b"a" * 1001))
    with pytest.raises(InflateError):
        Inflate(1000).feed(gzip.compress(b"a" * 600) * 2)


def test_no_gzip() -> None:
    """What is something else is said to be."""
    with pytest.raises(InflateError):
        Inflate().feed(b"data: {}\n\n")
