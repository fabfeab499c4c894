"""Answers: what is taken, what is refused, how bodies end, what a connection is good for after."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import UNKNOWN_LENGTH

from openai_proxy.config.settings import Timeouts
from openai_proxy.wire.call import Call
from openai_proxy.wire.connection import ClientConnection
from openai_proxy.wire.errors import (
    ConnectionClosed,
    HeadTimedOut,
    IdleTimedOut,
    InvalidResponse,
    Truncated,
)
from openai_proxy.wire.fields import Fields
from tests.support.client import Reader, SlowBody, ended, read
from tests.support.upstream import ScriptedUpstream, UpstreamConnection, answering
from tests.wire.conftest import MakeAgent, MakeUpstream

pytestmark = pytest.mark.timeout_seconds(8)
H = b"HTTP/1.1 200 OK\r\n"
OK = H + b"Content-Length: 2\r\n\r\nok"
CHUNKED = H + b"Transfer-Encoding: chunked\r\n\r\n"


def once(*pieces: bytes, then: str = "open") -> Any:
    """A script: one request is answered with ``pieces``, then FIN, RST or nothing."""

    async def script(connection: UpstreamConnection) -> None:
        await connection.head()
        for piece in pieces:
            connection.write(piece)
        if then == "close":
            connection.close()
        elif then == "abort":
            # A reset overtakes what is on its way: let the client read first.
            await connection.upstream.until(lambda: connection.upstream.go)  # type: ignore[attr-defined]
            connection.abort()

    return script


def go(server: ScriptedUpstream) -> None:
    """Let a script of ``once(then="abort")`` abort."""
    server.go = True  # type: ignore[attr-defined]
    server._look()


async def test_head_as_it_came(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """Status, phrase, fields in order and case with duplicates, Content-Length, hop-by-hop."""
    server = upstream(
        answering(
            b"HTTP/1.1 429 Too Many\r\nx-b: 1\r\nX-A: \xe4 \r\nX-B: 2\r\ncontent-LENGTH: 2\r\n"
            b"Keep-Alive: timeout=9\r\nEmpty:\r\n\r\nno"
        )
    )
    response: Any = await agent().request(b"GET", server.url())
    assert (response.code, response.phrase, response.length) == (429, b"Too Many", 2)
    assert response.version == (b"HTTP", 1, 1)
    assert [(name, value.strip()) for name, value in response.headers.raw] == [
        (b"x-b", b"1"),
        (b"X-A", b"\xe4"),
        (b"X-B", b"2"),
        (b"content-LENGTH", b"2"),
        (b"Keep-Alive", b"timeout=9"),
        (b"Empty", b""),
    ]
    assert await read(response) == b"no"


REFUSED = {
    "status 99": b"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n",
    "status 600": b"HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n",
    "status 999": b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n",
    "status 1000": b"HTTP/1.1 1000 X\r\nContent-Length: 0\r\n\r\n",
    "status +20": b"HTTP/1.1 +20 X\r\nContent-Length: 0\r\n\r\n",
    "status 2": b"HTTP/1.1 2 X\r\nContent-Length: 0\r\n\r\n",
    "control in phrase": b"HTTP/1.1 200 O\x00K\r\nContent-Length: 0\r\n\r\n",
    "CR in phrase": b"HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/0.9": b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
    "FOO/1.1": b"FOO/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "no HTTP": b"220 mail.example ESMTP\r\n",
    "TLS alert": b"\x15\x03\x01\x00\x02\x02\x46",
    "CL empty": H + b"Content-Length:\r\n\r\n",
    "CL sign": H + b"Content-Length: +2\r\n\r\nok",
    "CL negative": H + b"Content-Length: -2\r\n\r\nok",
    "CL hex": H + b"Content-Length: 0x2\r\n\r\nok",
    "CL list": H + b"Content-Length: 2, 2\r\n\r\nok",
    "CL differing": H + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "CL twice": H + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "CL overflow": H + b"Content-Length: 99999999999999999999\r\n\r\nok",
    "CL digits": H + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nok",
    "CL and TE": H + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE and CL": H + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n",
    "TE gzip": H + b"Transfer-Encoding: gzip\r\n\r\nok",
    "TE gzip, chunked": H + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "TE chunked, gzip": H + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "TE identity": H + b"Transfer-Encoding: identity\r\n\r\nok",
    "TE twice": H + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE odd case": H + b"tRANSFER-eNCODING: gzip\r\n\r\nok",
    "NUL": H + b"A: b\x00c\r\nContent-Length: 0\r\n\r\n",
    "control": H + b"A: b\x01c\r\nContent-Length: 0\r\n\r\n",
    "DEL": H + b"A: b\x7fc\r\nContent-Length: 0\r\n\r\n",
    "bare CR": H + b"A: b\rc\r\nContent-Length: 0\r\n\r\n",
    "bare LF": H + b"A: b\nContent-Length: 0\r\n\r\n",
    "obs-fold": H + b"A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "space before colon": H + b"A : b\r\nContent-Length: 0\r\n\r\n",
    "no colon": H + b"Abc\r\nContent-Length: 0\r\n\r\n",
    "no name": H + b": b\r\nContent-Length: 0\r\n\r\n",
    "201 fields": H + b"A: b\r\n" * 200 + b"Content-Length: 0\r\n\r\n",
    "65 KiB of fields": H + (b"A: " + b"b" * 997 + b"\r\n") * 66 + b"Content-Length: 0\r\n\r\n",
    "endless field": H + b"A: " + b"b" * 140_000,
    "endless name": H + b"a" * 140_000,
    "endless phrase": b"HTTP/1.1 200 " + b"b" * 140_000,
    "101 unasked": b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "101 bare": b"HTTP/1.1 101 S\r\n\r\n",
    "17 interim": b"HTTP/1.1 100 C\r\n\r\n" * 17 + OK,
    "endless interim": b"HTTP/1.1 103 C\r\nLink: x\r\n\r\n" * 9000,
}


@pytest.mark.parametrize("answer", REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_refused(agent: MakeAgent, upstream: MakeUpstream, answer: bytes, method: bytes) -> None:
    """An answer that is not valid is InvalidResponse, and its connection is reset."""
    server = upstream(once(answer))
    with pytest.raises(InvalidResponse) as caught:
        await agent().request(method, server.url(b"/secret"))
    assert "secret" not in str(caught.value)
    assert await server.connections[0].end() == "RST"


@pytest.mark.parametrize("count", [199])
async def test_allowed_at_the_bounds(agent: MakeAgent, upstream: MakeUpstream, count: int) -> None:
    """200 fields and almost 64 KiB pass."""
    fields = (b"A: " + b"b" * 300 + b"\r\n") * count
    server = upstream(answering(H + fields + b"Content-Length: 2\r\n\r\nok"))
    response: Any = await agent().request(b"GET", server.url())
    assert len(response.headers.raw) == count + 1
    assert await read(response) == b"ok"


@pytest.mark.parametrize(
    "interim", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 E\r\nLink: a\r\nContent-Length: 5\r\n\r\n"]
)
async def test_interim(agent: MakeAgent, upstream: MakeUpstream, interim: bytes) -> None:
    """100, 102 and 103 are swallowed with their fields, and the connection goes on."""
    server = upstream(answering([interim, interim + b"HTTP/1.1 102 P\r\n\r\n", OK]))
    one = agent()
    for _ in range(2):
        response: Any = await one.request(b"GET", server.url())
        assert (response.code, len(response.headers.raw)) == (200, 1)
        assert await read(response) == b"ok"
    assert len(server.connections) == 1


REUSED = {
    "length": OK,
    "length 0": H + b"Content-Length: 0\r\n\r\n",
    "chunked": CHUNKED + b"2\r\nok\r\n0\r\n\r\n",
    "chunked, odd case": H + b"transfer-encoding: CHUNKED\r\n\r\n2;a=b\r\nok\r\n0\r\n\r\n",
    "trailers": CHUNKED + b"2\r\nok\r\n0\r\nX-Sum: 7\r\nX: y\r\n\r\n",
    "keep-alive": H + b"Connection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
    "body of line ends": H + b"Content-Length: 4\r\n\r\n\r\n\r\n",
    "chunk of line ends": CHUNKED + b"4\r\n\r\n\r\n\r\n0\r\n\r\n",
    "204": b"HTTP/1.1 204 N\r\n\r\n",
    "304": b"HTTP/1.1 304 N\r\nContent-Length: 100\r\n\r\n",
    "205": b"HTTP/1.1 205 R\r\nContent-Length: 0\r\n\r\n",
    "200 with Upgrade": H + b"Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nok",
}
CLOSED = {
    "close": H + b"Connection: close\r\nContent-Length: 2\r\n\r\nok",
    "Close": H + b"connection: Close\r\nContent-Length: 2\r\n\r\nok",
    "close in a list": H + b"Connection: x, CLOSE ,y\r\nContent-Length: 2\r\n\r\nok",
    "close in a second field": H + b"Connection: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.0 keep-alive": b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
    "extra bytes": OK + b"x",
    "extra answer": OK + OK,
    "extra half answer": OK + b"HTT",
    "extra line end": OK + b"\r\n",
    "extra line end after chunks": CHUNKED + b"2\r\nok\r\n0\r\n\r\n\r\n",
    "extra after chunks": CHUNKED + b"0\r\n\r\nHTTP/1.1 200",
    "extra after close": H + b"Connection: close\r\nContent-Length: 2\r\n\r\nokmore",
    "204 with length": b"HTTP/1.1 204 N\r\nContent-Length: 2\r\n\r\n",
    "204 with chunks": b"HTTP/1.1 204 N\r\nTransfer-Encoding: chunked\r\n\r\n",
    "204 with body": b"HTTP/1.1 204 N\r\nContent-Length: 2\r\n\r\nok",
    "304 with body": b"HTTP/1.1 304 N\r\nContent-Length: 2\r\n\r\nok",
    "304 with chunks": b"HTTP/1.1 304 N\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "timeout=0": H + b"Keep-Alive: timeout=0\r\nContent-Length: 2\r\n\r\nok",
}
BODIES = {
    "length 0": b"",
    "204": b"",
    "304": b"",
    "205": b"",
    "body of line ends": b"\r\n\r\n",
    "chunk of line ends": b"\r\n\r\n",
    "extra after chunks": b"",
}


@pytest.mark.parametrize(
    ("name", "answer", "connections"),
    [(name, answer, 1) for name, answer in REUSED.items()]
    + [(name, answer, 3) for name, answer in CLOSED.items()],
    ids=[*REUSED, *CLOSED],
)
async def test_reuse(
    agent: MakeAgent, upstream: MakeUpstream, name: str, answer: bytes, connections: int
) -> None:
    """A connection is reused after a clean end, and never when there is any doubt."""
    server = upstream(answering(answer))
    one = agent()
    expected = BODIES.get(name, b"" if name[:3] in ("204", "304") else b"ok")
    for _ in range(3):
        response = await one.request(b"GET", server.url())
        assert await read(response) == expected
    assert len(server.connections) == connections


HEADS = {
    "length": (OK[:-2], 1),
    "no length": (H + b"\r\n", 1),
    "chunked": (CHUNKED, 1),
    "length 0": (H + b"Content-Length: 0\r\n\r\n", 1),
    "404": (b"HTTP/1.1 404 N\r\nContent-Length: 99\r\n\r\n", 1),
    "204": (b"HTTP/1.1 204 N\r\n\r\n", 1),
    "close": (H + b"Connection: Close\r\nContent-Length: 2\r\n\r\n", 3),
    "body": (OK, 3),
    "chunks": (CHUNKED + b"0\r\n\r\n", 3),
    "body without length": (H + b"\r\nok", 3),
    "body with length 0": (H + b"Content-Length: 0\r\n\r\nok", 3),
}


@pytest.mark.parametrize(("answer", "connections"), HEADS.values(), ids=HEADS.keys())
async def test_head_request(
    agent: MakeAgent, upstream: MakeUpstream, answer: bytes, connections: int
) -> None:
    """HEAD has no body whatever the fields say, keeps its fields; extra bytes close."""
    server = upstream(answering(answer))
    one = agent()
    for _ in range(3):
        response: Any = await one.request(b"HEAD", server.url())
        assert await read(response) == b""
        assert response.length == 0
        assert (b"Content-Length: " in answer) == response.headers.hasHeader(b"content-length")
    assert len(server.connections) == connections


async def test_get_after_head(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """The connection of a HEAD serves a GET, with its body."""
    server = upstream(answering(OK[:-2], OK, OK[:-2], CHUNKED + b"2\r\nok\r\n0\r\n\r\n"))
    one = agent()
    bodies = [
        await read(await one.request(method, server.url())) for method in (b"HEAD", b"GET", b"HEAD", b"GET")
    ]
    assert bodies == [b"", b"ok", b"", b"ok"]
    assert len(server.connections) == 1


# Ends of bodies.


async def test_pieces_as_they_come(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """Each piece is handed on when it arrives, before the next is sent."""
    server = upstream()
    answer = agent().request(b"GET", server.url())
    connection = await server.connected()
    await connection.head()
    connection.write(CHUNKED)
    response = await answer
    assert response.length is UNKNOWN_LENGTH
    reader = Reader()
    response.deliverBody(reader)
    for number in range(1, 5):
        connection.write(b"1\r\n%d\r\n" % number)
        await reader.until(number)
    connection.write(b"0\r\n\r\n")
    await reader.done
    assert reader.pieces == [b"1", b"2", b"3", b"4"]
    assert reader.reason is not None and reader.reason.check(ResponseDone)


async def test_late_reader(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """Who asks for the body late gets all of it; meanwhile reading is paused."""
    whole = b"x" * 1_000_000
    server = upstream(answering([CHUNKED, b"f4240\r\n" + whole + b"\r\n", b"0\r\n\r\n"]))
    one = agent()
    response = await one.request(b"GET", server.url())
    other = await one.request(b"GET", server.url())
    assert len(server.connections) == 2
    assert await read(response) == whole
    assert await read(other) == whole
    assert await read(await one.request(b"GET", server.url())) == whole
    assert len(server.connections) == 2


async def test_late_reader_of_an_ended_body(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """The body was there with the head, and its connection is free before it is read."""
    server = upstream(answering(OK))
    one = agent()
    responses: list[Any] = []
    for _ in range(2):
        one.request(b"GET", server.url()).addCallback(responses.append)
        await server.connected()
        while not next(iter(one._pools.values())).idle:
            await deferLater(reactor, 0)
    for response in responses:
        assert await read(response) == b"ok"
    assert len(server.connections) == 1


async def test_paused_reader(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """A reader that pauses stops the upstream; memory does not grow; then all arrives."""
    size = 30_000_000
    server = upstream(answering(H + b"Content-Length: %d\r\n\r\n" % size + b"x" * size))
    response = await agent().request(b"GET", server.url())
    reader = Reader(paused=True)
    response.deliverBody(reader)
    connection = server.connections[0]
    assert len(reader.body) <= 1 << 17
    assert connection.transport.dataBuffer or connection.transport._tempDataBuffer
    reader.transport.resumeProducing()
    await reader.done
    assert len(reader.body) == size


async def test_close_delimited(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """Neither length nor chunks: the close ends it, and that is said."""
    server = upstream(once(H + b"\r\nabc", then="close"))
    reader = await ended(await agent().request(b"GET", server.url()))
    assert reader.body == b"abc"
    assert reader.reason is not None and reader.reason.check(PotentialDataLoss)


CUT = {
    "length": H + b"Content-Length: 5\r\n\r\nabc",
    "length, no byte": H + b"Content-Length: 5\r\n\r\n",
    "chunk": CHUNKED + b"5\r\nabc",
    "chunk whole": CHUNKED + b"3\r\nabc\r\n",
    "no last line": CHUNKED + b"3\r\nabc\r\n0\r\n",
    "no chunk": CHUNKED,
    "trailers": CHUNKED + b"3\r\nabc\r\n0\r\nA: b\r\n",
}


@pytest.mark.parametrize("answer", CUT.values(), ids=CUT.keys())
@pytest.mark.parametrize("then", ["close", "abort"])
async def test_truncated(agent: MakeAgent, upstream: MakeUpstream, answer: bytes, then: str) -> None:
    """A body cut off by FIN or RST is Truncated, never a clean end."""
    server = upstream(once(answer, then=then))
    server.go = False  # type: ignore[attr-defined]
    response = await agent().request(b"GET", server.url())
    reader = Reader()
    response.deliverBody(reader)
    go(server)
    await reader.done
    assert b"abc".startswith(reader.body)
    assert reader.reason is not None and reader.reason.check(Truncated)


async def test_close_delimited_reset(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """A reset ends no body: Truncated."""
    server = upstream(once(H + b"\r\nabc", then="abort"))
    server.go = False  # type: ignore[attr-defined]
    response = await agent().request(b"GET", server.url())
    reader = Reader()
    response.deliverBody(reader)
    await reader.until(3)
    go(server)
    await reader.done
    assert reader.reason is not None and reader.reason.check(Truncated)


GARBAGE = {
    "chunk size": b"zz\r\n",
    "chunk size 0x": b"0x1\r\na\r\n",
    "chunk size sign": b"-1\r\na\r\n",
    "chunk size overflow": b"fffffffffffffffff\r\na\r\n",
    "chunk longer": b"1\r\nab\r\n",
    "bare LF": b"1\na\n",
    "bad trailer": b"0\r\nA: b\x00\r\n\r\n",
    "endless trailer": b"0\r\nA: " + b"b" * 140_000,
    "endless extension": b"1;" + b"b" * 140_000,
    "framing in a trailer": b"0\r\nContent-Length: 3\r\n\r\n",
    "many trailers": b"0\r\n" + b"A: b\r\n" * 30_000,
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
async def test_garbage_in_the_body(agent: MakeAgent, upstream: MakeUpstream, garbage: bytes) -> None:
    """Chunks that are none are InvalidResponse in the middle, and a reset."""
    server = upstream(once(CHUNKED + b"3\r\nabc\r\n" + garbage))
    reader = await ended(await agent().request(b"GET", server.url()))
    assert reader.body.startswith(b"abc")
    assert reader.reason is not None and reader.reason.check(InvalidResponse)
    assert await server.connections[0].end() == "RST"


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 2", H + b"A: b\r\n", b"HTTP/1.1 100 C\r\n\r\n"])
@pytest.mark.parametrize("then", ["close", "abort"])
async def test_closed_before_the_head(
    agent: MakeAgent, upstream: MakeUpstream, answer: bytes, then: str
) -> None:
    """A new connection that closes before a whole head is ConnectionClosed, without a repeat."""
    server = upstream(once(answer, then=then))
    server.go = True  # type: ignore[attr-defined]
    with pytest.raises(ConnectionClosed):
        await agent().request(b"GET", server.url())
    assert len(server.connections) == 1


async def test_reader_that_raises(agent: MakeAgent, upstream: MakeUpstream, nothing_left: list[Any]) -> None:
    """A reader's exception is logged, ends its body and its connection, and nothing else."""

    class Bad(Reader):
        def dataReceived(self, data: bytes) -> None:
            raise KeyError("mine")

    server = upstream(answering(OK))
    reader = Bad()
    one = agent()
    one.request(b"GET", server.url()).addCallback(lambda response: response.deliverBody(reader))
    await reader.done
    assert reader.reason is not None and reader.reason.check(KeyError)
    assert [event["log_failure"].type for event in nothing_left] == [KeyError]
    nothing_left.clear()
    assert await server.connections[0].end() == "RST"
    assert await read(await one.request(b"GET", server.url())) == b"ok"


