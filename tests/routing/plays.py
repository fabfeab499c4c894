"""Upstreams that do what a test tells them, count what they were asked, and are never at a loss."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.task import deferLater

from tests.support.upstream import Gone, ScriptedUpstream, UpstreamConnection

WORDS = ("Hello", " there", "!")
USAGE = {"prompt_tokens": 1000, "completion_tokens": 3, "total_tokens": 1003}


@dataclass(frozen=True)
class Asked:
    """One request as an upstream had it."""

    method: str
    target: str
    fields: list[tuple[str, str]]
    """Names in lower case."""
    body: bytes
    connection: UpstreamConnection

    @property
    def path(self) -> str:
        """Without the query."""
        return self.target.partition("?")[0]

    @property
    def is_stream(self) -> bool:
        """Whether it wants one."""
        return b'"stream": true' in self.body

    def values(self, name: str) -> list[str]:
        """Of a field."""
        return [value for key, value in self.fields if key == name]

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


Play = Callable[["Upstream", UpstreamConnection, Asked], Awaitable[None]]


class Upstream:
    """A provider. ``plays`` are for its next requests, then ``play`` is for each."""

    def __init__(self, reactor: Any, name: str) -> None:
        self.name = name
        self.reactor = reactor
        self.asked: list[Asked] = []
        self.plays: deque[Play] = deque()
        self.play: Play = healthy
        self.hangs_up = False
        """Whether connections are closed as soon as they come."""
        self.hung_up = 0
        self.server = ScriptedUpstream(reactor, self._serve).start()

    @property
    def url(self) -> str:
        """Its root."""
        return self.server.url(b"").decode()

    @property
    def attempts(self) -> int:
        """How many requests it had, or hung up on."""
        return len(self.asked) + self.hung_up

    def played(self, *plays: Play) -> None:
        """What is done with the next requests."""
        self.plays.extend(plays)

    async def _serve(self, connection: UpstreamConnection) -> None:
        if self.hangs_up:
            self.hung_up += 1
            connection.close()
            return
        while True:
            asked = await _asked(connection)
            self.asked.append(asked)
            play = self.plays.popleft() if self.plays else self.play
            await play(self, connection, asked)
            if connection._ours:
                raise Gone


async def _asked(connection: UpstreamConnection) -> Asked:
    head, body = await connection.request()
    start, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    method, target, _ = start.split(" ")
    split = [line.partition(": ") for line in lines]
    return Asked(method, target, [(name.lower(), value) for name, _, value in split], body, connection)


# Answers.


def answer(status: int, content: object, *fields: str, content_type: str = "application/json") -> bytes:
    """A whole one."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    lines = [f"HTTP/1.1 {status} Played", f"Content-Type: {content_type}", *fields]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """Of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(content: object) -> bytes:
    """Server-sent, one chunk."""
    return chunk(b"data: %b\n\n" % json.dumps(content).encode())


def delta(content: dict[str, object], reason: str | None = None) -> bytes:
    """An event of a chat completion."""
    choice = {"index": 0, "delta": content, "finish_reason": reason}
    return event({"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice]})


ROLE = delta({"role": "assistant", "content": ""})
"""The first event, without a token."""


def chat_stream(name: str) -> bytes:
    """A whole stream; its first word is the provider's name."""
    words = b"".join(delta({"content": word}) for word in (name, *WORDS))
    usage = event({"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [], "usage": USAGE})
    return STREAM_HEAD + ROLE + words + delta({}, "stop") + usage + chunk(b"data: [DONE]\n\n") + LAST_CHUNK


def chat_completion(name: str, *, calls: bool = False) -> dict[str, object]:
    """A whole one, or a call of a tool."""
    message: dict[str, object] = {"role": "assistant", "content": name + "".join(WORDS)}
    if calls:
        function = {"name": "look", "arguments": "{}"}
        message = {"role": "assistant", "content": None, "tool_calls": [
            {"id": "call_1", "type": "function", "function": function}
        ]}  # fmt: skip
    reason = "tool_calls" if calls else "stop"
    choices = [{"index": 0, "message": message, "finish_reason": reason}]
    return {"id": "c", "object": "chat.completion", "model": "m", "choices": choices, "usage": USAGE}


def made_by(name: str, asked: Asked) -> bytes:
    """What a provider that is well answers."""
    served_by = f"x-served-by: {name}"
    kind = asked.path.removeprefix("/v1/").partition("/")[0]
    if asked.is_stream:
        return chat_stream(name)
    if kind == "chat":
        return answer(200, chat_completion(name, calls=b'"tools"' in asked.body), served_by)
    if kind == "embeddings":
        data = [{"object": "embedding", "index": 0, "embedding": [0.5, -1.0]}]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return answer(200, {"object": "list", "data": data, "model": "m", "usage": usage}, served_by)
    if kind == "audio":
        return answer(200, {"text": name}, served_by)
    return answer(200, {"id": f"{kind}-{name}", "object": kind}, served_by)


async def healthy(upstream: Upstream, connection: UpstreamConnection, asked: Asked) -> None:
    """Answer well."""
    connection.write(made_by(upstream.name, asked))


def error(status: int, *fields: str, code: str = "played") -> Play:
    """Answer with an error in OpenAI's form."""
    content = {"error": {"message": f"It is {status}.", "type": "played_error", "param": None, "code": code}}

    async def play(upstream: Upstream, connection: UpstreamConnection, asked: Asked) -> None:
        connection.write(answer(status, content, *fields))

    return play


def error_in_answer(**said: object) -> Play:
    """200, and an error in it: as JSON, or as a stream's first event."""
    content = {"error": {"message": "It failed.", **said}}

    async def play(upstream: Upstream, connection: UpstreamConnection, asked: Asked) -> None:
        if asked.is_stream:
            connection.write(STREAM_HEAD + event(content))
            await connection.end()
        else:
            connection.write(answer(200, content))

    return play


def writes(*pieces: bytes, then: str = "abort") -> Play:
    """Write these, whatever was asked, and let each be read; then end the connection.

    :param then: ``abort``, ``close``, or nothing.
    """

    async def play(upstream: Upstream, connection: UpstreamConnection, asked: Asked) -> None:
        for piece in pieces:
            connection.write(piece)
            for _ in range(10):
                await deferLater(upstream.reactor, 0)
        if then:
            getattr(connection, then)()

    return play


def streams_or(stream: Play, other: Play) -> Play:
    """By what was asked for."""

    async def play(upstream: Upstream, connection: UpstreamConnection, asked: Asked) -> None:
        await (stream if asked.is_stream else other)(upstream, connection, asked)

    return play


def waits(data: bytes = b"", then: Callable[[], object] | None = None) -> Play:
    """Write this, and then nothing more, until the other side ends the connection.

    :param then: is called when what was written has been read.
    """

    async def play(upstream: Upstream, connection: UpstreamConnection, asked: Asked) -> None:
        if data:
            connection.write(data)
        for _ in range(10):
            await deferLater(upstream.reactor, 0)
        if then is not None:
            upstream.reactor.callLater(0, then)
        await connection.end()
        raise Gone

    return play
