"""What clients send wrongly, too large or too slowly: rows 1 to 15 of the fault table."""

from __future__ import annotations

import json

import pytest
from twisted.internet.task import LoopingCall

from tests.faults.conftest import MakeGateway, MakeUpstream
from tests.faults.support import GET, OK, Answer, Gateway, post, upload
from tests.support.upstream import ScriptedUpstream, answering

pytestmark = pytest.mark.timeout_seconds(20)
CHUNKED = b"POST /v1/files HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
LENGTHS = b"POST /v1/files HTTP/1.1\r\nHost: x\r\n%b\r\n"


def is_error(answer: Answer, *statuses: int) -> None:
    """An error of ours, in OpenAI's form, after which the connection closes."""
    assert answer.status in statuses
    assert answer.whole
    assert answer.values(b"content-type") == [b"application/json"]
    assert answer.values(b"connection") == [b"close"]
    assert len(answer.values(b"x-request-id")) == 1
    assert set(json.loads(answer.body)["error"]) == {"message", "type", "param", "code"}


async def refused(proxy: Gateway, server: ScriptedUpstream, request: bytes, *statuses: int) -> None:
    """``request``, and a second one that hides behind it: one error, and the upstream sees neither."""
    client = await proxy.client()
    answer = await client.ask(request + GET)
    is_error(answer, *statuses)
    assert await client.end() == "FIN"
    assert client.unread == b""
    assert not server.connections
    await proxy.counted((answer.status, "client_error"))


async def test_row_01_length_and_chunked(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """Two framings in one request: 400 and the end."""
    for fields in (
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Transfer-Encoding : chunked\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: identity\r\n",
        b"Content-Length: 5\r\nTRANSFER-ENCODING: Chunked\r\n",
    ):
        server = upstream(answering(OK))
        await refused(gateway(server), server, LENGTHS % fields + b"0\r\n\r\n", 400, 501)


@pytest.mark.parametrize(
    "value",
    [
        b"5, 5",
        b"5,6",
        b"+5",
        b"-1",
        b"0x5",
        b"5 5",
        b"",
        b"1_0",
        b"\xb2",
        b"9" * 19,
        b"9" * 5000,
        b"1e3",
        b"5;",
    ],
)
async def test_row_02_bad_length(gateway: MakeGateway, upstream: MakeUpstream, value: bytes) -> None:
    """A Content-Length that is no number, or a list of them: 400 and the end."""
    server = upstream(answering(OK))
    await refused(gateway(server), server, LENGTHS % (b"Content-Length: %b\r\n" % value) + b"hello", 400)


@pytest.mark.parametrize("second", [b"5", b"6"])
async def test_row_02_doubled_length(gateway: MakeGateway, upstream: MakeUpstream, second: bytes) -> None:
    """Two Content-Length fields, even equal ones: 400 and the end."""
    server = upstream(answering(OK))
    fields = b"Content-Length: 5\r\nContent-Length: %b\r\n" % second
    await refused(gateway(server), server, LENGTHS % fields + b"hello", 400)


@pytest.mark.parametrize(
    "coding",
    [
        b"gzip",
        b"identity",
        b"chunked, gzip",
        b"gzip, chunked",
        b"xchunked",
        b"chunked, chunked",
        b"\x0bchunked",
        b"chunked;q=1",
        b"chunke",
        b"",
        b"chunked\r\nTransfer-Encoding: chunked",
        b"chunked\r\nTransfer-Encoding: identity",
    ],
)
async def test_row_04_transfer_codings(gateway: MakeGateway, upstream: MakeUpstream, coding: bytes) -> None:
    """Any Transfer-Encoding but exactly ``chunked``: 400 or 501, and the end."""
    server = upstream(answering(OK))
    request = LENGTHS % (b"Transfer-Encoding: %b\r\n" % coding) + b"0\r\n\r\n"
    await refused(gateway(server), server, request, 400, 501)


async def test_row_05_chunked_in_http10(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """HTTP/1.0 has no chunks: 400 and the end."""
    server = upstream(answering(OK))
    request = b"POST /v1/files HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    await refused(gateway(server), server, request, 400)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /v1/models HTTP/1.1\nHost: x\n\n",
        b"GET /v1/models HTTP/1.1\r\nHost: x\nA: b\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: x\rA: b\r\n\r\n",
        b"GET /v1/models HTTP/1.1\rHost: x\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\n",
        CHUNKED + b"\r\n5\nhello\r\n0\r\n\r\n",
        CHUNKED + b"\r\n5\r\nhello\n0\r\n\r\n",
    ],
)
async def test_row_06_bare_line_ends(
    gateway: MakeGateway, upstream: MakeUpstream, request_bytes: bytes
) -> None:
    """A CR or LF without the other: 400 and the end, in heads and in chunks."""
    server = upstream(answering(OK))
    proxy = gateway(server)
    client = await proxy.client()
    is_error(await client.ask(request_bytes), 400)
    assert await client.end() == "FIN"
    for connection in server.connections:
        assert await connection.end() == "RST"


