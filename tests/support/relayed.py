"""One request through a running daemon, seen on both sides."""

from __future__ import annotations

from tests.support.daemon import Daemon
from tests.support.sockets import Message, RawUpstream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def get(target: str = "/v1/models", *fields: str) -> bytes:
    """The bytes of a GET."""
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: proxy.test", *fields, "", ""]).encode()


def through(
    daemon: Daemon, upstream: RawUpstream, request: bytes, answer: bytes = OK, method: str = "GET"
) -> tuple[Message, Message]:
    """One request, one answer: as the upstream saw the first, as the client saw the second."""
    with daemon.connect() as client:
        client.send(request)
        server = upstream.next()
        seen = server.read_request()
        server.send(answer)
        return seen, client.read_answer(method)
