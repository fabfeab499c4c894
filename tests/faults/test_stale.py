"""A pooled connection that its server has closed: what is sent once more, and what never is."""

from __future__ import annotations

import pytest

from openai_proxy.wire.body import HIGH_WATER_BYTES
from tests.faults.conftest import MakeGateway, MakeUpstream
from tests.faults.support import GET, OK, Answer, Gateway, post, requests_of, upload
from tests.support.upstream import ScriptedUpstream, UpstreamConnection

pytestmark = pytest.mark.timeout_seconds(20)
HELD = post(b'{"model":"gpt-4o","n":1}')
DELETE = b"DELETE /v1/files/a HTTP/1.1\r\nHost: x\r\n\r\n"


class Stale:
    """Answers the first request of its first connection, and ends at the second one's first bytes."""

    def __init__(self, how: str, start: bytes = b"", then: bytes | None = OK, takes: int = 1) -> None:
        """``takes``: the bytes of the second request that it waits for."""
        self.how = how
        self.start = start
        self.then = then
        self.takes = takes

    async def __call__(self, connection: UpstreamConnection) -> None:
        if connection.number == 0:
            await connection.request()
            connection.write(OK)
            first = len(connection.received)
            await connection.until(lambda: len(connection.received) >= first + self.takes)
            connection.write(self.start)
            getattr(connection, self.how)()
        else:
            await connection.request()
            if self.then is None:
                getattr(connection, self.how)()
            else:
                connection.write(self.then)


async def second(proxy: Gateway, request: bytes) -> Answer:
    """The answer to ``request`` on a connection that has been used."""
    client = await proxy.client()
    assert (await client.ask(GET)).body == b"ok"
    return await client.ask(request)


def seen(server: ScriptedUpstream) -> list[list[bytes]]:
    """The methods that each connection has seen."""
    return [[one.method for one, _ in requests_of(bytes(c.received))[0]] for c in server.connections]


@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("request_bytes", [HELD, GET, DELETE, post(b"")])
async def test_row_22_repeated_once(
    gateway: MakeGateway, upstream: MakeUpstream, request_bytes: bytes, how: str
) -> None:
    """Nothing of an answer came: the same request goes out once more, on a fresh connection."""
    server = upstream(Stale(how))
    proxy = gateway(server)
    answer = await second(proxy, request_bytes)
    assert (answer.status, answer.body, answer.whole) == (200, b"ok", True)
    method = request_bytes.split()[0]
    assert seen(server) == [[b"GET", method], [method]]
    first, again = server.connections
    assert first.received.endswith(again.received)
    await proxy.counted((200, "ok"), (200, "ok"))


@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("request_bytes", [HELD, GET])
async def test_row_22_not_twice(
    gateway: MakeGateway, upstream: MakeUpstream, request_bytes: bytes, how: str
) -> None:
    """The fresh connection closes too: 502, and the upstream saw the request twice."""
    server = upstream(Stale(how, then=None))
    proxy = gateway(server)
    answer = await second(proxy, request_bytes)
    assert (answer.status, answer.whole) == (502, True)
    assert b"upstream_connection_closed" in answer.body
    assert [len(methods) for methods in seen(server)] == [2, 1]
    await proxy.counted((200, "ok"), (502, "upstream_error"))
    labels = {"provider": "openai", "reason": "stale_connection"}
    assert proxy.service.metrics.registry.get_sample_value("openai_proxy_retries_total", labels) == 1


@pytest.mark.parametrize("how", ["close", "half_close"])
@pytest.mark.parametrize("start", [b"H", b"\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\n"])
async def test_row_22_not_after_a_byte(
    gateway: MakeGateway, upstream: MakeUpstream, start: bytes, how: str
) -> None:
    """One byte came: the upstream was at work on it, and it is never repeated."""
    server = upstream(Stale(how, start))
    answer = await second(gateway(server), HELD)
    assert (answer.status, answer.whole) == (502, True)
    assert seen(server) == [[b"GET", b"POST"]]


@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("length", [1_000_000, None])
async def test_row_22_not_a_streamed_upload(
    gateway: MakeGateway, upstream: MakeUpstream, length: int | None, how: str
) -> None:
    """An upload whose bytes have gone out, more of them than are kept, is never repeated."""
    sent = 4 * HIGH_WATER_BYTES
    server = upstream(Stale(how, takes=sent))
    proxy = gateway(server)
    client = await proxy.client()
    assert (await client.ask(GET)).body == b"ok"
    client.write(upload(length) + (b"%x\r\n" % 1_000_000 if length is None else b"") + b"x" * sent)
    answer = await client.answer()
    assert (answer.status, answer.whole, answer.values(b"connection")) == (502, True, [b"close"])
    assert [methods[0] for methods in seen(server)] == [b"GET"]
    await proxy.counted((200, "ok"), (502, "upstream_error"))


@pytest.mark.parametrize("length", [5, None])
async def test_row_22_upload_that_has_not_begun(
    gateway: MakeGateway, upstream: MakeUpstream, length: int | None
) -> None:
    """An upload of which nothing but the head has gone out goes to the fresh connection, whole."""
    server = upstream(Stale("close"))
    client = await gateway(server).client()
    assert (await client.ask(GET)).body == b"ok"
    client.write(upload(length))
    again = await server.connected(2)
    await again.until(lambda: b"\r\n\r\n" in again.received)
    client.write(b"5\r\nhello\r\n0\r\n\r\n" if length is None else b"hello")
    assert (await client.answer()).status == 200
    [(_, body)], whole = requests_of(bytes(again.received))
    assert (body, whole) == (b"hello", True)


async def test_row_22_closed_while_idle(gateway: MakeGateway, upstream: MakeUpstream) -> None:
    """A connection that was closed while it lay idle is not tried at all."""
    server = upstream()
    client = await gateway(server).client()
    for number in range(3):
        client.write(upload(5) + b"hello")
        connection = await server.connected(number + 1)
        await connection.request()
        connection.write(OK)
        assert (await client.answer()).body == b"ok"
        connection.close()
        assert await connection.end() == "ours"
    assert seen(server) == [[b"POST"]] * 3