@pytest.mark.parametrize(
    "field", [b"A : b", b" A: b", b"\tA: b", b"Content-Length : 5", b"A\t: b", b": b", b"A"]
)
async def test_row_07_space_before_colon(gateway: MakeGateway, upstream: MakeUpstream, field: bytes) -> None:
    """A space around a field's name: 400 and the end."""
    server = upstream(answering(OK))
    request = b"GET /v1/models HTTP/1.1\r\n%b\r\nHost: x\r\n\r\n" % field
    await refused(gateway(server), server, request, 400)


async def test_row_08_folded_field(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """A field on two lines: 400 and the end."""
    for fold in (b"A: b\r\n c", b"A: b\r\n\tc", b"A:\r\n b"):
        server = upstream(answering(OK))
        await refused(
            gateway(server), server, b"GET /v1/models HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n" % fold, 400
        )


@pytest.mark.parametrize("byte", [0, 1, 8, 11, 12, 13, 27, 31, 127])
async def test_row_09_control_bytes(gateway: MakeGateway, upstream: MakeUpstream, byte: int) -> None:
    """A control byte in a field's value: 400 and the end."""
    server = upstream(answering(OK))
    request = b"GET /v1/models HTTP/1.1\r\nHost: x\r\nA: b%bc\r\n\r\n" % bytes([byte])
    await refused(gateway(server), server, request, 400)


@pytest.mark.parametrize(
    "hosts",
    [b"", b"Host: a\r\nHost: a\r\n", b"Host: a, b\r\n", b"Host: u@a\r\n", b"Host: a/b\r\n", b"Host: a:b\r\n"],
)
async def test_row_10_host(gateway: MakeGateway, upstream: MakeUpstream, hosts: bytes) -> None:
    """No Host, two, or one that is no authority: 400 and the end."""
    server = upstream(answering(OK))
    await refused(gateway(server), server, b"GET /v1/models HTTP/1.1\r\n%b\r\n" % hosts, 400)


async def test_row_11_absolute_form(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """An absolute target is served; its authority chooses nothing, nor does the Host."""
    server, canary = upstream(answering(OK)), upstream(answering(OK))
    proxy = gateway(server)
    evil = b"127.0.0.1:%d" % canary.port
    for target in (b"http://%b/v1/models?a" % evil, b"/v1/models?a"):
        answer = await proxy.ask(b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, evil))
        assert (answer.status, answer.body) == (200, b"ok")
    assert bytes(server.connections[0].received) == 2 * (
        b"GET /v1/models?a HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % server.port
    )
    answer = await proxy.ask(b"GET //%b/v1/models HTTP/1.1\r\nHost: x\r\n\r\n" % evil)
    assert answer.status == 404
    assert not canary.connections


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"OPTIONS *", 405),
        (b"TRACE /v1/models", 501),
        (b"CONNECT api.openai.com:443", 501),
        (b"GET *", 400),
    ],
)
async def test_row_12_methods(gateway: MakeGateway, upstream: MakeUpstream, line: bytes, status: int) -> None:
    """``OPTIONS *``, TRACE and CONNECT are answered here."""
    server = upstream(answering(OK))
    answer = await gateway(server).ask(line + b" HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\n\r\n")
    assert (answer.status, answer.whole) == (status, True)
    assert not server.connections


