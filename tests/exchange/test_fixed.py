"""Answers that are put right on their way, and never held without bound."""

from __future__ import annotations

from functools import partial

import pytest

from openai_proxy.config.provider import Quirks
from openai_proxy.exchange.fixed import MOST_BYTES, FixedStream, FixedWhole
from openai_proxy.providers.stream_fixes import fixed_completion

BOTH = Quirks(fix_tool_index=True, fix_finish_reason=True)
FIXED = partial(fixed_completion, quirks=BOTH)
CALLED = b'{"choices":[{"index":0,"message":{"tool_calls":[{"id":"a"}]},"finish_reason":"stop"}]}'


def test_a_completion_is_put_right_at_its_end() -> None:
    """In whatever pieces it comes."""
    fixed = FixedWhole(FIXED)
    assert fixed.feed(CALLED[:30]) + fixed.feed(CALLED[30:]) == b""
    assert fixed.end(whole=True) == CALLED.replace(b'"stop"', b'"tool_calls"')
    assert not fixed.failed


def test_a_completion_that_was_cut_is_given_as_it_came() -> None:
    """Nothing can be put right in half of one."""
    fixed = FixedWhole(FIXED)
    fixed.feed(CALLED[:30])
    assert fixed.end(whole=False) == CALLED[:30]


def test_a_long_completion_is_given_as_it_comes() -> None:
    """Memory is not its upstream's to fill."""
    fixed = FixedWhole(FIXED)
    begun = CALLED[:-1] + b" " * MOST_BYTES
    assert fixed.feed(begun[:100]) == b""
    assert fixed.feed(begun[100:]) == begun
    assert fixed.feed(b"}") == b"}"
    assert fixed.end(whole=True) == b""


@pytest.mark.parametrize("cut", [0, 1, 40, 80])
def test_a_stream_is_put_right_line_by_line(cut: int) -> None:
    """Wherever it is cut; what is left of a line goes out at the end."""
    event = b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"id":"a"}]}}]}\n\n'
    ended = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
    fixed = FixedStream(BOTH)
    said = event + ended
    out = fixed.feed(said[:cut]) + fixed.feed(said[cut:]) + fixed.end(whole=True)
    assert out == event.replace(b'{"id"', b'{"index":0,"id"') + ended.replace(b'"stop"', b'"tool_calls"')
