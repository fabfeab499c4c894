"""A cheap client: asyncio's transports, answers parsed as they come, leaving at any byte."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

SECONDS = 20.0
"""The limit of each wait: what takes longer hangs."""


@dataclass
class Seen:
    """What a client has of an answer."""

    status: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    """Names in lower case; the last of a name."""
    body: bytearray = field(default_factory=bytearray)
    """As it was sent, without the framing: its length is what counts as the body's bytes."""
    whole: bool = False
    _inflate: Any = None
    _inflated: int = 0
    _plain: bytearray = field(default_factory=bytearray)

    @property
    def plain(self) -> bytes | bytearray:
        """The body so far, unzipped."""
        if self.fields.get("content-encoding") != "gzip":
            return self.body
        if self._inflate is None:
            self._inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self._plain += self._inflate.decompress(bytes(self.body[self._inflated :]))
        self._inflated = len(self.body)
        return self._plain

    @property
    def events(self) -> list[bytes]:
        """The whole events of a stream."""
        return bytes(self.plain).split(b"\n\n")[:-1]

    @property
    def is_stream(self) -> bool:
        """Whether it is a stream of events."""
        return self.fields.get("content-type", "").startswith("text/event-stream")

    @property
    def object(self) -> Any:
        """The JSON of a whole body."""
        return json.loads(self.plain)


Enough = Callable[[Seen], bool]


class Connection(asyncio.Protocol):
    """One connection to the daemon."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended = False
        self._changed: asyncio.Future[None] | None = None

    @classmethod
    async def open(cls, port: int) -> Connection:
        """To a port of this machine."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(cls, "127.0.0.1", port)
        return connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        self._tell()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        self._tell()

    def _tell(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    async def change(self) -> None:
        """Wait for more bytes, or the end."""
        if self.ended:
            return
        self._changed = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(SECONDS):
            await self._changed
        self._changed = None

    async def end(self) -> None:
        """Wait until the other side ends it."""
        while not self.ended:
            await self.change()

    def leave(self, way: str) -> None:
        """``FIN``, ``RST`` or ``half``: a FIN, and what comes is still read."""
        if way == "half":
            self.transport.write_eof()
            return
        if way == "RST":
            handle: socket.socket = self.transport.get_extra_info("socket")
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    async def answer(self, method: str, enough: Enough | None = None) -> Seen:
        """The next answer: whole, or up to the connection's end, or until ``enough`` says so."""
        while (end := self.data.find(b"\r\n\r\n")) < 0:
            if self.ended:
                return Seen()
            await self.change()
        start, *lines = bytes(self.data[:end]).decode("latin-1").split("\r\n")
        del self.data[: end + 4]
        split = (line.partition(":") for line in lines)
        seen = Seen(int(start.split(" ")[1]), {name.lower(): value.strip() for name, _, value in split})
        if method == "HEAD" or seen.status in (101, 204, 304):
            seen.whole = True
            return seen
        read = self._read_chunks if "transfer-encoding" in seen.fields else self._read_length
        while not read(seen) and not (enough is not None and enough(seen)):
            if self.ended:
                read(seen)
                break
            await self.change()
        return seen

    def _read_length(self, seen: Seen) -> bool:
        left = int(seen.fields["content-length"]) - len(seen.body)
        seen.body += self.data[:left]
        del self.data[:left]
        seen.whole = len(seen.body) == int(seen.fields["content-length"])
        return seen.whole

    def _read_chunks(self, seen: Seen) -> bool:
        data, at = self.data, 0
        while (line_end := data.find(b"\r\n", at)) >= 0:
            size = int(data[at:line_end], 16)
            end = line_end + 2 + size
            if len(data) < end + 2:
                break
            seen.body += data[line_end + 2 : end]
            at = end + 2
            if not size:
                seen.whole = True
                break
        del data[:at]
        return seen.whole


def events_of(count: int) -> Enough:
    """So many whole events have come."""
    return lambda seen: seen.plain.count(b"\n\n") >= count


def has_head(seen: Seen) -> bool:
    """The head alone is waited for."""
    return True
