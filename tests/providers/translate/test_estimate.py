"""Tokens of a request, estimated."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openai_proxy.providers.translate.estimate import (
    DOCUMENT_TOKENS,
    IMAGE_TOKENS,
    MESSAGE_TOKENS,
    estimated_input_tokens,
)

Json = dict[str, Any]

relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
PIXELS = {"type": "base64", "media_type": "image/png", "data": "A" * 100_000}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def user(*blocks: Json) -> Json:
    return {"messages": [{"role": "user", "content": list(blocks)}]}


def text(said: str) -> Json:
    return {"type": "text", "text": said}


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({"messages": [{"role": "user", "content": "x" * 400}]}, 100),
        (user(text("x" * 400)), 100),
        (user(text("x" * 200), text("x" * 200)), 100),
        (user(text("x" * 401)), 101),
        (user(text("話" * 100)), 75),
        (user({"type": "image", "source": PIXELS}), IMAGE_TOKENS),
        (user({"type": "image", "source": {"type": "url", "url": "https://e.example/a.png"}}), IMAGE_TOKENS),
        (
            user({"type": "document", "source": PIXELS | {"media_type": "application/pdf"}}),
            DOCUMENT_TOKENS,
        ),
        (
            user(
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x" * 40}}
            ),
            10,
        ),
        (user({"type": "tool_use", "id": "toolu_1", "name": "f" * 4, "input": {"a": "x" * 34}}), 12),
        (
            user({"type": "tool_result", "tool_use_id": "toolu_1", "content": [text("x" * 40)]}),
            10,
        ),
        (
            user({"type": "tool_result", "content": [{"type": "image", "source": PIXELS}]}),
            IMAGE_TOKENS,
        ),
        (user({"type": "thinking", "thinking": "x" * 40, "signature": "s" * 4000}), 10),
        (user({"type": "redacted_thinking", "data": "s" * 4000}), 0),
    ],
)
def test_content(body: Json, tokens: int) -> None:
    """Texts by their length, what is none by a flat number; what is not read is not counted."""
    assert estimated_input_tokens(body) == tokens + MESSAGE_TOKENS


def test_system_and_tools_count() -> None:
    """A client's tools are most of what it sends."""
    body = user(text("x"))
    least = estimated_input_tokens(body)
    assert estimated_input_tokens(body | {"system": "x" * 400}) == least + 100
    schema = {"type": "object", "properties": {"place": {"type": "string"}}}
    tools = [{"name": "f", "description": "d" * 400, "input_schema": schema}]
    assert estimated_input_tokens(body | {"tools": tools}) > least + 120


@relaxed
@given(st.fixed_dictionaries({}, optional={"system": VALUES, "messages": VALUES, "tools": VALUES}))
def test_any_body(body: Json) -> None:
    """There is always a number, for a client that asks wants one."""
    assert estimated_input_tokens(body) >= 1
