"""The status that an error should have had which came as a success."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.exchange.error_in_answer import status_of
from openai_proxy.wire.errors import reason_phrase


@pytest.mark.parametrize(
    ("type_", "code", "status"),
    [
        (None, "429", 429),
        ("server_error", "404", 404),
        (None, "200", 502),
        (None, "600", 502),
        (None, "4290", 502),
        ("invalid_request_error", None, 400),
        ("invalid_request_error", "model_not_found", 404),
        ("RESOURCE_EXHAUSTED", None, 429),
        ("overloaded_error", None, 529),
        ("something", "rate_limit_exceeded", 429),
        ("something", "else", 502),
        (None, None, 502),
        ("", "", 502),
        (None, "\u00b2\u00b2\u00b2", 502),
    ],
)
def test_status_of(type_: str | None, code: str | None, status: int) -> None:
    """A code that is a status, or a name that is known of either; else a bad gateway."""
    assert status_of((type_, code)) == status


@given(st.none() | st.text(max_size=5), st.none() | st.text(max_size=5) | st.integers(0, 999).map(str))
def test_any_error_has_a_status_of_errors(type_: str | None, code: str | None) -> None:
    """And one that can be said in an answer's head."""
    status = status_of((type_, code))
    assert 400 <= status < 600
    assert reason_phrase(status)
