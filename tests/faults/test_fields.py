"""What belongs to one connection and what to the message: rows 31 to 37 and 49."""

from __future__ import annotations

import pytest

from tests.faults.conftest import MakeGateway, MakeUpstream
from tests.faults.support import GET, OK, UPGRADE, requests_of, upload
from tests.support.upstream import UpstreamConnection, answering

pytestmark = pytest.mark.timeout_seconds(20)
HEAD = b"HTTP/1.1 200 OK\r\n"
HOPS = (
    b"Connection: keep-alive, X-Named, te\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n"
    b"TE: trailers\r\nTrailer: X-T\r\nX-Named: gone\r\nx-named: gone too\r\nUpgrade: h2c\r\n"
)
KEPT = b"X-A: 1\r\nx-a: 2\r\nx-B:\r\nSet-Cookie: a=b\r\nset-cookie: c=d\r\n"


async def test_row_31_requests(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """Hop-by-hop fields and those that Connection names end here; all others arrive as they came."""
    server = upstream(answering(OK))
    request = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n%bAuthorization: Bearer k\r\n%b\r\n" % (HOPS, KEPT)
    assert (await gateway(server).ask(request)).status == 200
    assert bytes(server.connections[0].received) == (
        b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: Bearer k\r\n"
        b"X-A: 1\r\nx-a: 2\r\nx-B: \r\nSet-Cookie: a=b\r\nset-cookie: c=d\r\n\r\n" % server.port
    )


async def test_row_31_named_by_connection(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """A client may name its own fields away, but not the Host or the framing, which are ours."""
    server = upstream(answering(OK))
    request = (
        b"POST /v1/files HTTP/1.1\r\nHost: x\r\nConnection: authorization, host, content-length, "
        b"transfer-encoding\r\nAuthorization: Bearer k\r\nContent-Length: 5\r\n\r\nhello"
    )
    assert (await gateway(server).ask(request)).status == 200
    [(found, body)], whole = requests_of(bytes(server.connections[0].received))
    assert (body, whole) == (b"hello", True)
    assert [name for name, _ in found.headers] == [b"host", b"content-length"]


async def test_row_31_answers(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """The same for answers, and the connection to the client is judged by its own fields."""
    server = upstream(
        answering(HEAD + HOPS + KEPT + b"Date: then\r\nServer: s\r\nContent-Length: 2\r\n\r\nok")
    )
    client = await gateway(server).client()
    for _ in range(2):
        answer = await client.ask(GET)
        assert answer.fields[:-2] == [
            (b"X-A", b"1"),
            (b"x-a", b"2"),
            (b"x-B", b""),
            (b"Set-Cookie", b"a=b"),
            (b"set-cookie", b"c=d"),
            (b"Date", b"then"),
            (b"Server", b"s"),
            (b"Content-Length", b"2"),
        ]
        assert [name for name, _ in answer.fields[-2:]] == [b"Server-Timing", b"x-request-id"]


async def test_row_31_answer_names_its_framing(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """An upstream that names Content-Length in Connection cannot take the answer's framing away."""
    server = upstream(answering(HEAD + b"Connection: content-length\r\nContent-Length: 2\r\n\r\nok"))
    client = await gateway(server).client()
    for _ in range(2):
        answer = await client.ask(GET)
        assert (answer.body, answer.whole) == (b"ok", True)


async def test_row_32_proxy_credentials(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """Proxy-Authorization does not reach the upstream, nor Proxy-Authenticate the client."""
    server = upstream(
        answering(
            b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n"
            b"Proxy-Authentication-Info: a\r\nContent-Length: 0\r\n\r\n"
        )
    )
    answer = await gateway(server).ask(
        b"GET /v1/models HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic c2VjcmV0\r\n\r\n"
    )
    assert answer.status == 407
    assert not answer.values(b"proxy-authenticate")
    assert b"c2VjcmV0" not in server.connections[0].received


async def test_row_33_via(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """No Via is added; one that is there is kept."""
    server = upstream(answering(HEAD + b"Via: 1.1 edge\r\nContent-Length: 2\r\n\r\nok"))
    proxy = gateway(server)
    answer = await proxy.ask(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nVia: 1.1 corp\r\n\r\n")
    assert answer.values(b"via") == [b"1.1 edge"]
    await proxy.ask(GET)
    assert server.connections[0].received.lower().count(b"via") == 1
    assert b"\r\nVia: 1.1 corp\r\n" in server.connections[0].received


async def test_row_34_versions(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """Each side is spoken to in HTTP/1.1, and a client of HTTP/1.0 in words that it knows."""
    body = b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    server = upstream(answering(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"))
    proxy = gateway(server)
    answer = await proxy.ask(GET)
    assert answer.version == b"1.1"
    server = upstream(answering(HEAD + body))
    proxy = gateway(server)
    client = await proxy.client()
    answer = await client.ask(b"GET /v1/models HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert (answer.status, answer.body, answer.whole) == (200, b"ok", True)
    assert not answer.values(b"transfer-encoding")
    assert answer.values(b"connection") == [b"close"]
    assert await client.end() == "FIN"
    assert server.connections[0].received.startswith(b"GET /v1/models HTTP/1.1\r\n")


async def test_row_34_cut_off_for_http10(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """An answer that only the connection's end can end is reset where it was cut off."""
    server = upstream()
    client = await gateway(server).client()
    client.write(b"GET /v1/models HTTP/1.0\r\n\r\n")
    connection = await server.connected()
    await connection.request()
    connection.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
    await client.until(lambda: client.received.endswith(b"ok"))
    connection.close()
    answer = await client.answer()
    assert (answer.body, answer.whole, client.ended) == (b"ok", False, "RST")


async def test_row_35_trailers(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """Trailers end here, in both directions, and never become header fields."""
    trailers = b"0\r\nX-Trailer: 1\r\nHost: evil\r\nAuthorization: evil\r\n\r\n"
    server = upstream(
        answering(HEAD + b"Trailer: X-Trailer\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n" + trailers)
    )
    client = await gateway(server).client()
    for _ in range(2):
        answer = await client.ask(upload(None) + b"5\r\nhello\r\n" + trailers)
        assert (answer.body, answer.whole) == (b"ok", True)
        assert [name for name, _ in answer.fields] == [
            b"Server-Timing",
            b"x-request-id",
            b"Transfer-Encoding",
        ]
    assert b"trailer" not in bytes(client.received).lower()
    found, whole = requests_of(bytes(server.connections[0].received))
    assert ([body for _, body in found], whole) == ([b"hello", b"hello"], True)
    assert b"evil" not in server.connections[0].received
    assert len(server.connections) == 1


@pytest.mark.parametrize("trailer", [b"Content-Length: 7", b"Transfer-Encoding: chunked"])
async def test_row_35_framing_in_trailers(
    gateway: MakeGateway, upstream: MakeUpstream, trailer: bytes
) -> None:
    """A trailer that would change the framing is refused, and what went upstream is aborted."""
    server = upstream()
    client = await gateway(server).client()
    client.write(upload(None) + b"5\r\nhello\r\n")
    connection = await server.connected()
    await connection.until(lambda: b"hello" in connection.received)
    client.write(b"0\r\n%b\r\n\r\n" % trailer + GET)
    answer = await client.answer()
    assert (answer.status, answer.whole, client.unread) == (400, True, b"")
    assert await client.end() == "FIN"
    assert await connection.end() == "RST"
    assert not requests_of(bytes(connection.received))[1]


async def test_row_36_interim_for_http10(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """A client of HTTP/1.0 sees no 1xx, nor does one that asked for 100 from its upstream."""
    server = upstream(answering(b"HTTP/1.1 100 Continue\r\n\r\n" + OK))
    answer = await gateway(server).ask(
        b"POST /v1/files HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello"
    )
    assert (answer.status, answer.interim) == (200, [])
    assert b"expect" not in bytes(server.connections[0].received).lower()


@pytest.mark.parametrize("length", [5, None])
async def test_row_37_expect(gateway: MakeGateway, upstream: MakeUpstream, length: int | None) -> None:
    """100 comes from here when the body is wanted; the upstream is not asked."""
    server = upstream(answering(OK))
    client = await gateway(server).client()
    for _ in range(2):
        mark = len(client.received)
        client.write(upload(length, b"Expect: 100-continue\r\n"))
        await client.until(lambda mark=mark: client.received.endswith(b"\r\n\r\n", mark))  # type: ignore[misc]
        assert client.received[mark:] == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.write(b"5\r\nhello\r\n0\r\n\r\n" if length is None else b"hello")
        answer = await client.answer()
        assert (answer.interim, answer.status, answer.whole) == ([100], 200, True)
    assert b"expect" not in bytes(server.connections[0].received).lower()


async def test_row_37_final_answer_instead(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """Where the body is not wanted there is no 100: too large, or no upstream to take it."""
    server = upstream()
    proxy = gateway(server, body_bytes=10)
    answer = await proxy.ask(upload(11, b"Expect: 100-continue\r\n"))
    assert (answer.interim, answer.status) == ([], 413)
    await server.stop()
    client = await proxy.client()
    answer = await client.ask(upload(5, b"Expect: 100-continue\r\n"))
    assert (answer.interim, answer.status, answer.whole) == ([], 502, True)
    assert answer.values(b"connection") == [b"close"]
    assert await client.end() == "FIN"


async def test_row_37_other_expectations(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """An expectation that nobody knows is dropped (RFC 9110 section 10.1.1 allows 417)."""
    server = upstream(answering(OK))
    answer = await gateway(server).ask(upload(5, b"Expect: tea\r\n") + b"hello")
    assert (answer.interim, answer.status) == ([], 200)


HANDSHAKE = (
    b"GET /v1/realtime?model=m HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nAuthorization: k\r\n\r\n"
)
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-A: b\r\n\r\n"


async def test_row_49_tunnel(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """After an upstream's 101 the bytes go both ways as they are, and either end ends both."""
    for closer in ("client", "upstream"):
        server = upstream()
        proxy = gateway(server)
        client = await proxy.client()
        client.write(HANDSHAKE + b"early")
        connection = await server.connected()
        head = await connection.head()
        assert b"\r\nUpgrade: websocket\r\n" in head and b"\r\nConnection: Upgrade\r\n" in head
        assert b"\r\nAuthorization: k\r\n" in head and b"\r\nSec-WebSocket-Version: 13\r\n" in head
        connection.write(SWITCHED + b"\x81\x00first")
        answer = await client.answer(fields=UPGRADE)
        assert (answer.status, answer.interim) == (101, [101])
        assert b"\r\nX-A: b\r\n" in client.received
        await client.until(lambda client=client: client.received.endswith(b"first"))  # type: ignore[misc]
        client.write(b"\x00" * 100_000)
        assert await connection.take(100_005) == b"early" + b"\x00" * 100_000
        (client if closer == "client" else connection).close()
        assert await client.end() in ("FIN", "ours")
        assert await connection.end() in ("FIN", "ours")
        await proxy.counted((101, "ok"))
        connection.received[:] = b""


async def test_row_49_refused(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """A refused upgrade is an ordinary answer, and what came behind it is the next request."""
    refusal = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno"

    async def script(connection: UpstreamConnection) -> None:
        await connection.head()
        connection.write(refusal)
        await connection.head()
        connection.write(OK)

    server = upstream(script)
    client = await gateway(server).client()
    answer = await client.ask(HANDSHAKE)
    assert (answer.status, answer.body, answer.whole) == (401, b"no", True)
    assert (await client.ask(GET)).body == b"ok"
    for connection in server.connections:
        connection.received[:] = b""


async def test_row_49_switch_to_another_protocol(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """A 101 to another protocol than was asked for is not an answer: 502."""
    server = upstream(answering(SWITCHED.replace(b"websocket", b"h2c")))
    client = await gateway(server).client()
    client.write(HANDSHAKE)
    answer = await client.answer(fields=UPGRADE)
    assert (answer.status, answer.whole) == (502, True)
    assert await server.connections[0].end() == "RST"
