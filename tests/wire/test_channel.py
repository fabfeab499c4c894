"""The server side of the wire: order, framing, limits, backpressure, ends."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from zope.interface import implementer

from openai_proxy.config.settings import Limits
from openai_proxy.wire.body import BodyLost, HeldBodiesFull, RequestBody
from openai_proxy.wire.request import Request
from tests.support.wire import Client, read_answers

GET = b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b"


def path(request: Request) -> None:
    request.answer(200, b"OK", [(b"X-Case", b"kept")], request.uri)


class Held:
    """A handler that holds bodies, and answers with them when they are whole."""

    def __init__(self, limit: int = 1 << 20) -> None:
        self.limit = limit
        self.failures: list[type[BaseException]] = []

    def __call__(self, request: Request) -> None:
        assert request.body is not None
        holding = request.body.hold(self.limit, request.channel.site.held_bodies)
        holding.addCallback(lambda body: request.answer(200, b"OK", [], body or b""))
        holding.addErrback(self.failed)

    def failed(self, failure: Failure) -> None:
        assert failure.type is not None
        self.failures.append(failure.type)


@implementer(IConsumer)
class Consumer:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    def registerProducer(self, producer: object, streaming: bool) -> None:
        raise AssertionError

    def unregisterProducer(self) -> None:
        raise AssertionError


def error_of(client: Client) -> tuple[int, dict[str, object]]:
    status, fields, body = client.answers()[-1]
    assert (b"Content-Type", b"application/json") in fields
    assert (b"Connection", b"close") in fields
    assert any(name == b"x-request-id" for name, _ in fields)
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return status, error


def test_one_request_one_write() -> None:
    """Head and first piece of an answer go out together, with an id of ours."""
    client = Client(path)
    client.send(GET % b"a%2Fb?")
    [(status, fields, body)] = client.answers()
    assert (status, body) == (200, b"/a%2Fb?")
    assert (b"X-Case", b"kept") in fields
    assert any(name == b"x-request-id" and value.startswith(b"req_") for name, value in fields)
    client.done()


def test_pipelined_requests_are_answered_in_order() -> None:
    """The second is not begun before the first is done, and each gets its own answer."""
    waiting: list[Request] = []
    client = Client(waiting.append)
    client.send(b"".join(GET % b"%d" % number for number in range(5)))
    for number in range(5):
        assert [request.uri for request in waiting] == [b"/%d" % number]
        path(waiting.pop())
        client.settle()
    assert [body for _, _, body in client.answers()] == [b"/%d" % number for number in range(5)]
    client.done()


def test_too_many_pipelined_requests_pause_the_client() -> None:
    """Requests that wait are bounded: the client is not read until they are answered."""
    waiting: list[Request] = []
    client = Client(waiting.append)
    client.send(GET % b"" * 40)
    assert client.transport.producerState == "paused"
    for _ in range(40):
        path(waiting.pop())
        client.settle()
    assert client.transport.producerState == "producing"
    client.done()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(min_value=1, max_value=60), max_size=60), st.binary(max_size=80))
def test_any_split_of_the_bytes_gives_the_same(cuts: list[int], body: bytes) -> None:
    """However the bytes are cut, requests and answers are the same."""
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:7], body[7:]) if piece)
    data = (
        POST % (len(body), body)
        + b"POST /c HTTP/1.1\r\nhost: x\r\nTransfer-Encoding: chunked\r\n\r\n%b0\r\nTrailer: t\r\n\r\n"
        % chunks
        + POST % (0, b"")
    )
    client = Client(Held())
    for cut in cuts:
        client.send(data[:cut])
        data = data[cut:]
    client.send(data)
    assert [answer[2] for answer in client.answers()] == [body, body, b""]
    client.done()


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_mutated_requests_get_an_answer_or_nothing(data: st.DataObject) -> None:
    """No mutation of a request raises, leaves a timer, or gets an answer that is not HTTP."""
    request = bytearray(
        b"POST /v1/x?a=b HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    )
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(request) - 1))
        kind = data.draw(st.sampled_from(["set", "delete", "insert", "double"]))
        if kind == "set":
            request[position] = data.draw(st.integers(0, 255))
        elif kind == "delete":
            del request[position]
        elif kind == "insert":
            request.insert(position, data.draw(st.sampled_from(list(b"\r\n\0 :,\t\x80"))))
        else:
            request[position:position] = request[position : position + 20]

    def handle(request: Request) -> None:
        if request.body is None:
            path(request)
        else:
            Held()(request)

    client = Client(handle)
    client.send(bytes(request))
    read_answers(client.received)
    client.done()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 300 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 70000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 100000, 431),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    ],
)
def test_invalid_requests_are_refused_and_counted(data: bytes, status: int) -> None:
    """Each gets its status in OpenAI's form, the connection closes, and no resource sees it."""
    seen: list[Request] = []
    client = Client(seen.append)
    client.send(data)
    assert error_of(client)[0] in (
        status,
        501 if b"gzip" in data else status,
        400 if b"2.0" in data else status,
    )
    assert client.site.refused and not seen
    assert client.transport.half_closed
    client.send(b"more")
    client.clock.advance(3)
    assert client.transport.aborted
    client.done()


