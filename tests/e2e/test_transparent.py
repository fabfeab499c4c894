"""What goes in comes out: the bytes on both sides of a running daemon, compared."""

from __future__ import annotations

import gzip
import os
import threading

import pytest

from tests.support.daemon import Daemon
from tests.support.relayed import OK, get, through
from tests.support.sockets import RawUpstream, Truncated

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "QUERY", "PROPFIND"]


@pytest.mark.parametrize("method", METHODS)
def test_any_method(daemon: Daemon, upstream: RawUpstream, method: str) -> None:
    """The method of the request line is the client's, whatever it is."""
    request = get("/v1/anything").replace(b"GET", method.encode(), 1)
    answer = OK[:-2] if method == "HEAD" else OK
    seen, answered = through(daemon, upstream, request, answer, method)
    assert seen.start == f"{method} /v1/anything HTTP/1.1".encode()
    assert (answered.status, answered.body) == (200, b"" if method == "HEAD" else b"ok")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "QUERY"])
def test_a_body_with_any_method(daemon: Daemon, upstream: RawUpstream, method: str) -> None:
    """A body goes with the methods that seldom have one, too."""
    body = bytes(range(256)) * 5
    request = get("/v1/anything", f"Content-Length: {len(body)}").replace(b"GET", method.encode(), 1) + body
    seen, _ = through(daemon, upstream, request)
    assert (seen.body, seen.all("content-length")) == (body, [b"1280"])


TARGETS = [
    "/v1/files/a%2Fb%2f%20",
    "/v1/x?include[]=a&include[]=b",
    "/v1/responses?beta=true",
    "/v1/models?",
    "/v1/models;v=1;",
    "/v1//models//",
    "/v1/",
    "/v1",
    "/v1/a?b?c=/d//e&&=&z",
    "/v1/%E2%82%AC?q=%e2%82%ac+%2B",
    "/v1/~!$&'()*+,;=:@-._",
    '/v1/"<>\\^`{|}',
    "/v1/models?url=http://example.org/%2e%2e/..",
    "/v1/...",
    "/v1/" + "long/" * 1000,
]


@pytest.mark.parametrize("prefix", ["", "/openai"])
@pytest.mark.parametrize("target", TARGETS)
def test_the_target_is_kept_to_the_byte(
    daemon: Daemon, upstream: RawUpstream, prefix: str, target: str
) -> None:
    """No escape, bracket, slash or question mark is written anew."""
    seen, _ = through(daemon, upstream, get(prefix + target))
    assert seen.target == target.encode()


def test_request_fields_are_kept(daemon: Daemon, upstream: RawUpstream) -> None:
    """Order, case, duplicates and odd values of end-to-end fields reach the upstream."""
    fields = [
        "X-MiXed-cAsE: One",
        "accept: application/json",
        "X-Twice: a, b",
        "Authorization: Bearer sk-client",
        "X-Twice: c",
        "x-empty:",
        "Cookie: a=1; b=2",
        "X-Colon: a:b: c",
        "User-Agent: test/1",
        "X-Latin: caf\u00e9",
        "x-stainless-retry-count: 0",
    ]
    request = "\r\n".join(["GET /v1/models HTTP/1.1", "Host: proxy.test", *fields, "", ""]).encode("latin-1")
    seen, _ = through(daemon, upstream, request)
    split = [line.encode("latin-1").partition(b":") for line in fields]
    assert [field for field in seen.fields if field[0].lower() not in (b"host", b"connection")] == [
        (name, value.strip()) for name, _, value in split
    ]


def test_nothing_is_added_to_a_request(daemon: Daemon, upstream: RawUpstream) -> None:
    """No User-Agent, Accept-Encoding, Via or Forwarded of ours."""
    seen, _ = through(daemon, upstream, get())
    assert set(seen.lower_names()) <= {b"host", b"connection"}


def test_host_is_the_upstreams(daemon: Daemon, upstream: RawUpstream) -> None:
    """A provider's virtual hosts and certificates depend on it."""
    seen, _ = through(daemon, upstream, get())
    assert seen.all("host") == [f"127.0.0.1:{upstream.port}".encode()]


def test_hop_by_hop_request_fields_end_here(daemon: Daemon, upstream: RawUpstream) -> None:
    """Nor do those that Connection names go on (RFC 9110 section 7.6.1)."""
    seen, _ = through(
        daemon,
        upstream,
        get(
            "/v1/models",
            "Connection: keep-alive, X-Hop",
            "X-Hop: 1",
            "Keep-Alive: timeout=5",
            "Proxy-Authorization: Basic c2VjcmV0",
            "Proxy-Connection: keep-alive",
            "TE: trailers",
            "X-Stays: 1",
        ),
    )
    assert set(seen.lower_names()) - {b"host", b"connection"} == {b"x-stays"}


