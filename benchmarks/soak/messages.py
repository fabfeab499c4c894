"""HTTP/1.1 over asyncio's streams, just enough for both ends of a soak."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass

LIMIT = 1 << 20


class Cut(Exception):
    """The connection ended before the message did."""


@dataclass
class Head:
    """A start line and fields with names in lower case; of several fields of a name the last."""

    start: str
    fields: dict[str, str]

    @property
    def status(self) -> int:
        """Of an answer."""
        return int(self.start.split(" ")[1])

    @property
    def target(self) -> str:
        """Of a request."""
        return self.start.split(" ")[1]

    @property
    def closes(self) -> bool:
        """Whether the connection is good for nothing more."""
        return "close" in self.fields.get("connection", "").lower()


class Connection:
    """One end. Every read raises ``Cut`` where the other end is gone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        handle: socket.socket = writer.get_extra_info("socket")
        handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @classmethod
    async def open(cls, port: int) -> Connection:
        """To a port of this machine."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=LIMIT))

    async def send(self, data: bytes) -> None:
        """Write it, and wait while the other end does not read."""
        try:
            self.writer.write(data)
            await self.writer.drain()
        except OSError as error:
            raise Cut from error

    async def send_chunk(self, data: bytes) -> None:
        """One chunk; an empty one ends the body."""
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def head(self) -> Head:
        """The next message's."""
        try:
            data = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, OSError) as error:
            raise Cut from error
        start, *lines = data[:-4].decode("latin-1").split("\r\n")
        split = [line.partition(":") for line in lines]
        return Head(start, {name.lower(): value.strip() for name, _, value in split})

    async def body(self, head: Head) -> AsyncIterator[bytes]:
        """Its pieces."""
        if head.fields.get("transfer-encoding") == "chunked":
            while size := int((await self.exactly_line()), 16):
                yield (await self.exactly(size + 2))[:-2]
            await self.exactly(2)
        elif length := int(head.fields.get("content-length", "0")):
            while length:
                piece = await self.some(min(length, 1 << 16))
                length -= len(piece)
                yield piece

    async def exactly_line(self) -> bytes:
        """Up to CRLF."""
        try:
            return (await self.reader.readuntil(b"\r\n"))[:-2]
        except (asyncio.IncompleteReadError, OSError) as error:
            raise Cut from error

    async def exactly(self, count: int) -> bytes:
        """So many bytes."""
        try:
            return await self.reader.readexactly(count)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise Cut from error

    async def some(self, count: int) -> bytes:
        """At most so many bytes, at least one."""
        try:
            data = await self.reader.read(count)
        except OSError as error:
            raise Cut from error
        if not data:
            raise Cut
        return data

    def close(self) -> None:
        """FIN behind all that was written."""
        self.writer.close()

    def reset(self) -> None:
        """RST."""
        handle: socket.socket = self.writer.get_extra_info("socket")
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport: asyncio.WriteTransport = self.writer.transport
        transport.abort()
