"""WebSockets through a running daemon: the client and the server are those of ``websockets``."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from tests.support.certificates import make
from tests.support.daemon import Daemon
from tests.support.sockets import Peer, RawUpstream

FRAME_BYTES = 10_000_000
UPGRADE = (
    b"GET /v1/realtime?model=m HTTP/1.1\r\nHost: p\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
Handler = Callable[[ServerConnection], Awaitable[None]]


async def echo(peer: ServerConnection) -> None:
    """Send back what comes, with its kind."""
    async for message in peer:
        await peer.send(message)


class Proxied:
    """A daemon that lasts for one test module, before a server that lasts for one test."""

    def __init__(self) -> None:
        # Bound, but not listening: nobody else gets the port, and between servers it refuses.
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._reserved.bind(("127.0.0.1", 0))
        self.upstream_port: int = self._reserved.getsockname()[1]
        self.daemon = Daemon("--upstream", f"http://127.0.0.1:{self.upstream_port}")

    @asynccontextmanager
    async def serve(self, handler: Handler = echo, **options: Any) -> AsyncIterator[Server]:
        """A server where the daemon forwards to."""
        options |= {"max_size": None, "reuse_port": True}
        async with serve(handler, "127.0.0.1", self.upstream_port, **options) as server:
            yield server

    def close(self) -> None:
        """Give the port back."""
        self._reserved.close()

    def connect(self, path: str = "/v1/realtime?model=m", **options: Any) -> connect:
        """A client of the daemon."""
        url = f"ws://127.0.0.1:{self.daemon.port}{path}"
        return connect(url, max_size=None, proxy=None, open_timeout=20, **options)

    def ended(self, outcome: str, status: int = 101) -> float:
        """How many requests ended so, by the daemon's own count."""
        text = self.daemon.ask("GET", "/metrics").body.decode()
        wanted = {"outcome": outcome, "status": str(status)}
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "http_requests_total" and wanted.items() <= sample.labels.items()
        )

    def in_flight(self) -> float:
        """Exchanges that have not ended."""
        text = self.daemon.ask("GET", "/metrics").body.decode()
        return sum(map(float, re.findall(r"^http_requests_in_flight{.*} (\S+)$", text, re.MULTILINE)))


async def eventually(condition: Callable[[], bool]) -> None:
    """Ask until it holds: the daemon learns of an end a moment after its peers."""
    for _ in range(1000):
        if await asyncio.to_thread(condition):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to be")


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run in a loop of its own, with a time limit."""
    asyncio.run(asyncio.wait_for(scenario, 50))


@pytest.fixture(scope="module")
def proxied() -> Iterator[Proxied]:
    """The daemon must end with status 0, and with nothing logged."""
    proxied = Proxied()
    with proxied.daemon as daemon:
        yield proxied
        proxied.close()
        assert daemon.stop() == 0
    assert "Traceback" not in daemon.output


def test_text_binary_and_pings(proxied: Proxied) -> None:
    """Messages of both kinds, empty ones too, and pings pass in both directions."""

    async def scenario() -> None:
        pinged: list[float] = []

        async def handler(peer: ServerConnection) -> None:
            pinged.append(await (await peer.ping(b"from the server")))
            await echo(peer)

        async with proxied.serve(handler), proxied.connect() as client:
            for message in ("text", b"binary\x00\xff", "", b"", "räksmörgås ✓"):
                await client.send(message)
                assert await client.recv() == message
            await (await client.ping(b"from the client"))
        assert len(pinged) == 1

    run(scenario())


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_frames_of_ten_megabytes(proxied: Proxied, compression: str | None) -> None:
    """A frame of 10 MB arrives as it was sent, there and back, plain and by permessage-deflate."""
    data = hashlib.shake_256(b"frame").digest(FRAME_BYTES // 2) + bytes(FRAME_BYTES // 2)

    async def scenario() -> None:
        options: dict[str, Any] = {"compression": compression, "ping_interval": None}
        async with proxied.serve(**options) as server, proxied.connect(**options) as client:
            await client.send(data)
            assert await client.recv() == data
            [peer] = server.connections
            for one in (client, peer):
                assert bool(one.protocol.extensions) == (compression is not None)

    run(scenario())


def test_the_handshake_is_passed_on(proxied: Proxied) -> None:
    """Authorization, the query, subprotocols and Origin reach the server; its choice reaches the client."""
    seen: list[Request] = []

    async def handler(peer: ServerConnection) -> None:
        assert peer.request is not None
        seen.append(peer.request)

    async def scenario() -> None:
        subprotocols = [Subprotocol("openai-insecure-api-key.k"), Subprotocol("realtime")]
        headers = {"Authorization": "Bearer sk-mine", "OpenAI-Beta": "realtime=v1"}
        async with (
            proxied.serve(handler, subprotocols=["realtime"]),
            proxied.connect(
                "/openai/v1/realtime?model=gpt-realtime&a=%2F",
                subprotocols=subprotocols,
                additional_headers=headers,
                origin="https://app.test",
            ) as client,
        ):
            assert client.subprotocol == "realtime"
            assert client.response is not None and "x-request-id" in client.response.headers
            await client.wait_closed()
        [request] = seen
        assert request.path == "/v1/realtime?model=gpt-realtime&a=%2F"
        sent = request.headers
        assert (sent["Authorization"], sent["OpenAI-Beta"]) == ("Bearer sk-mine", "realtime=v1")
        assert (sent["Origin"], sent["Host"]) == ("https://app.test", f"127.0.0.1:{proxied.upstream_port}")
        assert (sent["Connection"], sent["Upgrade"]) == ("Upgrade", "websocket")

    run(scenario())


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "away"), (1011, "broken"), (4242, "own")])
@pytest.mark.parametrize("by_client", [True, False])
def test_close_codes(proxied: Proxied, code: int, reason: str, by_client: bool) -> None:
    """Code and reason of a close pass from either side, and the exchange is ok."""

    async def scenario() -> None:
        before = await asyncio.to_thread(proxied.ended, "ok")
        told: asyncio.Future[ServerConnection] = asyncio.get_running_loop().create_future()

        async def handler(peer: ServerConnection) -> None:
            if not by_client:
                await peer.close(code, reason)
            await peer.wait_closed()
            told.set_result(peer)

        async with proxied.serve(handler), proxied.connect() as client:
            if by_client:
                await client.close(code, reason)
            await client.wait_closed()
            for one in (client, await told):
                assert (one.close_code, one.close_reason) == (code, reason)
        await eventually(lambda: proxied.ended("ok") == before + 1)

    run(scenario())


def test_a_refused_upgrade_is_an_ordinary_answer(proxied: Proxied) -> None:
    """A server's 401 with JSON reaches the client whole, is counted so, and the connection goes on."""
    body = json.dumps({"error": {"message": "Incorrect API key", "code": "invalid_api_key"}})

    def refuse(peer: ServerConnection, request: Request) -> Response:
        response = peer.respond(HTTPStatus.UNAUTHORIZED, body)
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = "application/json"
        return response

    def twice() -> list[bytes]:
        with proxied.daemon.connect() as client:
            client.send(UPGRADE + UPGRADE)
            return [client.read_answer().body, client.read_answer().body]

    async def scenario() -> None:
        before = await asyncio.to_thread(proxied.ended, "client_auth", 401)
        async with proxied.serve(process_request=refuse):
            with pytest.raises(InvalidStatus) as refused:
                await proxied.connect(additional_headers={"Authorization": "Bearer wrong"})
            response = refused.value.response
            assert (response.status_code, response.body) == (401, body.encode())
            assert response.headers["Content-Type"] == "application/json"
            assert await asyncio.to_thread(twice) == [body.encode()] * 2
        assert await asyncio.to_thread(proxied.ended, "client_auth", 401) == before + 3

    run(scenario())


