"""Exchanges of the unified way without a daemon: several upstreams that the test plays, and one client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any
from weakref import WeakMethod

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from openai_proxy.config.provider import Provider as ConfiguredProvider
from openai_proxy.config.provider import Quirks
from openai_proxy.config.routing import Breaker, Hedge, Retry, Route, RouteTimeouts
from openai_proxy.config.routing import Target as RouteTarget
from openai_proxy.config.secret import Secret
from openai_proxy.config.settings import Limits, Observation, Timeouts
from openai_proxy.exchange.exchange import ExchangeContext
from openai_proxy.exchange.gateway import Gateway
from openai_proxy.exchange.routed import RoutedExchange
from openai_proxy.exchange.target import Target
from openai_proxy.observe.record import Record
from openai_proxy.providers.addressing import Addressing
from openai_proxy.providers.configured import provider_of
from openai_proxy.providers.request_rules import RequestRules
from openai_proxy.providers.translate.translation import Options
from openai_proxy.relay.client import TransparentClient
from openai_proxy.wire.fields import Fields
from openai_proxy.wire.request import Request
from openai_proxy.wire.response import Response
from tests.support.exchanges import KeptRecords, Transport, context
from tests.support.wire import Client

JSON = (b"Content-Type", b"application/json")
EVENTS = (b"Content-Type", b"text/event-stream")
TOKEN = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
ERROR = b'{"error":{"message":"m","type":"server_error","code":null}}'
CHAT = b'{"model":"fast","messages":[{"role":"user","content":"hi"}]}'
STREAM = CHAT[:-1] + b',"stream":true}'
ONCE = Retry(attempts=1)


class Ask:
    """One request that an upstream was sent, and its answer, as the test gives it."""

    def __init__(self, method: bytes, url: bytes, fields: Fields, producer: IBodyProducer | None) -> None:
        self.method, self.url, self.fields, self.producer = method, url, fields.raw, producer
        self.transport = Transport()
        self.reader: Any = None
        self.is_over = False
        """Whether it has ended, or nobody wants its answer any more."""
        self.was_cancelled = False
        self.is_answered = False
        # It is not to be a cycle itself: see tests/exchange/test_routed_garbage.py.
        stopped = WeakMethod(self._stopped)
        self.answer: Deferred[IResponse] = Deferred(lambda _: _call(stopped))
        self.transport.stop = lambda: _call(stopped)
        self._sent = StringTransport()
        self._uploading: Deferred[None] | None = None
        if producer is not None:
            self._uploading = producer.startProducing(self._sent)
            self._uploading.addErrback(self._not_uploaded)

    @property
    def sent(self) -> bytes:
        """What came of the request's body."""
        return bytes(self._sent.value())

    def respond(self, status: int, *fields: tuple[bytes, bytes]) -> None:
        """The head of its answer."""
        self.is_answered = True
        self.answer.callback(Response(status, b"Fine", Fields(raw=list(fields)), self._deliver))

    def piece(self, data: bytes) -> None:
        """Of its answer's body."""
        if self.reader is not None and not self.is_over:
            self.reader.dataReceived(data)

    def end(self, reason: Exception | None = None) -> None:
        """Of its answer's body."""
        if self.reader is not None and not self.is_over:
            self._over()
            self.reader.connectionLost(Failure(reason or ResponseDone()))

    def give(self, status: int, body: bytes, *fields: tuple[bytes, bytes]) -> None:
        """A whole answer, JSON."""
        self.respond(status, JSON, (b"Content-Length", b"%d" % len(body)), *fields)
        self.piece(body)
        self.end()

    def stream(self, *pieces: bytes) -> None:
        """A whole stream."""
        self.respond(200, EVENTS)
        for piece in pieces:
            self.piece(piece)
        self.end()

    def fail(self, error: Exception) -> None:
        """No head comes."""
        self._over()
        self.answer.errback(Failure(error))

    def _deliver(self, reader: IProtocol) -> None:
        self.reader = reader
        reader.makeConnection(self.transport)  # type: ignore[arg-type]

    def _stopped(self) -> None:
        self._over()
        self.was_cancelled = True

    def _over(self) -> None:
        self.is_over = True
        uploading, self._uploading = self._uploading, None
        if uploading is not None and not uploading.called and self.producer is not None:
            self.producer.stopProducing()

    def _not_uploaded(self, failure: Failure) -> None:
        self._uploading = None
        if not self.is_answered and not self.is_over:
            self.is_over = True
            self.answer.errback(failure)


def _call(method: WeakMethod[Callable[[], None]]) -> None:
    alive = method()
    if alive is not None:
        alive()


@implementer(IAgent)
class Upstream:
    """Keeps what it is asked."""

    def __init__(self) -> None:
        self.asks: list[Ask] = []

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
        timeouts: Timeouts | None = None,
    ) -> Deferred[IResponse]:
        assert isinstance(headers, Fields)
        ask = Ask(method, uri, headers, bodyProducer)
        self.asks.append(ask)
        return ask.answer

    @property
    def last(self) -> Ask:
        return self.asks[-1]


