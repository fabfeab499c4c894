"""The agent: what goes out, byte for byte, and what is refused before anything goes out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock, deferLater
from twisted.web._newclient import WrongBodyLength
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent
from zope.interface.verify import verifyObject

from openai_proxy.wire.agent import _authority_end, _origin
from openai_proxy.wire.errors import ConnectFailed, ConnectionClosed
from openai_proxy.wire.fields import Fields
from tests.support.client import Body, Reader, SlowBody, ended, read
from tests.support.upstream import UpstreamConnection, answering
from tests.wire.conftest import MakeAgent, MakeUpstream

pytestmark = pytest.mark.timeout_seconds(8)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_is_an_agent(agent: MakeAgent) -> None:
    """It is what treq's HTTPClient takes."""
    verifyObject(IAgent, agent())


@pytest.mark.parametrize(
    ("path", "target"),
    [
        (b"", b"/"),
        (b"/", b"/"),
        (b"?", b"/?"),
        (b"?a=b/c", b"/?a=b/c"),
        (b"/v1?", b"/v1?"),
        (b"/v1/%2F//x/../[]?a[]=%20&&", b"/v1/%2F//x/../[]?a[]=%20&&"),
        (b"//evil/http://x/", b"//evil/http://x/"),
    ],
)
async def test_target(agent: MakeAgent, upstream: MakeUpstream, path: bytes, target: bytes) -> None:
    """The request target is sent as it stands behind the authority."""
    server = upstream(answering(OK))
    await read(await agent().request(b"GET", server.url(path)))
    host = b"127.0.0.1:%d" % server.port
    assert server.connections[0].received == b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"


