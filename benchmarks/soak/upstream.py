"""The upstream of a soak: it does what a request's query says, ``?fault=...&delay_ms=...``."""

from __future__ import annotations

import asyncio
import zlib
from urllib.parse import parse_qsl, urlsplit

from benchmarks.soak.messages import LIMIT, Connection, Cut, Head

FAULTS = (
    "reset-at-once",
    "close-at-once",
    "half-head",
    "garbage",
    "truncate",
    "reset-in-stream",
    "too-early",
)
"""What goes wrong; ``too-early``: an answer before the request's body, and then a close."""
CHUNKS = 20
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":" token"}}]}\n\n'
CHAT = b'{"object":"chat.completion","choices":[{"message":{"content":"' + b"x" * 600 + b'"}}]}'
PIECE = bytes(range(256)) * 64
_EVENTS_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nx-request-id: r\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


class Upstream:
    """Listens on a free port; each connection is a task."""

    def __init__(self) -> None:
        self.requests = 0
        self.port = 0
        self.failures: list[str] = []
        self._open: set[Connection] = set()

    async def start(self) -> asyncio.Server:
        """Listen."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=LIMIT)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer)
        self._open.add(connection)
        try:
            while await self._answer(connection):
                pass
        except Cut:
            pass
        except Exception as error:
            self.failures.append(f"upstream: {error!r}")
        finally:
            self._open.discard(connection)
            connection.close()

    async def _answer(self, connection: Connection) -> bool:
        head = await connection.head()
        self.requests += 1
        url = urlsplit(head.target)
        query = dict(parse_qsl(url.query))
        fault = query.get("fault", "")
        if fault == "too-early":
            await connection.send(_whole(b"{}", b"413 Content Too Large", b"Connection: close\r\n"))
            return False
        checksum = size = 0
        async for piece in connection.body(head):
            checksum = zlib.crc32(piece, checksum)
            size += len(piece)
        await asyncio.sleep(int(query.get("delay_ms", "0")) / 1000)
        if fault:
            return await self._fault(connection, fault)
        if head.fields.get("upgrade") == "websocket":
            return await _echo(connection)
        await _content(connection, url.path, head, b'{"crc":%d,"bytes":%d}' % (checksum, size))
        return True

    async def _fault(self, connection: Connection, fault: str) -> bool:
        if fault == "reset-at-once":
            connection.reset()
        elif fault == "half-head":
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Le")
        elif fault == "garbage":
            await connection.send(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
        elif fault == "truncate":
            await connection.send(_whole(CHAT)[:-300])
        elif fault == "reset-in-stream":
            await connection.send(_EVENTS_HEAD)
            for _ in range(CHUNKS // 2):
                await connection.send_chunk(EVENT)
            # Let it be read first: a reset overtakes what is on its way.
            await asyncio.sleep(0.01)
            connection.reset()
        return False


def _whole(body: bytes, status: bytes = b"200 OK", fields: bytes = b"") -> bytes:
    return (
        b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nx-request-id: r\r\n%bContent-Length: %d\r\n\r\n%b"
        % (status, fields, len(body), body)
    )


async def _content(connection: Connection, path: str, head: Head, summary: bytes) -> None:
    if path.endswith("/content"):
        pieces = int(path.split("/")[-2])
        await connection.send(_whole(b"")[:-5] + b"%d\r\n\r\n" % (pieces * len(PIECE)))
        for _ in range(pieces):
            await connection.send(PIECE)
    elif path.endswith("/stream"):
        await connection.send(_EVENTS_HEAD)
        for _ in range(CHUNKS):
            await connection.send_chunk(EVENT)
            await asyncio.sleep(0)
        await connection.send_chunk(b"")
    else:
        await connection.send(_whole(CHAT if path.endswith("/completions") else summary))


async def _echo(connection: Connection) -> bool:
    await connection.send(b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
    while True:
        await connection.send(await connection.some(1 << 16))
