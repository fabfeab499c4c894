"""A whole proxy on real sockets, raw clients of it, and h11 as the judge of what it sends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import h11
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from openai_proxy.config.settings import Limits, Listen, PoolLimits, Settings, Timeouts
from openai_proxy.config.setup import Setup
from openai_proxy.service import ProxyService
from tests.support.upstream import Gone, ScriptedUpstream, UpstreamConnection

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
EVENTUALLY_SECONDS = 10.0
_LARGEST_HEAD = 256 * 1024
Fields = Sequence[tuple[str, str]]
UPGRADE: Fields = (("Connection", "Upgrade"), ("Upgrade", "websocket"))
_BROKEN = h11.RemoteProtocolError("")


def post(body: bytes = b'{"model":"gpt-4o"}', fields: bytes = b"", path: bytes = b"/v1/embeddings") -> bytes:
    """A POST with JSON: the proxy reads it whole before it sends it on."""
    return (
        b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"%bContent-Length: %d\r\n\r\n%b" % (path, fields, len(body), body)
    )


def upload(length: int | None, fields: bytes = b"") -> bytes:
    """The head of a POST that is sent on as it comes; ``None``: chunked."""
    framing = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
    return b"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n%b%b\r\n\r\n" % (
        fields,
        framing,
    )


async def eventually(reactor: Any, condition: Callable[[], object]) -> None:
    """Wait for what no event tells of: ask in each turn of the reactor, until a deadline."""
    until = reactor.seconds() + EVENTUALLY_SECONDS
    while not condition():
        assert reactor.seconds() < until, "it did not come to be"
        await deferLater(cast(IReactorTime, reactor), 0.002)


@dataclass
class Answer:
    """What a client saw. ``whole`` is False where it was cut off, however much of it came."""

    status: int = 0
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    interim: list[int] = field(default_factory=list)
    version: bytes = b""
    whole: bool = False

    @property
    def has_length(self) -> bool:
        """Whether its end does not depend on the connection's."""
        named = self.values(b"content-length") or self.values(b"transfer-encoding")
        return bool(named) or self.status in (101, 204, 304)

    def values(self, name: bytes) -> list[bytes]:
        """The values of the field ``name`` (lower case)."""
        return [value for key, value in self.fields if key.lower() == name]


class Client(UpstreamConnection):
    """A raw client: what a test writes, and answers as h11 reads them, strictly."""

    def __init__(self) -> None:
        super().__init__(cast(ScriptedUpstream, _Nobody()), 0)

    async def answer(self, method: bytes = b"GET", fields: Fields = ()) -> Answer:
        """The next answer, whole or cut off. AssertionError where it is not HTTP at all.

        ``fields`` of the request matter to h11 for an upgrade only.
        """
        judge = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LARGEST_HEAD)
        judge.send(h11.Request(method=method, target="/", headers=[("Host", "x"), *fields]))
        judge.send(h11.EndOfMessage())
        answer = Answer()
        while True:
            event = self._next(judge)
            if event is h11.NEED_DATA:
                await self._more(judge)
            elif event is _BROKEN:
                return answer
            elif self._note(answer, event):
                # What has no length ends with the connection: a reset is not such an end.
                answer.whole = self.ended != "RST" or answer.has_length
                self._taken -= len(judge.trailing_data[0])
                return answer

    @staticmethod
    def _note(answer: Answer, event: object) -> bool:
        """Whether ``event`` is the answer's last."""
        if isinstance(event, h11.InformationalResponse):
            answer.interim.append(event.status_code)
            if event.status_code == 101:
                answer.status = 101
        elif isinstance(event, h11.Response):
            answer.status, answer.version = event.status_code, event.http_version
            answer.fields = list(event.headers.raw_items())
        elif isinstance(event, h11.Data):
            answer.body += bytes(event.data)
        return isinstance(event, h11.EndOfMessage) or answer.status == 101

    async def ask(self, request: bytes, method: bytes = b"GET") -> Answer:
        """Send ``request``, wait for its answer."""
        self.write(request)
        return await self.answer(method)

    @property
    def unread(self) -> bytes:
        """What came behind the answers that were read."""
        return bytes(self.received[self._taken :])

    def _next(self, judge: h11.Connection) -> Any:
        try:
            event = judge.next_event()
        except h11.RemoteProtocolError as error:
            # h11 raises where the connection ends inside a message; all else is our fault.
            assert self.ended is not None, f"not HTTP: {error} in {bytes(self.received)!r}"
            return _BROKEN
        return _BROKEN if isinstance(event, h11.ConnectionClosed) else event

    async def _more(self, judge: h11.Connection) -> None:
        had = self._taken
        if len(self.received) == had:
            try:
                await self.until(lambda: len(self.received) > had)
            except Gone:
                pass
        data = self._take(len(self.received) - had)
        judge.receive_data(data)


