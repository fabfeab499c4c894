"""What upstreams answer wrongly, and how their answers end: rows 3 to 9 and 20 to 44."""

from __future__ import annotations

import json

import pytest

from tests.faults.conftest import MakeGateway, MakeUpstream
from tests.faults.support import GET, OK, Answer, post, requests_of
from tests.support.upstream import UpstreamConnection, answering

pytestmark = pytest.mark.timeout_seconds(20)
HEAD = b"HTTP/1.1 200 OK\r\n"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def is_error(answer: Answer, status: int, code: str) -> None:
    """An error in an upstream's stead, in OpenAI's form; the client's connection lives on."""
    assert (answer.status, answer.whole) == (status, True)
    assert answer.values(b"content-type") == [b"application/json"]
    assert len(answer.values(b"x-request-id")) == 1
    assert not answer.values(b"connection")
    assert json.loads(answer.body)["error"]["code"] == code


INVALID = {
    3: [
        HEAD + b"Content-Length: abc\r\n\r\nok",
        HEAD + b"Content-Length: -2\r\n\r\nok",
        HEAD + b"Content-Length: +2\r\n\r\nok",
        HEAD + b"Content-Length: 2, 2\r\n\r\nok",
        HEAD + b"Content-Length: 2,3\r\n\r\nok",
        HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        HEAD + b"Content-Length: " + b"9" * 40 + b"\r\n\r\nok",
        HEAD + b"Content-Length: 0x2\r\n\r\nok",
        HEAD + b"Content-Length:\r\n\r\nok",
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: identity\r\n\r\nok",
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ],
    6: [
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        HEAD + b"A: b\nContent-Length: 2\r\n\r\nok",
        HEAD + b"A: b\rc\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 O\rK\r\nContent-Length: 2\r\n\r\nok",
    ],
    7: [HEAD + b"Content-Length : 2\r\n\r\nok", HEAD + b" A: b\r\nContent-Length: 2\r\n\r\nok"],
    8: [HEAD + b"A: b\r\n c\r\nContent-Length: 2\r\n\r\nok"],
    9: [
        HEAD + b"A: b\0c\r\nContent-Length: 2\r\n\r\nok",
        HEAD + b"A: b\x0bc\r\nContent-Length: 2\r\n\r\nok",
        HEAD + b"A\0: b\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 O\0K\r\nContent-Length: 2\r\n\r\nok",
        HEAD + b"".join(b"A%d: b\r\n" % number for number in range(300)) + b"Content-Length: 2\r\n\r\nok",
        HEAD + b"A: " + b"b" * 200_000 + b"\r\nContent-Length: 2\r\n\r\nok",
    ],
    44: [
        b"HTTP/1.1 99999 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 2 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 +200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 600 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 000 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/9.9 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"ICY 200 OK\r\n\r\n",
        b"\r\n\r\n\r\nnothing like it\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"\x15\x03\x01\x00\x02\x02\x16",
        GET,
    ],
}


@pytest.mark.parametrize(
    ("row", "answer"), [(row, answer) for row, answers in INVALID.items() for answer in answers]
)
async def test_rows_03_06_07_08_09_44_invalid(
    gateway: MakeGateway, upstream: MakeUpstream, row: int, answer: bytes
) -> None:
    """An answer that is not valid: 502, its connection is dropped, and the client's serves on."""
    server = upstream(answering(answer))
    proxy = gateway(server)
    client = await proxy.client()
    for number in (1, 2):
        is_error(await client.ask(GET), 502, "upstream_invalid_response")
        connection = server.connections[number - 1]
        assert await connection.end() == "RST"
        assert len(requests_of(bytes(connection.received))[0]) == 1
    await proxy.counted((502, "upstream_error"), (502, "upstream_error"))