async def test_row_12_unknown_method(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """Any other token is a method, and the upstream's to judge."""
    server = upstream(answering(OK))
    assert (await gateway(server).ask(b"pURR /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")).status == 200
    assert server.connections[0].received.startswith(b"pURR /v1/models HTTP/1.1\r\n")


async def test_row_12_options(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """OPTIONS of a path is the upstream's to answer, Max-Forwards and all."""
    server = upstream(answering(OK))
    answer = await gateway(server).ask(b"OPTIONS /v1/models HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\n\r\n")
    assert answer.status == 200
    assert server.connections[0].received.startswith(b"OPTIONS /v1/models HTTP/1.1\r\n")
    assert b"\r\nMax-Forwards: 0\r\n" in server.connections[0].received


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /v1/" + b"a" * 17_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET /v1/" + b"a" * 200_000, 414),
        (b"GET /v1/a HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 70_000 + b"\r\n\r\n", 431),
        (b"GET /v1/a HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 200_000, 431),
        (b"GET /v1/a HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 300 + b"\r\n", 431),
        (b"GET /v1/a HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 300, 431),
        (b"GET /v1/a HTTP/1.1\r\nHost: x\r\n" + b"b" * 200_000, 431),
    ],
)
async def test_row_13_too_large_a_head(
    gateway: MakeGateway, upstream: MakeUpstream, request_bytes: bytes, status: int
) -> None:
    """A target past its limit is 414, a header section past its own 431; no byte reaches upstream."""
    server = upstream(answering(OK))
    client = await gateway(server).client()
    is_error(await client.ask(request_bytes), status)
    assert await client.end() == "FIN"
    assert not server.connections


async def test_row_13_long_but_within(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """A request line of 8,000 octets, and many fields, are served (RFC 9112 section 3)."""
    server = upstream(answering(OK))
    target = b"/v1/" + b"a" * 8_000
    fields = b"".join(b"X-%d: %b\r\n" % (number, b"v" * 100) for number in range(190))
    answer = await gateway(server).ask(b"GET %b HTTP/1.1\r\nHost: x\r\n%b\r\n" % (target, fields))
    assert answer.status == 200
    assert bytes(server.connections[0].received).startswith(b"GET %b HTTP/1.1\r\n" % target)
    assert fields in server.connections[0].received


async def test_row_14_too_large_a_body(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """413: at once where the length is said, and else when it is passed; the upload is aborted."""
    server = upstream()
    proxy = gateway(server, body_bytes=1000)
    await refused(proxy, server, post(b"x" * 1001), 413)
    client = await proxy.client()
    client.write(upload(None) + b"3e8\r\n" + b"x" * 1000 + b"\r\n")
    connection = await server.connected()
    await connection.until(lambda: b"x" * 1000 in connection.received)
    is_error(await client.ask(b"1\r\nx\r\n0\r\n\r\n"), 413)
    assert await connection.end() == "RST"
    assert not connection.received.endswith(b"\r\n0\r\n\r\n")
    await proxy.counted((413, "client_error"), (413, "client_error"))


async def test_row_14_body_larger_than_what_is_held(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """A JSON body past the bound of held ones streams, and the sum of all held is 503."""
    server = upstream(answering(OK))
    proxy = gateway(server, held_body_bytes=100, held_total_bytes=150)
    assert (await proxy.ask(post(b'{"a":"%b"}' % (b"x" * 100)))).status == 200
    first = await proxy.client()
    request = post(b"x" * 90)
    first.write(request[:-1])
    client = await proxy.client()
    await client.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = await client.ask(request)
    assert (answer.status, answer.values(b"retry-after")) == (503, [b"1"])
    assert (await first.ask(request[-1:])).status == 200
    await proxy.counted((200, "ok"), (200, "ok"), (503, "proxy_overload"))


async def test_row_15_slow_head(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """A head that drips is 408 at a deadline that no byte moves."""
    server = upstream(answering(OK))
    proxy = gateway(server, header_seconds=0.3)
    client = await proxy.client()
    client.write(b"GET /v1/models HTTP/1.1\r\nA: ")
    drip = LoopingCall(lambda: client.write(b"b"))
    stopped = drip.start(0.02)
    await client.until(lambda: bool(client.received))
    drip.stop()
    await stopped
    is_error(await client.answer(), 408)
    assert await client.end() == "FIN"
    assert not server.connections
    await proxy.counted((408, "client_error"))


@pytest.mark.parametrize("streamed", [False, True])
async def test_row_15_slow_body(gateway: MakeGateway, upstream: MakeUpstream, streamed: bool) -> None:
    """A body below the least rate is 408; what had been sent on of it is aborted."""
    server = upstream()
    proxy = gateway(server, header_seconds=0.3)
    client = await proxy.client()
    client.write(upload(1000) if streamed else post(b"x" * 1000)[:-1000])
    client.write(b"abc")
    is_error(await client.answer(), 408)
    if streamed:
        connection = await server.connected()
        assert await connection.end() == "RST"
        assert connection.received.endswith(b"abc")
    else:
        assert not server.connections
    await proxy.counted((408, "client_error"))