class _Nobody:
    """An upstream's part that a client has no use for."""

    def began(self, connection: UpstreamConnection) -> None:
        """Nothing."""

    def finished(self, connection: UpstreamConnection) -> None:
        """Nothing."""


class Gateway:
    """A ``ProxyService`` that listens on a free port of 127.0.0.1, and its clients."""

    def __init__(self, reactor: Any, upstream: str, **options: Any) -> None:
        """``options`` are fields of ``Timeouts``, ``Limits``, ``PoolLimits`` or ``Settings``."""
        self.reactor = reactor
        kinds: dict[str, Any] = {"timeouts": Timeouts, "limits": Limits, "pool": PoolLimits}
        for name, kind in kinds.items():
            known = {key: options.pop(key) for key in list(options) if key in kind.__dataclass_fields__}
            options[name] = kind(**known)
        listen = (Listen("tcp:0:interface=127.0.0.1"),)
        settings = Settings(listen, upstream=upstream, mock=False, **options)
        self.service = ProxyService(Setup(settings), reactor)
        self.clients: list[Client] = []
        self.service.privilegedStartService()
        self.service.startService()
        self.port: int = cast(Any, self.service.ports[0].getHost()).port

    async def client(self) -> Client:
        """A new connection to the proxy."""
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", self.port)
        client = Client()
        self.clients.append(client)
        connected: Deferred[Client] = connectProtocol(endpoint, client)
        return await connected

    async def ask(self, request: bytes, method: bytes = b"GET") -> Answer:
        """``request`` on a connection of its own."""
        client = await self.client()
        return await client.ask(request, method)

    # What the numbers say.

    def _samples(self, name: str) -> list[Any]:
        families = self.service.metrics.registry.collect()
        return [sample for family in families for sample in family.samples if sample.name == name]

    @property
    def in_flight(self) -> float:
        """The sum of the gauge."""
        return float(sum(sample.value for sample in self._samples("http_requests_in_flight")))

    @property
    def outcomes(self) -> dict[tuple[str, str], int]:
        """How many ended, by status and outcome."""
        counts: dict[tuple[str, str], int] = {}
        for sample in self._samples("http_requests_total"):
            key = (sample.labels["status"], sample.labels["outcome"])
            counts[key] = counts.get(key, 0) + int(sample.value)
        # Some series are there before there is anything to count.
        return {key: count for key, count in counts.items() if count}

    async def counted(self, *expected: tuple[int, str]) -> None:
        """Wait for as many records as ``expected``, and then they are these."""
        await eventually(self.reactor, lambda: sum(self.outcomes.values()) >= len(expected))
        counts: dict[tuple[str, str], int] = {}
        for status, outcome in expected:
            counts[str(status), outcome] = counts.get((str(status), outcome), 0) + 1
        assert self.outcomes == counts

    # The end.

    async def stop(self) -> None:
        """Let the clients go, wait until nothing is in flight, and stop."""
        for client in self.clients:
            if client.ended is None:
                client.abort()
        service = self.service
        await eventually(self.reactor, lambda: not service.site.channels)
        await eventually(self.reactor, lambda: not self.in_flight)
        assert service.site.held_bodies.held_bytes == 0
        await service.stopService()
        assert not service.site._deadlines._members
        assert not service.graph.agent._deadlines._members


def requests_of(data: bytes) -> tuple[list[tuple[h11.Request, bytes]], bool]:
    """What the proxy sent on one connection, by h11; and whether the last request is whole.

    AssertionError if any of it is not strict HTTP/1.1.
    """
    judge = h11.Connection(h11.SERVER, max_incomplete_event_size=_LARGEST_HEAD)
    found: list[tuple[h11.Request, bytes]] = []
    if not data:
        return found, True
    judge.receive_data(data)
    try:
        while (event := judge.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.Request):
                found.append((event, b""))
            elif isinstance(event, h11.Data):
                found[-1] = (found[-1][0], found[-1][1] + bytes(event.data))
            elif event is h11.PAUSED and not _next_cycle(judge):
                return found, True
    except h11.RemoteProtocolError as error:
        raise AssertionError(f"not HTTP: {error} in {data!r}") from error
    return found, not judge.trailing_data[0] and judge.their_state in (h11.IDLE, h11.DONE)


def _next_cycle(judge: h11.Connection) -> bool:
    """Answer, so that h11 reads on; False if what follows is another protocol's."""
    if judge.their_state is not h11.DONE:
        return False
    judge.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
    judge.send(h11.EndOfMessage())
    judge.start_next_cycle()
    return True


def check_emitted(connections: Sequence[UpstreamConnection]) -> None:
    """All that any upstream was sent is strict HTTP/1.1, and none that ended well is half a request."""
    for connection in connections:
        requests_of(bytes(connection.received))
