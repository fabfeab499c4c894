"""The events of Anthropic's Messages."""

from __future__ import annotations

import pytest

from openai_proxy.observe.message_events import MessageEvents
from openai_proxy.observe.said import SILENT, TOKEN, VISIBLE
from openai_proxy.observe.usage import NO_QUIRKS, Usage

START = (
    b'{"type":"message_start","message":{"id":"msg_1","model":"claude-opus-4-6","content":[],'
    b'"usage":{"input_tokens":10,"cache_read_input_tokens":5,"output_tokens":1,"service_tier":"standard"}}}'
)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}', VISIBLE),
        (b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":""}}', SILENT),
        (b'{"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}}  ', VISIBLE),
        (b'{"type":"content_block_delta","delta":{"type":"thinking_delta","thinking":"a"}}', TOKEN),
        (b'{"type":"content_block_delta","delta":{"type":"input_json_delta","partial_json":"{"}}', TOKEN),
        (b'{"type":"content_block_start","content_block":{"type":"tool_use","name":"f","input":{}}}', TOKEN),
        (b'{"type":"content_block_delta","delta":{"type":"input_json_delta","partial_json":""}}', SILENT),
        (b'{"type":"content_block_delta","delta":{"type":"signature_delta","signature":"abc"}}', SILENT),
        (b'{"type":"content_block_start","content_block":{"type":"text","text":""}}', SILENT),
        (b'{"type":"ping"}', SILENT),
        (b'{"type":"of_tomorrow"}', SILENT),
        (b"{", SILENT),
    ],
)
def test_kinds(data: bytes, kind: int) -> None:
    """Text is visible, thinking and tools are not, signatures and pings are no tokens."""
    assert MessageEvents(NO_QUIRKS).read(b"", data) == kind


def test_usage() -> None:
    """The last numbers replace the first, and input has the cache in it."""
    events = MessageEvents(NO_QUIRKS)
    events.read(b"message_start", START)
    for count in (20, 30):
        events.read(
            b"message_delta", b'{"type":"message_delta","delta":{},"usage":{"output_tokens":%d}}' % count
        )
    ended = [events.said.ended]
    events.read(b"message_stop", b'{"type":"message_stop"}')
    assert [*ended, events.said.ended] == [False, True]
    assert events.said.usage() == Usage(
        input_tokens=15,
        cached_input_tokens=5,
        output_tokens=30,
        model="claude-opus-4-6",
        service_tier="standard",
    )


def test_an_error() -> None:
    """In the middle of a success."""
    events = MessageEvents(NO_QUIRKS)
    events.read(b"error", b'{"type":"error","error":{"type":"overloaded_error","message":"m"}}')
    assert events.said.error == ("overloaded_error", None)
    assert not events.said.ended


def test_usage_that_cannot_be_read() -> None:
    """Half of the numbers is none."""
    events = MessageEvents(NO_QUIRKS)
    events.read(b"message_start", START)
    events.read(b"message_delta", b'{"type":"message_delta","usage":{"output_tokens":"many"}}')
    assert events.said.usage() is None
    assert events.said.unread
