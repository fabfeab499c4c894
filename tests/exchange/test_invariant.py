"""At every moment: what was accepted is what has ended, each with one outcome, and what is in flight."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from openai_proxy.config.configuration import Configuration
from openai_proxy.config.file import File
from openai_proxy.config.provider import Provider
from openai_proxy.config.routing import Breaker, Hedge, Route, RouteTimeouts
from openai_proxy.config.routing import Target as RouteTarget
from openai_proxy.config.settings import Limits, PoolLimits, Settings
from openai_proxy.config.setup import Setup
from openai_proxy.observe.record import Record
from openai_proxy.service import ProxyService
from openai_proxy.wire.fields import Field
from tests.support.memory import UPGRADE, Wire, post

EVENT = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n'


def chunk(data: bytes) -> bytes:
    """Of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


REQUESTS = (
    post(),
    post(stream=True),
    post(prefix=b"/mock"),
    post(stream=True, prefix=b"/mock"),
    post(stream=True, prefix=b"/openai").replace(b"Accept:", b"x-mock-fault: no-done\r\nAccept:"),
    post(prefix=b"/mock").replace(b"Accept:", b"x-mock-fault: reset\r\nAccept:"),
    post(stream=True, prefix=b"/mock").replace(b"Accept:", b"x-mock-fault: stall\r\nAccept:"),
    post(stream=True, prefix=b"/mock").replace(b"Accept:", b"x-mock-fault: truncate\r\nAccept:"),
    post(prefix=b"/mock").replace(b"Accept:", b"x-mock-delay-ms: 5000\r\nAccept:"),
    b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n",
    b"HEAD /v1/models HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /v1/models HTTP/1.0\r\n\r\n",
    b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\nHost : x\r\n\r\n",
    b"POST /v1/files HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    + chunk(b"abc")
    + b"0\r\n\r\n",
    b"POST /v1/files HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"abc") + b"zz\r\n",
    b"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" + bytes(100_000),
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n" + bytes(5000),
    b"POST /v1/files HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
    UPGRADE,
)
ANSWERS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{}",
    b"HTTP/1.1 429 No\r\nContent-Type: application/json\r\nx-ratelimit-remaining-requests: 0\r\n"
    b'Content-Length: 24\r\n\r\n{"error":{"type":"tokens',
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + EVENT,
    b"HTTP/1.1 204 No\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 500 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    b"garbage\r\n\r\n",
    chunk(EVENT),
    chunk(EVENT[:20]),
    chunk(EVENT[20:]),
    chunk(USAGE),
    chunk(b"data: [DONE]\n\n"),
    chunk(b'data: {"error":{"type":"server_error"}}\n\n'),
    b"0\r\n\r\n",
    bytes(50),
)


class Kept:
    """Counts what it is told, by endpoint."""

    wants_ids = False

    def __init__(self) -> None:
        self.began: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.refused = 0

    def exchange_began(self, endpoint: str) -> None:
        self.began[endpoint] += 1

    def answer_began(self, provider: str, model: str, fields: Sequence[Field], is_stream: bool) -> None:
        """Nothing."""

    def exchange_ended(self, record: Record) -> None:
        self.ended[record.endpoint] += 1
        assert self.ended[record.endpoint] <= self.began[record.endpoint]

    def request_refused(self, status: int, duration_seconds: float) -> None:
        self.refused += 1


class End(Wire):
    """A connection's transport, which loses it only when the world says so."""

    def __init__(self, readable: int) -> None:
        super().__init__(readable)
        self._lenient = True
        self.protocol: Any = None
        self.is_lost = False

    def lose(self, reason: type[Exception]) -> None:
        """Once."""
        if not self.is_lost:
            self.is_lost = True
            self.protocol.connectionLost(Failure(reason()))

    def bring(self, data: bytes) -> None:
        """Bytes, if they are read."""
        if not self.is_lost and not self.disconnecting and not self.aborted:
            if self.producerState == "producing":
                self.protocol.dataReceived(data)