def test_garbage_behind_a_request_waits_for_its_answer() -> None:
    """The answer to what came before an invalid request comes first, and then the error."""
    waiting: list[Request] = []
    client = Client(waiting.append)
    client.send(GET % b"a" + b"garbage\r\n\r\n")
    assert client.received == b""
    path(waiting.pop())
    client.settle()
    answers = client.answers()
    assert answers[0][0] == 200
    assert len(answers) == 1 or answers[1][0] in (400, 501)
    assert client.transport.half_closed or client.transport.disconnecting
    client.done()


def test_body_limit_known_and_unknown() -> None:
    """A body past the limit is 413, at its head where the length is said, else when it is passed."""
    limits = Limits(body_bytes=10)
    client = Client(Held(), limits)
    client.send(POST % (11, b""))
    assert error_of(client)[0] == 413
    client.done()
    held = Held()
    client = Client(held, limits)
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n")
    client.send(b"6\r\nabcdef\r\n")
    assert error_of(client)[0] == 413
    assert held.failures == [BodyLost]
    client.done()


def test_head_deadline_counts_from_the_first_byte() -> None:
    """A head that comes byte by byte is 408 at the deadline, and an idle client is just closed."""
    client = Client(path, Limits(header_seconds=10, keepalive_seconds=75))
    for byte in b"GET / HTTP/1.1\r\n":
        client.send(bytes([byte]))
        client.clock.advance(0.5)
    assert client.received == b""
    client.clock.pump([1] * 4)
    assert error_of(client)[0] == 408
    client.done()
    client = Client(path, Limits(keepalive_seconds=75))
    client.send(GET % b"")
    client.transport.clear()
    client.clock.pump([1] * 74)
    assert client.is_open()
    client.clock.pump([1] * 2)
    assert not client.is_open() and client.received == b""
    client.done()


def test_slow_body_is_408_but_a_paused_one_is_not_slow() -> None:
    """The rate counts only while the client could send."""
    held = Held()
    client = Client(held, Limits(header_seconds=10, body_bytes_per_second=100))
    client.send(POST % (100000, b"x" * 500))
    client.clock.pump([1] * 12)
    assert error_of(client)[0] == 408
    assert held.failures == [BodyLost]
    client.done()
    bodies: list[RequestBody | None] = []
    client = Client(lambda request: bodies.append(request.body), Limits(body_bytes_per_second=100))
    client.send(POST % (1000000, b"x" * 100000))
    assert client.transport.producerState == "paused"
    client.clock.pump([1] * 100)
    assert client.received == b""
    client.done()


def test_unread_body_pauses_the_client_and_a_reader_resumes_it() -> None:
    """What nobody reads is bounded; a consumer gets every byte in order."""
    requests: list[Request] = []
    client = Client(requests.append)
    client.send(POST % (200000, b"x" * 70000))
    assert client.transport.producerState == "paused"

    consumer = Consumer()
    body = requests[0].body
    assert body is not None
    done: list[object] = []
    body.startProducing(consumer).addBoth(done.append)
    assert client.transport.producerState == "producing"
    body.pauseProducing()
    assert client.transport.producerState == "paused"
    body.resumeProducing()
    client.send(b"y" * 130000)
    assert consumer.data == b"x" * 70000 + b"y" * 130000
    assert done == [None]
    path(requests[0])
    client.done()


def test_expect_is_answered_when_the_body_is_wanted() -> None:
    """No 100 before somebody reads; none at all if the answer comes first, and then it closes."""
    requests: list[Request] = []
    head = b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    client = Client(requests.append)
    client.send(head)
    assert client.received == b""
    Held()(requests[0])
    assert client.received == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"abc")
    assert client.answers()[-1][2] == b"abc"
    client.done()
    client = Client(path)
    client.send(head)
    [(status, fields, _)] = client.answers()
    assert status == 200 and (b"Connection", b"close") in fields
    assert client.transport.half_closed
    client.done()


