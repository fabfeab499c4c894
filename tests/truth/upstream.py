"""An upstream that does what each request's play says: what no mock can."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Play:
    """What one request is answered."""

    answer: Callable[[bytes], list[bytes]]
    """From the body as it came here to pieces, each written by itself."""
    then: str = "keep"
    """``keep``, ``close`` (FIN), ``reset`` (RST) or ``wait``: until the other ends it."""
    came: asyncio.Event = field(default_factory=asyncio.Event)
    """The request is here."""
    body: bytes = b""


class Upstream:
    """Listens on a free port; plays are found by the field ``x-play``."""

    port: int

    def __init__(self) -> None:
        self.plays: dict[str, Play] = {}
        self.connections = 0
        self.arrived: Counter[str] = Counter()
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20, backlog=1000)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Let go of all connections."""
        self._server.close()
        served = asyncio.all_tasks() - {asyncio.current_task()}
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.gather(*served, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """A request and its answer; whether another may follow."""
        lines = (await reader.readuntil(b"\r\n\r\n"))[:-4].decode("latin-1").split("\r\n")
        fields = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        number = fields["x-play"]
        play = self.plays[number]
        self.arrived[number] += 1
        if "transfer-encoding" in fields:
            body = await self._chunks(reader)
        else:
            body = await reader.readexactly(int(fields.get("content-length", "0")))
        play.body = body
        play.came.set()
        for piece in play.answer(body):
            writer.write(piece)
            await writer.drain()
        if "upgrade" in fields:
            while data := await reader.read(65536):
                writer.write(data)
            return False
        if play.then == "wait":
            await reader.read(1)
        elif play.then == "close":
            writer.close()
            await writer.wait_closed()
        return play.then == "keep"

    async def _chunks(self, reader: asyncio.StreamReader) -> bytes:
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
        return body
