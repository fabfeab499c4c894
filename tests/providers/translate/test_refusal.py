"""Errors of ours in each dialect."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from openai_proxy.providers.translate.refusal import refusal


def test_in_openais_form() -> None:
    """All four members."""
    said = json.loads(refusal("openai", 400, "No.", "invalid_request_error", "unsupported_value", "n"))
    members = {"message": "No.", "type": "invalid_request_error", "code": "unsupported_value", "param": "n"}
    assert said == {"error": members}


@pytest.mark.parametrize(
    ("status", "type_"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (502, "api_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
def test_in_anthropics_form(status: int, type_: str) -> None:
    """The type says the status, whatever ours was."""
    said = json.loads(refusal("anthropic", status, "No.", "server_error", "upstream_error"))
    assert said == {"type": "error", "error": {"type": type_, "message": "No."}}


def test_the_requests_id() -> None:
    """Only Anthropic's form has a place for it."""
    asked: Any = ("No.", "server_error", None, None, "req_1")
    assert json.loads(refusal("anthropic", 500, *asked))["request_id"] == "req_1"
    assert "request_id" not in json.loads(refusal("openai", 500, *asked))


def test_it_needs_no_translator() -> None:
    """A daemon that translates nothing does not load what would."""
    code = (
        "import sys, openai_proxy.providers.translate.refusal;"
        "sys.exit(any('.to_chat' in name or '.to_messages' in name for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
