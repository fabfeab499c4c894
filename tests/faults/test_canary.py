"""Among clients and upstreams that break every rule: nobody ever has another's answer.

``CANARY_REQUESTS`` says how many requests are made (``make canary``: 100,000).
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Any, cast

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from tests.faults.conftest import MakeGateway, MakeUpstream
from tests.faults.support import Answer, Client, Gateway
from tests.support.upstream import UpstreamConnection

REQUESTS = int(os.environ.get("CANARY_REQUESTS", "5000"))
USERS = 40
SEED = 20
POISON = b"<poison>"
ID = re.compile(rb"<[^<>]*>")


async def turns(count: int) -> None:
    """A few turns of the reactor."""
    for _ in range(count):
        await deferLater(cast(IReactorTime, reactor), 0)


idle_ports: Callable[[], set[int]] = set
"""The local ports of the connections that the proxy keeps for later."""

# The upstream.


def text(mark: bytes, random: Random) -> bytes:
    """The body that belongs to a request: its mark, over and over."""
    return mark * random.choice((1, 1, 2, 10, 100, 5000))


def chunked(body: bytes, random: Random) -> bytes:
    """``body`` in chunks of random size, with trailers that nobody may ever see."""
    chunks = b""
    while body:
        size = random.randint(1, max(1, len(body)))
        chunks += b"%x\r\n%b\r\n" % (size, body[:size])
        body = body[size:]
    return chunks + b"0\r\n" + random.choice((b"", b"X-Id: %b\r\n" % POISON)) + b"\r\n"


def answer_to(mark: bytes, random: Random, more: bytes = b"") -> bytes:
    """A whole answer."""
    head = b"HTTP/1.1 200 OK\r\nX-Id: %b\r\n%b" % (mark, more)
    body = text(mark, random)
    if random.random() < 0.5:
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body, random)
    return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


Fault = Callable[[UpstreamConnection, bytes, Random], Awaitable[None]]


async def fine(connection: UpstreamConnection, mark: bytes, random: Random) -> None:
    """A good answer."""
    connection.write(answer_to(mark, random))


async def slow(connection: UpstreamConnection, mark: bytes, random: Random) -> None:
    """A good answer, later, and in pieces."""
    answer = answer_to(mark, random)
    cut = random.randint(0, len(answer))
    await turns(random.randint(1, 5))
    connection.write(answer[:cut])
    await turns(random.randint(1, 5))
    connection.write(answer[cut:])


async def truncates(connection: UpstreamConnection, mark: bytes, random: Random) -> None:
    """An answer that is cut off anywhere, and a FIN or a RST."""
    answer = answer_to(mark, random)
    connection.write(answer[: random.randint(0, len(answer) - 1)])
    await turns(random.randint(0, 3))
    random.choice((connection.close, connection.abort))()


async def says_more(connection: UpstreamConnection, mark: bytes, random: Random) -> None:
    """A good answer, and behind it, at once, another, or a part of one, or garbage."""
    extra = random.choice(
        (answer_to(POISON, random), b"HTTP/1.1 200 OK\r\nX-Id: ", POISON, b"\r\n", b"\r", b"0")
    )
    connection.write(answer_to(mark, random) + extra)


async def speaks_unasked(connection: UpstreamConnection, mark: bytes, random: Random) -> None:
    """A good answer, and another when the connection lies idle in the proxy's pool.

    Straight into the socket: one that comes when the next request is under way is that request's
    answer, as far as HTTP/1.1 can tell.
    """
    connection.write(answer_to(mark, random))
    await turns(random.randint(1, 20))
    if connection.ended is None and connection.transport.getPeer().port in idle_ports():
        connection.transport.socket.send(random.choice((answer_to(POISON, random)[:1000], b"H", b"\n")))


async def hangs_up(connection: UpstreamConnection, mark: bytes, random: Random) -> None:
    """A good answer, and the end of the connection at any time."""
    connection.write(answer_to(mark, random))
    await turns(random.randint(0, 20))
    random.choice((connection.close, connection.abort))()


async def gives_nothing(connection: UpstreamConnection, mark: bytes, random: Random) -> None:
    """The end of the connection in an answer's stead."""
    random.choice((connection.close, connection.abort))()