def test_early_answer_lingers() -> None:
    """An answer before the body's end is whole; the rest of the body is read away, then it closes."""
    client = Client(path)
    client.send(POST % (100000, b"x" * 10))
    [(_, fields, body)] = client.answers()
    assert body == b"/" and (b"Connection", b"close") in fields
    assert client.transport.half_closed and not client.transport.disconnecting
    client.send(b"x" * 50000)
    client.clock.advance(2.5)
    assert client.transport.aborted
    client.done()


def test_http10_is_closed_and_never_chunked() -> None:
    """An HTTP/1.0 client gets no chunks, and its connection ends with the answer."""

    def stream(request: Request) -> None:
        request.begin(200, b"OK", [])
        request.send(b"piece")
        request.end()

    client = Client(stream)
    client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert client.received.endswith(b"\r\n\r\npiece")
    assert b"chunked" not in client.received and b"Connection: close" in client.received
    assert client.transport.disconnecting
    client.done()


def test_bodies_of_answers_keep_their_framing() -> None:
    """Chunked without a length, exact with one; HEAD, 204 and 304 have no body; a lie is an abort."""

    def stream(status: int, *fields: tuple[bytes, bytes]) -> bytes:
        def handle(request: Request) -> None:
            request.begin(status, b"X", list(fields))
            request.send(b"one")
            request.send(b"")
            request.send(b"two")
            request.end()

        client = Client(handle)
        client.send(GET % b"")
        client.done()
        return client.received if not client.transport.aborted else b"aborted"

    assert stream(200).endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
    assert stream(200, (b"content-length", b"6")).endswith(b"\r\n\r\nonetwo")
    assert stream(200, (b"content-length", b"7")) == b"aborted"
    assert stream(200, (b"content-length", b"5")) == b"aborted"
    assert stream(204).endswith(b"\r\n\r\n") and b"chunked" not in stream(204)
    assert stream(304, (b"content-length", b"99")).endswith(b"\r\n\r\n")


def test_client_that_leaves_is_reported_once() -> None:
    """``on_gone`` and ``notifyFinish`` say it, and later writes do nothing."""
    requests: list[Request] = []
    gone: list[str] = []
    client = Client(requests.append)
    client.send(GET % b"a" + GET % b"b")
    request = requests[0]
    request.on_gone = lambda: gone.append("gone")
    request.notifyFinish().addErrback(lambda _: gone.append("finish"))
    request.begin(200, b"OK", [])
    client.leave()
    assert sorted(gone) == ["finish", "gone"]
    request.send(b"late")
    assert not request.end()
    assert not client.clock.getDelayedCalls()


def test_client_that_does_not_read_is_cut_off() -> None:
    """Backpressure reaches the producer, and a stall ends in an abort."""
    events: list[str] = []

    class Upstream:
        def pauseProducing(self) -> None:
            events.append("pause")

        def resumeProducing(self) -> None:
            events.append("resume")

    def handle(request: Request) -> None:
        request.begin(200, b"OK", [])
        request.producer = Upstream()

    client = Client(handle, Limits(write_stall_seconds=120))
    client.send(GET % b"")
    client.channel.pauseProducing()
    client.clock.pump([1] * 100)
    client.channel.resumeProducing()
    client.channel.pauseProducing()
    client.clock.pump([1] * 100)
    assert client.is_open()
    client.clock.pump([1] * 30)
    assert client.transport.aborted
    assert events == ["pause", "resume", "pause"]
    client.done()


def test_held_bodies_are_counted_in_one_sum() -> None:
    """Past the sum a body is refused, and what was held is given back."""
    waiting: list[tuple[Request, Deferred[bytes | None]]] = []

    def handle(request: Request) -> None:
        assert request.body is not None
        holding = request.body.hold(100, request.channel.site.held_bodies)
        waiting.append((request, holding))

    client = Client(handle, Limits(held_total_bytes=150))
    client.send(POST % (100, b"x" * 50))
    held = client.site.held_bodies
    assert held.held_bytes == 50, "what is announced and does not come takes nobody's room"
    client.send(b"x" * 49)
    other = client.site.buildProtocol(None)
    transport = type(client.transport)()
    other.makeConnection(transport)
    other.dataReceived(POST % (60, b""))
    failures: list[object] = []
    waiting[1][1].addBoth(failures.append)
    assert [type(failure.value) for failure in failures if isinstance(failure, Failure)] == [HeldBodiesFull]
    waiting[0][1].addErrback(lambda _: None)
    client.leave()
    assert held.held_bytes == 0
    other.connectionLost()
    assert not client.clock.getDelayedCalls()


