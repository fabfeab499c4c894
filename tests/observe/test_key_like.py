"""What looks like a key."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.observe.key_like import is_key_like

KEYS = (
    "sk-proj-abc", "sk-ant-api03-x", "SK-ABC", "pk-lf-1", "key-1", "api-key-1", "xai-abc", "gsk_abc",
    "hf_abc", "AIzaSyA", "pplx-1", "nvapi-1", "r8_x", "ghp_x", "AKIAABC", "Bearer_abc", "eyJhbGci.eyJzdWIi.x",
)  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("before", ["", "req_", "id:", "a-"])
def test_a_key_is_one_wherever_it_begins(before: str, key: str) -> None:
    """At the beginning, and behind what parts words."""
    assert is_key_like(before + key)


@pytest.mark.parametrize("text", ["req_011CSk8Hf", "chatcmpl-9AIza0", "task-1", "disk-full", "monkey-1"])
def test_an_id_is_none(text: str) -> None:
    """The same letters inside a word are no beginning."""
    assert not is_key_like(text)


@given(st.uuids())
def test_our_own_ids_are_none(uuid: UUID) -> None:
    """They are shown, all of them."""
    assert not is_key_like(str(uuid))
    assert not is_key_like(uuid.hex)