def test_accept_encoding_is_the_clients(daemon: Daemon, upstream: RawUpstream) -> None:
    """The daemon neither adds a coding that it would have to undo, nor takes one away."""
    seen, _ = through(daemon, upstream, get("/v1/models", "Accept-Encoding: zstd;q=0.5, br"))
    assert seen.all("accept-encoding") == [b"zstd;q=0.5, br"]


def test_answer_fields_are_kept(daemon: Daemon, upstream: RawUpstream) -> None:
    """Order, case and duplicates of the upstream's fields reach the client, and nothing else."""
    fields = [
        (b"Date", b"Mon, 23 Nov 2026 12:00:00 GMT"),
        (b"Server", b"cloudflare"),
        (b"Set-Cookie", b"__cf_bm=one; path=/"),
        (b"X-MiXed", b"Value"),
        (b"Set-Cookie", b"_cfuvid=two; path=/"),
        (b"x-request-id", b"req_upstream"),
        (b"x-ratelimit-remaining-tokens", b"149"),
        (b"openai-processing-ms", b"12"),
        (b"X-Empty", b""),
        (b"Content-Type", b"text/plain"),
        (b"Content-Length", b"2"),
        (b"Alt-Svc", b'h3=":443"; ma=86400'),
    ]
    head = b"HTTP/1.1 200 Fine Indeed\r\n" + b"".join(b"%b: %b\r\n" % field for field in fields)
    _, answered = through(daemon, upstream, get(), head + b"\r\nok")
    assert answered.start == b"HTTP/1.1 200 Fine Indeed"
    assert answered.fields[:-1] == fields
    assert answered.fields[-1][0] == b"Server-Timing"


def test_an_answer_without_an_id_gets_one(daemon: Daemon, upstream: RawUpstream) -> None:
    """Every answer can be named when asking for help."""
    _, answered = through(daemon, upstream, get())
    (request_id,) = answered.all("x-request-id")
    assert request_id


def test_hop_by_hop_answer_fields_end_here(daemon: Daemon, upstream: RawUpstream) -> None:
    """The upstream's connection is not the client's."""
    answer = (
        b"HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n"
        b"Proxy-Authenticate: Basic\r\nContent-Length: 2\r\nX-Stays: 1\r\n\r\nok"
    )
    _, answered = through(daemon, upstream, get(), answer)
    assert [name for name, _ in answered.fields] == [
        b"Content-Length",
        b"X-Stays",
        b"Server-Timing",
        b"x-request-id",
    ]


@pytest.mark.parametrize("coding", ["gzip", "br"])
def test_a_coded_body_is_not_decoded(daemon: Daemon, upstream: RawUpstream, coding: str) -> None:
    """Content-Encoding, Content-Length and the coded bytes go through."""
    body = gzip.compress(b"text " * 1000) if coding == "gzip" else b"\x0b\x02\x80hello\x03"
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n%b"
    _, answered = through(
        daemon,
        upstream,
        get("/v1/models", f"Accept-Encoding: {coding}"),
        answer % (coding.encode(), len(body), body),
    )
    assert answered.get("content-encoding") == coding.encode()
    assert answered.get("content-length") == str(len(body)).encode()
    assert answered.body == body