def test_long_body_is_not_held() -> None:
    """Longer than the limit: None, and every byte is there for the producer."""
    got: list[bytes | None] = []
    requests: list[Request] = []

    def handle(request: Request) -> None:
        requests.append(request)
        assert request.body is not None
        request.body.hold(10, request.channel.site.held_bodies).addCallback(got.append)

    client = Client(handle)
    client.send(
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nabcdefgh\r\n8\r\nijklmnop\r\n"
    )
    assert got == [None]
    consumer = Consumer()
    assert requests[0].body is not None
    requests[0].body.startProducing(consumer)
    client.send(b"0\r\n\r\n")
    assert consumer.data == b"abcdefghijklmnop"
    path(requests[0])
    client.done()


@pytest.mark.parametrize("chunked", [False, True])
def test_upgrade_that_is_not_taken_has_a_body_like_any_other(chunked: bool) -> None:
    """The body behind an ``Upgrade: h2c`` head is a body, never the next request."""
    seen: list[bytes] = []

    def handle(request: Request) -> None:
        seen.append(request.uri)
        if request.body is not None:
            Held()(request)
        else:
            path(request)

    smuggled = GET % b"smuggled"
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(smuggled)
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(smuggled), smuggled) if chunked else smuggled
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n%b\r\n\r\n" % framing
    client = Client(handle)
    for piece in (head + body[:5], body[5:] + GET % b"next"):
        client.send(piece)
    assert seen == [b"/a", b"/next"]
    assert [answer[2] for answer in client.answers()] == [smuggled, b"/next"]
    client.done()


def test_refused_upgrade_is_an_ordinary_answer() -> None:
    """Bytes that come before a WebSocket upgrade is decided wait, and are parsed when it is refused."""
    requests: list[Request] = []
    client = Client(requests.append)
    client.send(
        b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + GET % b"next"
    )
    assert [request.uri for request in requests] == [b"/ws"]
    assert requests[0].wants_upgrade
    path(requests[0])
    client.settle()
    assert [request.uri for request in requests] == [b"/ws", b"/next"]
    path(requests[1])
    assert len(client.answers()) == 2
    client.done()