async def test_reader_that_raises_at_its_end(
    agent: MakeAgent, upstream: MakeUpstream, nothing_left: list[Any]
) -> None:
    """An exception at the end is logged; the connection is as good as before."""

    class Bad(Reader):
        def connectionLost(self, reason: Any = None) -> None:
            super().connectionLost(reason)
            raise KeyError("mine")

    server = upstream(answering(OK))
    reader = Bad()
    one = agent()
    one.request(b"GET", server.url()).addCallback(lambda response: response.deliverBody(reader))
    await reader.done
    assert await read(await one.request(b"GET", server.url())) == b"ok"
    assert [event["log_failure"].type for event in nothing_left] == [KeyError]
    nothing_left.clear()
    assert len(server.connections) == 1


# Time.


async def test_head_deadline(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """No head in time, though bytes of it trickle: HeadTimedOut and a reset."""
    server = upstream(once(b"HTTP/1.1 100 C\r\n\r\n", H))
    with pytest.raises(HeadTimedOut):
        await agent(head_seconds=0.1).request(b"GET", server.url())
    assert await server.connections[0].end() == "RST"


async def test_idle_deadline(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """No piece in time: IdleTimedOut and a reset."""
    server = upstream(once(CHUNKED + b"1\r\na\r\n"))
    reader = await ended(await agent(idle_seconds=0.1).request(b"GET", server.url()))
    assert reader.body == b"a"
    assert reader.reason is not None and reader.reason.check(IdleTimedOut)
    assert await server.connections[0].end() == "RST"


def in_memory(
    method_is_head: bool = False, upgrade: bool = False, producer: Any = None, **timeouts: Any
) -> Any:
    """A connection without a socket that has just sent a call: connection, call, clock."""

    class FakePool:
        def __init__(self) -> None:
            self.reactor = Clock()
            self.timeouts = Timeouts(**timeouts)
            self.released: list[Any] = []

        def release(self, connection: Any) -> None:
            self.released.append(connection)

        def remember_session(self, transport: Any) -> None: ...

        def lost(self, connection: Any, again: Any) -> None: ...

    class Transport(StringTransport):
        aborted = False

        def abortConnection(self) -> None:
            self.aborted = True

        def setTcpNoDelay(self, on: bool) -> None: ...

        def fileno(self) -> int:
            return 0

    pool: Any = FakePool()
    connection = ClientConnection(pool)
    connection.makeConnection(Transport())
    call = Call(pool, b"GET / HTTP/1.1\r\n\r\n", method_is_head, producer, upgrade)
    connection.send(call, False)
    return connection, call, pool


def test_idle_clock_stands_while_paused() -> None:
    """While the reader wants nothing, the upstream is not late; after that the clock begins anew."""
    connection, call, pool = in_memory(idle_seconds=10)
    reader = Reader()
    call.deferred.addCallback(lambda response: response.deliverBody(reader))
    connection.dataReceived(CHUNKED + b"1\r\na\r\n")
    assert connection.deadline == 10
    pool.reactor.advance(4)
    connection.dataReceived(b"1\r\nb\r\n")
    assert connection.deadline == 14
    reader.transport.pauseProducing()
    connection.dataReceived(b"1\r\nc\r\n")
    assert connection.deadline == float("inf")
    pool.reactor.advance(100)
    reader.transport.resumeProducing()
    assert connection.deadline == 114
    connection.dataReceived(b"0\r\n\r\n")
    assert reader.body == b"abc"
    assert pool.released == [connection]
    assert connection.deadline == 104 + 15


def test_ended_call_stops_no_other() -> None:
    """A call whose answer is whole has no hold on the connection, which is another's by then."""
    connection, call, pool = in_memory()
    reader = Reader()
    call.deferred.addCallback(lambda response: response.deliverBody(reader))
    pool.release = lambda _: reader.transport.stopProducing()
    connection.dataReceived(OK)
    assert not connection.transport.aborted
    assert reader.body == b"ok"
    assert reader.reason is not None and reader.reason.check(ResponseDone)


def test_unread_body_is_late() -> None:
    """A body that nobody asks for does not keep its connection for ever."""
    connection, call, _ = in_memory(idle_seconds=10)
    responses: list[Any] = []
    call.deferred.addCallback(responses.append)
    connection.dataReceived(CHUNKED + b"1\r\na\r\n")
    assert connection.transport.producerState == "paused"
    connection.deadline_passed(11)
    assert connection.transport.aborted
    reader = Reader()
    responses[0].deliverBody(reader)
    assert reader.body == b"a"
    assert reader.reason is not None and reader.reason.check(IdleTimedOut)


# Splits.

WHOLE = [
    (OK, b"ok"),
    (REUSED["trailers"], b"ok"),
    (REUSED["204"], b""),
    (b"HTTP/1.1 100 C\r\nA: b\r\n\r\nHTTP/1.1 103 E\r\nLink: x\r\n\r\n" + OK, b"ok"),
    (CHUNKED + b"1\r\na\r\n2;x=y\r\nbc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n", b"abc0123456789abcdef"),
    (H + b"Connection: Close\r\nX-Y: z\r\nContent-Length: 3\r\n\r\na\r\n", b"a\r\n"),
]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(WHOLE), st.data(), st.booleans())
def test_splits(whole: tuple[bytes, bytes], data: st.DataObject, late: bool) -> None:
    """Wherever a valid answer is split, it is the same answer."""
    answer, body = whole
    cuts = sorted(data.draw(st.sets(st.integers(1, len(answer) - 1))))
    connection, call, pool = in_memory()
    responses: list[Any] = []
    reader = Reader()

    def answered(response: Any) -> None:
        responses.append(response)
        if not late:
            response.deliverBody(reader)

    call.deferred.addCallback(answered)
    for start, end in zip([0, *cuts], [*cuts, len(answer)], strict=True):
        connection.dataReceived(answer[start:end])
    if late:
        responses[0].deliverBody(reader)
    assert reader.body == body
    assert reader.reason is not None and reader.reason.check(ResponseDone)
    expected = answer.split(b"HTTP/1.1 ")[-1].split(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    assert [b"%b: %b" % field for field in responses[0].headers.raw] == expected
    assert bool(pool.released) == (b"Close" not in answer)
    assert all(reader.pieces)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(WHOLE), st.data())
def test_mutations(whole: tuple[bytes, bytes], data: st.DataObject) -> None:
    """Whatever bytes come, there is one end and no exception."""
    answer = bytearray(whole[0])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(answer)))
        answer[at : at + data.draw(st.integers(0, 3))] = data.draw(
            st.one_of(st.binary(max_size=3), st.sampled_from([b"\r\n", b"\n", b":", b"0", b"\r\n\r\n"]))
        )
    connection, call, _ = in_memory()
    reader = Reader()
    failures: list[Any] = []
    call.deferred.addCallbacks(lambda response: response.deliverBody(reader), failures.append)
    connection.dataReceived(bytes(answer))
    from twisted.internet.protocol import connectionDone

    connection.connectionLost(connectionDone)
    assert (reader.reason is not None) != bool(failures)