async def test_fields_in_order_and_case(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """Order, case and duplicates stay; Host and the framing are ours."""
    server = upstream(answering(OK))
    fields: list[tuple[bytes, bytes]] = [
        (b"X-Two", b"1"),
        (b"authorization", b"Bearer \xe4"),
        (b"HOST", b"evil"),
        (b"x-two", b"2\t3"),
        (b"content-length", b"99"),
        (b"Transfer-Encoding", b"chunked"),
        (b"CONNECTION", b"close"),
        (b"Empty", b""),
    ]
    for _ in range(2):
        await read(await agent().request(b"PATCH", server.url(b"/a"), Fields(raw=fields), Body(b"hey")))
    for connection in server.connections:
        assert connection.received == (
            b"PATCH /a HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX-Two: 1\r\nauthorization: Bearer \xe4\r\n"
            b"x-two: 2\t3\r\nEmpty: \r\nContent-Length: 3\r\n\r\nhey" % server.port
        )


async def test_stock_headers(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """A plain Headers is taken too."""
    server = upstream(answering(OK))
    await read(await agent().request(b"GET", server.url(), Headers({b"x-a": [b"1", b"2"]})))
    assert b"\r\nX-A: 1\r\nX-A: 2\r\n\r\n" in server.connections[0].received


@pytest.mark.parametrize(
    "uri",
    [
        b"",
        b"/v1",
        b"ftp://127.0.0.1/",
        b"http:/127.0.0.1/",
        b"http:///x",
        b"http://user:secret@127.0.0.1/",
        b"http://127.0.0.1:99999/",
        b"http://127.0.0.1:0/",
        b"http://127.0.0.1:1x/",
        b"http://127.0.0.1/a b",
        b"http://127.0.0.1/a\r\nX: y",
        b"http://127.0.0.1/\x7f",
        b"http://127.0.0.1/\xc3\xa4",
        b"http://127.0.0.1/#part",
        b"http://[::1/",
        b"http://a%41/",
    ],
)
async def test_bad_uri(agent: MakeAgent, uri: bytes) -> None:
    """A URI that cannot be sent as it stands is a ValueError that does not repeat it."""
    with pytest.raises(ValueError) as caught:
        await agent().request(b"GET", uri)
    assert not uri or uri.decode("latin-1") not in str(caught.value)


@pytest.mark.parametrize("method", [b"", b"GE T", b"GET\r\n", b"G\x00", b"CONNECT", b"(GET)"])
async def test_bad_method(agent: MakeAgent, method: bytes) -> None:
    """A method that is no token, or that is not for an origin, is a ValueError."""
    with pytest.raises(ValueError):
        await agent().request(method, b"http://127.0.0.1:9/")


async def test_odd_method(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """Any token is a method, and keeps its case."""
    server = upstream(answering(OK))
    await read(await agent().request(b"quERY", server.url()))
    assert server.connections[0].received.startswith(b"quERY / HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"X", b"a\r\nHost: evil"),
        (b"X", b"a\nb"),
        (b"X", b"a\rb"),
        (b"X", b"a\x00b"),
        (b"X", b"\x7f"),
        (b"X", b"\x1b[0m"),
        (b"X\r\nY", b"a"),
        (b"X Y", b"a"),
        (b"X:", b"a"),
        (b"", b"a"),
    ],
)
@pytest.mark.parametrize("body", [None, Body(b"x")])
async def test_bad_field(
    agent: MakeAgent, upstream: MakeUpstream, name: bytes, value: bytes, body: Body | None
) -> None:
    """Nothing is sent with a field that would be more than one, or none."""
    server = upstream()
    with pytest.raises(ValueError) as caught:
        await agent().request(b"GET", server.url(), Fields(raw=[(b"A", b"b"), (name, value)]), body)
    assert server.connections == []
    assert "evil" not in str(caught.value)


@pytest.mark.parametrize("length", [-1, "3", None])
async def test_bad_length(agent: MakeAgent, length: Any) -> None:
    """A length that is no length is a ValueError."""
    body = Body()
    body.length = length
    with pytest.raises(ValueError):
        await agent().request(b"POST", b"http://127.0.0.1:9/", None, body)


_token = st.text("abcXYZ-_09!~", min_size=1, max_size=8).map(str.encode)
_value = st.binary(max_size=12)


@settings(max_examples=200)
@given(st.lists(st.tuples(_token, _value), max_size=5))
def test_heads_hold_no_more_than_told(fields: list[tuple[bytes, bytes]]) -> None:
    """A head is refused, or has one line for each field."""
    import h11

    from openai_proxy.config.settings import PoolLimits, Timeouts
    from openai_proxy.wire.agent import Agent

    one = Agent(Clock(), Timeouts(), PoolLimits())
    uri = b"http://h/"
    try:
        head, _ = one._head(
            b"GET", uri, _authority_end(uri), _origin(b"http://h").host_field, Fields(raw=fields), None
        )
    except ValueError:
        assert any((byte < 0x20 and byte != 9) or byte == 0x7F for _, value in fields for byte in value)
        return
    server = h11.Connection(h11.SERVER)
    server.receive_data(head)
    event = server.next_event()
    assert isinstance(event, h11.Request)
    sent = [(name.lower(), value.strip(b" \t")) for name, value in fields]
    assert [tuple(map(bytes, field)) for field in event.headers] == [(b"host", b"h"), *sent]
    assert isinstance(server.next_event(), h11.EndOfMessage)
    assert server.trailing_data == (b"", False)


@pytest.mark.parametrize(
    ("origin", "host", "port", "shown"),
    [
        (b"http://a", "a", 80, b"a"),
        (b"HTTP://A.b", "a.b", 80, b"a.b"),
        (b"https://a", "a", 443, b"a"),
        (b"https://a:443", "a", 443, b"a"),
        (b"https://a:80", "a", 80, b"a:80"),
        (b"http://a:", "a", 80, b"a"),
        (b"https://[::1]:8443", "::1", 8443, b"[::1]:8443"),
    ],
)
def test_origin(origin: bytes, host: str, port: int, shown: bytes) -> None:
    """The Host field names the port where it is not the scheme's own."""
    found = _origin(origin)
    assert (found.host, found.port) == (host, port)
    assert found.host_field == b" HTTP/1.1\r\nHost: " + shown + b"\r\n"


async def test_ipv6(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """An IPv6 address in brackets is an authority."""
    try:
        server = upstream(answering(OK), interface="::1")
    except Exception:
        pytest.skip("no IPv6 on this machine")
    assert await read(await agent().request(b"GET", server.url(host=b"[::1]"))) == b"ok"
    assert b"\r\nHost: [::1]:%d\r\n" % server.port in server.connections[0].received


async def test_name(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """A name is looked up once for several connections."""
    server = upstream(answering(OK + b"extra"))
    one = agent()
    for _ in range(3):
        assert await read(await one.request(b"GET", server.url(host=b"localhost"))) == b"ok"
    assert len(server.connections) == 3
    assert list(one._resolver._found) == [("localhost", server.port)]


# Bodies.


@pytest.mark.parametrize("pieces", [(b"",), (b"a",), (b"ab", b"", b"c" * 70000)])
async def test_length_body(agent: MakeAgent, upstream: MakeUpstream, pieces: tuple[bytes, ...]) -> None:
    """A body of known length is sent as it is."""
    seen = []

    async def script(connection: UpstreamConnection) -> None:
        seen.append(await connection.request())
        connection.write(OK)

    server = upstream(script)
    await read(await agent().request(b"POST", server.url(), None, Body(*pieces)))
    head, body = seen[0]
    whole = b"".join(pieces)
    assert head.endswith(b"\r\nContent-Length: %d\r\n\r\n" % len(whole))
    assert body == whole


async def test_chunked_body(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """Of unknown length: chunks as written, none of them empty before the last."""
    server = upstream(answering(OK))
    await read(await agent().request(b"POST", server.url(), None, Body(b"abc", b"", b"d" * 16, chunked=True)))
    received = server.connections[0].received
    assert received.endswith(
        b"\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n10\r\ndddddddddddddddd\r\n0\r\n\r\n"
    )


async def test_body_over_time(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """Pieces leave when they are written."""
    server = upstream(answering(OK))
    body = SlowBody(4)
    answer = agent().request(b"POST", server.url(), None, body)
    connection = await server.connected()
    await connection.until(lambda: connection.received.endswith(b"\r\n\r\n"))
    body.consumer.write(b"ab")
    await connection.until(lambda: connection.received.endswith(b"ab"))
    body.consumer.write(b"cd")
    body.finished.callback(None)
    assert await read(await answer) == b"ok"
    assert body.events == ["start"]


@pytest.mark.parametrize("pieces", [(b"abc",), (b"abcdef",), (b"abcd", b"e")])
async def test_wrong_length_at_once(
    agent: MakeAgent, upstream: MakeUpstream, pieces: tuple[bytes, ...]
) -> None:
    """A body that is not as long as it said fails, and the connection is reset."""
    server = upstream()
    with pytest.raises(WrongBodyLength):
        await agent().request(b"POST", server.url(), None, Body(*pieces, length=4))
    connection = await server.connected()
    assert await connection.end() == "RST"
    assert connection.received == b""


@pytest.mark.parametrize("written", [b"abc", b"abcde"])
async def test_wrong_length_later(agent: MakeAgent, upstream: MakeUpstream, written: bytes) -> None:
    """The same, when the head has been sent."""
    server = upstream()
    body = SlowBody(4)
    answer = agent().request(b"POST", server.url(), None, body)
    connection = await server.connected()
    await connection.head()
    body.consumer.write(written)
    body.finished.callback(None)
    with pytest.raises(WrongBodyLength):
        await answer
    assert await connection.end() == "RST"
    assert b"abcde" not in connection.received


async def test_body_that_fails(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """What the producer failed with comes out; the chunks get no end."""
    server = upstream()
    body = SlowBody()
    answer = agent().request(b"POST", server.url(), None, body)
    connection = await server.connected()
    await connection.head()
    body.consumer.write(b"abc")
    body.finished.errback(KeyError("the client left"))
    with pytest.raises(KeyError):
        await answer
    assert await connection.end() == "RST"
    assert b"\r\n0\r\n\r\n" not in connection.received


async def test_body_that_raises(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """A startProducing that raises fails the request."""
    server = upstream()

    class Bad(Body):
        def startProducing(self, consumer: Any) -> Any:
            raise KeyError("no")

    with pytest.raises(KeyError):
        await agent().request(b"POST", server.url(), None, Bad(length=UNKNOWN_LENGTH))
    assert await (await server.connected()).end() == "RST"


async def test_stop_while_producing(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """A request cancelled by its own producer sends nothing."""
    server = upstream()

    class Cancels(Body):
        def startProducing(self, consumer: Any) -> Any:
            answers[0].cancel()
            return super().startProducing(consumer)

    answers: list[Any] = []
    answers.append(agent().request(b"POST", server.url(), None, Cancels(b"hi")))
    with pytest.raises(CancelledError):
        await answers[0]
    connection = await server.connected()
    assert await connection.end() == "RST"
    assert connection.received == b""


async def test_upload_is_paused(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """An upstream that does not read pauses the producer; when it reads, it goes on."""
    server = upstream()
    body = SlowBody()
    answer = agent().request(b"POST", server.url(), None, body)
    connection = await server.connected()
    await connection.head()
    connection.pause()
    written = idle_turns = 0
    while idle_turns < 20:
        if body.events[-1] == "pause":
            idle_turns += 1
        else:
            idle_turns = 0
            body.consumer.write(b"x" * 65536)
            written += 65536
        await deferLater(reactor, 0)
    connection.resume()
    await connection.until(lambda: connection.received.count(b"x") == written)
    assert body.events[-1] == "resume"
    body.finished.callback(None)
    await connection.until(lambda: connection.received.endswith(b"\r\n0\r\n\r\n"))
    connection.write(OK)
    assert await read(await answer) == b"ok"


async def test_early_answer(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """An answer that is whole before the upload is delivered; then the upload is stopped."""

    async def script(connection: UpstreamConnection) -> None:
        await connection.head()
        connection.write(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno")

    server = upstream(script)
    body = SlowBody(1000)
    one = agent()
    response = await one.request(b"POST", server.url(), None, body)
    assert response.code == 413
    assert await read(response) == b"no"
    assert body.events == ["start", "stop"]
    assert await server.connections[0].end() == "RST"
    await read(await one.request(b"GET", server.url()))
    assert len(server.connections) == 2


async def test_early_head(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """A head before the upload's end does not end the upload."""

    async def script(connection: UpstreamConnection) -> None:
        await connection.head()
        connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")
        connection.write(await connection.take(3))

    server = upstream(script)
    body = SlowBody(3)
    response = await agent().request(b"POST", server.url(), None, body)
    reader = Reader()
    response.deliverBody(reader)
    body.consumer.write(b"abc")
    body.finished.callback(None)
    await reader.done
    assert reader.body == b"abc"
    assert body.events == ["start"]


async def test_early_answer_and_reset(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """A 413 is delivered though its sender resets the connection behind it."""

    async def script(connection: UpstreamConnection) -> None:
        await connection.head()
        connection.pause()
        await connection.upstream.until(lambda: ready)
        connection.write(b"HTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
        connection.close()

    ready = False
    server = upstream(script)
    body = SlowBody(1 << 20)
    answer = agent().request(b"POST", server.url(), None, body)
    connection = await server.connected()
    await connection.until(lambda: b"\r\n\r\n" in connection.received)
    body.consumer.write(b"x" * 65536)
    for _ in range(5):
        await deferLater(reactor, 0)
    ready = True
    server._look()
    response = await answer
    assert response.code == 413
    assert await read(response) == b"no"
    assert body.events[-1] == "stop"


# Ends.


async def test_cancel_while_waiting_for_the_head(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """Cancelled: CancelledError here, a reset there."""
    server = upstream()
    answer = agent().request(b"GET", server.url())
    connection = await server.connected()
    await connection.head()
    answer.cancel()
    with pytest.raises(CancelledError):
        await answer
    assert await connection.end() == "RST"


async def test_cancel_while_sending(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """The same during the upload; the producer is stopped, the chunks get no end."""
    server = upstream()
    body = SlowBody()
    answer = agent().request(b"POST", server.url(), None, body)
    connection = await server.connected()
    await connection.head()
    body.consumer.write(b"abc")
    answer.cancel()
    with pytest.raises(CancelledError):
        await answer
    assert await connection.end() == "RST"
    assert body.events == ["start", "stop"]
    assert b"\r\n0\r\n\r\n" not in connection.received


async def test_cancel_while_connecting(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """The same before there is a connection."""
    server = upstream()
    one = agent()
    for host in (b"127.0.0.1", b"localhost"):
        answer = one.request(b"GET", server.url(host=host))
        answer.cancel()
        with pytest.raises(CancelledError):
            await answer
    assert [pool.open for pool in one._pools.values()] == [0, 0]


async def test_stop_in_the_body(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """stopProducing resets the connection; no piece comes after it, and one end."""

    async def script(connection: UpstreamConnection) -> None:
        await connection.head()
        connection.write(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n"
        )

    server = upstream(script)
    response = await agent().request(b"GET", server.url())
    reader = Reader(stop_after=1)
    response.deliverBody(reader)
    await reader.done
    assert reader.pieces == [b"abc"]
    assert reader.reason is not None


async def test_stop_inside_the_parser(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """An abort in the midst of a segment: the parser goes on, nobody hears it."""
    server = upstream(
        answering(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n"
        )
    )
    reader = Reader(stop_after=1)
    answer = agent().request(b"GET", server.url())
    answer.addCallback(lambda response: response.deliverBody(reader))
    await reader.done
    assert reader.pieces == [b"abc"]
    assert reader.reason is not None and reader.reason.check(CancelledError)
    assert await server.connections[0].end() == "RST"


async def test_close(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """close() ends what is under way, and refuses what comes later."""
    server = upstream()
    one = agent(connections=1)
    answers = [one.request(b"GET", server.url()) for _ in range(2)]
    connection = await server.connected()
    await connection.head()
    await one.close()
    answers.append(one.request(b"GET", server.url()))
    answers.append(one.request(b"GET", b"http://127.0.0.2/"))
    for answer in answers:
        with pytest.raises(ConnectionClosed):
            await answer
    assert await connection.end() == "RST"


async def test_refused(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """A port that nobody listens on is ConnectFailed, and its text names no address."""
    server = upstream()
    url = server.url()
    await server._port.stopListening()  # type: ignore[union-attr, misc]
    for uri in (url, url.replace(b"127.0.0.1", b"localhost")):
        with pytest.raises(ConnectFailed) as caught:
            await agent().request(b"GET", uri)
        assert "127" not in str(caught.value)


async def test_unknown_name(agent: MakeAgent) -> None:
    """A name that does not exist is ConnectFailed."""
    with pytest.raises(ConnectFailed):
        await agent().request(b"GET", b"http://does-not-exist.invalid/")


async def test_ended_reader_once(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """deliverBody a second time is an error."""
    server = upstream(answering(OK))
    response = await agent().request(b"GET", server.url())
    await ended(response)
    with pytest.raises(RuntimeError):
        response.deliverBody(Reader())
