"""The clients of a soak: every kind of request, and every way to go wrong or to leave."""

from __future__ import annotations

import asyncio
import json
import random
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable

from benchmarks.soak.messages import Connection, Cut, Head
from benchmarks.soak.upstream import CHAT, CHUNKS, EVENT, FAULTS, PIECE

KINDS = ("mock chat", "mock stream", "chat", "stream", "upload", "download", "websocket")
MOCK_FAULTS = ("reset", "truncate", "stall", "error-in-stream", "no-done")
LEAVES = (
    "in the head",
    "in the body",
    "before the answer",
    "in the stream",
    "in the download",
    "in the tunnel",
)
_BODY = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}],"stream":%b}'
_UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
_JSON = "Content-Type: application/json\r\n"


class Wrong(Exception):
    """An answer was not what it had to be."""


def expect(holds: bool, what: str) -> None:
    """Raise ``Wrong``, unless it holds."""
    if not holds:
        raise Wrong(what)


def request(target: str, body: bytes = b"", fields: str = "", method: str = "POST") -> bytes:
    """The bytes of a request; without a body it has no length."""
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{method} {target} HTTP/1.1\r\nHost: soak\r\n{fields}{length}\r\n".encode() + body


class Client:
    """One connection at a time, kept while it can be; ``turn`` makes one request of a random kind."""

    def __init__(self, port: int, dice: random.Random, fault_rate: float, done: Counter[str]) -> None:
        self.sent = 0
        """Requests whose head went out whole: so many the daemon has to count."""
        self._port = port
        self._dice = dice
        self._fault_rate = fault_rate
        self._done = done
        self._kept: Connection | None = None
        self._ways: dict[str, Callable[[], Awaitable[None]]] = {
            "mock chat": self._mock_chat,
            "mock stream": self._mock_stream,
            "chat": self._chat,
            "stream": self._stream,
            "upload": self._upload,
            "download": self._download,
            "websocket": self._websocket,
            "in the head": self._leaves_in_head,
            "in the body": self._leaves_in_body,
            "before the answer": self._leaves_before_answer,
            "in the stream": self._leaves_in_stream,
            "in the download": self._leaves_in_download,
            "in the tunnel": self._leaves_in_tunnel,
        }

    async def turn(self) -> None:
        """One request, with one of the faults at ``fault_rate`` each. Raises ``Wrong`` and ``Cut``."""
        faults = [
            *(("upstream", name) for name in FAULTS),
            *(("mock", name) for name in MOCK_FAULTS),
            *(("client leaves", name) for name in LEAVES),
        ]
        drawn = int(self._dice.random() / self._fault_rate) if self._fault_rate else len(faults)
        if drawn >= len(faults):
            kind = self._dice.choice(KINDS)
            await self._ways[kind]()
            self._done[kind] += 1
            return
        side, name = faults[drawn]
        if side == "upstream":
            await self._upstream_fault(name)
        elif side == "mock":
            await self._mock_fault(name)
        else:
            await self._ways[name]()
        self._done[f"{side}: {name}"] += 1

    def close(self) -> None:
        """End what is kept."""
        self._drop()

    # Whole exchanges.

    async def _mock_chat(self) -> None:
        _, body = await self._ask(request("/mock/v1/chat/completions", _BODY % b"false", _JSON))
        expect(json.loads(body)["object"] == "chat.completion", "not the mock's answer")

    async def _mock_stream(self) -> None:
        fields = f"{_JSON}x-mock-chunks: 20\r\n"
        _, body = await self._ask(request("/mock/v1/chat/completions", _BODY % b"true", fields))
        expect(body.endswith(b"data: [DONE]\n\n"), "not a whole stream of the mock")

    async def _chat(self) -> None:
        _, body = await self._ask(request("/v1/chat/completions", _BODY % b"false", _JSON))
        expect(body == CHAT, "not the upstream's answer")

    async def _stream(self) -> None:
        _, body = await self._ask(request("/v1/responses/stream", _BODY % b"true", _JSON))
        expect(body == EVENT * CHUNKS, "not the upstream's stream")

    async def _upload(self) -> None:
        pieces = self._dice.randint(1, 32)
        connection = await self._connection()
        fields = "Content-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n"
        await self._send(connection, request("/v1/files", fields=fields))
        for _ in range(pieces):
            await connection.send_chunk(PIECE)
        await connection.send_chunk(b"")
        _, body = await self._answer(connection)
        wanted = {"crc": zlib.crc32(PIECE * pieces), "bytes": pieces * len(PIECE)}
        expect(json.loads(body) == wanted, "not what was uploaded")

    async def _download(self) -> None:
        pieces = self._dice.randint(1, 64)
        _, body = await self._ask(request(f"/v1/files/{pieces}/content", method="GET"))
        expect(body == PIECE * pieces, "not what was to be downloaded")

    async def _websocket(self) -> None:
        connection = await self._tunnel()
        for _ in range(4):
            await connection.send(PIECE)
            expect(await connection.exactly(len(PIECE)) == PIECE, "not what the tunnel was given")
        self._drop()

    async def _tunnel(self) -> Connection:
        connection = await self._connection()
        await self._send(connection, request("/v1/realtime", fields=_UPGRADE, method="GET"))
        head = await connection.head()
        expect(head.status == 101, "no upgrade")
        return connection

    # What goes wrong above.

    async def _upstream_fault(self, fault: str) -> None:
        status = {"too-early": (413,), "truncate": (200,), "reset-in-stream": (200,)}.get(fault, (502,))
        asked = request(f"/v1/embeddings?fault={fault}", _BODY % b"false", _JSON)
        await self._ask_in_vain(asked, status, status == (200,))

    async def _mock_fault(self, fault: str) -> None:
        fields = f"{_JSON}x-mock-fault: {fault}\r\nx-mock-chunks: 10\r\n"
        asked = request("/mock/v1/chat/completions", _BODY % b"true", fields)
        status = (502,) if fault == "reset" else (200,)
        try:
            await asyncio.wait_for(self._ask_in_vain(asked, status, fault == "truncate"), 0.3)
        except TimeoutError:
            self._drop()
            expect(fault == "stall", "no end of an answer")

    async def _ask_in_vain(self, asked: bytes, statuses: tuple[int, ...], cut: bool) -> None:
        connection = await self._connection()
        await self._send(connection, asked)
        head = await connection.head()
        expect(head.status in statuses, f"{head.status}, not {statuses}")
        try:
            async for _ in connection.body(head):
                pass
        except Cut:
            self._drop()
            expect(cut, "cut off")
        else:
            expect(not cut, "an answer that was cut off seems whole")
            self._after(head)

    # Clients that leave. A reset only after bytes came: one before can overtake the request.

    async def _leaves_in_head(self) -> None:
        connection = await self._connection()
        await connection.send(b"GET /v1/models HTTP/1.1\r\nHost: so")
        self._drop()

    async def _leaves_in_body(self) -> None:
        connection = await self._connection()
        fields = "Content-Type: application/octet-stream\r\nContent-Length: 1000000\r\n"
        await self._send(connection, request("/v1/files", fields=fields))
        await connection.send(PIECE)
        self._drop()

    async def _leaves_before_answer(self) -> None:
        connection = await self._connection()
        asked = request("/v1/chat/completions?delay_ms=200", _BODY % b"false", _JSON)
        await self._send(connection, asked)
        await asyncio.sleep(self._dice.random() * 0.1)
        self._drop()

    async def _leaves_in_stream(self) -> None:
        connection = await self._connection()
        fields = f"{_JSON}x-mock-chunks: 100\r\nx-mock-chunk-ms: 5\r\n"
        await self._send(connection, request("/mock/v1/chat/completions", _BODY % b"true", fields))
        await connection.head()
        await connection.exactly_line()
        self._drop(reset=self._dice.random() < 0.5)

    async def _leaves_in_download(self) -> None:
        connection = await self._connection()
        await self._send(connection, request("/v1/files/1000/content", method="GET"))
        await connection.head()
        await connection.exactly(100)
        self._drop(reset=self._dice.random() < 0.5)

    async def _leaves_in_tunnel(self) -> None:
        connection = await self._tunnel()
        await connection.send(PIECE)
        await connection.exactly(100)
        self._drop(reset=True)

    # One exchange.

    async def _ask(self, asked: bytes) -> tuple[Head, bytes]:
        connection = await self._connection()
        await self._send(connection, asked)
        return await self._answer(connection)

    async def _answer(self, connection: Connection) -> tuple[Head, bytes]:
        head = await connection.head()
        body = b"".join([piece async for piece in connection.body(head)])
        self._after(head)
        expect(head.status == 200, f"{head.status}: {body[:200]!r}")
        return head, body

    async def _connection(self) -> Connection:
        if self._kept is None:
            self._kept = await Connection.open(self._port)
        return self._kept

    async def _send(self, connection: Connection, asked: bytes) -> None:
        self.sent += 1
        await connection.send(asked)

    def _after(self, head: Head) -> None:
        # Some connections are new ones.
        if head.closes or self._dice.random() < 0.1:
            self._drop()

    def _drop(self, reset: bool = False) -> None:
        connection, self._kept = self._kept, None
        if connection is not None:
            if reset:
                connection.reset()
            else:
                connection.close()
