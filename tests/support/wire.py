"""A channel without a socket, and answers read back by h11."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import h11
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from openai_proxy.config.settings import Limits
from openai_proxy.wire.channel import Channel
from openai_proxy.wire.request import Request
from openai_proxy.wire.site import Site


class HalfTransport(StringTransport):
    """A StringTransport that records how it was ended."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.half_closed = False
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.written.append(data)
        super().write(data)

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()


class Streaming(Resource):
    """Hands each request to a function as soon as its head is there."""

    isLeaf = True
    streams = True

    def __init__(self, handle: Callable[[Request], object]) -> None:
        super().__init__()
        self._handle = handle

    def render(self, request: Request) -> int:
        self._handle(request)
        return NOT_DONE_YET


class CountingSite(Site):
    """Remembers what its channels refused."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.refused: list[int] = []

    def rejected(self, status: int, duration_seconds: float) -> None:
        self.refused.append(status)


class Client:
    """One connection to a site, in memory."""

    def __init__(self, handle: Callable[[Request], object] | Resource, limits: Limits | None = None) -> None:
        self.clock = Clock()
        resource = handle if isinstance(handle, Resource) else Streaming(handle)
        self.site = CountingSite(resource, self.clock, limits or Limits())
        self.connect(self.site)

    def connect(self, site: Site) -> None:
        """Have a new connection, to ``site``."""
        self.channel: Channel = site.buildProtocol(None)
        self.transport = HalfTransport()
        self.channel.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        self.channel.dataReceived(data)
        self.settle()

    def settle(self) -> None:
        """Run what waits for the next turn."""
        for _ in range(50):
            self.clock.advance(0)

    def leave(self) -> None:
        self.channel.connectionLost(Failure(ConnectionDone()))
        self.settle()

    def is_open(self) -> bool:
        """Whether the channel has neither closed nor cut the connection."""
        return not (self.transport.disconnecting or self.transport.aborted)

    @property
    def received(self) -> bytes:
        return bytes(self.transport.value())

    def answers(self, *methods: bytes) -> list[tuple[int, list[tuple[bytes, bytes]], bytes]]:
        """What came back, by h11: status, fields, body; AssertionError if any is not whole."""
        return read_answers(self.received, methods)

    def done(self) -> None:
        """End the connection, so that no timer is left."""
        self.leave()
        assert not self.clock.getDelayedCalls()


def read_answers(
    data: bytes, methods: tuple[bytes, ...] = ()
) -> list[tuple[int, list[tuple[bytes, bytes]], bytes]]:
    """Parse answers with h11, strictly, one for each method (default: GET as often as needed)."""
    answers = []
    wanted = iter(methods)
    while data:
        connection = h11.Connection(h11.CLIENT)
        method = next(wanted, b"GET")
        connection.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        connection.send(h11.EndOfMessage())
        connection.receive_data(data)
        status, fields, body = 0, [], b""
        while True:
            event = connection.next_event()
            if isinstance(event, h11.InformationalResponse):
                answers.append((event.status_code, list(event.headers.raw_items()), b""))
            elif isinstance(event, h11.Response):
                status, fields = event.status_code, list(event.headers.raw_items())
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                raise AssertionError(f"not a whole answer: {event!r} in {data!r}")
        answers.append((status, fields, body))
        data = connection.trailing_data[0]
    return answers