def test_an_upstream_that_is_not_there(proxied: Proxied) -> None:
    """The handshake is answered with 502 in OpenAI's form."""

    async def scenario() -> None:
        with pytest.raises(InvalidStatus) as refused:
            await proxied.connect()
        response = refused.value.response
        assert response.status_code == 502
        assert response.body is not None
        assert json.loads(response.body)["error"]["code"] == "upstream_connect_error"

    run(scenario())


def test_many_at_once(proxied: Proxied) -> None:
    """Two hundred connections at one time each get their own bytes, and none is left over."""

    async def one(client: ClientConnection, number: int) -> None:
        for turn in range(10):
            message = f"{number}.{turn}." * 50
            await client.send(message)
            assert await client.recv() == message

    async def scenario() -> None:
        async with proxied.serve():
            clients = await asyncio.gather(*(proxied.connect() for _ in range(200)))
            assert await asyncio.to_thread(proxied.in_flight) == 200
            await asyncio.gather(*(one(client, number) for number, client in enumerate(clients)))
            await asyncio.gather(*(client.close() for client in clients))
        await eventually(lambda: proxied.in_flight() == 0)

    run(scenario())


def _reset(connection: ClientConnection | ServerConnection) -> None:
    """RST, as of a process that is killed with bytes unread, or of a machine behind a firewall."""
    handle = connection.transport.get_extra_info("socket")
    handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.transport.abort()


def test_a_client_that_dies(proxied: Proxied) -> None:
    """The server's connection is cut, and the client is blamed."""

    async def scenario() -> None:
        before = await asyncio.to_thread(proxied.ended, "client_disconnect")
        told: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

        async def handler(peer: ServerConnection) -> None:
            with pytest.raises(ConnectionClosedError):
                await echo(peer)
                await peer.recv()
            told.set_result(peer.close_code)

        async with proxied.serve(handler):
            client = await proxied.connect()
            await client.send("x")
            await client.recv()
            _reset(client)
            assert await told == 1006
            await client.wait_closed()
        await eventually(lambda: proxied.ended("client_disconnect") == before + 1)

    run(scenario())