def test_stock_resources_work_as_on_any_site() -> None:
    """A twisted.web Resource sees content, headers and HEAD as always; a bug in it is a bare 500."""

    class Stock(Resource):
        isLeaf = True

        def render_GET(self, request: Request) -> bytes:
            request.setHeader(b"Content-Type", b"text/plain")
            return b"stock " + (request.getHeader(b"x-thing") or b"")

        def render_POST(self, request: Request) -> bytes:
            content = request.content
            assert content is not None
            return bytes(content.read())

    client = Client(Stock())
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Thing: 1\r\n\r\n")
    client.send(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
    client.send(POST % (3, b"abc"))
    answers = client.answers(b"GET", b"HEAD", b"POST")
    assert [answer[2] for answer in answers] == [b"stock 1", b"", b"abc"]
    assert (b"Content-Length", b"6") in answers[1][1] or (b"Content-Length", b"0") not in answers[1][1]
    client.done()


def test_bug_in_a_resource_is_a_500_that_says_nothing(nothing_left: list[object]) -> None:
    """The client gets OpenAI's form without a trace of the error, and the log has it without the query."""

    def handle(request: Request) -> None:
        raise RuntimeError("inner")

    client = Client(handle)
    client.send(GET % b"x?key=sk-secret")
    status, error = error_of(client)
    assert status == 500 and "inner" not in str(error)
    assert len(nothing_left) == 1 and "sk-secret" not in str(nothing_left)
    nothing_left.clear()
    client.done()


@pytest.mark.parametrize("method", [b"FOO", b"get", b"PROPFIND", b"X-!#", b"POSTS", b"GETS", b"Q" * 64])
def test_any_method_is_taken(method: bytes) -> None:
    """A method is any token, known to llhttp or not, and however its bytes arrive."""
    seen: list[bytes] = []

    def handle(request: Request) -> None:
        seen.append(request.method)
        assert request.body is not None
        Held()(request)

    whole = method + b" /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    client = Client(handle)
    client.send(whole)
    for position in range(len(whole)):
        client.send(whole[position : position + 1])
    client.send(whole[:2])
    client.send(whole[2:])
    assert seen == [method] * 3
    assert [body for _, _, body in client.answers()] == [b"abc"] * 3
    client.done()


@pytest.mark.parametrize("start", [b"Q" * 65 + b" / HTTP/1.1", b"F(O / HTTP/1.1", b" / HTTP/1.1", b"\x00"])
def test_what_is_no_method_is_refused(start: bytes) -> None:
    """A method that is no token, or endless, is 400."""
    client = Client(path)
    client.send(start + b"\r\nHost: x\r\n\r\n")
    assert error_of(client)[0] in (400, 501)
    client.done()


def test_blanks_around_a_value_are_no_part_of_it() -> None:
    """Optional white space is taken off both ends (RFC 9110 section 5.5)."""
    seen: list[tuple[bytes, bytes]] = []

    def handle(request: Request) -> None:
        seen.extend(request.fields)
        Held()(request)

    client = Client(handle)
    client.send(b"POST / HTTP/1.1\r\nHost: x \t\r\nContent-Length:3 \r\nX:  a b  \r\nY:\r\nZ: \r\n\r\nabc")
    assert seen == [(b"Host", b"x"), (b"Content-Length", b"3"), (b"X", b"a b"), (b"Y", b""), (b"Z", b"")]
    assert client.answers()[0][2] == b"abc"
    client.done()


VALID = (
    GET % b"a%2Fb?c[]=d",
    POST % (5, b"hello"),
    b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nT: t\r\n\r\n",
    b"\r\nPROPFIND / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello",
)


@pytest.mark.parametrize("request_bytes", VALID)
def test_every_byte_boundary(request_bytes: bytes) -> None:
    """Cut in two anywhere, or byte by byte, a valid request gets the answer of the whole."""

    def handle(request: Request) -> None:
        if request.body is None:
            path(request)
        else:
            Held()(request)

    def answer_to(*pieces: bytes) -> bytes:
        client = Client(handle)
        for piece in pieces:
            client.send(piece)
        client.done()
        [(status, _, body)] = client.answers()
        assert status == 200
        return body

    whole = answer_to(request_bytes)
    for cut in range(1, len(request_bytes)):
        assert answer_to(request_bytes[:cut], request_bytes[cut:]) == whole
    assert answer_to(*(request_bytes[i : i + 1] for i in range(len(request_bytes)))) == whole


def test_pipelined_requests_wait_while_the_client_does_not_read() -> None:
    """No answer is begun behind one that the client has not taken, and the client is read no more."""
    seen: list[bytes] = []

    def handle(request: Request) -> None:
        seen.append(request.uri)
        path(request)

    client = Client(handle)
    client.send(GET % b"0")
    client.channel.pauseProducing()
    client.send(GET % b"x" * 40)
    assert len(seen) == 1
    assert client.transport.producerState == "paused"
    client.channel.resumeProducing()
    client.settle()
    assert len(seen) == 41
    assert client.transport.producerState == "producing"
    client.done()


def test_a_quick_beginning_does_not_pay_for_silence() -> None:
    """The rate is that of the last minute, not of the whole upload."""
    held = Held()
    client = Client(held, Limits(body_bytes_per_second=100))
    client.send(POST % (1000000, b"x" * 500000))
    client.clock.pump([1] * 140)
    assert error_of(client)[0] == 408
    client.done()


def test_empty_lines_before_a_request_are_no_request() -> None:
    """A lone CRLF on a kept connection starts no deadline, and any method may follow it."""
    client = Client(path, Limits(header_seconds=10, keepalive_seconds=75))
    client.send(GET % b"1")
    client.send(b"\r\n")
    client.clock.pump([1] * 20)
    assert len(client.answers()) == 1 and client.is_open()
    client.send(b"\r\n\r\nFOO /2 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert len(client.answers()) == 2
    client.done()


@pytest.mark.parametrize("endless", [b"0\r\nTrailer: ", b"5;x=", b"0\r\n" + b"A: b\r\n" * 300])
def test_endless_trailers_and_extensions_are_refused(endless: bytes) -> None:
    """What llhttp would gather behind a body is bounded as a head is."""
    held = Held()
    client = Client(held)
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n" + endless)
    for _ in range(30):
        client.send(b"A: b\r\n" * 800 if endless.endswith(b"\n") else b"x" * 5000)
    status, _ = error_of(client)
    assert status in (400, 431)
    assert held.failures == [BodyLost]
    client.done()