async def test_row_05_chunked_from_http10(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """A chunked answer of HTTP/1.0 is not to be trusted: its connection ends with it."""
    server = upstream(answering(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"))
    client = await gateway(server).client()
    for _ in range(2):
        answer = await client.ask(GET)
        assert (answer.status, answer.body, answer.whole) == (200, b"ok", True)
    assert len(server.connections) == 2
    assert await server.connections[0].end() in ("FIN", "RST")


async def test_row_20_no_connection(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """Refused, no such name, no TLS: 502 each, with a code that says which."""
    server = upstream()
    proxy = gateway(server)
    await server.stop()
    is_error(await proxy.ask(GET), 502, "upstream_connect_error")
    await proxy.counted((502, "upstream_connect_error"))

    proxy = gateway("http://does-not-exist.invalid")
    is_error(await proxy.ask(GET), 502, "upstream_connect_error")

    async def no_tls(connection: UpstreamConnection) -> None:
        await connection.until(lambda: bool(connection.received))
        connection.received.clear()
        connection.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        connection.close()

    server = upstream(no_tls)
    proxy = gateway(f"https://127.0.0.1:{server.port}")
    is_error(await proxy.ask(post()), 502, "upstream_tls_error")
    await proxy.counted((502, "upstream_connect_error"))


async def test_row_21_no_head_in_time(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """No head in time, or half of one: 504, and the upstream is aborted."""
    for start in (b"", HEAD, b"HTTP/1.1 100 Continue\r\n\r\n"):

        async def script(connection: UpstreamConnection, start: bytes = start) -> None:
            await connection.request()
            connection.write(start)

        server = upstream(script)
        proxy = gateway(server, head_seconds=0.2)
        is_error(await proxy.ask(post()), 504, "upstream_timeout")
        assert await server.connections[0].end() == "RST"
        assert len(server.connections) == 1
        await proxy.counted((504, "upstream_timeout"))


async def test_row_22_closed_before_an_answer(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """A fresh connection that closes without an answer is 502, not tried again."""
    for start in (b"", b"H", b"HTTP/1.1 200 OK\r\nContent-Le"):
        for how in ("close", "abort"):

            async def script(connection: UpstreamConnection, start: bytes = start, how: str = how) -> None:
                await connection.request()
                connection.write(start)
                getattr(connection, how)()

            server = upstream(script)
            proxy = gateway(server)
            is_error(await proxy.ask(post()), 502, "upstream_connection_closed")
            assert len(server.connections) == 1
            await proxy.counted((502, "upstream_error"))


@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize(
    ("row", "start"),
    [
        (23, HEAD + b"Content-Length: 10\r\n\r\n"),
        (23, EVENTS),
        (24, HEAD + b"Content-Length: 10\r\n\r\nhello"),
        (25, EVENTS + b"9\r\ndata: 1\n\n\r\n"),
        (25, EVENTS + b"10\r\ndata: 1\n\n"),
        (25, EVENTS + b"9\r\ndata: 1\n\n\r\n0\r\n"),
        (25, EVENTS + b"e\r\ndata: [DONE]\n\n\r\n"),
    ],
)
async def test_rows_23_24_25_cut_off(
    gateway: MakeGateway, upstream: MakeUpstream, row: int, start: bytes, how: str
) -> None:
    """What came is passed on, and the client is reset: an answer cut off never ends cleanly."""
    server = upstream()
    proxy = gateway(server)
    client = await proxy.client()
    client.write(GET)
    connection = await server.connected()
    await connection.request()
    connection.write(start)
    seen = {23: b"\r\n\r\n", 24: b"hello"}.get(row, b"data: ")
    await client.until(lambda: seen in client.received)
    getattr(connection, how)()
    answer = await client.answer()
    assert (answer.status, answer.whole) == (200, False)
    assert answer.body in start
    assert client.ended == "RST"
    assert not client.received.endswith(b"\r\n0\r\n\r\n")
    await proxy.counted((200, "upstream_stream_error"))


async def test_row_25_idle(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """A body that falls silent for too long is cut off on both sides."""
    server = upstream(answering(EVENTS + b"9\r\ndata: 1\n\n\r\n"))
    proxy = gateway(server, idle_seconds=0.2)
    answer = await proxy.ask(GET)
    assert (answer.status, answer.body, answer.whole) == (200, b"data: 1\n\n", False)
    assert await server.connections[0].end() == "RST"
    await proxy.counted((200, "upstream_stream_error"))


async def test_row_26_ended_by_close(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """A body that its connection's end ends is chunked for the client; a reset is not an end."""
    for how in ("close", "abort"):
        server = upstream()
        proxy = gateway(server)
        client = await proxy.client()
        client.write(GET)
        connection = await server.connected()
        await connection.request()
        connection.write(HEAD + b"\r\nhello")
        await client.until(lambda client=client: b"hello" in client.received)  # type: ignore[misc]
        getattr(connection, how)()
        answer = await client.answer()
        assert answer.values(b"transfer-encoding") == [b"chunked"]
        assert (answer.body, answer.whole) == (b"hello", how == "close")
        await proxy.counted((200, "ok" if how == "close" else "upstream_stream_error"))


@pytest.mark.parametrize(
    "chunk",
    [
        b"ffffffffffffffffff\r\nhello",
        b"8000000000000000\r\nhello",
        b"xyz\r\nhello",
        b"-1\r\nhello",
        b"0x5\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b"\r\nhello",
        b"5\nhello\r\n",
        b"5\r\nhelloworld\r\n",
        b"5\r\nhello\n",
        b"5;" + b"x" * 200_000,
        b"0\r\nTrailer: " + b"x" * 200_000,
        b"0\r\nbad trailer\r\n\r\n",
    ],
)
async def test_row_27_bad_chunks(gateway: MakeGateway, upstream: MakeUpstream, chunk: bytes) -> None:
    """A chunk that is not valid: the client's answer is cut off, or was never begun."""
    server = upstream(answering(EVENTS + b"3\r\nabc\r\n" + chunk))
    proxy = gateway(server, idle_seconds=0.5)
    answer = await proxy.ask(GET)
    assert not answer.whole or answer.status == 502
    assert answer.status in (200, 502)
    assert await server.connections[0].end() == "RST"
    assert await proxy.ask(GET)
    assert len(server.connections) == 2


EXTRA = [OK, b"x", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"\0" * 10, b"\n", b"\r"]


@pytest.mark.parametrize("extra", EXTRA)
async def test_row_28_extra_bytes(gateway: MakeGateway, upstream: MakeUpstream, extra: bytes) -> None:
    """Bytes behind an answer close its connection; the next request has an answer of its own."""
    for first in (
        OK,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        HEAD + b"Content-Length: 0\r\n\r\n",
    ):

        async def script(connection: UpstreamConnection, first: bytes = first) -> None:
            await connection.request()
            connection.write(
                (first + extra) if connection.number == 0 else HEAD + b"Content-Length: 3\r\n\r\nown"
            )

        server = upstream(script)
        client = await gateway(server).client()
        answer = await client.ask(GET)
        assert (answer.status, answer.whole, answer.body) == (200, True, b"" if b" 0\r\n" in first else b"ok")
        assert (await client.ask(GET)).body == b"own"
        assert len(requests_of(bytes(server.connections[0].received))[0]) == 1
        assert await server.connections[0].end() in ("FIN", "RST")


@pytest.mark.parametrize("extra", EXTRA)
async def test_row_29_unsolicited(gateway: MakeGateway, upstream: MakeUpstream, extra: bytes) -> None:
    """An answer to nothing, on an idle connection, closes it; it answers no request."""
    server = upstream()
    client = await gateway(server).client()
    client.write(GET)
    connection = await server.connected()
    await connection.request()
    connection.write(OK)
    assert (await client.answer()).body == b"ok"
    connection.write(extra)
    client.write(GET)
    other = await server.connected(2)
    await other.request()
    other.write(HEAD + b"Content-Length: 3\r\n\r\nown")
    assert (await client.answer()).body == b"own"
    assert await connection.end() == "RST"
    assert len(requests_of(bytes(connection.received))[0]) == 1


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: Close\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: x-a, CLOSE\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: x-a\r\nConnection: close\r\n",
        b"HTTP/1.0 200 OK\r\n",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n",
        b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=0\r\n",
    ],
)
async def test_row_30_close(gateway: MakeGateway, upstream: MakeUpstream, head: bytes) -> None:
    """A connection that its server will close is not used again; the client's own is."""
    server = upstream(answering(head + b"Content-Length: 2\r\n\r\nok"))
    client = await gateway(server).client()
    for _ in range(2):
        answer = await client.ask(GET)
        assert (answer.status, answer.body, answer.whole) == (200, b"ok", True)
        assert not answer.values(b"connection")
    assert len(server.connections) == 2
    assert await server.connections[0].end() in ("FIN", "RST")


async def test_row_36_interim_answers(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """1xx before an answer are taken and not passed on; a storm of them, or a 101, is 502."""
    interim = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 X\r\n\r\n"
    )
    server = upstream(answering(interim + OK))
    client = await gateway(server).client()
    for _ in range(2):
        answer = await client.ask(GET)
        assert (answer.status, answer.interim, answer.body) == (200, [], b"ok")
        assert not answer.values(b"link")
    assert len(server.connections) == 1
    for bad in (
        interim * 50 + OK,
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 199 X\r\n\r\n" * 5000,
    ):
        server = upstream(answering(bad))
        is_error(await gateway(server).ask(GET), 502, "upstream_invalid_response")
        assert await server.connections[0].end() == "RST"


async def test_row_38_head(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """HEAD keeps the Content-Length as given, has no body, and its connection is used again."""
    request = b"HEAD /v1/files/a HTTP/1.1\r\nHost: x\r\n\r\n"
    for fields in (b"Content-Length: 1234\r\n", b"Transfer-Encoding: chunked\r\n", b""):
        server = upstream(answering(HEAD + fields + b"\r\n"))
        client = await gateway(server).client()
        for _ in range(2):
            answer = await client.ask(request, b"HEAD")
            assert (answer.status, answer.body, answer.whole) == (200, b"", True)
            assert answer.values(b"content-length") == ([b"1234"] if b"1234" in fields else [])
        assert len(server.connections) == 1


@pytest.mark.parametrize(
    ("method", "head"),
    [
        (b"GET", b"HTTP/1.1 204 No Content\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\n"),
    ],
)
@pytest.mark.parametrize("framing", [b"", b"Content-Length: 2\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_row_39_no_body_but_bytes(
    gateway: MakeGateway, upstream: MakeUpstream, method: bytes, head: bytes, framing: bytes
) -> None:
    """A body where there can be none is not passed on, and closes its connection."""
    body = b"2\r\nok\r\n0\r\n\r\n" if b"chunked" in framing else b"ok"
    server = upstream(answering(head + framing + b"\r\n" + body))
    client = await gateway(server).client()
    for _ in range(2):
        answer = await client.ask(b"%b /v1/a HTTP/1.1\r\nHost: x\r\n\r\n" % method, method)
        assert (answer.status, answer.body, answer.whole) == (int(head.split()[1]), b"", True)
        assert client.unread == b""
        assert not answer.values(b"transfer-encoding")
        assert answer.status != 204 or not answer.values(b"content-length")
    assert len(server.connections) == 2
    for connection in server.connections:
        assert len(requests_of(bytes(connection.received))[0]) == 1
        assert await connection.end() in ("FIN", "RST")


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 0\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]
)
async def test_row_40_reset_content(gateway: MakeGateway, upstream: MakeUpstream, framing: bytes) -> None:
    """205 has no content, and says so."""
    server = upstream(answering(b"HTTP/1.1 205 Reset Content\r\n" + framing))
    client = await gateway(server).client()
    for _ in range(2):
        answer = await client.ask(GET)
        assert (answer.status, answer.whole, answer.values(b"content-length")) == (205, True, [b"0"])
    assert len(server.connections) == 1


async def test_row_41_packed_bodies(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """A packed body stays as it is, and no Accept-Encoding is added."""
    packed = bytes(range(256)) * 4
    for coding in (b"gzip", b"br", b"zstd", b"x-unknown"):
        server = upstream(
            answering(HEAD + b"Content-Encoding: %b\r\nContent-Length: 1024\r\n\r\n%b" % (coding, packed))
        )
        answer = await gateway(server).ask(post(fields=b"Content-Encoding: gzip\r\n"))
        assert (answer.body, answer.values(b"content-encoding")) == (packed, [coding])
        received = bytes(server.connections[0].received)
        assert b"accept-encoding" not in received.lower()
        assert b"\r\nContent-Encoding: gzip\r\n" in received


async def test_row_42_redirects(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """A redirect is passed on, and not followed."""
    canary = upstream(answering(OK))
    for status in (301, 302, 303, 307, 308, 300, 305):
        location = canary.url(b"/steal")
        server = upstream(
            answering(b"HTTP/1.1 %d Away\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % (status, location))
        )
        answer = await gateway(server).ask(post(fields=b"Authorization: Bearer secret\r\n"))
        assert (answer.status, answer.values(b"location")) == (status, [location])
    assert not canary.connections


@pytest.mark.parametrize(
    "target",
    [
        b"/v1/files/a%2Fb%00%2e%252e",
        b"/v1/x?a[]=1&b=%5B%5D&&=&c",
        b"/v1/x?",
        b"/v1//x//",
        b"/v1/x;y=z?u=http://a/../b?c",
        b"/v1/%E4%f6'()*!$,@:~_-..x",
        b"/v1/x?q=" + b"%20" * 1000,
    ],
)
async def test_row_43_targets(gateway: MakeGateway, upstream: MakeUpstream, target: bytes) -> None:
    """Path and query arrive byte for byte, below both routes."""
    server = upstream(answering(OK))
    proxy = gateway(server)
    for prefix in (b"", b"/openai"):
        assert (await proxy.ask(b"GET %b%b HTTP/1.1\r\nHost: x\r\n\r\n" % (prefix, target))).status == 200
    for found, _ in requests_of(bytes(server.connections[0].received))[0]:
        assert found.target == target


@pytest.mark.parametrize("target", [b"/v1/../x", b"/v1/%2e%2E/x", b"/openai/../../x", b"/v1/.", b"/v1/..?a"])
async def test_row_43_dot_segments(gateway: MakeGateway, upstream: MakeUpstream, target: bytes) -> None:
    """Dot segments could leave a route: 400, and nothing goes upstream."""
    server = upstream(answering(OK))
    assert (await gateway(server).ask(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % target)).status == 400
    assert not server.connections
