"""A fast stand-in for the OpenAI API: a raw asyncio protocol on uvloop and llhttp.

Run as ``python -m benchmarks.upstream``; it listens on a free port of 127.0.0.1 and
prints it as one line of JSON, ``{"port": 40123}``.

``POST */chat/completions``
    A JSON answer, or server-sent events where the body says ``"stream":true``.
``POST */files``
    Reads the body; answers ``{"bytes": ..., "sha256": ...}`` of it.
``GET */files/BYTES/content``
    That many bytes of ``pattern.blocks``.
``POST */messages``
    The same in Anthropic's form.
Anything else is answered like a chat completion.

What a chat answer shall be is said in the request's ``user`` field, because every gateway
hands that field on, which is not true of headers::

    "user": "chunks=100 gap_ms=1000 stamp=1 status=429 delay_ms=5"

``stamp=1`` puts the monotonic clock (ns) of the write into each chunk's text, as ``t=123;``.
A ``gap_ms`` of 0 (the default) writes one chunk per turn of the event loop.
"""

import asyncio
import hashlib
import json
import re
import time
from typing import cast

import httptools
import uvloop

from benchmarks import messages, pattern

KNOB = re.compile(rb"\b(chunks|gap_ms|stamp|status|delay_ms)=(\d+)")
FILE_CONTENT = re.compile(rb"/files/(\d+)/content")
HIGH_WATER_BYTES = 1024 * 1024


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _answer(status: bytes, body: bytes) -> bytes:
    """A whole answer with the headers that clients of the real service know."""
    return (
        b"HTTP/1.1 %s\r\ncontent-type: application/json\r\nx-request-id: req_1\r\n"
        b"openai-processing-ms: 5\r\nx-ratelimit-remaining-requests: 9999\r\n"
        b"content-length: %d\r\n\r\n%s" % (status, len(body), body)
    )


def _event(choices: list[object], usage: object = None) -> bytes:
    fields = {
        "id": "chatcmpl-abc123",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "gpt-4o-mini-2024-07-18",
        "system_fingerprint": "fp_1",
        "choices": choices,
    }
    return b"data: " + _json(fields | ({"usage": usage} if usage else {})) + b"\n\n"


def _chunked(piece: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(piece), piece)


def _delta(text: str) -> bytes:
    delta = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}
    return _event([delta])


COMPLETION = _answer(
    b"200 OK",
    _json(
        {
            "id": "chatcmpl-abc123",
            "object": "chat.completion",
            "created": 1700000000,
            "model": "gpt-4o-mini-2024-07-18",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "x" * 400},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {
                "prompt_tokens": 20,
                "completion_tokens": 100,
                "total_tokens": 120,
                "prompt_tokens_details": {"cached_tokens": 5},
                "completion_tokens_details": {"reasoning_tokens": 0},
            },
            "system_fingerprint": "fp_1",
        }
    ),
)
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\nx-request-id: req_1\r\n\r\n"
)
CHUNK = _chunked(_delta(" token"))
STAMP_BEFORE, STAMP_AFTER = _delta("t=@;").split(b"@")
STREAM_END = (
    _chunked(_event([], {"prompt_tokens": 20, "completion_tokens": 20, "total_tokens": 40}))
    + _chunked(b"data: [DONE]\n\n")
    + b"0\r\n\r\n"
)

MESSAGE = _answer(b"200 OK", messages.MESSAGE)
DELTA = _chunked(messages.DELTA)
MESSAGE_END = _chunked(messages.END) + b"0\r\n\r\n"


