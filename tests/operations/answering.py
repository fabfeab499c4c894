"""A provider for load: fast, echoes what it was asked, streams at a pace, fails when told to.

Run as ``python -m tests.operations.answering``; says ``serves on http://127.0.0.1:40123`` and ends with
who has started it. What is wanted of an answer stands in the ``user`` member of a request, words apart:

``ask-17``
    The mark. It comes back as ``id`` of the body or of each event; the head's ``x-ask`` comes back as the
    field ``x-answers``, and the key that came with it as the member ``key``: head, body and answer that
    belong to different requests are seen to.
``events=20 gap_ms=50``
    Of a stream: so many numbered events, so far apart, then ``[DONE]``.
``fault=NAME``
    See :data:`FAULTS`.

``GET /truth``: what was asked here, as JSON (:class:`Truth`).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from dataclasses import asdict, dataclass, field

FAULTS = {
    "500": "a server's error",
    "close": "the connection closes before a byte of an answer",
    "stale": "the same, if the connection has served before",
    "cut": "the connection ends in the middle of the answer",
    "short": "a stream that ends well before its last event",
    "order": "a stream with two events swapped",
    "twice": "an answer that comes twice",
    "mix": "the answer of another request",
    "told": "a stream with an event that tells of an error, and then no end",
    "hang": "no answer at all",
}
"""What can be wrong with an answer."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)
_ASK = re.compile(rb"\r\nx-ask: *([^\r]*)", re.I)
_KEY = re.compile(rb"\r\nauthorization: *bearer ([^\r]*)", re.I)
_USER = re.compile(rb'"user": ?"([^" ]*)([^"]*)"')
_KNOB = re.compile(rb"(\w+)=(\w+)")
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nx-answers: %b\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
_BODY = (
    b'{"id":"%b","object":"chat.completion","created":1,"model":"load","key":"%b","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"Yes."},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}'
)
_EVENT = (
    b'data: {"id":"%b","object":"chat.completion.chunk","created":1,"model":"load","key":"%b","choices":'
    b'[{"index":0,"delta":{"content":"#%d"},"finish_reason":null}]}\n\n'
)
_USAGE = (
    b'data: {"id":"%b","object":"chat.completion.chunk","created":1,"model":"load","choices":[],'
    b'"usage":{"prompt_tokens":3,"completion_tokens":%d,"total_tokens":9}}\n\n'
)
_DONE = b"data: [DONE]\n\n"
_TOLD = b'data: {"error":{"message":"It ends.","type":"server_error","code":null}}\n\n'


@dataclass
class Truth:
    """What came in here."""

    requests: int = 0
    repeated: int = 0
    """Requests with a mark that had come before: they were done, and paid for, twice."""
    streams: int = 0
    whole_streams: int = 0
    """Streams that could be written to their end."""
    keys: dict[str, int] = field(default_factory=dict)
    """Requests by the key that came with them."""


@dataclass
class Wanted:
    """One request, as far as it matters here."""

    ask: bytes
    mark: bytes
    key: bytes
    is_stream: bool
    wants_usage: bool
    events: int
    gap_seconds: float
    fault: str


def wanted_by(head: bytes, body: bytes) -> Wanted:
    """Read a request."""
    user, ask, key = _USER.search(body), _ASK.search(head), _KEY.search(head)
    knobs = {name.decode(): value.decode() for name, value in _KNOB.findall(user[2] if user else b"")}
    return Wanted(
        ask[1] if ask else b"",
        user[1] if user else b"",
        key[1] if key else b"",
        b'"stream":true' in body,
        b'"include_usage":' in body,
        int(knobs.get("events", 1)),
        int(knobs.get("gap_ms", 0)) / 1000,
        knobs.get("fault", ""),
    )


def whole_answer(wanted: Wanted) -> bytes:
    """Head and body of an answer that is no stream."""
    mark = b"ask-of-another" if wanted.fault == "mix" else wanted.mark
    body = _BODY % (mark, wanted.key)
    status = b"500 Internal Server Error" if wanted.fault == "500" else b"200 OK"
    head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nx-answers: %b\r\nContent-Length: %d\r\n\r\n"
    return head % (status, wanted.ask, len(body)) + body


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Connection(asyncio.Protocol):
    """Answers one request after the other."""

    _transport: asyncio.Transport

    def __init__(self, truth: Truth, marks: set[bytes]) -> None:
        self._truth = truth
        self._marks = marks
        self._data = b""
        self._served = 0
        self._stream: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._stream is not None:
            self._stream.cancel()

    def data_received(self, data: bytes) -> None:
        self._data += data
        while self._stream is None and (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end]
            length = _LENGTH.search(head)
            until = end + 4 + (int(length[1]) if length else 0)
            if len(self._data) < until:
                return
            body, self._data = self._data[end + 4 : until], self._data[until:]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET "):
            self._tell()
            return
        wanted = wanted_by(head, body)
        self._count(wanted)
        before, self._served = self._served, self._served + 1
        if wanted.fault == "close" or (wanted.fault == "stale" and before):
            self._transport.close()
        elif wanted.fault == "hang":
            return
        elif wanted.is_stream:
            self._transport.write(_STREAM_HEAD % wanted.ask)
            self._stream = asyncio.get_running_loop().create_task(self._write_stream(wanted))
        else:
            self._write_whole(wanted)

    def _count(self, wanted: Wanted) -> None:
        truth = self._truth
        truth.requests += 1
        truth.streams += wanted.is_stream
        truth.repeated += wanted.mark in self._marks
        self._marks.add(wanted.mark)
        key = wanted.key.decode()
        truth.keys[key] = truth.keys.get(key, 0) + 1

    def _tell(self) -> None:
        body = json.dumps(asdict(self._truth)).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self._transport.write(head % len(body) + body)

    def _write_whole(self, wanted: Wanted) -> None:
        answer = whole_answer(wanted)
        if wanted.fault == "cut":
            self._transport.write(answer[:-5])
            self._cut()
        elif wanted.fault == "twice":
            self._transport.write(answer * 2)
        else:
            self._transport.write(answer)

    def _cut(self) -> None:
        # The bytes are in the socket by now, and abort() of an empty buffer is a FIN: the length that
        # was promised, or the last chunk, is what is missing then.
        self._transport.abort()

    async def _write_stream(self, wanted: Wanted) -> None:
        numbers = list(range(wanted.events))
        if wanted.fault == "order":
            numbers[0], numbers[1] = 1, 0
        half = numbers[: len(numbers) // 2]
        for number in half if wanted.fault in ("cut", "told", "short") else numbers:
            if number:
                await asyncio.sleep(wanted.gap_seconds)
            self._transport.write(_chunk(_EVENT % (wanted.mark, wanted.key, number)))
        if wanted.fault in ("cut", "told"):
            self._transport.write(_chunk(_TOLD) if wanted.fault == "told" else b"")
            self._cut()
            return
        usage = _USAGE % (wanted.mark, wanted.events) if wanted.wants_usage else b""
        self._transport.write((_chunk(usage) if usage else b"") + _chunk(_DONE) + b"0\r\n\r\n")
        self._truth.whole_streams += 1
        self._stream = None
        self.data_received(b"")


async def _serve() -> None:
    truth, marks = Truth(), set[bytes]()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(truth, marks), "127.0.0.1", 0, backlog=4096)
    print(f"serves on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    parent, ended = os.getppid(), loop.create_future()

    def look() -> None:
        if os.getppid() != parent:
            ended.set_result(None)
        else:
            loop.call_later(1, look)

    look()
    await ended


if __name__ == "__main__":
    asyncio.run(_serve())
