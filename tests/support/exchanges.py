"""Exchanges without a daemon: a client, a channel, an exchange, an upstream that the test plays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from openai_proxy.config.settings import Limits, Timeouts
from openai_proxy.exchange.exchange import Exchange, ExchangeContext
from openai_proxy.exchange.target import Target
from openai_proxy.observe.model import ModelNames
from openai_proxy.observe.record import Record, Sink
from openai_proxy.observe.trace import Traces
from openai_proxy.policy.prices import Prices
from openai_proxy.providers.provider import Provider
from openai_proxy.relay.client import TransparentClient
from openai_proxy.wire.body import HeldBodies
from openai_proxy.wire.fields import Field, Fields
from openai_proxy.wire.request import Request
from openai_proxy.wire.response import Response, Timings
from tests.support.wire import Client

PRICES = Prices.load()


class KeptRecords:
    """Keeps what it is told."""

    wants_ids = True

    def __init__(self) -> None:
        self.began: list[str] = []
        self.answers: list[tuple[str, str, bool]] = []
        """Provider, model, and whether it is a stream."""
        self.ended: list[Record] = []

    def exchange_began(self, endpoint: str) -> None:
        self.began.append(endpoint)

    def answer_began(self, provider: str, model: str, fields: Sequence[Field], is_stream: bool) -> None:
        self.answers.append((provider, model, is_stream))

    def exchange_ended(self, record: Record) -> None:
        self.ended.append(record)

    def request_refused(self, status: int, duration_seconds: float) -> None:
        raise AssertionError("an exchange is not refused")


BODY = b'{"model":"gpt-4o-mini","messages":[]}'
POST = b"POST /v1/chat/completions?a=%%2F HTTP/1.1\r\nHost: proxy\r\nContent-Length: %d\r\n" % len(BODY)


def context(clock: Any, sink: Sink, held_bodies: HeldBodies, limits: Limits | None = None) -> ExchangeContext:
    """What all exchanges share, with the package's prices."""
    names = ModelNames(PRICES.known_name)
    held_answers = HeldBodies(1 << 20)
    return ExchangeContext(clock, sink, held_bodies, held_answers, limits or Limits(), names, PRICES)


class Transport:
    """What a body's reader is given."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.stop: Callable[[], object] = lambda: None
        """What follows on a stop."""

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")

    def stopProducing(self) -> None:
        self.calls.append("stop")
        self.stop()


@implementer(IAgent)
class Agent:
    """Holds one request, and lets the test answer it."""

    def __init__(self) -> None:
        self.cancelled = False
        self.transport = Transport()
        self.reader: Any = None

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
        timeouts: Timeouts | None = None,
    ) -> Deferred[IResponse]:
        assert isinstance(headers, Fields)
        self.method, self.uri, self.fields, self.producer = method, uri, headers.raw, bodyProducer
        self.answer: Deferred[IResponse] = Deferred(self._cancel)
        return self.answer

    def _cancel(self, _: Deferred[IResponse]) -> None:
        self.cancelled = True

    def respond(self, status: int, *fields: tuple[bytes, bytes], timings: Timings | None = None) -> None:
        def deliver(reader: IProtocol) -> None:
            self.reader = reader
            reader.makeConnection(self.transport)  # type: ignore[arg-type]

        head = Fields(raw=list(fields))
        self.answer.callback(Response(status, b"Fine", head, deliver, timings=timings))

    def end(self, reason: Exception) -> None:
        self.reader.connectionLost(Failure(reason))


class Rig:
    """A client, a channel, an exchange, an agent."""

    held_answers: HeldBodies
    traces: Traces | None = None

    def __init__(self, limits: Limits | None = None, **provider: Any) -> None:
        """``provider``: what is unusual of it."""
        self.agent = Agent()
        self.sink = KeptRecords()
        limits = limits or Limits()

        def handle(request: Request) -> None:
            shared = context(self.client.clock, self.sink, request.channel.site.held_bodies, limits)
            shared = replace(shared, traces=self.traces)
            self.held_answers = shared.held_answers
            target = Target(Provider("openai", b"http://upstream", **provider), TransparentClient(self.agent))
            Exchange(request, target, request.uri, shared, "/v1").start()

        self.client = Client(handle, limits)

    def post(self, *fields: bytes) -> None:
        self.client.send(POST + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + BODY)

    def ask(self, body: bytes, path: bytes = b"/v1/chat/completions", *fields: bytes) -> None:
        """A POST of ``body``."""
        head = [b"POST %b HTTP/1.1" % path, b"Host: proxy", b"Content-Length: %d" % len(body), *fields]
        self.client.send(b"\r\n".join([*head, b"", body]))

    def sent(self) -> bytes:
        """The body that the upstream was sent."""
        sent = StringTransport()
        assert self.agent.producer is not None
        self.agent.producer.startProducing(sent)
        return bytes(sent.value())

    def body(self) -> bytes:
        """Of the client's only answer, so far as it came: chunks put together."""
        chunks = self.client.received.partition(b"\r\n\r\n")[2]
        if b"Transfer-Encoding: chunked" not in self.client.received:
            return chunks
        body = b""
        while chunks:
            size, _, rest = chunks.partition(b"\r\n")
            body += rest[: int(size, 16)]
            chunks = rest[int(size, 16) + 2 :]
        return body

    @property
    def clock(self) -> Clock:
        return self.client.clock

    def record(self) -> Record:
        self.client.done()
        assert len(self.sink.began) == len(self.sink.ended) == 1
        return self.sink.ended[0]
