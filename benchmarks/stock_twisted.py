"""The other yardstick: the same relay, written with nothing but stock parts.

Stock ``twisted.web`` Site and Resource in front, stock ``treq`` on a stock ``Agent`` with a
stock (but not tiny) pool behind, streaming in the direction in which stock parts can stream,
with a counter and a histogram. Run as
``python -m benchmarks.stock_twisted PORT http://127.0.0.1:UPSTREAM``.
"""

import sys
import time
from collections.abc import Awaitable, Callable
from typing import cast

from prometheus_client import Counter, Histogram
from prometheus_client.twisted import MetricsResource
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import Agent, FileBodyProducer, HTTPConnectionPool, ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IResponse
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

HOP_BY_HOP = (
    *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization"),
    *(b"te", b"trailer", b"transfer-encoding", b"upgrade"),
)
NOT_SENT_ON = (*HOP_BY_HOP, b"host", b"content-length", b"accept-encoding", b"expect")
TEMPLATES = frozenset({b"/v1/chat/completions", b"/v1/embeddings", b"/v1/models", b"/v1/files"})

REQUESTS = Counter("http_requests", "Requests.", ["path", "method", "status"])
DURATION = Histogram("http_request_duration_seconds", "Duration.", ["path", "method", "status"])


class Download(Protocol):
    """Writes each piece of an answer on to the client, as fast as the client reads."""

    def __init__(self, request: Request, done: Deferred[None]) -> None:
        self._request = request
        self._done = done

    def connectionMade(self) -> None:
        """The body begins."""
        self._request.registerProducer(cast(IPushProducer, self.transport), True)

    def dataReceived(self, data: bytes) -> None:
        """A piece of it."""
        self._request.write(data)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """It ended, or broke."""
        if self._request.channel is not None:
            self._request.unregisterProducer()
        if reason is None or reason.check(ResponseDone):
            self._done.callback(None)
        else:
            self._done.errback(reason)


class Relay(Resource):
    """Everything below the root goes to the upstream."""

    isLeaf = True

    def __init__(self, client: HTTPClient, upstream: bytes) -> None:
        Resource.__init__(self)
        self._client = client
        self._upstream = upstream

    def render(self, request: Request) -> int:
        """Relay one request."""
        ensureDeferred(self._relay(request))
        return NOT_DONE_YET

    async def _relay(self, request: Request) -> None:
        begin = time.monotonic()
        gone = request.notifyFinish()
        gone.addErrback(lambda _: None)
        try:
            answer = await self._ask(request)
            self._write_head(request, answer)
            done: Deferred[None] = Deferred()
            answer.deliverBody(Download(request, done))
            await done
            request.finish()
        except Exception:
            if request.channel is not None:
                request.setResponseCode(502)
                request.finish()
        path = request.path if request.path in TEMPLATES else b"other"
        labels = (path.decode(), request.method.decode(), str(request.code))
        REQUESTS.labels(*labels).inc()
        DURATION.labels(*labels).observe(time.monotonic() - begin)

    def _ask(self, request: Request) -> Awaitable[IResponse]:
        headers = request.requestHeaders.copy()
        for name in NOT_SENT_ON:
            headers.removeHeader(name)
        ask = cast(Callable[..., Awaitable[IResponse]], self._client.request)
        return ask(
            request.method.decode("ascii"),
            (self._upstream + request.uri).decode("ascii"),
            headers=headers,
            data=FileBodyProducer(request.content),
            allow_redirects=False,
            unbuffered=True,
        )

    def _write_head(self, request: Request, answer: IResponse) -> None:
        request.setResponseCode(answer.code)
        headers = cast(Headers, answer.headers)
        for name, values in headers.getAllRawHeaders():
            if name.lower() not in HOP_BY_HOP:
                request.responseHeaders.setRawHeaders(name, values)
        if answer.length is not UNKNOWN_LENGTH:
            request.responseHeaders.setRawHeaders(b"content-length", [b"%d" % answer.length])


class Root(Resource):
    """``/metrics`` is ours, the rest is the relay's."""

    def __init__(self, relay: Relay) -> None:
        Resource.__init__(self)
        self._relay = relay
        self.putChild(b"metrics", MetricsResource())

    def getChild(self, path: bytes, request: Request) -> Resource:
        """Twisted asks for the child that ``putChild`` does not name."""
        return self._relay


def main(port: int, upstream: str) -> None:
    """Serve until killed."""
    loop = cast(EPollReactor, reactor)
    pool = HTTPConnectionPool(loop, persistent=True)
    pool.maxPersistentPerHost = 10_000
    client = HTTPClient(Agent(loop, pool=pool, connectTimeout=10))
    site = Site(Root(Relay(client, upstream.encode())), parsePOSTFormSubmission=False)
    site.noisy = False
    # Stock Site formats an access line for each request, even when nobody reads it.
    loop.listenTCP(port, site, backlog=4096, interface="127.0.0.1")
    loop.run()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