class World:
    """A proxy in memory, its clients and its upstream's connections."""

    def __init__(self, configuration: Configuration | None = None) -> None:
        self.reactor: Any = MemoryReactorClock()
        settings = Settings(
            upstream="http://127.0.0.1:1",
            limits=Limits(held_total_bytes=20_000, body_bytes=150_000),
            pool=PoolLimits(connections=3, waiting=2),
        )
        self.kept = Kept()
        self.service = ProxyService(Setup(settings, configuration), self.reactor, sinks=[self.kept])
        self._pipe = os.pipe()
        self.clients: list[End] = []
        self.upstreams: list[End] = []
        self._dials: list[tuple[Any, Any]] = []
        self._agent_request = self.service.graph.agent.request

    def act(self, kind: str, which: int, what: int) -> None:
        """One thing happens; then what follows from it, and the law holds."""
        getattr(self, kind)(which, what)
        self._follow()
        self.check()

    # What can happen.

    def ask(self, which: int, what: int) -> None:
        """A client sends a request, on its connection or on a new one."""
        self._client(which).bring(REQUESTS[what % len(REQUESTS)])

    def ask_in_part(self, which: int, what: int) -> None:
        """Any first part of one; what comes next is read as its rest."""
        request = REQUESTS[what % len(REQUESTS)]
        self._client(which).bring(request[: what * 7 % len(request)])

    def leave(self, which: int, what: int) -> None:
        """FIN or RST."""
        if self.clients:
            self.clients[which % len(self.clients)].lose((ConnectionDone, ConnectionLost)[what % 2])

    def block(self, which: int, what: int) -> None:
        """A client does not read, or reads again."""
        if self.clients:
            client = self.clients[which % len(self.clients)]
            if client.producer is not None and not client.is_lost:
                (client.producer.resumeProducing, client.producer.pauseProducing)[what % 2]()

    def connect(self, which: int, what: int) -> None:
        """A connection to the upstream is made, or refused."""
        self._take_dials()
        if self._dials:
            factory, connector = self._dials.pop(which % len(self._dials))
            if connector.stoppedConnecting:
                return
            if what % 5 == 0:
                factory.clientConnectionFailed(connector, Failure(ConnectionRefusedError()))
                return
            end = End(self._pipe[0])
            end.protocol = factory.buildProtocol(None)
            self.upstreams.append(end)
            end.protocol.makeConnection(end)

    def answer(self, which: int, what: int) -> None:
        """The upstream sends something."""
        if self.upstreams:
            self.upstreams[which % len(self.upstreams)].bring(ANSWERS[what % len(ANSWERS)])

    def hang_up(self, which: int, what: int) -> None:
        """The upstream is gone."""
        if self.upstreams:
            self.upstreams[which % len(self.upstreams)].lose((ConnectionDone, ConnectionLost)[what % 2])

    def wait(self, which: int, what: int) -> None:
        """Time passes."""
        self.reactor.advance((0, 0.02, 1.0, 11.0, 130.0, 700.0)[what % 6])

    def break_down(self, which: int, what: int) -> None:
        """A bug of ours: the next request upstream raises."""

        def request(*arguments: Any, **more: Any) -> Any:
            self.service.graph.agent.request = self._agent_request  # type: ignore[method-assign]
            raise RuntimeError("a bug")

        self.service.graph.agent.request = request  # type: ignore[method-assign]

    # What follows.

    def _client(self, which: int) -> End:
        open_ones = [client for client in self.clients if not client.is_lost]
        if open_ones and which % 3:
            return open_ones[which % len(open_ones)]
        end = End(self._pipe[0])
        end.protocol = self.service.site.buildProtocol(None)
        self.clients.append(end)
        end.protocol.makeConnection(end)
        return end

    def _take_dials(self) -> None:
        while self.reactor.tcpClients:
            self._dials.append((self.reactor.tcpClients.pop(0)[2], self.reactor.connectors.pop(0)))

    def _follow(self) -> None:
        for _ in range(3):
            self.reactor.advance(0)
            for end in (*self.clients, *self.upstreams):
                if end.aborted:
                    end.lose(ConnectionLost)
                elif end.disconnecting:
                    end.lose(ConnectionDone)

    # The law.

    def samples(self, name: str) -> list[tuple[dict[str, str], float]]:
        """Of the registry."""
        return [
            (sample.labels, sample.value)
            for family in self.service.metrics.registry.collect()
            for sample in family.samples
            if sample.name == name
        ]

    def check(self) -> None:
        """Accepted is ended and in flight; nothing is below 0."""
        kept, http = self.kept, self.service.metrics.http
        for endpoint, in_flight in http.in_flight.items():
            assert in_flight >= 0
            assert kept.began[endpoint] == kept.ended[endpoint] + in_flight
        assert min(http.streams_open.values()) >= 0
        assert sum(http.streams_open.values()) <= sum(http.in_flight.values())
        assert self.service.site.held_bodies.held_bytes >= 0

    def end(self) -> None:
        """All leave: nothing is in flight, and each has the one outcome."""
        for _ in range(3):
            for end in (*self.clients, *self.upstreams):
                end.lose(ConnectionDone)
            self._take_dials()
            for factory, connector in self._dials:
                if not connector.stoppedConnecting:
                    factory.clientConnectionFailed(connector, Failure(ConnectionRefusedError()))
            self._dials.clear()
            self._follow()
        self.reactor.advance(1000)
        self.check()
        kept, service = self.kept, self.service
        assert kept.began == kept.ended
        counted = sum(value for _, value in self.samples("http_requests_total"))
        assert counted == kept.ended.total() + kept.refused
        for name in (
            "http_requests_in_flight",
            "openai_proxy_streams_open",
            "openai_proxy_client_connections",
        ):
            assert not any(value for _, value in self.samples(name)), name
        active = [value for labels, value in self.samples("openai_proxy_upstream_connections") if value]
        assert not active
        assert not service.site.held_bodies.held_bytes
        assert not service.graph.context.held_answers.held_bytes
        for descriptor in self._pipe:
            os.close(descriptor)


