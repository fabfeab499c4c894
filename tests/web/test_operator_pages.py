"""The pages on the port of the clients, as the daemon puts them there: made when they are first asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from twisted.internet.address import IPv4Address
from twisted.web.resource import Resource

from openai_proxy.config.settings import Limits, Settings
from openai_proxy.observe.metrics import Metrics, new_registry
from openai_proxy.web.operator_pages import OperatorPages
from openai_proxy.web.root import ProxySite
from tests.support.operations import FLYING, FakeOperations
from tests.support.wire import Client


class Rig(Client):
    """A client on the daemon's own machine."""

    def __init__(self) -> None:
        super().__init__(Resource())
        self.leave()
        self.operations = FakeOperations()
        self.shown = ProxySite(self.clock, Limits(), Metrics(new_registry()))
        self.pages = OperatorPages(self.operations, self.shown, self.shown.ready, Resource(), self.clock)
        self.shown.serve(self.pages.routes(Settings()))

    def ask(self, method: bytes, path: bytes) -> tuple[int, bytes]:
        """One request on a connection of its own: its answer's status and body."""
        self.leave()
        self.connect(self.shown)
        self.transport.peerAddr = IPv4Address("TCP", "127.0.0.1", 40000)
        self.send(b"%b %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % (method, path))
        ((status, _, body),) = self.answers(method)
        return status, body


@pytest.fixture
def rig() -> Iterator[Rig]:
    """Without an operator's port."""
    rig = Rig()
    yield rig
    rig.pages.stop()
    rig.done()


@pytest.mark.parametrize(
    ("method", "path"),
    [(b"DELETE", b"/inflight/req_1"), (b"DELETE", b"/inflight/a/b"), (b"POST", b"/-/reload")],
)
def test_what_changes_something_says_what_it_needs(rig: Rig, method: bytes, path: bytes) -> None:
    """403, whatever is below the page's own path, and nothing is done."""
    rig.operations.flying = [FLYING]
    status, body = rig.ask(method, path)
    assert (status, json.loads(body)["error"]["code"]) == (403, "admin_listener_required")
    assert not rig.operations.ended


def test_a_page_has_nothing_below_it_but_what_it_knows(rig: Rig) -> None:
    """The list itself is there, and 404 in the usual form for what is not."""
    assert rig.ask(b"GET", b"/inflight") == (200, b"Nothing is in flight.\n")
    status, body = rig.ask(b"GET", b"/-/nothing")
    assert (status, json.loads(body)["error"]["code"]) == (404, "unknown_url")
