"""Clients that leave, wait, do not read or ask too early: rows 16 to 19 and 45 to 50."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from twisted.internet import reactor

from tests.faults.conftest import MakeGateway, MakeUpstream
from tests.faults.support import GET, OK, Client, eventually, post, requests_of, upload
from tests.support.upstream import UpstreamConnection, answering

pytestmark = pytest.mark.timeout_seconds(20)
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"9\r\ndata: 1\n\n\r\n"
LEAVING = ["close", "abort", "half_close"]
"""FIN, RST, and FIN by a client that still reads."""


@pytest.mark.parametrize("leaving", LEAVING)
@pytest.mark.parametrize("length", [1000, None])
async def test_row_16_in_the_upload(
    gateway: MakeGateway, upstream: MakeUpstream, length: int | None, leaving: str
) -> None:
    """A client that leaves in its upload: the upstream is reset, and was never told of an end."""
    server = upstream()
    proxy = gateway(server)
    client = await proxy.client()
    client.write(upload(length) + (b"5\r\nhello\r\n" if length is None else b"hello"))
    connection = await server.connected()
    await connection.until(lambda: b"hello" in connection.received)
    getattr(client, leaving)()
    assert await connection.end() == "RST"
    [(_, body)], whole = requests_of(bytes(connection.received))
    assert (body, whole) == (b"hello", False)
    await proxy.counted((499, "client_disconnect"))


@pytest.mark.parametrize("leaving", LEAVING)
async def test_row_16_in_a_held_upload(gateway: MakeGateway, upstream: MakeUpstream, leaving: str) -> None:
    """A client that leaves before its JSON is whole: the upstream hears nothing of it."""
    server = upstream()
    proxy = gateway(server)
    client = await proxy.client()
    client.write(post(b"x" * 1000)[:-1])
    await eventually(reactor, lambda: proxy.in_flight)
    getattr(client, leaving)()
    await proxy.counted((499, "client_disconnect"))
    assert not server.connections


@pytest.mark.parametrize("leaving", LEAVING)
@pytest.mark.parametrize("size", [64 * 1024 * 1024, None])
async def test_row_16_in_a_blocked_upload(
    gateway: MakeGateway, upstream: MakeUpstream, size: int | None, leaving: str
) -> None:
    """The same where the upstream does not read, so that the proxy does not read the client."""

    async def script(connection: UpstreamConnection) -> None:
        connection.pause()

    server = upstream(script)
    proxy = gateway(server)
    client = await proxy.client()
    client.write(upload(size))
    connection = await server.connected()
    piece = b"10000\r\n%b\r\n" % (b"x" * 0x10000) if size is None else b"x" * 0x10000
    [channel] = proxy.service.site.channels

    def flood() -> bool:
        # No more than the sockets hold: a FIN behind bytes that the proxy's own socket has no
        # room for is not to be seen by anybody.
        if not channel.watch._pauses:
            client.write(piece)
        return bool(channel.watch._pauses) and not client.transport.dataBuffer

    await eventually(reactor, flood)
    getattr(client, leaving)()
    await proxy.counted((499, "client_disconnect"))
    connection.resume()
    assert await connection.end() == "RST"
    assert not requests_of(bytes(connection.received))[1]


@pytest.fixture
def unanswering() -> Iterator[socket.socket]:
    """A port whose queue is full: connecting to it takes for ever."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        queued = []
        for _ in range(3):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
            queued.append(one)
        yield listener
        for one in queued:
            one.close()


@pytest.mark.parametrize("leaving", LEAVING)
@pytest.mark.parametrize("request_bytes", [post(), upload(1000) + b"hello", GET])
async def test_row_17_while_connecting(
    gateway: MakeGateway, unanswering: socket.socket, request_bytes: bytes, leaving: str
) -> None:
    """A client that leaves while its upstream does not accept: the attempt is given up."""
    proxy = gateway(f"http://127.0.0.1:{unanswering.getsockname()[1]}")
    client = await proxy.client()
    client.write(request_bytes)
    await eventually(reactor, lambda: proxy.service.graph.agent._pools)
    [pool] = proxy.service.graph.agent._pools.values()
    assert pool.open == 1
    getattr(client, leaving)()
    await proxy.counted((499, "client_disconnect"))
    assert pool.open == 0


