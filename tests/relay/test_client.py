"""The transparent client over in-memory HTTP: stock treq's own faults do not happen."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import TypeVar

import pytest
import treq
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred
from twisted.web.iweb import IResponse
from twisted.web.resource import Resource
from twisted.web.server import Request

from openai_proxy.relay.client import TransparentClient
from openai_proxy.wire.fields import Fields


class Upstream(Resource):
    """Answers every request by a function, and remembers the fields of each."""

    isLeaf = True

    def __init__(self, answer: Callable[[Request], bytes]) -> None:
        super().__init__()
        self._answer = answer
        self.seen: list[dict[bytes, list[bytes]]] = []

    def render(self, request: Request) -> bytes:
        self.seen.append({name: list(values) for name, values in request.requestHeaders.getAllRawHeaders()})
        return self._answer(request)


T = TypeVar("T")


def now(agent: RequestTraversalAgent, deferred: Deferred[T]) -> T:
    """What it fires with, once the bytes in memory have been pumped."""
    results: list[T] = []
    deferred.addCallback(results.append)
    agent.flush()
    return results[0]


def ask(upstream: Upstream, times: int = 1) -> tuple[IResponse, bytes]:
    """The last of so many answers, and its body."""
    agent = RequestTraversalAgent(upstream)
    client = TransparentClient(agent)
    for _ in range(times):
        asked: Deferred[IResponse] = client.request(
            b"GET", b"http://upstream/v1/x", headers=Fields(raw=[(b"X-A", b"1")]), data=None
        )
        response = now(agent, asked)
        body = now(agent, treq.content(response))
    return response, body


def test_gzip_is_neither_asked_for_nor_unpacked() -> None:
    """No Accept-Encoding is added, and packed bytes arrive packed."""
    packed = gzip.compress(b"answer")

    def answer(request: Request) -> bytes:
        request.setHeader(b"Content-Encoding", b"gzip")
        return packed

    upstream = Upstream(answer)
    response, body = ask(upstream)
    assert body == packed
    assert response.headers.getRawHeaders(b"content-encoding") == [b"gzip"]
    assert b"Accept-Encoding" not in upstream.seen[0]


def test_no_redirect_is_followed() -> None:
    """A 302 is an answer like any other."""

    def answer(request: Request) -> bytes:
        request.redirect(b"http://elsewhere/")
        return b""

    upstream = Upstream(answer)
    response, _ = ask(upstream)
    assert response.code == 302
    assert len(upstream.seen) == 1


def test_no_cookie_is_kept() -> None:
    """What one answer sets the next request does not carry."""

    def answer(request: Request) -> bytes:
        request.addCookie(b"a", b"b")
        return b""

    upstream = Upstream(answer)
    ask(upstream, times=2)
    assert all(b"Cookie" not in fields for fields in upstream.seen)


def test_what_it_cannot_do_is_refused() -> None:
    """An argument of treq's that would be ignored is an error."""
    client = TransparentClient(RequestTraversalAgent(Upstream(lambda _: b"")))
    with pytest.raises(TypeError):
        client.request(b"GET", b"http://upstream/", headers=Fields(), data=None, allow_redirects=True)  # type: ignore[call-arg]
