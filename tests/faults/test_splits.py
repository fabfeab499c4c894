"""Answers cut anywhere and changed anywhere, with h11 as the judge of both legs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import pytest_twisted
from greenlet import greenlet  # type: ignore[import-untyped]
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from tests.faults.conftest import MakeGateway, MakeUpstream
from tests.faults.support import Answer, Gateway, eventually, post, requests_of, upload
from tests.support.upstream import ScriptedUpstream, UpstreamConnection

pytestmark = pytest.mark.timeout_seconds(60)
REQUEST = post()
EVENTS = b'data: {"a":"\xc3\xa4"}\n\ndata: 2\r\n\r\ndata: [DONE]\n\n'
VALID: dict[bytes, tuple[int, bytes]] = {
    b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\n\r\nhello": (200, b"hello"),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;x=y\r\nhello\r\n%x\r\n%b\r\n0\r\nT: u\r\n\r\n" % (len(EVENTS), EVENTS): (200, b"hello" + EVENTS),
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 429 No\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\nno": (
        429,
        b"no",
    ),
    b"HTTP/1.1 204 No Content\r\n\r\n": (204, b""),
    b"HTTP/1.1 500 \r\nContent-Length: 0\r\n\r\n": (500, b""),
}
ONCE = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)


_clock: Any = reactor


class Feeder:
    """An upstream that writes, for each request, the pieces that a test has laid out."""

    def __init__(self) -> None:
        self.pieces: Sequence[bytes] = ()
        self.closes = False

    async def __call__(self, connection: UpstreamConnection) -> None:
        while True:
            await connection.request()
            for piece in self.pieces:
                connection.write(piece)
                # A segment of its own: written, and read by the proxy, before the next.
                await deferLater(_clock, 0)
                await deferLater(_clock, 0)
            if self.closes:
                connection.close()


def block(run: Callable[[], Any]) -> Any:
    """Wait for a coroutine within a hypothesis test."""
    return pytest_twisted.blockon(Deferred.fromCoroutine(run()).addTimeout(20, _clock))


async def in_greenlet(run: Callable[[], None]) -> None:
    """Call a hypothesis test where ``block`` may be used: not in the reactor's own greenlet."""
    ended: Deferred[None] = Deferred()

    def body() -> None:
        try:
            run()
        except BaseException:
            _clock.callLater(0, ended.errback, Failure())
        else:
            # From the reactor: the test goes on where it is called from, and this greenlet ends.
            _clock.callLater(0, ended.callback, None)

    greenlet(body).switch()
    await ended


@pytest.mark.parametrize("answer", VALID)
async def test_every_byte_boundary(gateway: MakeGateway, upstream: MakeUpstream, answer: bytes) -> None:
    """Cut in two at each of its bytes, and into single bytes, an answer is the same."""
    feeder = Feeder()
    server = upstream(feeder)
    client = await gateway(server).client()
    splits = [(answer[:cut], answer[cut:]) for cut in range(1, len(answer))]
    for pieces in [*splits, tuple(answer[at : at + 1] for at in range(len(answer)))]:
        feeder.pieces = pieces
        got = await client.ask(REQUEST)
        assert (got.status, got.body, got.whole) == (*VALID[answer], True), pieces
    assert len(server.connections) == 1


