"""What an exchange leaves behind: nothing for the cyclic collector, which in the daemon seldom runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from tests.support.garbage import garbage_of
from tests.support.memory import STREAM_HEAD, UPGRADE, MemoryProxy, post

SWITCH = b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


@pytest.fixture
def proxy() -> Iterator[MemoryProxy]:
    """In memory, warm."""
    proxy = MemoryProxy()
    proxy.chat(post())
    yield proxy
    proxy.close()


def refused(proxy: MemoryProxy) -> None:
    proxy.ask(post())
    proxy.upstream.dataReceived(b"HTTP/1.1 429 Slow\r\nContent-Length: 2\r\n\r\n{}")
    assert proxy.client.take().endswith(b"{}")


def uploaded(proxy: MemoryProxy) -> None:
    proxy.ask(
        b"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    proxy.channel.dataReceived(b"3\r\nabc\r\n")
    proxy.channel.dataReceived(b"0\r\n\r\n")
    proxy.upstream.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    assert proxy.client.take().endswith(b"{}")


def mocked(proxy: MemoryProxy) -> None:
    proxy.ask(post(prefix=b"/mock", stream=True))
    proxy.reactor.pump([0] * 100)
    assert proxy.client.take().endswith(b"\r\n0\r\n\r\n")


KEPT: dict[str, Callable[[MemoryProxy], None]] = {
    "chat": lambda proxy: proxy.chat(post()),
    "stream": lambda proxy: proxy.stream(post(stream=True), 20),
    "refused": refused,
    "upload": uploaded,
    "mock": mocked,
    "page": lambda proxy: proxy.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
    "not found": lambda proxy: proxy.ask(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"),
}


@pytest.mark.parametrize("kind", KEPT)
def test_an_exchange_on_a_kept_connection_leaves_no_cycles(proxy: MemoryProxy, kind: str) -> None:
    """Not one object."""
    assert garbage_of(lambda: KEPT[kind](proxy)) == {}


def client_leaves(proxy: MemoryProxy) -> None:
    proxy.ask(post(stream=True))
    proxy.upstream.dataReceived(STREAM_HEAD)
    proxy.channel.connectionLost(Failure(ConnectionLost()))
    proxy.upstream.connectionLost(Failure(ConnectionLost()))
    proxy.connect()


def upstream_fails(proxy: MemoryProxy) -> None:
    proxy.ask(post(content=b"not to be repeated"))
    proxy.upstream.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
    proxy.upstream.connectionLost(Failure(ConnectionLost()))
    assert proxy.client.aborted
    proxy.channel.connectionLost(Failure(ConnectionLost()))
    proxy.connect()


def tunnel(proxy: MemoryProxy) -> None:
    proxy.ask(UPGRADE)
    proxy.upstream.dataReceived(SWITCH + b"a")
    proxy.channel.dataReceived(b"b")
    proxy.channel.connectionLost(Failure(ConnectionDone()))
    proxy.upstream.connectionLost(Failure(ConnectionDone()))
    proxy.connect()


CONNECTION = {
    # llhttp's parser and who it calls know each other, as do a channel and its watch.
    "openai_proxy.wire.channel.Channel",
    "openai_proxy.wire.parser.RequestParser",
    "openai_proxy.wire.client_watch.ClientWatch",
}


@pytest.mark.parametrize("end", [client_leaves, upstream_fails, tunnel])
def test_what_ends_a_connection_leaves_only_the_connection(
    proxy: MemoryProxy, end: Callable[[MemoryProxy], None]
) -> None:
    """No request, exchange, answer or piece of a body hangs on the few objects that a client's leaves."""
    ours = {name for name in garbage_of(lambda: end(proxy)) if name.startswith("openai_proxy.")}
    assert ours <= CONNECTION
