"""An exchange that becomes a tunnel: its record."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse

from openai_proxy.exchange.exchange import Exchange
from openai_proxy.exchange.target import Target
from openai_proxy.providers.provider import Provider
from openai_proxy.wire.errors import IdleTimedOut
from openai_proxy.wire.fields import Fields
from openai_proxy.wire.request import Request
from openai_proxy.wire.response import Response
from tests.support.exchanges import KeptRecords, context
from tests.support.wire import Client

ASK = b"GET /v1/realtime HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


class Upstream:
    """An agent whose answer is a 101, and the transport behind that."""

    def __init__(self) -> None:
        self.reader: Any = None

    def request(
        self, method: bytes, url: bytes, *, headers: Fields, data: object, timeouts: None
    ) -> Deferred[IResponse]:
        assert headers.raw == [(b"Upgrade", b"websocket")]
        return succeed(Response(101, b"S", Fields(raw=[]), self._deliver))

    def _deliver(self, reader: IProtocol) -> None:
        self.reader = reader
        reader.makeConnection(self)  # type: ignore[arg-type]

    def write(self, data: bytes) -> None:
        """Taken."""

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Never paused."""

    def unregisterProducer(self) -> None: ...

    def loseConnection(self) -> None: ...

    def abortConnection(self) -> None: ...


@pytest.mark.parametrize(
    ("by_client", "reason", "outcome"),
    [
        (True, ConnectionDone(), "ok"),
        (True, ConnectionLost(), "client_disconnect"),
        (False, PotentialDataLoss(), "ok"),
        (False, IdleTimedOut("x"), "upstream_stream_error"),
    ],
)
def test_a_tunnel_has_one_record_with_its_bytes(by_client: bool, reason: Exception, outcome: str) -> None:
    """Status 101, the bytes of both ways, and who ended it if that was not a close."""
    sink, upstream = KeptRecords(), Upstream()

    def handle(request: Request) -> None:
        shared = context(client.clock, sink, request.channel.site.held_bodies)
        target: Any = Target(Provider("openai", b"http://upstream"), upstream)  # type: ignore[arg-type]
        Exchange(request, target, request.uri, shared, "/v1").start()

    client = Client(handle)
    client.send(ASK)
    client.send(b"12345")
    upstream.reader.dataReceived(b"123")
    assert sink.ended == []
    if by_client:
        client.channel.connectionLost(Failure(reason))
    else:
        upstream.reader.connectionLost(Failure(reason))
        assert client.transport.aborted == (outcome != "ok")
        client.done()
    [record] = sink.ended
    assert (record.status, record.outcome, record.model) == (101, outcome, "none")
    assert (record.received_bytes, record.sent_bytes) == (5, 3)
