"""What the stand-in for an upstream answers in Anthropic's form: one message, whole or as events."""

import json


def _event(kind: str, **members: object) -> bytes:
    data = json.dumps({"type": kind, **members}, separators=(",", ":")).encode()
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), data)


_HEAD = {
    "id": "msg_abc123",
    "type": "message",
    "role": "assistant",
    "model": "claude-haiku-4-5",
    "stop_sequence": None,
}
MESSAGE = json.dumps(
    {
        **_HEAD,
        "content": [{"type": "text", "text": "x" * 400}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 20, "output_tokens": 100},
    },
    separators=(",", ":"),
).encode()
BEGIN = _event(
    "message_start",
    message={**_HEAD, "content": [], "stop_reason": None, "usage": {"input_tokens": 20, "output_tokens": 1}},
) + _event("content_block_start", index=0, content_block={"type": "text", "text": ""})
DELTA = _event("content_block_delta", index=0, delta={"type": "text_delta", "text": " token"})
END = (
    _event("content_block_stop", index=0)
    + _event(
        "message_delta",
        delta={"stop_reason": "end_turn", "stop_sequence": None},
        usage={"output_tokens": 100},
    )
    + _event("message_stop")
)