async def storms(connection: UpstreamConnection, mark: bytes, random: Random) -> None:
    """Interim answers, few or too many, before a good one."""
    interim = b"HTTP/1.1 10%d X\r\nX-Id: %b\r\n\r\n" % (random.choice((0, 2, 3)), POISON)
    connection.write(interim * random.choice((1, 3, 15, 40)) + answer_to(mark, random))


async def miscounts(connection: UpstreamConnection, mark: bytes, random: Random) -> None:
    """A Content-Length that is too large or too small."""
    body = text(mark, random)
    wrong = max(0, len(body) + random.choice((-20, -1, 1, 20)))
    connection.write(b"HTTP/1.1 200 OK\r\nX-Id: %b\r\nContent-Length: %d\r\n\r\n%b" % (mark, wrong, body))
    await turns(random.randint(0, 5))
    if wrong > len(body):
        connection.close()


async def babbles(connection: UpstreamConnection, mark: bytes, random: Random) -> None:
    """No HTTP, or HTTP that is not valid."""
    connection.write(
        random.choice(
            (
                b"\0" * 50,
                b"HTTP/1.1 999999 X\r\n\r\n" + POISON,
                b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + POISON,
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + POISON,
                b"HTTP/1.1 200 OK\r\nX-Id: " + POISON + b"\r\n X\r\nContent-Length: 0\r\n\r\n",
            )
        )
    )


async def has_no_body(connection: UpstreamConnection, mark: bytes, random: Random) -> None:
    """A 204 or 304, with a body that cannot be."""
    status = random.choice((b"204 No Content", b"304 Not Modified"))
    connection.write(
        b"HTTP/1.1 %b\r\nX-Id: %b\r\n%b\r\n%b"
        % (status, mark, random.choice((b"", b"Content-Length: 8\r\n")), random.choice((b"", POISON)))
    )


async def ends_by_closing(connection: UpstreamConnection, mark: bytes, random: Random) -> None:
    """A body that the connection's end ends."""
    version = random.choice((b"1.0", b"1.1"))
    connection.write(b"HTTP/%b 200 OK\r\nX-Id: %b\r\n\r\n%b" % (version, mark, text(mark, random)))
    await turns(random.randint(0, 3))
    connection.close()


async def says_goodbye(connection: UpstreamConnection, mark: bytes, random: Random) -> None:
    """A good answer that says it is the last, and then is not."""
    connection.write(answer_to(mark, random, b"Connection: Close\r\n") + answer_to(POISON, random))


FAULTS: tuple[Fault, ...] = (
    *(slow, truncates, says_more, speaks_unasked, hangs_up, gives_nothing, storms, miscounts, babbles),
    *(has_no_body, ends_by_closing, says_goodbye),
)


