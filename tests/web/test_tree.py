"""What is answered here: health, what this is, 404; and where each route leads."""

from __future__ import annotations

import json

import pytest
from twisted.internet.defer import Deferred
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from twisted.web.resource import Resource
from zope.interface import implementer

from openai_proxy.config.settings import Limits
from openai_proxy.exchange.target import Target
from openai_proxy.observe.metrics import Metrics, new_registry
from openai_proxy.providers.provider import Provider
from openai_proxy.relay.client import TransparentClient
from openai_proxy.web.relay import Relay
from openai_proxy.web.root import ProxySite
from openai_proxy.wire.request import Request
from tests.support.exchanges import context
from tests.support.wire import Client


@implementer(IAgent)
class Recorder:
    """Remembers the URIs that it is asked for, and never answers."""

    def __init__(self) -> None:
        self.uris: list[bytes] = []

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        self.uris.append(uri)
        return Deferred()


class Rig(Client):
    """A client of the real tree."""

    def __init__(self, base_url: bytes = b"http://up") -> None:
        super().__init__(Resource())
        self.leave()
        self.metrics = Metrics(new_registry())
        self.tree = ProxySite(self.clock, Limits(), self.metrics)
        self.agent = Recorder()
        shared = context(self.clock, self.metrics, self.tree.held_bodies)
        target = Target(Provider("openai", base_url), TransparentClient(self.agent))
        self.tree.serve({b"openai": Relay(target, b"/openai", shared), b"v1": Relay(target, b"", shared)})
        self.connect(self.tree)

    def get(self, path: bytes, method: bytes = b"GET") -> tuple[int, bytes]:
        self.send(b"%b %b HTTP/1.1\r\nHost: x\r\n\r\n" % (method, path))
        status, fields, body = self.answers(method)[-1]
        self.transport.clear()
        assert (b"Content-Type", b"application/json") in fields
        return status, body


def test_what_this_is() -> None:
    """``/`` is one line of JSON with name, version and routes."""
    rig = Rig()
    status, body = rig.get(b"/")
    assert status == 200 and body.count(b"\n") == 1
    said = json.loads(body)
    assert said["name"] == "openai_proxy"
    assert said["routes"] == ["/healthz", "/openai", "/readyz", "/v1"]
    assert rig.get(b"/?x")[0] == 200
    rig.done()


def test_health_and_readiness() -> None:
    """Alive as long as it answers; ready until it drains; only to be read."""
    rig = Rig()
    assert rig.get(b"/healthz") == (200, b'{"status": "ok"}\n')
    assert rig.get(b"/healthz", b"HEAD") == (200, b"")
    assert rig.get(b"/healthz", b"POST")[0] == 405
    assert rig.get(b"/readyz")[0] == 200
    rig.tree.draining = True
    assert rig.get(b"/readyz")[0] == 503
    rig.done()


@pytest.mark.parametrize(
    "path", [b"/nope", b"/v2/x", b"/V1/x", b"/%76%31/x", b"//v1/x", b"/openaix/v1", b"/healthz/x"]
)
def test_unknown_paths_are_counted_404s(path: bytes) -> None:
    """OpenAI's error form, and one count without provider or model."""
    rig = Rig()
    status, body = rig.get(path)
    assert status == 404 and json.loads(body)["error"]["code"] == "unknown_url"
    counted = rig.metrics.registry.get_sample_value(
        "http_requests_total",
        {
            "provider": "none",
            "endpoint": "other",
            "model": "none",
            "status": "404",
            "outcome": "client_error",
        },
    )
    assert counted == 1
    rig.done()


@pytest.mark.parametrize(
    ("path", "meant"),
    [(b"/opnai/v1/models", " Did you mean /openai/?"), (b"/zzz", ""), (b"/" + b"o" * 9000, "")],
)
def test_an_unknown_path_that_is_near_a_route(path: bytes, meant: str) -> None:
    """What may have been meant is said."""
    rig = Rig()
    message = json.loads(rig.get(path)[1])["error"]["message"]
    assert message == "Unknown path. The proxy's routes are listed at /." + meant
    rig.done()


def test_an_unknown_path_of_an_anthropic_client() -> None:
    """In its own form."""
    rig = Rig()
    rig.send(b"POST /antropic/v1/messages HTTP/1.1\r\nHost: x\r\nanthropic-version: 2023-06-01\r\n\r\n")
    status, _, body = rig.answers(b"POST")[-1]
    assert (status, json.loads(body)["error"]["type"]) == (404, "not_found_error")
    rig.done()


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        (b"/v1/models", b"http://up/v1/models"),
        (b"/v1", b"http://up/v1"),
        (b"/v1/x?", b"http://up/v1/x?"),
        (b"/v1/a%2Fb?c[]=%5B", b"http://up/v1/a%2Fb?c[]=%5B"),
        (b"/openai/v1/models?a", b"http://up/v1/models?a"),
        (b"/openai/", b"http://up/"),
        (b"/openai", b"http://up/"),
        (b"/openai?x", b"http://up/?x"),
        (b"/openai//evil.example/x", b"http://up//evil.example/x"),
        (b"http://evil.example/openai/v1/x", b"http://up/v1/x"),
    ],
)
def test_routes_lead_below_the_base_url(path: bytes, uri: bytes) -> None:
    """Byte for byte, and never to another host."""
    rig = Rig()
    rig.send(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path)
    assert rig.agent.uris == [uri]
    rig.done()


def test_invalid_requests_are_counted() -> None:
    """What a channel refuses is in the numbers too."""
    rig = Rig()
    rig.send(b"GET / HTTP/1.1\r\n\r\n")
    counted = rig.metrics.registry.get_sample_value(
        "http_requests_total",
        {
            "provider": "none",
            "endpoint": "other",
            "model": "none",
            "status": "400",
            "outcome": "client_error",
        },
    )
    assert counted == 1
    rig.done()


def test_an_accept_that_the_exporter_fails_on_is_not_shown_to_it() -> None:
    """Its own parser raises for a version that is no number; a scraper must not make tracebacks."""
    seen: list[list[bytes]] = []

    class Exporter(Resource):
        isLeaf = True

        def render(self, request: Request) -> bytes:
            seen.append(list(request.requestHeaders.getRawHeaders(b"accept", [])))
            return b"text"

    rig = Rig()
    rig.tree.serve({b"metrics": Exporter()})
    accepts = (
        b"application/openmetrics-text;version=zz",
        b"text/plain;version=0.0.4, */*",
        b"text/plain; version=1.0.0",
    )
    for accept in accepts:
        rig.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: %b\r\n\r\n" % accept)
    assert seen == [[], [accepts[1]], [accepts[2]]]
    rig.done()
