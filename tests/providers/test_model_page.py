"""A provider's list of models, read with indulgence."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.providers.model_page import LONGEST_ID, Page, page_of
from openai_proxy.providers.translate.untranslatable import UnreadableAnswer

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["m", "google"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["data", "id", "has_more", "last_id", "owned_by"]) | st.text(), inner, max_size=4
        )
    ),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("said", "page"),
    [
        ({"object": "list", "data": []}, Page(())),
        ({"data": [{"id": "m", "x": {"y": [1]}}]}, Page(({"id": "m", "x": {"y": [1]}},))),
        ([{"id": "m"}], Page(({"id": "m"},))),
        ({"data": None}, Page(())),
        ({"data": [{"id": "m"}], "has_more": True, "last_id": "m"}, Page(({"id": "m"},), "m")),
        ({"data": [], "has_more": False, "last_id": "m"}, Page(())),
        ({"data": [], "has_more": True, "last_id": None}, Page(())),
        ({"data": [{"id": ""}, {"id": None}, {"id": "m" * (LONGEST_ID + 1)}, "m", None, {}]}, Page(())),
        (
            {"data": [{"id": "models/gemini-x", "owned_by": "google"}]},
            Page(({"id": "gemini-x", "owned_by": "google"},)),
        ),
        (
            {"data": [{"id": "models/", "owned_by": "google"}]},
            Page(({"id": "models/", "owned_by": "google"},)),
        ),
        ({"data": [{"id": "models/mine"}]}, Page(({"id": "models/mine"},))),
    ],
)
def test_read(said: Any, page: Page) -> None:
    """Entries with a name, as they came; the next page, if there is one."""
    assert page_of(json.dumps(said).encode()) == page


@given(st.binary() | JSON.map(lambda said: json.dumps(said).encode()))
def test_whatever_comes(body: bytes) -> None:
    """It is a page, or it is said to be none."""
    try:
        page = page_of(body)
    except UnreadableAnswer:
        return
    for entry in page.entries:
        assert isinstance(entry["id"], str)
        assert 0 < len(entry["id"]) <= LONGEST_ID