class Upstream:
    """Takes requests, judges them, and answers each as its mark and the seed say."""

    def __init__(self) -> None:
        self.seen: Counter[bytes] = Counter()

    async def __call__(self, connection: UpstreamConnection) -> None:
        while True:
            start = connection._taken
            await connection.until(lambda: connection.received.find(b"\r\n\r\n", connection._taken) != -1)
            [mark] = ID.findall(bytes(connection.received[start:]).partition(b"\r\n")[0])
            random = Random(b"%d %b" % (SEED, mark))
            if random.random() < 0.05:
                # Before it has read the body, if there is one.
                connection.write(answer_to(mark, random))
                await self._judge(connection, mark)
                continue
            await self._judge(connection, mark)
            fault = fine if random.random() < 0.6 else random.choice(FAULTS)
            await fault(connection, mark, random)

    async def _judge(self, connection: UpstreamConnection, mark: bytes) -> None:
        head, body = await connection.request()
        self.seen[mark] += 1
        assert set(ID.findall(head)) == {mark}, head
        assert set(ID.findall(body)) <= {mark}, (head, body)
        assert not body or body == mark * (len(body) // len(mark)), (head, body)


# The clients.


@dataclass
class Ask:
    """One request."""

    mark: bytes
    method: bytes
    data: bytes


class Users:
    """Clients that ask, pipeline, cut their bytes anywhere, and leave when they like."""

    def __init__(self, proxy: Gateway) -> None:
        self.proxy = proxy
        self.made = 0
        self.running = True
        self.results: Counter[str] = Counter()

    async def run(self, number: int) -> None:
        """Connect and ask, until all requests are made."""
        random = Random(SEED * 1000 + number)
        try:
            await self._run(random)
        finally:
            # One that failed ends the others too; one that is done has none left to make.
            self.running = False

    async def _run(self, random: Random) -> None:
        while self.running and self.made < REQUESTS:
            client = await self.proxy.client()
            for _ in range(random.randint(1, 12)):
                batch = [self._ask(random) for _ in range(random.choice((1, 1, 1, 2, 5)))]
                if not await self._batch(client, batch, random):
                    break
            if client.ended is None:
                client.abort()
            self.proxy.clients.remove(client)

    def _ask(self, random: Random) -> Ask:
        self.made += 1
        mark = b"<%d>" % self.made
        method = random.choice((b"GET", b"HEAD", b"POST", b"POST", b"POST"))
        fields, body = b"", b""
        if method == b"POST":
            content = mark * random.choice((0, 1, 100, 10_000))
            fields = random.choice((b"", b"Content-Type: application/octet-stream\r\n"))
            if random.random() < 0.5:
                fields += b"Content-Length: %d\r\n" % len(content)
                body = content
            else:
                fields += b"Transfer-Encoding: chunked\r\n"
                body = chunked(content, random)
        line = b"%b /v1/%b HTTP/1.1\r\nHost: x\r\nX-Id: %b\r\n" % (method, mark, mark)
        return Ask(mark, method, b"%b%b\r\n%b" % (line, fields, body))

    async def _batch(self, client: Client, batch: list[Ask], random: Random) -> bool:
        """Send them and read their answers; False when the connection is of no more use."""
        data = b"".join(ask.data for ask in batch)
        if random.random() < 0.05:
            client.write(data[: random.randint(0, len(data))])
            await turns(random.randint(0, 20))
            leave = random.choice((client.close, client.abort, client.half_close))
            if client.ended is None:
                leave()
            self.results["left"] += len(batch)
            return False
        if random.random() < 0.02:
            data += b"GET /v1/%b HTTP/1.1\r\nHost : x\r\n\r\n" % POISON
        cut = random.choice((0, random.randint(0, len(data))))
        client.write(data[:cut])
        await turns(random.randint(0, 2))
        client.write(data[cut:])
        for ask in batch:
            answer = await client.answer(ask.method)
            self._judge(ask, answer)
            if not answer.whole or answer.values(b"connection") == [b"close"]:
                return False
        return True

    def _judge(self, ask: Ask, answer: Answer) -> None:
        """An answer is the asker's own, or an error of the proxy's; it may be broken, never another's."""
        expected = ask.mark * (len(answer.body) // len(ask.mark) + 1)
        values = b"".join(value for _, value in answer.fields)
        assert set(ID.findall(values)) <= {ask.mark}, (ask, answer)
        if answer.status in (200, 204, 304):
            assert answer.values(b"x-id") == [ask.mark], (ask, answer)
            assert expected.startswith(answer.body), (ask, answer)
        else:
            assert answer.status in (0, 400, 502), (ask, answer)
            assert b"<" not in answer.body, (ask, answer)
        self.results[f"{answer.status} {'whole' if answer.whole else 'broken'}"] += 1


def ports_of(proxy: Gateway) -> set[int]:
    pools = proxy.service.graph.agent._pools.values()
    return {connection.transport.getHost().port for pool in pools for connection in pool._idle}


@pytest.mark.timeout_seconds(60 + REQUESTS // 50)
async def test_canary(
    gateway: MakeGateway,
    upstream: MakeUpstream,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No client has another's answer, no request is torn or repeated past the rule, nothing is left."""
    upstream_saw = Upstream()
    server = upstream(upstream_saw)
    proxy = gateway(server, head_seconds=20, idle_seconds=20)
    monkeypatch.setattr(f"{__name__}.idle_ports", lambda: ports_of(proxy))
    users = Users(proxy)
    running: list[Deferred[None]] = [Deferred.fromCoroutine(users.run(number)) for number in range(USERS)]
    everything: Deferred[Any] = gatherResults(running, consumeErrors=True)
    await everything
    assert max(upstream_saw.seen.values()) <= 2
    assert POISON not in upstream_saw.seen
    results = users.results
    assert proxy.outcomes["200", "ok"] >= results["200 whole"]
    assert results["200 whole"] > REQUESTS * 0.5
    assert results["200 broken"] and results["502 whole"] and results["left"]
    with capsys.disabled():
        print(
            f"\ncanary: {users.made} requests, {len(server.connections)} upstream connections,", dict(results)
        )