class Keys:
    """A source whose keys the test gives."""

    def __init__(self) -> None:
        self.waiter: Deferred[Secret] = Deferred()
        self.expired: list[Secret] = []

    def current(self) -> Deferred[Secret]:
        return self.waiter

    def expire(self, key: Secret) -> None:
        self.expired.append(key)

    def stop(self) -> None:
        """Nothing."""


def route(*providers: str, hedge: bool | None = None, **timeouts: float) -> Route:
    """To these in their order, each by a name of its own for the model."""
    targets = tuple(RouteTarget(name, f"{name}-model") for name in providers)
    return Route(targets, timeouts=RouteTimeouts(**timeouts), hedge=hedge)


def upstream_target(name: str, upstream: Upstream, configured: ConfiguredProvider, keys: Any) -> Target:
    """A target as a file would make it."""
    quirks: Quirks = configured.quirks
    return Target(
        provider_of(name, configured, Observation()),
        TransparentClient(upstream),
        addressing=Addressing(configured),
        keys=keys,
        rules=RequestRules(quirks) if quirks.rename or quirks.drop else None,
        fixes=quirks if quirks.fixes_answers else None,
        translation=Options(quirks=provider_of(name, configured, Observation()).quirks),
    )


class RoutedRig:
    """A client, a gateway with the providers ``one``, ``two`` and ``three``, and what they are sent."""

    def __init__(
        self,
        *providers: str,
        models: Mapping[str, Route] | None = None,
        retry: Retry | None = None,
        breaker: Breaker | None = None,
        hedge: Hedge | None = None,
        limits: Limits | None = None,
        keys: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """:param providers: their names, if not only ``one`` and ``two``.
        :param models: if not ``fast`` alone, which has all of them.
        :param more: by a provider's name, what is unusual of it.
        """
        names = providers or ("one", "two")
        limits = limits or Limits()
        self.sink = KeptRecords()
        self.upstreams = {name: Upstream() for name in names}
        self.changes: list[tuple[str, str, str]] = []
        targets = {
            name: upstream_target(
                name, upstream, _configured(name, more.get(name, {})), (keys or {}).get(name)
            )
            for name, upstream in self.upstreams.items()
        }
        self.gateway = Gateway(
            targets,
            {"fast": route(*names)} if models is None else models,
            names[0],
            retry or Retry(),
            breaker or Breaker(),
            hedge or Hedge(),
            Random(1),
            lambda *change: self.changes.append(change),
        )
        self.exchanges: list[RoutedExchange] = []
        self._context: ExchangeContext | None = None

        def handle(request: Request) -> None:
            exchange = RoutedExchange(request, self.gateway, self.context, "/v1")
            exchange.start()

        self.client = Client(handle, limits)
        self.context = context(self.client.clock, self.sink, self.client.site.held_bodies, limits)

    @property
    def clock(self) -> Clock:
        return self.client.clock

    def __getattr__(self, name: str) -> Upstream:
        """A provider by its name."""
        if name in self.__dict__.get("upstreams", ()):
            return self.upstreams[name]
        raise AttributeError(name)

    def ask(self, body: bytes = CHAT, *fields: bytes, path: bytes = b"/v1/chat/completions") -> None:
        """A POST of ``body``."""
        lines = [b"POST %b HTTP/1.1" % path, b"Host: proxy", b"Content-Length: %d" % len(body), *fields]
        self.client.send(b"\r\n".join([*lines, b"", body]))

    def get(self, path: bytes, method: bytes = b"GET", *fields: bytes) -> None:
        """A request without a body."""
        lines = [b"%b %b HTTP/1.1" % (method, path), b"Host: proxy", *fields, b"", b""]
        self.client.send(b"\r\n".join(lines))

    def answer(self) -> tuple[int, dict[bytes, bytes], bytes]:
        """The client's last answer, whole: status, fields by their names in lower case, body."""
        status, fields, body = self.client.answers()[-1]
        return status, {name.lower(): value for name, value in fields}, body

    def record(self) -> Record:
        """The only one; all that was taken was given back."""
        self.client.done()
        assert len(self.sink.began) == len(self.sink.ended) == 1
        self.check_given_back()
        record = self.sink.ended[0]
        assert len(record.attempts) == sum(len(upstream.asks) for upstream in self.upstreams.values())
        return record

    def check_given_back(self) -> None:
        """No memory, no trial, no delayed call, no upstream is held when no exchange is."""
        assert self.context.held_bodies.held_bytes == 0
        assert self.context.held_answers.held_bytes == 0
        for breaker in self.gateway.breakers.values():
            assert breaker._trials == 0
        assert not self.clock.getDelayedCalls()
        for upstream in self.upstreams.values():
            assert all(ask.is_over for ask in upstream.asks)

    def results(self) -> list[tuple[str, str]]:
        """Of the only record's attempts: provider and result."""
        return [(one.provider, one.result.value) for one in self.record().attempts]


def _configured(name: str, more: Mapping[str, Any]) -> ConfiguredProvider:
    return ConfiguredProvider(**{"base_url": f"http://{name}", "path_prefix": "/v1", **more})