def test_a_coded_request_body_is_not_decoded(daemon: Daemon, upstream: RawUpstream) -> None:
    """The same on the way up."""
    body = gzip.compress(b'{"model":"gpt-4o"}')
    fields = ["Content-Encoding: gzip", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    seen, _ = through(daemon, upstream, get("/v1/x", *fields).replace(b"GET", b"POST", 1) + body)
    assert (seen.body, seen.get("content-encoding")) == (body, b"gzip")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(daemon: Daemon, upstream: RawUpstream, status: int) -> None:
    """The client decides where its key goes next."""
    location = f"{upstream.url}/elsewhere".encode()
    answer = b"HTTP/1.1 %d Moved\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % (status, location)
    _, answered = through(daemon, upstream, get(), answer)
    assert (answered.status, answered.get("location")) == (status, location)
    assert upstream.nothing_came()


def test_no_cookie_is_kept(daemon: Daemon, upstream: RawUpstream) -> None:
    """What the upstream gave to one client is not sent for another, nor for the same."""
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: session=first; Path=/\r\nContent-Length: 2\r\n\r\nok"
    through(daemon, upstream, get(), answer)
    seen, _ = through(daemon, upstream, get())
    assert seen.all("cookie") == []


def test_a_key_goes_to_its_upstream_only(daemon: Daemon, upstream: RawUpstream) -> None:
    """Not into the answer, not to the next request on the same connections."""
    seen, answered = through(daemon, upstream, get("/v1/models", "Authorization: Bearer sk-one"))
    assert seen.all("authorization") == [b"Bearer sk-one"]
    assert b"sk-one" not in repr(answered).encode()
    seen, _ = through(daemon, upstream, get())
    assert seen.all("authorization") == []


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_an_answer_that_has_no_body(daemon: Daemon, upstream: RawUpstream, status: bytes) -> None:
    """It ends with its head, and the connection serves the next request."""
    with daemon.connect() as client:
        client.send(get())
        server = upstream.next()
        server.read_request()
        server.send(b"HTTP/1.1 " + status + b"\r\nETag: abc\r\n\r\n")
        answered = client.read_answer()
        assert answered.start == b"HTTP/1.1 " + status
        assert answered.get("etag") == b"abc"
        assert answered.get("transfer-encoding") is None
        client.send(get())
        server = upstream.next()
        server.read_request()
        server.send(OK)
        assert client.read_answer().body == b"ok"


def test_head_keeps_the_length(daemon: Daemon, upstream: RawUpstream) -> None:
    """The Content-Length of a HEAD answer is that of the body that is not sent."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n"
    _, answered = through(daemon, upstream, get().replace(b"GET", b"HEAD", 1), answer, "HEAD")
    assert answered.get("content-length") == b"12345"


@pytest.mark.parametrize("length", [0, 1, 65536, 1_000_000])
def test_a_content_length_is_kept(daemon: Daemon, upstream: RawUpstream, length: int) -> None:
    """An answer of known length is not chunked on its way."""
    body = os.urandom(length)
    with daemon.connect() as client:
        client.send(get())
        server = upstream.next()
        server.read_request()
        sending = threading.Thread(
            target=server.send, args=(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length + body,)
        )
        sending.start()
        answered = client.read_answer()
        sending.join()
    assert answered.get("transfer-encoding") is None
    assert (answered.get("content-length"), answered.body) == (str(length).encode(), body)


def test_a_chunked_request_stays_chunked(daemon: Daemon, upstream: RawUpstream) -> None:
    """An upload of unknown length arrives piece by piece, before its end is sent."""
    with daemon.connect() as client:
        client.send(
            b"POST /v1/files HTTP/1.1\r\nHost: proxy.test\r\nContent-Type: application/octet-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        client.send_chunk(b"first")
        server = upstream.next()
        head = server.read_head()
        assert (head.get("transfer-encoding"), head.get("content-length")) == (b"chunked", None)
        assert server.read_chunk() == b"first"
        client.send_chunk(b"second")
        assert server.read_chunk() == b"second"
        client.send_chunk(b"")
        assert server.read_chunk() == b""
        server.send(OK)
        assert client.read_answer().body == b"ok"


def test_events_arrive_one_by_one(daemon: Daemon, upstream: RawUpstream) -> None:
    """Each piece of a stream is there before the next is sent, with its own boundaries."""
    with daemon.connect() as client:
        client.send(get("/v1/responses"))
        server = upstream.next()
        server.read_request()
        server.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        assert client.read_head().get("content-type") == b"text/event-stream"
        for number in range(50):
            event = b"data: {}\n\n" if number % 3 else b": ping %d\n" % number
            server.send_chunk(event)
            assert client.read_chunk() == event
        server.send_chunk(b"")
        assert client.read_chunk() == b""


def test_a_part_of_an_event_is_not_kept_back(daemon: Daemon, upstream: RawUpstream) -> None:
    """Bytes are passed on as they come, not line by line."""
    with daemon.connect() as client:
        client.send(get("/v1/responses"))
        server = upstream.next()
        server.read_request()
        server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.read_head()
        for part in (b"da", b"ta: \xe2", b"\x82\xac\n", b"\n"):
            server.send_chunk(part)
            assert client.read_chunk() == part
        server.send_chunk(b"")
        assert client.read_chunk() == b""


def test_a_cut_stream_is_cut(daemon: Daemon, upstream: RawUpstream) -> None:
    """An upstream that goes in mid-stream leaves the client without a last chunk."""
    with daemon.connect() as client:
        client.send(get("/v1/responses"))
        server = upstream.next()
        server.read_request()
        server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        server.send_chunk(b"data: 1\n\n")
        client.read_head()
        assert client.read_chunk() == b"data: 1\n\n"
        upstream.hang_up()
        with pytest.raises((Truncated, ConnectionError)):
            client.read_chunk()


def test_a_short_body_is_cut(daemon: Daemon, upstream: RawUpstream) -> None:
    """Less than the Content-Length promised is never padded, nor is the connection used again."""
    with daemon.connect() as client:
        client.send(get())
        server = upstream.next()
        server.read_request()
        server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        assert client.read_head().get("content-length") == b"10"
        assert client.read_exactly(4) == b"half"
        upstream.hang_up()
        with pytest.raises((Truncated, ConnectionError)):
            client.read_exactly(1)


def test_a_client_that_waits_for_100_is_told_to_go_on(daemon: Daemon, upstream: RawUpstream) -> None:
    """As curl does with large bodies; the expectation is met here and not passed on."""
    with daemon.connect() as client:
        client.send(
            b"POST /v1/files HTTP/1.1\r\nHost: p\r\nContent-Type: a/b\r\nExpect: 100-continue\r\n"
            b"Content-Length: 4\r\n\r\n"
        )
        assert client.read_head().start == b"HTTP/1.1 100 Continue"
        client.send(b"body")
        server = upstream.next()
        seen = server.read_request()
        assert (seen.body, seen.get("expect")) == (b"body", None)
        server.send(OK)
        assert client.read_answer().body == b"ok"


def test_an_interim_answer_is_not_the_answer(daemon: Daemon, upstream: RawUpstream) -> None:
    """103 Early Hints before the answer does not take its place."""
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </style>\r\n\r\n"
    with daemon.connect() as client:
        client.send(get())
        server = upstream.next()
        server.read_request()
        server.send(early + OK)
        head = client.read_head()
        head = client.read_head() if head.status == 103 else head
        assert (head.status, client.read_exactly(2)) == (200, b"ok")


def test_requests_follow_each_other_on_kept_connections(daemon: Daemon, upstream: RawUpstream) -> None:
    """A client's connection is kept, the upstream's too, and answers stay in order."""
    with daemon.connect() as client:
        for number in range(20):
            client.send(get(f"/v1/models/{number}"))
            server = upstream.next()
            assert server.read_request().target == f"/v1/models/{number}".encode()
            server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n%02d" % number)
            assert client.read_answer().body == b"%02d" % number
    assert len(upstream.peers) == 1


def test_a_websocket_is_a_tunnel(daemon: Daemon, upstream: RawUpstream) -> None:
    """After a 101 the bytes of both sides pass as they are, until one of them ends."""
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    with daemon.connect() as client:
        client.send(get("/v1/realtime?model=m", "Connection: Upgrade", "Upgrade: websocket", key))
        server = upstream.next()
        seen = server.read_request()
        assert seen.target == b"/v1/realtime?model=m"
        assert (seen.get("upgrade"), seen.get("sec-websocket-key")) == (b"websocket", key[19:].encode())
        assert (seen.get("connection") or b"").lower() == b"upgrade"
        server.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        )
        answered = client.read_head()
        assert answered.status == 101
        assert answered.get("sec-websocket-accept") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        client.send(b"\x81\x05to the")
        assert server.read_exactly(8) == b"\x81\x05to the"
        server.send(b"\x82\x00\r\n\r\n")
        assert client.read_exactly(6) == b"\x82\x00\r\n\r\n"
        server.close()
        assert client.wait_end() == "FIN"
        upstream.peers.remove(server)


@pytest.mark.parametrize("phase", ["head", "stream", "upload"])
def test_a_client_that_leaves_cancels_its_upstream(daemon: Daemon, upstream: RawUpstream, phase: str) -> None:
    """In every phase the upstream sees its connection end."""
    client = daemon.connect()
    if phase == "upload":
        client.send(
            b"POST /v1/files HTTP/1.1\r\nHost: p\r\nContent-Type: a/b\r\nContent-Length: 99\r\n\r\nab"
        )
    else:
        client.send(get())
    server = upstream.next()
    server.read_head()
    if phase == "upload":
        assert server.read_exactly(2) == b"ab"
    if phase == "stream":
        server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        server.send_chunk(b"data: 1\n\n")
        client.read_head()
        client.read_chunk()
    client.close()
    assert server.wait_end() in ("FIN", "RST")
