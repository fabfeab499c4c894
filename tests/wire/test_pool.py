"""The pool: which connection is taken, how many there are, who waits, what is repeated."""

from __future__ import annotations

import errno
import random
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.error import getConnectError
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure

from openai_proxy.config.settings import PoolLimits, Timeouts
from openai_proxy.wire.agent import Agent
from openai_proxy.wire.call import Call
from openai_proxy.wire.deadlines import Deadlines
from openai_proxy.wire.dial import Dial
from openai_proxy.wire.errors import ConnectionClosed, ConnectTimedOut, PoolExhausted
from openai_proxy.wire.pool import Origin, Pool
from tests.support.client import Body, Reader, SlowBody, read
from tests.support.upstream import UpstreamConnection, answering
from tests.wire.conftest import MakeAgent, MakeUpstream

pytestmark = pytest.mark.timeout_seconds(8)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def pool_of(agent: Agent) -> Pool:
    """The only pool."""
    (pool,) = agent._pools.values()
    return pool


async def turns(count: int = 3) -> None:
    """A few turns of the reactor."""
    for _ in range(count):
        await deferLater(reactor, 0)


async def test_one_pool_for_each_origin(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """Spellings of one origin share connections; another host does not."""
    server = upstream(answering(OK))
    one = agent()
    url = server.url()
    for uri in (url, url.replace(b"http", b"HTTP"), url.replace(b"127.0.0.1", b"localhost")):
        await read(await one.request(b"GET", uri))
    assert len(server.connections) == 2


async def test_last_used_first(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """Of two idle connections the one used last is taken."""
    server = upstream()
    one = agent()
    answers = [one.request(b"GET", server.url()) for _ in range(2)]
    connections = [await server.connected(1), await server.connected(2)]
    for number in (1, 0):
        await connections[number].head()
        connections[number].write(OK)
        await turns(5)
    for answer in answers:
        await read(await answer)
    assert pool_of(one).idle == 2
    for _ in range(3):
        later = one.request(b"GET", server.url())
        await connections[0].head()
        connections[0].write(OK)
        await read(await later)


async def test_bound_and_queue(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """No more than so many connections; the others wait in order, and one too many is refused."""
    server = upstream()
    one = agent(connections=2, waiting=2)
    answers = [one.request(b"GET", server.url(b"/%d" % number)) for number in range(5)]
    with pytest.raises(PoolExhausted):
        await answers.pop()
    first, second = await server.connected(1), await server.connected(2)
    await first.head()
    await second.head()
    first.write(OK)
    assert (await first.head()).startswith(b"GET /2 ")
    second.write(OK)
    assert (await second.head()).startswith(b"GET /3 ")
    first.write(OK)
    second.write(OK)
    responses: list[Any] = [await answer for answer in answers]
    for response in responses:
        assert await read(response) == b"ok"
    assert [response.timings.reused for response in responses] == [False, False, True, True]
    assert responses[2].timings.pool_wait_seconds > 0
    assert responses[0].timings.connect_seconds > 0
    assert len(server.connections) == 2


async def test_closed_connection_makes_room(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """A connection that is not reusable makes room for a new one, for the first that waits."""
    server = upstream(answering(OK + b"extra"))
    one = agent(connections=1)
    answers = [one.request(b"GET", server.url()) for _ in range(4)]
    for answer in answers:
        assert await read(await answer) == b"ok"
    assert len(server.connections) == 4


async def test_failed_dial_makes_room(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """A dial that is given up makes room for the next."""
    server = upstream(answering(OK))
    one = agent(connections=1)
    first, second = (one.request(b"GET", server.url()) for _ in range(2))
    first.cancel()
    with pytest.raises(CancelledError):
        await first
    assert await read(await second) == b"ok"


async def test_wait_is_bounded(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """Who waits for too long gets PoolExhausted; the others do not notice."""
    server = upstream()
    one = agent(connections=1, connect_seconds=0.1)
    first = one.request(b"GET", server.url())
    connection = await server.connected()
    await connection.head()
    with pytest.raises(PoolExhausted):
        await one.request(b"GET", server.url())
    connection.write(OK)
    assert await read(await first) == b"ok"
    assert pool_of(one).waiting == 0


async def test_cancel_in_the_queue(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """Who is cancelled in the queue is not sent."""
    server = upstream(answering(OK))
    one = agent(connections=1)
    answers = [one.request(b"GET", server.url(b"/call%d" % number)) for number in range(3)]
    answers[1].cancel()
    with pytest.raises(CancelledError):
        await answers[1]
    await read(await answers[0])
    await read(await answers[2])
    assert b"/call1" not in server.connections[0].received


async def test_connect_is_bounded(agent: MakeAgent) -> None:
    """A host that does not answer is ConnectTimedOut."""
    import socket

    # A listener whose queue is full drops what comes, as a dead host does.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        with pytest.raises(ConnectTimedOut):
            await agent(connect_seconds=0.1).request(
                b"GET", b"http://127.0.0.1:%d/" % listener.getsockname()[1]
            )
        for filler in fillers:
            filler.close()


async def test_idle_limit(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """An idle connection is closed in good manners when its time is over."""
    server = upstream(answering(OK))
    one = agent(pool_idle_seconds=0.1)
    await read(await one.request(b"GET", server.url()))
    assert await server.connections[0].end() == "FIN"
    assert pool_of(one).open == 0


@pytest.mark.parametrize("hint", [b"timeout=1", b"max=5, Timeout=1", b'timeout="1"'])
async def test_keep_alive_hint(agent: MakeAgent, upstream: MakeUpstream, hint: bytes) -> None:
    """The server's own limit is obeyed where it is shorter."""
    server = upstream(answering(OK.replace(b"\r\n\r\n", b"\r\nKEEP-Alive: " + hint + b"\r\n\r\n")))
    one = agent(pool_idle_seconds=1000, head_seconds=0.4)
    await read(await one.request(b"GET", server.url()))
    assert pool_of(one).idle == 1
    assert await server.connections[0].end() == "FIN"


async def test_close_while_idle(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """A connection that its server closed is not used."""
    server = upstream(answering(OK))
    one = agent()
    for count in range(1, 4):
        await read(await one.request(b"GET", server.url()))
        assert len(server.connections) == count
        server.connections[-1].close()
        await server.connections[-1].end()


@pytest.mark.parametrize("unsolicited", [OK, b"x", b"\r\n", b"HTTP/1.1 408 Timeout\r\n\r\n"])
@pytest.mark.parametrize("seen", [True, False])
async def test_unsolicited_bytes(
    agent: MakeAgent, upstream: MakeUpstream, unsolicited: bytes, seen: bool
) -> None:
    """Bytes that nobody asked for end the connection, and are never the next one's answer.

    Also when they wait in the socket, and the reactor has not come to them.
    """
    answer = OK.replace(b"ok", b"no")
    server = upstream(answering(OK))
    one = agent()
    await read(await one.request(b"GET", server.url()))
    server.connections[0].transport.socket.send(unsolicited.replace(OK, answer))
    if seen:
        await turns()
        assert pool_of(one).idle == 0
    assert await read(await one.request(b"GET", server.url())) == b"ok"
    assert await server.connections[0].end() == "RST"
    assert len(server.connections) == 2


async def test_aborted_but_not_gone(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """Between an abort and its end, a turn later, an idle connection is not taken."""
    server = upstream(answering(OK))
    one = agent()
    await read(await one.request(b"GET", server.url()))
    (connection,) = pool_of(one)._connections
    connection.dataReceived(b"x")
    assert await read(await one.request(b"POST", server.url(), None, Body(b"hi"))) == b"ok"
    assert len(server.connections) == 2


# The connection that was closed just then.


def stale(then: str = "abort", part: bytes = b"") -> Any:
    """A script: the first connection answers once, and ends when it is asked again."""

    async def script(connection: UpstreamConnection) -> None:
        await connection.request()
        connection.write(OK)
        if connection.number == 0:
            await connection.until(lambda: connection.received.count(b"HTTP/1.1\r\n") == 2)
            connection.write(part)
            connection.close() if then == "close" else connection.abort()

    return script


@pytest.mark.parametrize("then", ["close", "abort"])
@pytest.mark.parametrize(
    "body", [None, Body(b"hi", restartable=True), Body(b"hi", chunked=True, restartable=True)]
)
async def test_stale(agent: MakeAgent, upstream: MakeUpstream, then: str, body: Body | None) -> None:
    """A reused connection that ends before any byte: once more, whole, on a new one."""
    server = upstream(stale(then))
    one = agent()
    await read(await one.request(b"GET", server.url()))
    response: Any = await one.request(b"POST", server.url(), None, body)
    assert await read(response) == b"ok"
    assert not response.timings.reused
    again = server.connections[1].received
    assert again and server.connections[0].received.endswith(again)


@pytest.mark.parametrize("body", [Body(b"hi"), Body(b"hi", restartable=False)])
async def test_stale_not_restartable(agent: MakeAgent, upstream: MakeUpstream, body: Body) -> None:
    """A body that cannot begin again is not repeated."""
    server = upstream(stale())
    one = agent()
    await read(await one.request(b"GET", server.url()))
    with pytest.raises(ConnectionClosed):
        await one.request(b"POST", server.url(), None, body)
    assert body.started == 1
    assert len(server.connections) == 1


@pytest.mark.parametrize("part", [b"H", b"HTTP/1.1 100 C\r\n\r\n", b"\r\n"])
async def test_stale_after_a_byte(agent: MakeAgent, upstream: MakeUpstream, part: bytes) -> None:
    """One byte of an answer, and nothing is repeated."""
    server = upstream(stale("close", part))
    one = agent()
    await read(await one.request(b"GET", server.url()))
    with pytest.raises(ConnectionClosed):
        await one.request(b"GET", server.url())
    assert len(server.connections) == 1


async def test_stale_while_sending(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """Asked at that moment: a body half sent that can begin again is stopped and does."""
    server = upstream(stale())
    one = agent()
    await read(await one.request(b"GET", server.url()))
    body = SlowBody(3, restartable=True)
    answer = one.request(b"POST", server.url(), None, body)
    second = await server.connected(2)
    await second.until(lambda: b"\r\n\r\n" in second.received)
    body.consumer.write(b"abc")
    body.finished.callback(None)
    assert await read(await answer) == b"ok"
    assert body.events == ["start", "stop", "start"]


async def test_stale_only_once(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """The new connection ends as well: ConnectionClosed."""

    async def script(connection: UpstreamConnection) -> None:
        await connection.head()
        if connection.number == 0:
            connection.write(OK)
            await connection.head()
        connection.abort()

    server = upstream(script)
    one = agent()
    await read(await one.request(b"GET", server.url()))
    with pytest.raises(ConnectionClosed):
        await one.request(b"GET", server.url())
    assert len(server.connections) == 2


async def test_stale_goes_to_a_new_one(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """The repeat takes no idle connection, which may be as stale; at the bound too."""

    async def script(connection: UpstreamConnection) -> None:
        while True:
            await connection.head()
            if connection.number < 2 and b"/second" in connection.received:
                connection.abort()
                return
            connection.write(OK)

    server = upstream(script)
    one = agent(connections=2)
    answers = [one.request(b"GET", server.url(b"/first")) for _ in range(2)]
    for answer in answers:
        await read(await answer)
    await turns(5)
    assert pool_of(one).idle == 2
    assert await read(await one.request(b"GET", server.url(b"/second"))) == b"ok"
    assert len(server.connections) == 3
    assert pool_of(one).open == 2


async def test_no_answer_goes_astray(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """Many calls over few connections with all kinds of ends: each gets its own answer."""
    chance = random.Random(7)

    async def script(connection: UpstreamConnection) -> None:
        while True:
            body = (await connection.head()).split(b" ")[1]
            whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            kind = chance.randrange(8)
            endings = [
                b"",
                whole[:-1],
                whole + b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad",
                b"HTTP/1.1 200 OK\r\n\r\n" + body,
            ]
            connection.write(endings[kind] if kind < 4 else whole)
            if kind in (0, 1, 3):
                connection.abort() if kind == 0 else connection.close()
            if kind < 4:
                return

    server = upstream(script)
    one = agent(connections=8)
    outcomes = {"right": 0, "failed": 0}

    async def call(number: int) -> None:
        target = b"/%d" % number
        try:
            response = await one.request(b"GET", server.url(target))
            reader = Reader()
            response.deliverBody(reader)
            if chance.randrange(10) == 0:
                reader.transport.stopProducing()
            await reader.done
        except ConnectionClosed:
            outcomes["failed"] += 1
            return
        assert target.startswith(reader.body)
        outcomes["right"] += 1

    await gatherResults([Deferred.fromCoroutine(call(number)) for number in range(600)], consumeErrors=True)
    assert outcomes["right"] > 400
    assert pool_of(one).waiting == 0
    assert pool_of(one).open <= 8


def waiting_call() -> tuple[Any, Call]:
    """A pool whose only connection is busy, and a call that waits for it; nothing real."""
    clock: Any = Clock()
    origin = Origin(False, "127.0.0.1", 1, b" HTTP/1.1\r\nHost: x\r\n")
    resolver: Any = None
    pool: Any = Pool(clock, origin, Timeouts(), PoolLimits(connections=1), Deadlines(clock), resolver, None)
    pool._connections.add(object())
    call = Call(pool, b"GET / HTTP/1.1\r\n\r\n", False, None, False)
    pool.start(call)
    assert pool.waiting == 1
    return pool, call


@pytest.mark.parametrize("quiet", [True, False])
def test_a_connection_is_given_on_only_if_nothing_waits_in_it(quiet: bool) -> None:
    """Bytes behind one answer must not be the answer of the call that waits."""
    pool, call = waiting_call()
    done: list[str] = []

    class Connection:
        def __init__(self) -> None:
            self.quiet = quiet

        def send(self, given: Call, reused: bool) -> None:
            assert given is call and reused
            done.append("send")

        def abort(self) -> None:
            done.append("abort")

    pool.release(Connection())
    assert done == ["send" if quiet else "abort"]
    assert pool.waiting == (0 if quiet else 1)
    pool.leave_queue(call)


def test_a_call_that_just_got_its_connection_is_not_late() -> None:
    """One sweep may give it a connection and then come to its deadline: it is not ended as well."""
    pool, call = waiting_call()
    ended: list[object] = []
    call.deferred.addErrback(ended.append)
    pool.leave_queue(call)
    call.deadline_passed(10.0)
    assert not ended


def test_out_of_descriptors_is_our_overload() -> None:
    """EMFILE is no fault of the upstream."""
    pool, call = waiting_call()
    pool.leave_queue(call)
    ended: list[Any] = []
    call.deferred.addErrback(ended.append)
    dial = Dial(pool, call, False)
    dial._failed(Failure(getConnectError((errno.EMFILE, "Too many open files"))))
    assert [failure.type for failure in ended] == [PoolExhausted]
