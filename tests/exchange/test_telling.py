"""What an answer says of how it came about."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.exchange.telling import telling_fields, upstream_fields, without_body


def test_who_answered_is_told() -> None:
    """And that the client need not try again, where we have."""
    assert telling_fields(2, "one", "gpt", True) == (
        (b"x-openai-proxy-attempts", b"2"),
        (b"x-openai-proxy-provider", b"one"),
        (b"x-openai-proxy-model", b"gpt"),
        (b"x-should-retry", b"false"),
    )
    assert telling_fields(0, "", "", False) == ((b"x-openai-proxy-attempts", b"0"),)


@pytest.mark.parametrize("model", ["a\r\nSet-Cookie: b", "\u00e9", "a\x00", "x" * 257, "\x7f"])
def test_a_name_that_is_no_fields_value_is_not_told(model: str) -> None:
    """It is the client's text."""
    assert [name for name, _ in telling_fields(1, "one", model, False)][2:] == []


@given(st.text())
def test_no_name_makes_a_field(model: str) -> None:
    """Whatever it is."""
    for name, value in telling_fields(1, "one", model, False):
        assert b"\r" not in name + value and b"\n" not in name + value


def test_what_an_upstream_says_in_our_words_is_not_passed_on() -> None:
    """But its own word on retries is, where we have none."""
    fields = [(b"X-OpenAI-Proxy-Attempts", b"9"), (b"X-Should-Retry", b"true"), (b"A", b"b")]
    assert upstream_fields(fields, False) == fields[1:]
    assert upstream_fields(fields, True) == fields[2:]


def test_what_is_said_of_another_body_is_left_out() -> None:
    """Its length, type and encoding."""
    fields = [
        (b"Content-Length", b"9"),
        (b"content-type", b"a"),
        (b"Content-Encoding", b"gzip"),
        (b"A", b"b"),
    ]
    assert without_body(fields) == fields[3:]
