"""A whole proxy without a socket: one client's kept connection and one upstream's, both in memory.

Nothing here waits or depends on time, so the same requests cost the same function calls.
"""

from __future__ import annotations

import os
import re
from typing import Any

from twisted.internet.testing import MemoryReactorClock, StringTransport

from openai_proxy.config.settings import Settings
from openai_proxy.config.setup import Setup
from openai_proxy.service import ProxyService

_BODY = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"%b"}],"stream":%b}'
_POST = (
    b"POST %b/v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAccept: application/json\r\n"
    b"Content-Type: application/json\r\nUser-Agent: OpenAI/Python 3.54.0\r\nX-Stainless-Lang: python\r\n"
    b"X-Stainless-Async: false\r\nAuthorization: Bearer sk-test\r\nContent-Length: %d\r\n\r\n%b"
)
_FIELDS = (
    b"HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 12:00:00 GMT\r\nContent-Type: %b\r\nServer: cloudflare\r\n"
    b"openai-processing-ms: 5\r\nx-request-id: req_1\r\nx-ratelimit-remaining-requests: 9999\r\n"
)
_COMPLETION = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1795437300,"model":"gpt-4o-mini-2024-07-18",'
    b'"choices":[{"index":0,"message":{"role":"assistant","content":"%b","refusal":null},"logprobs":null,'
    b'"finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":100,"total_tokens":120,'
    b'"prompt_tokens_details":{"cached_tokens":5},"completion_tokens_details":{"reasoning_tokens":0}},'
    b'"service_tier":"default","system_fingerprint":"fp_1"}'
) % (b"x" * 400)
CHAT_ANSWER = _FIELDS % b"application/json" + b"Content-Length: %d\r\n\r\n" % len(_COMPLETION) + _COMPLETION
STREAM_HEAD = _FIELDS % b"text/event-stream; charset=utf-8" + b"Transfer-Encoding: chunked\r\n\r\n"
_EVENT = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1795437300,'
    b'"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":null,'
    b'"choices":[{"index":0,"delta":{"content":" token"},"logprobs":null,"finish_reason":null}]}\n\n'
)
"""As long as the API's own."""
CHUNK = b"%x\r\n%b\r\n" % (len(_EVENT), _EVENT)
STREAM_END = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
UPGRADE = (
    b"GET /v1/realtime HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def post(stream: bool = False, content: bytes = b"hello", prefix: bytes = b"") -> bytes:
    """A chat request as the SDK sends it."""
    body = _BODY % (content, b"true" if stream else b"false")
    return _POST % (prefix, len(body), body)


def untimed(answer: bytes) -> bytes:
    """An answer without the one field of ours that tells of time."""
    rest, found = re.subn(rb"Server-Timing: [^\r]*\r\n", b"", answer)
    assert found == 1
    return rest


class Wire(StringTransport):
    """One end of a connection, which never has anything to read by itself."""

    def __init__(self, readable: int) -> None:
        super().__init__()
        self._readable = readable
        self.aborted = False

    def fileno(self) -> int:
        """For ``poll``: a pipe that nobody writes to."""
        return self._readable

    def take(self) -> bytes:
        """What was written since the last time."""
        data: bytes = self.value()
        self.clear()
        return data

    def setTcpNoDelay(self, on: bool) -> None: ...

    def abortConnection(self) -> None:
        self.aborted = True


class MemoryProxy:
    """The object graph of a daemon, a client of it, and the upstream that it dials."""

    def __init__(self) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.service = ProxyService(Setup(Settings(upstream="http://127.0.0.1:1")), self.reactor)
        self._pipe = os.pipe()
        self.upstream: Any = None
        self.connect()

    def connect(self) -> None:
        """Have a new connection of a client."""
        self.client = Wire(self._pipe[0])
        self.channel: Any = self.service.site.buildProtocol(None)
        self.channel.makeConnection(self.client)

    def ask(self, request: bytes) -> None:
        """Send a request; the upstream is dialled, if it has no connection that is kept."""
        self.channel.dataReceived(request)
        while self.reactor.tcpClients:
            _, _, factory, *_ = self.reactor.tcpClients.pop()
            self.upstream = factory.buildProtocol(None)
            self.upstream.makeConnection(Wire(self._pipe[0]))

    def chat(self, request: bytes) -> None:
        """One exchange that is not a stream."""
        self.ask(request)
        assert self.upstream.transport.take().startswith(request[:33])
        self.upstream.dataReceived(CHAT_ANSWER)
        assert untimed(self.client.take()) == CHAT_ANSWER

    def stream(self, request: bytes, chunks: int, together: int = 1) -> None:
        """One exchange with an answer of so many chunks, so many of which come in one read."""
        self.ask(request)
        self.upstream.transport.take()
        self.upstream.dataReceived(STREAM_HEAD)
        for _ in range(chunks // together):
            self.upstream.dataReceived(CHUNK * together)
        self.upstream.dataReceived(STREAM_END)
        answer = untimed(self.client.take())
        # What came together goes on as one chunk.
        assert answer.count(_EVENT) == chunks and answer.endswith(STREAM_END)
        assert together > 1 or answer == STREAM_HEAD + CHUNK * chunks + STREAM_END

    def close(self) -> None:
        """Let go of the pipe."""
        for descriptor in self._pipe:
            os.close(descriptor)
