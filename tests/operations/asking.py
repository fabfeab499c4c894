"""The child of ``load.py``: asks as it is told, and judges every answer.

Run as ``python -m tests.operations.asking ORDER``. It prints how far it is, some times a second
(``{"answered": 17, "in_flight": 4}``), and at its end ``{"counts": ...}``. ``stop`` on its standard input,
or the end of that, ends it when what is in flight has ended.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import socket
import sys
import time
from dataclasses import asdict

import httptools

from tests.operations.load import Counts, Order

TELL_SECONDS = 0.02
_NOTES = 8
_IP_BIND_ADDRESS_NO_PORT = 24
_ADDRESSES = 100
_EVENT = re.compile(rb'data: \{"id":"([^"]*)".*"content":"#(\d+)"')
_KEY = re.compile(rb'"key":"([^"]*)"')


class Lost(Exception):
    """A request has no right answer: the place in :class:`Counts`, and what was seen."""

    def __init__(self, place: str, note: str, status: int = 0) -> None:
        super().__init__(note)
        self.place = place
        self.status = status


class Connection(asyncio.Protocol):
    """One connection to the daemon, with one request at a time on it."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.served = 0
        self.is_open = True
        self.keeps = True
        self.has_begun = False
        self._ended: asyncio.Future[None] | None = None
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    async def ask(self, request: bytes) -> None:
        """Send it; return when an answer has ended, or the connection has."""
        self.status = 0
        self.answers = b""
        self.body: list[bytes] = []
        self.has_begun = self.is_whole = self.is_broken = False
        self._ended = asyncio.get_running_loop().create_future()
        self.began = time.monotonic()
        self.transport.write(request)
        await self._ended

    def data_received(self, data: bytes) -> None:
        if self._ended is None or self._ended.done():
            self.is_broken = True
            self.transport.abort()
            return
        self.has_begun = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.is_broken = True
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self._end()

    def _end(self) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    # For httptools.

    def on_message_begin(self) -> None:
        """An answer; one that comes behind the one that was asked for is one too many."""
        self.is_broken = self.is_broken or self.is_whole

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field."""
        if len(name) == 9 and name.lower() == b"x-answers":
            self.answers = value

    def on_body(self, piece: bytes) -> None:
        """A piece of the body, without its chunk's frame."""
        self.body.append(piece)

    def on_message_complete(self) -> None:
        """Its end, as HTTP says it."""
        self.is_whole = True
        self.served += 1
        self.status = self._parser.get_status_code()
        self.keeps = self._parser.should_keep_alive()
        self._end()


def events_of(body: bytes) -> list[bytes]:
    """The whole events of a stream, without their ends."""
    return body.split(b"\n\n")[:-1]


def check_stream(mark: bytes, body: bytes, count: int) -> None:
    """Raise :class:`Lost` unless all its events are there, once, in order, and its own."""
    *events, last = events_of(body) or [b""]
    if last != b"data: [DONE]":
        raise Lost("wrong", f"a stream ended well behind {len(events)} events with {last[:60]!r}")
    seen = [(found[1], int(found[2])) for event in events if (found := _EVENT.match(event))]
    if seen != [(mark, number) for number in range(count)]:
        raise Lost("wrong", f"events {seen[:3]}... of {len(seen)}, for {mark!r} and {count}")


