"""Errors that come in a list."""

from __future__ import annotations

import pytest

from openai_proxy.providers.listed_error import first_error

ERROR = b'{ "error": {"code": 400, "message": "m", "status": "INVALID_ARGUMENT"} }'


@pytest.mark.parametrize("listed", [b"[%b]", b" [\n%b\n]\n", b'[%b,{"error":1}]'])
def test_the_first_is_taken_out(listed: bytes) -> None:
    """Byte for byte."""
    assert first_error(listed % ERROR) == ERROR


@pytest.mark.parametrize(
    "other",
    [ERROR, b"", b"[]", b"[1]", b'[{"message":"m"}]', b'[{"error":1}', b"<html>", b"\xff", b"[" * 100_000],
)
def test_anything_else_stays(other: bytes) -> None:
    """The same object."""
    assert first_error(other) is other