class Upstream(asyncio.Protocol):
    """One connection; a request that is pipelined behind a stream is not supported."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._writable = asyncio.Event()
        self._writable.set()
        self._url = b""
        self._body: list[bytes] = []
        self._digest = hashlib.sha256()
        self._length = 0
        self._is_upload = False
        self._download: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio has accepted the connection."""
        # Not isinstance: uvloop's transports are not asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)

    def data_received(self, data: bytes) -> None:
        """Bytes of the request."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The proxy has gone; end what still writes."""
        if self._download is not None:
            self._download.cancel()

    def pause_writing(self) -> None:
        """The socket is full."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The socket takes bytes again."""
        self._writable.set()

    def on_message_begin(self) -> None:
        """llhttp: a request starts."""
        self._url = b""
        self._body = []
        self._is_upload = False

    def on_url(self, piece: bytes) -> None:
        """llhttp: a piece of the request target."""
        self._url += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        """llhttp: one header field."""
        if name.lower() == b"expect":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_headers_complete(self) -> None:
        """llhttp: the head is whole."""
        self._is_upload = self._url.endswith(b"/files")
        if self._is_upload:
            self._digest = hashlib.sha256()
            self._length = 0

    def on_body(self, piece: bytes) -> None:
        """llhttp: a piece of the body."""
        if self._is_upload:
            self._digest.update(piece)
            self._length += len(piece)
        else:
            self._body.append(piece)

    def on_message_complete(self) -> None:
        """llhttp: the request is whole; answer it."""
        if self._is_upload:
            report = {"bytes": self._length, "sha256": self._digest.hexdigest()}
            self._transport.write(_answer(b"200 OK", _json(report)))
        elif content := FILE_CONTENT.search(self._url):
            self._download = self._loop.create_task(self._send_file(int(content[1])))
        else:
            self._answer_chat(b"".join(self._body))

    def _answer_chat(self, body: bytes) -> None:
        knobs = {name: int(value) for name, value in KNOB.findall(body)}
        if knobs.get(b"status", 200) != 200:
            error = {"message": "as asked", "type": "x", "param": None, "code": None}
            status = b"%d Asked For" % knobs[b"status"]
            self._write(_answer(status, _json({"error": error})))
        elif b'"stream":true' in body or b'"stream": true' in body:
            self._write(STREAM_HEAD)
            gap = knobs.get(b"gap_ms", 0) / 1000
            if self._is_message:
                self._write(_chunked(messages.BEGIN))
                self._send_delta(knobs.get(b"chunks", 20), gap)
            else:
                self._send_chunk(knobs.get(b"chunks", 20), gap, bool(knobs.get(b"stamp")))
        elif delay := knobs.get(b"delay_ms"):
            self._loop.call_later(delay / 1000, self._write, COMPLETION)
        else:
            self._write(MESSAGE if self._is_message else COMPLETION)

    @property
    def _is_message(self) -> bool:
        return self._url.partition(b"?")[0].endswith(b"/messages")

    def _send_delta(self, left: int, gap: float) -> None:
        """As :meth:`_send_chunk`, in Anthropic's form."""
        if self._transport.is_closing():
            return
        if not left:
            self._transport.write(MESSAGE_END)
            return
        self._transport.write(DELTA)
        if gap:
            self._loop.call_later(gap, self._send_delta, left - 1, gap)
        else:
            self._loop.call_soon(self._send_delta, left - 1, gap)

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    def _send_chunk(self, left: int, gap: float, stamp: bool) -> None:
        """Write one chunk, and book the next after ``gap`` seconds."""
        if self._transport.is_closing():
            return
        if not left:
            self._transport.write(STREAM_END)
            return
        if stamp:
            text = b"%s%d%s" % (STAMP_BEFORE, time.monotonic_ns(), STAMP_AFTER)
            self._transport.write(_chunked(text))
        else:
            self._transport.write(CHUNK)
        if gap:
            self._loop.call_later(gap, self._send_chunk, left - 1, gap, stamp)
        else:
            self._loop.call_soon(self._send_chunk, left - 1, gap, stamp)

    async def _send_file(self, length: int) -> None:
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n"
            b"content-length: %d\r\n\r\n" % length
        )
        for block in pattern.blocks(length):
            self._transport.write(block)
            await self._writable.wait()


async def serve() -> None:
    """Listen, say where, and serve until killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", 0, backlog=4096)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