# Upgrade.

SWITCH = b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"
ASK = Fields(raw=[(b"Upgrade", b"websocket"), (b"Sec-WebSocket-Key", b"k")])


async def test_upgrade(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """After a 101 bytes go both ways as they are, from the first behind the head."""
    server = upstream()
    answer = agent().request(b"GET", server.url(), ASK)
    connection = await server.connected()
    head = await connection.head()
    assert head.endswith(b"Upgrade: websocket\r\nSec-WebSocket-Key: k\r\nConnection: Upgrade\r\n\r\n")
    connection.write(SWITCH + b"\x00first")
    response: Any = await answer
    assert response.code == 101
    assert (b"Sec-WebSocket-Accept", b"x") in response.headers.raw
    reader = Reader()
    response.deliverBody(reader)
    await reader.until(6)
    reader.transport.write(b"\xffto")
    reader.transport.writeSequence([b"-", b"you"])
    assert await connection.take(7) == b"\xffto-you"
    connection.write(b"HTTP/1.1 200 OK\r\n\r\n")
    await reader.until(25)
    connection.close()
    await reader.done
    assert reader.body == b"\x00firstHTTP/1.1 200 OK\r\n\r\n"
    assert reader.reason is not None and reader.reason.check(PotentialDataLoss)


@pytest.mark.parametrize(
    ("method", "end"), [("loseConnection", "FIN"), ("abortConnection", "RST"), ("stopProducing", "RST")]
)
async def test_upgrade_ended_by_us(agent: MakeAgent, upstream: MakeUpstream, method: str, end: str) -> None:
    """A tunnel is closed or reset as the reader says."""
    server = upstream(once(SWITCH))
    response = await agent().request(b"GET", server.url(), ASK)
    reader = Reader()
    response.deliverBody(reader)
    getattr(reader.transport, method)()
    await reader.done
    assert await server.connections[0].end() == end


async def test_upgrade_backpressure(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """A tunnel pauses what writes into it, and can be paused."""
    server = upstream(once(SWITCH))
    response = await agent().request(b"GET", server.url(), ASK)
    reader = Reader(paused=True)
    response.deliverBody(reader)
    server.connections[0].pause()
    server.connections[0].write(b"y" * 5_000_000)
    paused: Deferred[None] = Deferred()

    class Producer:
        def pauseProducing(self) -> None:
            paused.callback(None)

        def resumeProducing(self) -> None: ...

        def stopProducing(self) -> None: ...

    reader.transport.registerProducer(Producer(), True)
    reader.transport.write(b"x" * 10_000_000)
    await paused
    assert len(reader.body) == 0
    reader.transport.unregisterProducer()
    reader.transport.resumeProducing()
    await reader.until(5_000_000)
    reader.transport.abortConnection()
    await reader.done
    assert reader.reason is not None and reader.reason.check(CancelledError)


async def test_upgrade_refused(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """Another status is an ordinary answer, on a connection that is reused."""
    server = upstream(answering(b"HTTP/1.1 403 N\r\nContent-Length: 2\r\n\r\nno"))
    one = agent()
    for _ in range(2):
        response = await one.request(b"GET", server.url(), ASK)
        assert (response.code, await read(response)) == (403, b"no")
    assert len(server.connections) == 1


async def test_upgrade_without_its_fields(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """A 101 that names no protocol is InvalidResponse."""
    server = upstream(once(b"HTTP/1.1 101 S\r\n\r\n"))
    with pytest.raises(InvalidResponse):
        await agent().request(b"GET", server.url(), ASK)


async def test_upgrade_before_the_body(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """A 101 while the request's body is still on its way is InvalidResponse."""
    from tests.support.client import SlowBody

    server = upstream(once(SWITCH))
    with pytest.raises(InvalidResponse):
        await agent().request(b"POST", server.url(), ASK, SlowBody())


async def test_upgrade_idle(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """A tunnel without a byte either way is ended."""
    server = upstream(once(SWITCH))
    reader = await ended(await agent(idle_seconds=0.1).request(b"GET", server.url(), ASK))
    assert reader.reason is not None and reader.reason.check(IdleTimedOut)


def test_a_long_upload_is_not_a_slow_answer() -> None:
    """The time for the head begins anew while the upload goes on, and ends it when it stops."""
    body = SlowBody(UNKNOWN_LENGTH)
    connection, call, pool = in_memory(producer=body, head_seconds=10)
    failures: list[Any] = []
    call.deferred.addErrback(failures.append)
    for _ in range(3):
        body.consumer.write(b"x")
        pool.reactor.advance(10)
        connection.deadline_passed(pool.reactor.seconds())
        assert connection.deadline == pool.reactor.seconds() + 10
    pool.reactor.advance(10)
    connection.deadline_passed(pool.reactor.seconds())
    [failure] = failures
    assert failure.type is HeadTimedOut