KINDS = ("ask", "ask", "ask", "ask_in_part", "leave", "block", "connect", "connect", "answer", "answer")
acts = st.tuples(
    st.sampled_from((*KINDS, "answer", "answer", "hang_up", "wait", "break_down")),
    st.integers(0, 8),
    st.integers(0, 200),
)


@settings(max_examples=int(os.environ.get("INVARIANT_EXAMPLES", "150")), deadline=None)
@given(st.lists(acts, max_size=40))
def test_accepted_is_ended_and_in_flight(story: list[tuple[str, int, int]]) -> None:
    """Whatever clients, upstreams, the clock and a bug do, each exchange has one record."""
    world = World()
    for kind, which, what in story:
        world.act(kind, which, what)
    world.end()


CONFIGURATION = Configuration(
    path=Path("proxy.yaml"),
    file=File(
        models={
            "gpt-4o-mini": Route(
                (RouteTarget("openai"), RouteTarget("local", "x")),
                timeouts=RouteTimeouts(first_token_seconds=5.0, total_seconds=20.0),
            )
        },
        breaker=Breaker(min_attempts=2),
        hedge=Hedge(enabled=True, min_samples=1, max_ratio=1.0),
    ),
    providers={
        "openai": Provider(base_url="http://127.0.0.1:1", path_prefix="/v1"),
        "local": Provider(base_url="http://127.0.0.1:2", path_prefix="/v1"),
    },
    default_provider="openai",
)


@settings(max_examples=int(os.environ.get("INVARIANT_EXAMPLES", "150")), deadline=None)
@given(st.lists(acts, max_size=40))
def test_the_same_holds_where_attempts_follow_on_others(story: list[tuple[str, int, int]]) -> None:
    """With a file: retries, fallbacks, hedges and deadlines over real connections in memory."""
    world = World(CONFIGURATION)
    unified: Any = world.service.site.root.children[b"v1"]
    gateway = unified._gateway
    gateway.hedging.first_token("gpt-4o-mini", 0.1)
    for kind, which, what in story:
        world.act(kind, which, what)
    world.end()
    assert not any(breaker._trials for breaker in gateway.breakers.values())


@pytest.fixture(autouse=True)
def failures_are_expected(nothing_left: list[Any]) -> Any:
    """The injected bug is logged, and nothing else is."""
    yield
    left = [event for event in nothing_left if "a bug" not in str(event["log_failure"].value)]
    nothing_left[:] = left
