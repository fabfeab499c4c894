"""Names and errors out of answers, whatever form they have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from openai_proxy.observe.members import ErrorName, error_in_body, error_of, is_said, text_of


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (
            b'{"error":{"message":"m","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}',
            ("invalid_request_error", "invalid_api_key"),
        ),
        (b'{"error":{"message":"m","type":"server_error","code":null}}', ("server_error", None)),
        (b'{"error":{"code":502,"message":"m"}}', (None, "502")),
        (b'[{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}]', ("RESOURCE_EXHAUSTED", "429")),
        (b'{"error":"boom"}', (None, None)),
        (b'{"object":"error","type":"BadRequestError","code":400}', ("BadRequestError", "400")),
        (b'{"type":"error","code":"rate_limit_exceeded","message":"m"}', (None, "rate_limit_exceeded")),
        (b'{"type":"error","error":{"type":"overloaded_error"}}', ("overloaded_error", None)),
        (
            b'{"type":"error","error":{"type":"invalid_request_error","details":{"error_code":"c"}}}',
            ("invalid_request_error", "c"),
        ),
        (b'{"error":null}', None),
        (b'{"detail":"Not Found"}', None),
        (b"[]", None),
        (b"<html>", None),
        (b"", None),
    ],
)
def test_errors(body: bytes, name: ErrorName | None) -> None:
    """Type and code, where each provider puts them."""
    assert error_in_body(body) == name


def test_names_are_bounded() -> None:
    """A name as long as a book is none."""
    assert error_of(Raw(b'{"type":"' + b"x" * 100000 + b'"}')) == (None, None)
    assert text_of(Raw(b'"' + b"x" * 253 + b'"')) == "x" * 253
    assert text_of(Raw(b'"' + b"x" * 254 + b'"')) is None


@pytest.mark.parametrize("raw", [b"", b"null", b'""', b"[]", b"{}"])
def test_unsaid(raw: bytes) -> None:
    """These say nothing."""
    assert not is_said(Raw(raw))


@given(st.binary(max_size=100))
def test_any_body(body: bytes) -> None:
    """Whatever a provider sends, reading its error does not raise."""
    error_in_body(body)
    error_in_body(b'{"error":' + body)
    error_in_body(b'{"error":{"type":' + body + b"}}")
