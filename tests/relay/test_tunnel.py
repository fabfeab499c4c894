"""A tunnel between a channel in memory and an upstream that the test plays."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure
from twisted.web.http import PotentialDataLoss

from openai_proxy.config.settings import Limits
from openai_proxy.relay.tunnel import Tunnel
from openai_proxy.wire.errors import IdleTimedOut, Truncated
from openai_proxy.wire.fields import Fields
from openai_proxy.wire.request import Request
from openai_proxy.wire.response import Response
from tests.support.wire import Client

ASK = b"GET /v1/realtime HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
FIELDS = [(b"Upgrade", b"WebSocket"), (b"Connection", b"Upgrade"), (b"Sec-WebSocket-Accept", b"a=")]


class Upstream:
    """The transport after a 101: it remembers what was done to it."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.written = b""
        self.producer: Any = None

    def write(self, data: bytes) -> None:
        self.written += data

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")

    def loseConnection(self) -> None:
        self.calls.append("lose")

    def abortConnection(self) -> None:
        self.calls.append("abort")


class Rig:
    """A client that has asked for an upgrade, with some bytes behind that."""

    def __init__(self, early: bytes = b"", behind: bytes = b"", limits: Limits | None = None) -> None:
        self.requests: list[Request] = []
        self.client = Client(self.requests.append, limits)
        self.client.send(ASK + early)
        [self.request] = self.requests
        self.upstream = Upstream()
        self.reader: Any = None
        self.behind = behind
        self.tunnel = Tunnel(self.request)

    def switch(self) -> None:
        """The upstream's 101 comes."""
        self.results: list[Any] = []
        finished: Deferred[None] = self.tunnel.run(Response(101, b"S", Fields(raw=FIELDS), self._deliver))
        finished.addBoth(self.results.append)

    def _deliver(self, reader: IProtocol) -> None:
        self.reader = reader
        reader.makeConnection(self.upstream)  # type: ignore[arg-type]
        if self.behind:
            reader.dataReceived(self.behind)

    def result(self) -> str:
        """How it ended."""
        [result] = self.results
        return "closed" if result is None else str(result.type.__name__)


def switched(**options: Any) -> Rig:
    """A tunnel that is open."""
    rig = Rig(**options)
    rig.switch()
    return rig


def test_bytes_pass_both_ways_and_are_counted() -> None:
    """From the first behind the head and behind the 101, each byte is passed on and counted."""
    rig = Rig(early=b"\x81early", behind=b"\x82behind")
    rig.client.send(b"-too")
    rig.switch()
    head, _, rest = rig.client.received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: a=\r\n")
    assert b"\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n" in head
    assert (rig.upstream.written, rest) == (b"\x81early-too", b"\x82behind")
    rig.client.send(b"GET / HTTP/1.1\r\n\r\n")
    rig.reader.dataReceived(b"HTTP/1.1 200 OK\r\n\r\n")
    assert rig.upstream.written.endswith(b"-tooGET / HTTP/1.1\r\n\r\n")
    assert rig.client.received.endswith(b"behindHTTP/1.1 200 OK\r\n\r\n")
    assert (rig.tunnel.received_bytes, rig.request.sent_bytes) == (28, 26)
    rig.client.done()


@pytest.mark.parametrize(
    ("reason", "call", "result"),
    [(ConnectionDone(), "lose", "closed"), (ConnectionLost(), "abort", "CancelledError")],
)
def test_a_client_that_ends_ends_its_upstream(reason: Exception, call: str, result: str) -> None:
    """A FIN closes the upstream behind what was sent to it, a reset resets it."""
    rig = switched()
    rig.client.channel.connectionLost(Failure(reason))
    assert (rig.upstream.calls, rig.upstream.producer) == ([call], None)
    rig.reader.connectionLost(Failure(PotentialDataLoss()))
    assert rig.result() == result
    assert not rig.client.clock.getDelayedCalls()


def test_an_upstream_that_closes_closes_the_client() -> None:
    """The client gets a FIN behind the last byte; what it still sends goes nowhere."""
    rig = switched()
    rig.reader.dataReceived(b"last")
    rig.reader.connectionLost(Failure(PotentialDataLoss()))
    assert rig.result() == "closed"
    assert rig.client.received.endswith(b"\r\n\r\nlast")
    assert rig.client.transport.half_closed and rig.client.is_open()
    rig.client.send(b"and more")
    assert rig.upstream.written == b""
    rig.client.clock.advance(1.5)
    assert rig.client.is_open()
    rig.client.clock.advance(1)
    assert rig.client.transport.disconnecting and not rig.client.transport.aborted
    rig.client.done()


@pytest.mark.parametrize("error", [Truncated("x"), IdleTimedOut("x")])
def test_an_upstream_that_is_cut_off_is_not_an_end(error: Exception) -> None:
    """A reset, or the idle limit, is told as it is: the exchange cuts the client off."""
    rig = switched()
    rig.reader.connectionLost(Failure(error))
    assert rig.result() == type(error).__name__
    assert not rig.client.transport.half_closed
    rig.request.abort()
    assert rig.client.transport.aborted
    rig.client.done()


def test_each_side_is_read_as_fast_as_the_other_reads() -> None:
    """A full socket on one side pauses the other side, and only that one."""
    rig = switched()
    rig.upstream.producer.pauseProducing()
    assert rig.client.transport.producerState == "paused"
    rig.upstream.producer.resumeProducing()
    assert rig.client.transport.producerState == "producing"
    rig.client.channel.pauseProducing()
    rig.client.channel.resumeProducing()
    assert rig.upstream.calls == ["pause", "resume"]
    rig.client.done()


def test_a_client_that_does_not_read_is_cut_off() -> None:
    """After the limit for that its connection is aborted, and with it the upstream's."""
    rig = switched(limits=Limits(write_stall_seconds=5))
    rig.client.channel.pauseProducing()
    rig.client.clock.pump([1] * 7)
    assert rig.client.transport.aborted
    rig.client.channel.connectionLost(Failure(ConnectionLost()))
    assert rig.upstream.calls == ["pause", "abort"]
    assert rig.result() == "CancelledError"


def test_a_client_that_was_not_reading_before_is_waited_for() -> None:
    """Where earlier answers fill the client's socket, the upstream begins paused."""
    rig = Rig()
    rig.client.channel.pauseProducing()
    rig.switch()
    assert rig.upstream.calls == ["pause"]
    rig.client.done()


@pytest.mark.parametrize("split", [10, len(ASK)])
def test_the_upstream_may_take_its_time_to_decide(split: int) -> None:
    """No limit for the client runs while the upstream is waited for, or in a silent tunnel."""
    requests: list[Request] = []
    client = Client(requests.append)
    client.send(ASK[:split])
    client.send(ASK[split:])
    client.clock.pump([1] * 100)
    assert client.is_open()
    rig = Rig()
    rig.switch()
    rig.client.clock.pump([1] * 500)
    assert rig.client.is_open()
    rig.client.done()
    client.done()