def _add(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1


class Asking:
    """All that is asked, and the counts."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.counts = Counts()
        self._number = 0
        self._stopped = False
        self._busy: set[Connection] = set()
        self._late: set[Connection] = set()
        self._name = b"%x-" % os.getpid()
        wants = {"model": order.model, "stream": True} if order.events else {"model": order.model}
        self._begin = json.dumps({**wants, "messages": [{"role": "user", "content": "Yes?"}]}).encode()[:-1]
        self._begin = self._begin.replace(b'"stream": true', b'"stream":true')
        knobs = f" events={order.events} gap_ms={order.gap_ms}" if order.events else ""
        self._knobs = knobs.encode()
        self._head = (
            f"POST {order.path} HTTP/1.1\r\nHost: load.test\r\nContent-Type: application/json\r\n"
            "Authorization: Bearer client\r\n"
        ).encode()
        if not order.keeps:
            self._head += b"Connection: close\r\n"

    async def run(self) -> Counts:
        """Ask; the counts, when all has ended."""
        began = time.monotonic()
        watch = asyncio.create_task(self._watch())
        async with asyncio.TaskGroup() as group:
            for place in range(self.order.connections):
                group.create_task(self._client(place))
        watch.cancel()
        self._tell()
        self.counts.seconds = time.monotonic() - began
        return self.counts

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopped = True

    def _next(self) -> tuple[bytes, bytes] | None:
        """A request's mark and its bytes."""
        if self._stopped or (self.order.requests and self._number >= self.order.requests):
            return None
        self._number += 1
        mark = b"%b%d" % (self._name, self._number)
        every = self.order.fault_every
        fault = b" fault=%b" % self.order.fault.encode() if every and self._number % every == 0 else b""
        body = b'%b,"user":"%b%b%b"}' % (self._begin, mark, self._knobs, fault)
        return mark, b"%bx-ask: %b\r\nContent-Length: %d\r\n\r\n%b" % (self._head, mark, len(body), body)

    async def _client(self, place: int) -> None:
        connection: Connection | None = None
        while (one := self._next()) is not None:
            self.counts.sent += 1
            try:
                connection = await self._one(connection, place, *one)
            except Lost as lost:
                connection = None
                self._lose(lost)
            if self.order.pause_ms:
                await asyncio.sleep(self.order.pause_ms / 1000)
        if connection is not None:
            connection.transport.abort()

    async def _one(
        self, connection: Connection | None, place: int, mark: bytes, request: bytes
    ) -> Connection | None:
        """Ask, and the connection for the next, if it may be used again. Raises :class:`Lost`."""
        if connection is None or not connection.is_open:
            connection = await self._connect(place)
        await self._ask(connection, request)
        if not connection.has_begun and connection.served and connection not in self._late:
            self.counts.retried += 1
            connection = await self._connect(place)
            await self._ask(connection, request)
        try:
            self._judge(connection, mark)
        except Lost:
            connection.transport.abort()
            raise
        if connection.keeps and self.order.keeps:
            return connection
        self.counts.closes += not connection.keeps
        connection.transport.abort()
        return None

    async def _ask(self, connection: Connection, request: bytes) -> None:
        self._busy.add(connection)
        await connection.ask(request)
        self._busy.discard(connection)

    async def _connect(self, place: int) -> Connection:
        order, loop = self.order, asyncio.get_running_loop()
        opened = socket.socket(socket.AF_UNIX if order.unix else socket.AF_INET)
        opened.setblocking(False)
        address = order.unix or (order.host, order.port)
        try:
            async with asyncio.timeout(order.patience_seconds):
                if not order.unix:
                    # One address has 28,000 ports, and a closed connection keeps its own for a minute.
                    opened.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
                    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    opened.bind((f"127.0.0.{2 + place % _ADDRESSES}", 0))
                await loop.sock_connect(opened, address)
                _, connection = await loop.create_connection(Connection, sock=opened)
        except TimeoutError:
            opened.close()
            raise Lost("late", "no connection in time") from None
        except OSError as error:
            opened.close()
            raise Lost("refused", str(error)) from None
        return connection

    def _judge(self, connection: Connection, mark: bytes) -> None:
        body = b"".join(connection.body)
        if connection.is_broken:
            raise Lost("wrong", f"not HTTP, or more than one answer: {body[:80]!r}")
        if not connection.is_whole:
            raise self._end_of(connection, body)
        if connection.status != 200:
            raise Lost("statuses", f"{connection.status}: {body[:200]!r}", connection.status)
        if connection.answers != mark:
            raise Lost("wrong", f"the head of {connection.answers!r} for {mark!r}")
        if self.order.events:
            check_stream(mark, body, self.order.events)
        elif b'{"id":"%b"' % mark not in body:
            raise Lost("wrong", f"the body of another for {mark!r}: {body[:60]!r}")
        self.counts.answered += 1
        key = _KEY.search(body)
        _add(self.counts.keys, key[1].decode() if key else "")

    def _end_of(self, connection: Connection, body: bytes) -> Lost:
        if connection in self._late:
            return Lost("late", f"silent behind {len(body)} bytes")
        if not connection.has_begun:
            return Lost("reset", "closed before an answer")
        last = (events_of(body) or [b""])[-1]
        place = "told" if self.order.events and b'"error"' in last else "cut"
        return Lost(place, f"cut off behind {len(body)} bytes: {last[-300:]!r}")

    def _lose(self, lost: Lost) -> None:
        counts = self.counts
        if lost.status:
            _add(counts.statuses, str(lost.status))
        else:
            setattr(counts, lost.place, getattr(counts, lost.place) + 1)
        if len(counts.notes) < _NOTES:
            counts.notes.append(f"{lost.place}: {lost}")

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(TELL_SECONDS)
            self._tell()
            limit = time.monotonic() - self.order.patience_seconds
            for connection in [one for one in self._busy if one.began < limit]:
                self._late.add(connection)
                connection.transport.abort()

    def _tell(self) -> None:
        in_flight = sum(one.has_begun for one in self._busy)
        print(json.dumps({"answered": self.counts.answered, "in_flight": in_flight}), flush=True)


async def _main(order: Order) -> None:
    asking = Asking(order)
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), asking.stop)
    counts = await asking.run()
    print(json.dumps({"counts": asdict(counts)}), flush=True)


if __name__ == "__main__":
    gc.disable()
    asyncio.run(_main(Order(**json.loads(sys.argv[1]))))