async def test_any_split(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """Cut anywhere, any number of times, on one connection after the other: the same."""
    feeder = Feeder()
    proxy = gateway(upstream(feeder))
    client = await proxy.client()

    @ONCE
    @given(st.sampled_from(list(VALID)), st.lists(st.integers(1, 40), max_size=12))
    def run(answer: bytes, cuts: list[int]) -> None:
        pieces, rest = [], answer
        for cut in cuts:
            pieces.append(rest[:cut])
            rest = rest[cut:]
        feeder.pieces = [piece for piece in [*pieces, rest] if piece]
        got = block(lambda: client.ask(REQUEST))
        assert (got.status, got.body, got.whole) == (*VALID[answer], True)

    await in_greenlet(run)


async def test_any_split_of_requests(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """Requests cut anywhere reach the upstream as one and the same."""
    feeder = Feeder()
    feeder.pieces = [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]
    server = upstream(feeder)
    proxy = gateway(server)
    client = await proxy.client()
    requests = {
        REQUEST: b'{"model":"gpt-4o"}',
        upload(None) + b"5\r\nhello\r\n3;a=b\r\n\r\n\n\r\n0\r\nT: u\r\n\r\n": b"hello\r\n\n",
        upload(5) + b"hello": b"hello",
        b"GET /v1/models HTTP/1.1\r\nhost:x\r\n\r\n": b"",
    }

    async def ask(pieces: list[bytes]) -> Answer:
        for piece in pieces:
            client.write(piece)
            await deferLater(_clock, 0)
        answer: Answer = await client.answer()
        return answer

    @ONCE
    @given(st.sampled_from(list(requests)), st.lists(st.integers(1, 60), max_size=8))
    def run(request: bytes, cuts: list[int]) -> None:
        pieces, rest = [], request
        for cut in cuts:
            pieces.append(rest[:cut])
            rest = rest[cut:]
        got = block(lambda: ask([*pieces, rest]))
        assert (got.status, got.body, got.whole) == (200, b"ok", True)
        [connection] = server.connections
        found, whole = requests_of(bytes(connection.received))
        assert (found[-1][1], whole) == (requests[request], True)
        assert found[-1][0].method == request.split()[0]

    await in_greenlet(run)


def mutated(data: bytearray, draw: Callable[[Any], Any]) -> bytes:
    """``data`` with a few bytes set, taken out, put in, or doubled."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        kind = draw(st.sampled_from(["set", "delete", "insert", "double", "cut"]))
        if kind == "set" and data:
            data[at] = draw(st.integers(0, 255))
        elif kind == "delete":
            del data[at : at + draw(st.integers(1, 8))]
        elif kind == "insert":
            data[at:at] = draw(
                st.sampled_from([b"\r", b"\n", b"\0", b" ", b":", b"\r\n", b"0\r\n\r\n", b"\x80", b"1", b","])
            )
        elif kind == "double":
            data[at:at] = data[at : at + 20]
        else:
            del data[at:]
    return bytes(data)


async def test_mutated_answers(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """Whatever an upstream says, a client has HTTP: an answer, a 502, or a cut; and then its own."""
    feeder = Feeder()
    server = upstream(feeder)
    proxy = gateway(server, head_seconds=5, idle_seconds=5)
    good = b"HTTP/1.1 200 OK\r\nX-Own: 1\r\nContent-Length: 3\r\n\r\nown"

    @settings(ONCE, max_examples=1500)
    @given(st.data())
    def run(data: st.DataObject) -> None:
        answer = mutated(bytearray(data.draw(st.sampled_from(list(VALID)))), data.draw)
        feeder.pieces, feeder.closes = [answer], True
        block(lambda: _judged(proxy, server, feeder, good))

    await in_greenlet(run)


async def _judged(proxy: Gateway, server: ScriptedUpstream, feeder: Feeder, good: bytes) -> None:
    client = await proxy.client()
    client.write(REQUEST)
    # h11 judges it: AssertionError where it is not HTTP.
    got = await client.answer()
    assert got.status == 0 or 200 <= got.status <= 599
    feeder.pieces, feeder.closes = [good], False
    if got.whole and client.ended is None and not got.values(b"connection"):
        own = await client.ask(REQUEST)
        assert (own.status, own.body, own.values(b"x-own")) == (200, b"own", [b"1"])
        assert client.unread == b""
    client.abort()
    await client.end()
    proxy.clients.remove(client)
    await eventually(reactor, lambda: not proxy.in_flight)
    for connection in server.connections:
        requests_of(bytes(connection.received))
    del server.connections[:-2]


async def test_mutated_requests(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """Whatever a client says, its upstream has HTTP and its own answers are HTTP."""
    feeder = Feeder()
    feeder.pieces = [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]
    server = upstream(feeder)
    proxy = gateway(server)
    requests = [
        REQUEST,
        upload(None) + b"5\r\nhello\r\n0\r\nT: u\r\n\r\n",
        b"GET /v1/models?a=b HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, x-a\r\nX-A: b\r\n\r\n" * 2,
    ]

    async def judged(request: bytes) -> None:
        client = await proxy.client()
        client.write(request)
        for _ in range(8):
            # Time to be answered, if it is a request; a client that leaves at once is not.
            await deferLater(_clock, 0)
        if client.ended is None:
            client.half_close()
        await client.end()
        while client.unread:
            answer = await client.answer(b"HEAD" if request[:4] == b"HEAD" else b"GET")
            assert answer.status in (0, 200) or 400 <= answer.status <= 505
        proxy.clients.remove(client)
        await eventually(reactor, lambda: not proxy.in_flight)
        for connection in server.connections:
            requests_of(bytes(connection.received))
        del server.connections[:-2]

    @settings(ONCE, max_examples=1500)
    @given(st.data())
    def run(data: st.DataObject) -> None:
        request = mutated(bytearray(data.draw(st.sampled_from(requests))), data.draw)
        block(lambda: judged(request))

    await in_greenlet(run)