async def test_row_21_not_accepted_in_time(gateway: MakeGateway, unanswering: socket.socket) -> None:
    """An upstream that does not accept in time is 504."""
    proxy = gateway(f"http://127.0.0.1:{unanswering.getsockname()[1]}", connect_seconds=0.2)
    answer = await proxy.ask(post())
    assert (answer.status, answer.whole) == (504, True)
    assert b"upstream_connect_timeout" in answer.body
    await proxy.counted((504, "upstream_timeout"))


@pytest.mark.parametrize("leaving", LEAVING)
@pytest.mark.parametrize("request_bytes", [post(), GET, upload(5) + b"hello"])
async def test_row_17_waiting_for_the_head(
    gateway: MakeGateway, upstream: MakeUpstream, request_bytes: bytes, leaving: str
) -> None:
    """A client that leaves before an answer: its upstream is reset."""
    server = upstream()
    proxy = gateway(server)
    client = await proxy.client()
    client.write(request_bytes)
    connection = await server.connected()
    await connection.request()
    getattr(client, leaving)()
    assert await connection.end() == "RST"
    await proxy.counted((499, "client_disconnect"))
    assert len(server.connections) == 1


@pytest.mark.parametrize("leaving", LEAVING)
@pytest.mark.parametrize(
    "start", [STREAM, STREAM + EVENT, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ndata: "]
)
async def test_row_17_and_18_in_the_answer(
    gateway: MakeGateway, upstream: MakeUpstream, start: bytes, leaving: str
) -> None:
    """A client that leaves in its answer, if only by half: its upstream is reset."""
    server = upstream()
    proxy = gateway(server)
    client = await proxy.client()
    client.write(post())
    connection = await server.connected()
    await connection.request()
    connection.write(start)
    await client.until(lambda: (b"data: " if b"data: " in start else b"\r\n\r\n") in client.received)
    getattr(client, leaving)()
    assert await connection.end() == "RST"
    await proxy.counted((200, "client_disconnect"))


async def test_row_17_after_done(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """A client that leaves at ``[DONE]``, before the last chunk, has had its answer."""
    server = upstream()
    proxy = gateway(server)
    client = await proxy.client()
    client.write(post())
    connection = await server.connected()
    await connection.request()
    connection.write(STREAM + EVENT + b"e\r\ndata: [DONE]\n\n\r\n")
    await client.until(lambda: b"[DONE]" in client.received)
    client.close()
    assert await connection.end() == "RST"
    await proxy.counted((200, "ok"))


async def test_row_18_half_close_at_once(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """A request with a FIN behind it in the same breath is a client that left."""
    server = upstream()
    proxy = gateway(server)
    client = await proxy.client()
    client.write(post())
    client.half_close()
    await proxy.counted((499, "client_disconnect"))
    assert await client.end() in ("FIN", "RST")
    for connection in server.connections:
        assert await connection.end() in ("FIN", "RST")


class _Endless:
    """Writes an answer for as long as the proxy takes it."""

    def __init__(self, connection: UpstreamConnection) -> None:
        self.written_bytes = 0
        self.paused = False
        self._connection = connection
        connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        connection.transport.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        self.paused = False
        while not self.paused:
            self.written_bytes += 0x10000
            self._connection.write(b"x" * 0x10000)

    def pauseProducing(self) -> None:
        self.paused = True

    def stopProducing(self) -> None:
        self.paused = True


@pytest.mark.parametrize("leaving", ["stalls", *LEAVING])
async def test_row_19_does_not_read(gateway: MakeGateway, upstream: MakeUpstream, leaving: str) -> None:
    """A client that does not read pauses its upstream, delays nobody, and is cut off or leaves."""
    flows: list[_Endless] = []

    async def script(connection: UpstreamConnection) -> None:
        await connection.request()
        if connection.number == 0:
            flows.append(_Endless(connection))
        else:
            connection.write(OK)

    server = upstream(script)
    proxy = gateway(server, write_stall_seconds=0.5 if leaving == "stalls" else 120)
    client = await proxy.client()
    client.pause()
    client.write(GET)
    connection = await server.connected()
    [channel] = proxy.service.site.channels
    await eventually(reactor, lambda: channel.write_blocked and flows and flows[0].paused)
    assert len(channel.transport.dataBuffer) + channel.transport._tempDataLen < 512 * 1024
    assert flows[0].written_bytes < 100_000_000
    assert (await proxy.ask(GET)).body == b"ok"
    if leaving != "stalls":
        getattr(client, leaving)()
    assert await connection.end() == "RST"
    client.resume() if client.ended is None else None
    await client.end()
    await proxy.counted((200, "ok"), (200, "client_disconnect"))


async def test_row_45_idle_clients(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """Clients that ask for nothing are closed in time, at their start and after an answer."""
    proxy = gateway(upstream(answering(OK)), keepalive_seconds=0.3)
    clients = [await proxy.client() for _ in range(50)]
    for client in clients[::2]:
        assert (await client.ask(GET)).whole
    for client in clients:
        assert await client.end() == "FIN"
    assert not proxy.service.site.channels


async def test_row_45_draining(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """While it drains each answer says ``Connection: close``, and is the last on its connection."""
    proxy = gateway(upstream(answering(OK)))
    client = await proxy.client()
    assert not (await client.ask(GET)).values(b"connection")
    proxy.service.site.draining = True
    answer = await client.ask(GET)
    assert (answer.body, answer.values(b"connection")) == (b"ok", [b"close"])
    assert await client.end() == "FIN"
    assert (await proxy.ask(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")).status == 503


async def test_row_46_stop(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """Stopping refuses new clients, and cuts both sides of what is in flight."""
    server = upstream()
    proxy = gateway(server)
    client, waiting = await proxy.client(), await proxy.client()
    client.write(post())
    connection = await server.connected()
    await connection.request()
    connection.write(STREAM + EVENT)
    await client.until(lambda: b"data: " in client.received)
    await proxy.service.stopService()
    assert await connection.end() == "RST"
    assert not (await client.answer()).whole
    assert await waiting.end() in ("FIN", "RST")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port), timeout=1)
    assert proxy.in_flight == 0
    assert sum(proxy.outcomes.values()) == 1


async def test_row_50_pipelined(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """The second of two requests goes upstream when the first is answered, and is answered after it."""
    server = upstream()
    client = await gateway(server).client()
    client.write(b"".join(b"GET /v1/%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(3)))
    connection = await server.connected()
    for number in range(3):
        head, _ = await connection.request()
        assert head.startswith(b"GET /v1/%d " % number)
        # The other ones would be here by now: they came in the same segment.
        assert (await client_health(client)) and connection.received.endswith(head)
        connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)
        answer = await client.answer()
        assert (answer.body, answer.whole) == (b"%d" % number, True)
    assert len(server.connections) == 1


async def client_health(client: Client) -> bool:
    """A few turns of the reactor, in which nothing is answered."""
    had = len(client.received)
    turns = iter(range(10))
    await eventually(reactor, lambda: next(turns, None) is None)
    return len(client.received) == had


async def test_row_50_pipelined_behind_a_bad_one(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """What follows a request that is not valid is never parsed as one."""
    server = upstream(answering(OK))
    client = await gateway(server).client()
    client.write(GET + b"GET /v1/models HTTP/1.1\r\nHost : x\r\n\r\n" + GET * 3)
    answer = await client.answer()
    assert (answer.status, answer.values(b"connection")) == (200, [b"close"])
    assert await client.end() == "FIN"
    assert client.unread == b""
    assert len(requests_of(bytes(server.connections[0].received))[0]) == 1
