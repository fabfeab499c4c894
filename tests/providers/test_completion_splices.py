"""Whole chat completions: a reason that is wrong is put right in its place."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openai_proxy.providers.completion_splices import with_right_reasons

CALLS = '"tool_calls": [{"id":"a","function":{"name":"stop","arguments":"\\"finish_reason\\":\\"stop\\""}}]'
WRONG = (
    f'{{"id":"c", "choices":[{{"finish_reason" : "stop","message":{{"content":"stop", {CALLS}}}}},\n'
    f'{{"message":{{{CALLS}}},"finish_reason":"length"}},null,{{"message":{{}},"finish_reason":"stop"}}\n'
    ',{"message":{"tool_calls":[]},"finish_reason":"stop"}],"usage":{"cost":1.10}}'
).encode()


def test_a_call_says_so() -> None:
    """And no other choice, nor any other text that looks alike."""
    assert with_right_reasons(WRONG) == WRONG.replace(b'" : "stop"', b'" : "tool_calls"')
    assert with_right_reasons(b" \n" + WRONG) == b" \n" + WRONG.replace(b'" : "stop"', b'" : "tool_calls"')


def test_of_two_reasons_the_last_counts() -> None:
    """As it does for who reads it."""
    body = b'{"choices":[{"finish_reason":"a","message":{"tool_calls":[{}]},"finish_reason":"stop"}]}'
    assert with_right_reasons(body) == body.replace(b'"stop"', b'"tool_calls"')


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"x", b"[]", b'["tool_calls","stop"]', b'{"choices":"tool_calls","x":"stop"}', WRONG[:-1]),
        b'{"choices":[{"finish_reason":"stop","message":{"content":"\\"tool_calls\\""}}]}',
        b'{"choices":[{"finish_reason":"stop","message":["tool_calls"]}]}',
        WRONG.replace(b'" : "stop"', b'" : "tool_calls"'),
        b'{"choices":[%b]}' % b",".join([b'{"message":{"tool_calls":[{}]},"finish_reason":"stop"}'] * 257),
    ],
)
def test_what_is_right_or_odd_is_the_same_object(body: bytes) -> None:
    """Nothing is written anew."""
    assert with_right_reasons(body) is body


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["stop", "tool_calls", "choices", '\u00e9"\\']),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "tool_calls", "finish_reason", "index"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(["choices", "x"]), VALUES | st.lists(VALUES)), st.sampled_from([None, 1])
)
def test_nothing_else_becomes_another(value: dict[str, object], indent: int | None) -> None:
    """Read again, it differs in the reasons of choices that call tools alone."""
    body = json.dumps(value, indent=indent).encode()
    choices = value.get("choices")
    for choice in choices if isinstance(choices, list) else []:
        message = choice.get("message") if isinstance(choice, dict) else None
        if isinstance(message, dict) and message.get("tool_calls") and choice.get("finish_reason") == "stop":
            choice["finish_reason"] = "tool_calls"
    assert json.loads(with_right_reasons(body)) == value