def test_a_server_that_dies(proxied: Proxied) -> None:
    """The client's connection is cut, never closed as if all were well, and the upstream is blamed."""

    async def scenario() -> None:
        before = await asyncio.to_thread(proxied.ended, "upstream_stream_error")

        async def handler(peer: ServerConnection) -> None:
            await peer.recv()
            _reset(peer)

        async with proxied.serve(handler), proxied.connect() as client:
            await client.send("die")
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
            assert closed.value.rcvd is None and isinstance(closed.value.__cause__, ConnectionResetError)
        assert await asyncio.to_thread(proxied.ended, "upstream_stream_error") == before + 1

    run(scenario())


# By hand: what no well-behaved client or server does.


def _tunnel(
    daemon: Daemon, upstream: RawUpstream, early: bytes = b"", behind: bytes = b""
) -> tuple[Peer, Peer]:
    client = daemon.connect()
    client.send(UPGRADE + early)
    server = upstream.next()
    assert server.read_head().get("upgrade") == b"websocket"
    server.send(SWITCH + behind)
    assert client.read_head().status == 101
    return client, server


def test_bytes_directly_behind_the_handshake(daemon: Daemon, upstream: RawUpstream) -> None:
    """Early bytes of the client, more than are kept, and those in the 101's own segment are not lost."""
    early = bytes(range(256)) * 2000
    client, server = _tunnel(daemon, upstream, early, b"\x81\x02hi")
    with client:
        assert client.read_exactly(4) == b"\x81\x02hi"
        assert server.read_exactly(len(early)) == early


@pytest.mark.parametrize("by_client", [True, False])
def test_what_was_sent_before_a_close_arrives(daemon: Daemon, upstream: RawUpstream, by_client: bool) -> None:
    """Bytes that wait for a slow reader are all delivered before it sees the FIN."""
    data = hashlib.shake_256(b"last").digest(3_000_000)
    client, server = _tunnel(daemon, upstream)
    sender, reader = (client, server) if by_client else (server, client)
    with client:
        sender.send(data)
        sender.close()
        assert hashlib.sha256(reader.read_exactly(len(data))).digest() == hashlib.sha256(data).digest()
        assert reader.wait_end() == "FIN"
        if not by_client:
            upstream.peers.remove(server)


@pytest.mark.parametrize("by_client", [True, False])
def test_a_side_that_does_not_read_stops_the_other(
    daemon: Daemon, upstream: RawUpstream, by_client: bool
) -> None:
    """What is under way is bounded: the sender has to wait, and the daemon's memory stays small."""
    client, server = _tunnel(daemon, upstream)
    sender, reader = (client, server) if by_client else (server, client)
    with client:
        before = daemon.forget_peak()
        sender.socket.settimeout(0.5)
        sent, piece = 0, bytes(1 << 20)
        with pytest.raises(TimeoutError):
            while sent < 200 << 20:
                sent += sender.socket.send(piece)
        assert daemon.peak_bytes() - before < 16 << 20
        sender.socket.settimeout(20)
        assert sum(map(len, reader.pieces(sent))) == sent
        sender.send(b"end")
        assert reader.read_exactly(3) == b"end"


def test_an_idle_tunnel_is_ended() -> None:
    """Bytes of either direction keep it open, silence of both ends it on both sides."""
    with RawUpstream() as upstream, Daemon("--upstream", upstream.url, "--idle-timeout", "1") as daemon:
        for by_client in (True, False):
            client, server = _tunnel(daemon, upstream)
            sender, reader = (client, server) if by_client else (server, client)
            with client:
                reader.socket.settimeout(0.1)
                for _ in range(20):
                    sender.send(b"x")
                    assert reader.read_exactly(1) == b"x"
                    with pytest.raises(TimeoutError):
                        reader.read_some()
                reader.socket.settimeout(20)
                assert client.wait_end() == server.wait_end() == "RST"
        assert daemon.stop() == 0
    assert "Traceback" not in daemon.output


def test_over_tls_on_both_sides(tmp_path: Path) -> None:
    """A wss client and a wss server: frames, close codes and the closes of TLS pass."""
    certificate = make("127.0.0.1", "localhost", authority=True)
    pem, key = tmp_path / "ca.pem", tmp_path / "key.pem"
    pem.write_bytes(certificate.pem)
    key.write_bytes(
        certificate.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    )
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_tls.load_cert_chain(pem, key)
    client_tls = ssl.create_default_context(cafile=str(pem))
    data = hashlib.shake_256(b"tls").digest(FRAME_BYTES)

    async def scenario() -> None:
        async with serve(echo, "127.0.0.1", 0, max_size=None, ssl=server_tls) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            daemon = await asyncio.to_thread(
                Daemon,
                "--upstream",
                f"https://127.0.0.1:{port}",
                "--ca-file",
                str(pem),
                port=f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={pem}",
            )
            try:
                url = f"wss://127.0.0.1:{daemon.port}/v1/realtime"
                async with connect(url, ssl=client_tls, max_size=None, proxy=None) as client:
                    await client.send(data)
                    assert await client.recv() == data
                    [peer] = server.connections
                    await peer.close(4000, "done")
                    await client.wait_closed()
                    assert (client.close_code, client.close_reason) == (4000, "done")
            finally:
                assert await asyncio.to_thread(daemon.stop) == 0
            assert "Traceback" not in daemon.output

    run(scenario())
