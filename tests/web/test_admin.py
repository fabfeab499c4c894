"""The operator's tree: what each path answers, to whom, and in which form."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.web.resource import Resource

from openai_proxy.config.secret import Secret
from openai_proxy.config.settings import Limits
from openai_proxy.observe.metrics import Metrics, new_registry
from openai_proxy.process.operations import InFlight, Reloaded
from openai_proxy.web.admin import AdminSite, shared_routes
from openai_proxy.web.gate import AdminGate
from openai_proxy.web.guarded import OPERATION_SECONDS
from openai_proxy.web.inflight import table
from openai_proxy.web.live import Live
from openai_proxy.web.root import ProxySite
from openai_proxy.wire.site import Site
from tests.support.operations import FLYING, SEEN, FakeOperations
from tests.support.wire import Client

LOCAL = IPv4Address("TCP", "127.0.0.1", 5555)
AFAR = IPv4Address("TCP", "192.0.2.7", 5555)
TOKEN = Secret("s3cret-token", "env:TOKEN")
BROWSER = b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
AS_JSON = b"Accept: application/json"
SAFE = {
    b"Cache-Control": b"no-store",
    b"Content-Security-Policy": b"default-src 'none'; frame-ancestors 'none'",
    b"Cross-Origin-Resource-Policy": b"same-origin",
    b"Referrer-Policy": b"no-referrer",
    b"X-Content-Type-Options": b"nosniff",
}
HOSTILE = "<img src=x onerror=alert(1)>\x1b[2J\n\u202e"


class Exporter(Resource):
    """In the stead of prometheus_client's."""

    isLeaf = True

    def render(self, request: Any) -> bytes:
        return b"metrics"


class Rig(Client):
    """A client of the admin site, or of the clients' port with the pages on it."""

    def __init__(self, token: Secret | None = None, is_private: bool = True, is_shared: bool = False) -> None:
        super().__init__(Resource())
        self.leave()
        self.operations = FakeOperations()
        self.live = Live(self.operations, self.clock)
        self.readiness: tuple[int, dict[str, object]] = (200, {"status": "ok"})
        self.peer = LOCAL
        self.tree = self._shared() if is_shared else self._own(AdminGate(token, is_private))
        self.connect(self.tree)

    def _own(self, gate: AdminGate) -> Site:
        return AdminSite(
            self.clock, Limits(), self.operations, Exporter(), gate, self.live, lambda: self.readiness
        )

    def _shared(self) -> Site:
        site = ProxySite(self.clock, Limits(), Metrics(new_registry()))
        site.serve({b"metrics": Exporter(), **shared_routes(site, self.operations, self.live)})
        return site

    def connect(self, site: Site) -> None:
        super().connect(site)
        if hasattr(self, "peer"):
            self.transport.peerAddr = self.peer

    def ask(
        self, path: bytes, *fields: bytes, method: bytes = b"GET"
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        """One request on a connection of its own, and its answer."""
        self.leave()
        self.connect(self.tree)
        hosts = () if any(field.lower().startswith(b"host:") for field in fields) else (b"Host: localhost",)
        lines = b"".join(field + b"\r\n" for field in (*hosts, *fields))
        self.send(b"%b %b HTTP/1.1\r\n%b\r\n" % (method, path, lines))
        ((status, raw, body),) = self.answers(method)
        return status, dict(raw), body


@pytest.fixture
def rig() -> Iterator[Rig]:
    """On a listener of its own, on loopback, without a token."""
    rig = Rig()
    yield rig
    rig.live.stop()
    rig.done()


def a_few() -> list[InFlight]:
    second = replace(
        FLYING, id="req_22", age_seconds=3.0, is_stream=False, phase="waiting", worker=3, is_stalled=True
    )
    return [FLYING, second]


def test_what_is_in_flight_as_text(rig: Rig) -> None:
    """For curl: columns under their names, numbers to the right, the oldest first."""
    rig.operations.flying = a_few()
    for accept in ((), (b"Accept: */*",), (b"Accept: text/plain",)):
        status, fields, body = rig.ask(b"/inflight", *accept)
        assert status == 200 and fields[b"Content-Type"] == b"text/plain; charset=utf-8"
        assert SAFE.items() <= fields.items()
    assert body.decode().splitlines() == [
        "id       age  idle  phase    stalled  stream  route  provider  model   endpoint          attempts"
        "  received   sent  events  worker",
        "req_1   12.3   0.1  answer   no       yes     /v1    openai    gpt-4o  chat_completions         1"
        "       321  65432     210       -",
        "req_22   3.0   0.1  waiting  yes      no      /v1    openai    gpt-4o  chat_completions         1"
        "       321  65432     210       3",
        "",
        "2 in flight.",
    ]


def test_when_nothing_is_in_flight(rig: Rig) -> None:
    """It says so; in JSON the list is empty."""
    assert rig.ask(b"/inflight")[2] == b"Nothing is in flight.\n"
    said = json.loads(rig.ask(b"/inflight", AS_JSON)[2])
    assert said == {"total": 0, "shown": 0, "in_flight": []}
    assert rig.ask(b"/inflight", method=b"HEAD")[::2] == (200, b"")


@pytest.mark.parametrize(("path", "fields"), [(b"/inflight", (AS_JSON,)), (b"/inflight?format=json", ())])
def test_what_is_in_flight_as_json(rig: Rig, path: bytes, fields: tuple[bytes, ...]) -> None:
    """With every member, under its name and in its unit."""
    rig.operations.flying = a_few()
    status, head, body = rig.ask(path, *fields)
    said = json.loads(body)
    assert status == 200 and head[b"Content-Type"] == b"application/json"
    assert (said["total"], said["shown"]) == (2, 2)
    assert set(said["in_flight"][0]) == set(InFlight.__struct_fields__)
    assert said["in_flight"][1]["worker"] == 3 and said["in_flight"][0]["age_seconds"] == 12.34


def test_a_list_has_a_bound_and_says_how_many_there_are(rig: Rig) -> None:
    """1,000 rows, or as many as are asked for."""
    rig.operations.flying = [replace(FLYING, id=f"req_{number}") for number in range(1500)]
    lines = rig.ask(b"/inflight")[2].decode().splitlines()
    assert len(lines) == 1 + 1000 + 2
    assert lines[-1] == "1500 in flight, the oldest 1000 are shown; ?limit=N for more, to 100000."
    assert len(rig.ask(b"/inflight?limit=1500")[2].splitlines()) == 1 + 1500 + 2
    said = json.loads(rig.ask(b"/inflight?limit=2&format=json")[2])
    assert (said["total"], said["shown"], len(said["in_flight"])) == (1500, 2, 2)


@pytest.mark.parametrize(
    "query",
    [b"limit=0", b"limit=-1", b"limit=x", b"limit=1e3", b"limit=100001", b"limit=%D9%A1", b"format=xml",
     b"limit=99999999999999999999", b"&".join([b"a=1"] * 40)],
)  # fmt: skip
def test_a_query_that_is_not_understood_is_told(rig: Rig, query: bytes) -> None:
    """400, without a word of it."""
    status, _, body = rig.ask(b"/inflight?" + query)
    assert status == 400 and json.loads(body)["error"]["code"] == "invalid_value"
    assert query not in body


@given(st.text(), st.text())
def test_whatever_an_id_is_the_text_has_one_line_a_row(text: str, model: str) -> None:
    """It cannot move a terminal's cursor, nor seem to be two columns."""
    row = replace(FLYING, id=text, model=model)
    lines = table([row, FLYING])
    assert len(lines) == 3 and all(re.fullmatch(r"[\x20-\x7e]+", line) for line in lines)
    assert len(lines[1].split()) == len(lines[0].split())


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        (b"/inflight/req_1", "req_1"),
        (b"/inflight/req%5f1", "req_1"),
        (b"/inflight/a/b", "a/b"),
        (b"/inflight/a%2Fb", "a/b"),
        (b"/inflight/%C3%A9%FF", "Ã©ÿ"),
        (b"/inflight/%3Cimg%3E", "<img>"),
    ],
)
def test_one_is_ended(rig: Rig, path: bytes, wanted: str) -> None:
    """204 when there is one with this id, byte for byte; 404 if not."""
    assert rig.ask(path, method=b"DELETE")[0] == 404
    rig.operations.flying = [replace(FLYING, id=wanted)]
    status, fields, body = rig.ask(path, method=b"DELETE")
    assert (status, body) == (204, b"") and SAFE.items() <= fields.items()
    assert rig.operations.ended == [wanted, wanted]


@pytest.mark.parametrize(
    "path", [b"/inflight/", b"/inflight/%C3%A9", b"/inflight/REQ_1", b"/inflight/req_1%20", b"/inflight/nope"]
)
def test_none_is_ended_that_was_not_named(rig: Rig, path: bytes) -> None:
    """404 in the usual form, and nothing of the path is repeated."""
    rig.operations.flying = [FLYING]
    status, fields, body = rig.ask(path, method=b"DELETE")
    assert status == 404 and fields[b"Content-Type"] == b"application/json"
    assert json.loads(body)["error"]["code"] == "not_in_flight" and b"nope" not in body


@pytest.mark.parametrize(
    ("path", "method", "allow"),
    [
        (b"/inflight", b"DELETE", b"GET, HEAD"),
        (b"/inflight", b"POST", b"GET, HEAD"),
        (b"/inflight/x", b"GET", b"DELETE"),
        (b"/-/reload", b"GET", b"POST"),
        (b"/-/reload", b"HEAD", b"POST"),
        (b"/-/reload", b"PUT", b"POST"),
        (b"/events", b"POST", b"GET, HEAD"),
        (b"/", b"POST", b"GET, HEAD"),
    ],
)
def test_other_methods(rig: Rig, path: bytes, method: bytes, allow: bytes) -> None:
    """405, with those that there are."""
    status, fields, _ = rig.ask(path, method=method)
    assert (status, fields[b"Allow"]) == (405, allow)
    assert not rig.operations.ended


def test_a_reload_that_was_done(rig: Rig) -> None:
    """200, and what is different, a line each; or JSON."""
    rig.operations.reloaded = Reloaded(True, ["providers.openai.key: *** -> ***", "a\nb"])
    status, fields, body = rig.ask(b"/-/reload", method=b"POST")
    assert (status, body) == (200, b"providers.openai.key: *** -> ***\na b\n")
    assert SAFE.items() <= fields.items() and fields[b"Content-Type"].startswith(b"text/plain")
    said = json.loads(rig.ask(b"/-/reload", AS_JSON, method=b"POST")[2])
    assert said == {"is_done": True, "lines": ["providers.openai.key: *** -> ***", "a\nb"]}
    rig.operations.reloaded = Reloaded(True, [])
    assert rig.ask(b"/-/reload", method=b"POST")[2] == b"Nothing is different.\n"


def test_a_reload_that_was_not(rig: Rig) -> None:
    """422, and each problem on a line."""
    rig.operations.reloaded = Reloaded(False, ["a.yaml:1: what is this?", "a.yaml:2: and this?"])
    status, _, body = rig.ask(b"/-/reload", b"Content-Length: 0", method=b"POST")
    assert (status, body) == (422, b"a.yaml:1: what is this?\na.yaml:2: and this?\n")
    status, _, body = rig.ask(b"/-/reload", AS_JSON, method=b"POST")
    assert status == 422 and json.loads(body)["is_done"] is False


def test_the_page_and_what_it_may_do(rig: Rig) -> None:
    """For browsers only; its own style and script, by their hashes, and no others."""
    status, fields, body = rig.ask(b"/", BROWSER)
    assert (status, fields[b"Content-Type"]) == (200, b"text/html; charset=utf-8")
    policy = fields.pop(b"Content-Security-Policy").decode()
    for tag in ("style", "script"):
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", body.decode(), re.DOTALL)
        digest = b64encode(sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert {name: value for name, value in SAFE.items() if name in fields}.items() <= fields.items()
    assert rig.ask(b"/", BROWSER, method=b"HEAD")[::2] == (200, b"")


def test_the_page_needs_nothing_from_elsewhere_and_writes_no_markup(rig: Rig) -> None:
    """No address but its own namespace's, no attribute that runs or styles, no way to turn text into tags."""
    body = rig.ask(b"/", BROWSER)[2].decode()
    assert set(re.findall(r"https?://[^\s\"']+", body)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|srcdoc", body)
    assert not re.search(r"<[^>]+\s(?:style|on\w+)=", body)
    assert "://" not in body.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize("fields", [(), (b"Accept: */*",), (AS_JSON,), (BROWSER + b",application/json",)])
def test_programs_are_told_what_this_is(rig: Rig, fields: tuple[bytes, ...]) -> None:
    """Name, version and paths."""
    status, head, body = rig.ask(b"/", *fields)
    assert (status, head[b"Content-Type"]) == (200, b"application/json")
    said = json.loads(body)
    assert said["name"] == "openai_proxy"
    assert said["routes"] == ["/-/reload", "/events", "/healthz", "/inflight", "/metrics", "/readyz"]


def test_health_and_metrics(rig: Rig) -> None:
    """As on the port of the clients."""
    assert rig.ask(b"/healthz")[2] == b'{"status": "ok"}\n'
    rig.readiness = (503, {"status": "draining"})
    assert rig.ask(b"/readyz")[::2] == (503, b'{"status": "draining"}\n')
    assert rig.ask(b"/metrics")[::2] == (200, b"metrics")
    for path in (b"/nope", b"/-", b"/-/", b"/-/x", b"/-/reload/x", b"/events/x", b"/metrics/x", b"//"):
        assert rig.ask(path)[0] == 404, path


PATHS = {
    "health": (b"GET", b"/healthz"),
    "ready": (b"GET", b"/readyz"),
    "metrics": (b"GET", b"/metrics"),
    "page": (b"GET", b"/"),
    "events": (b"HEAD", b"/events"),
    "list": (b"GET", b"/inflight"),
    "end": (b"DELETE", b"/inflight/req_1"),
    "reload": (b"POST", b"/-/reload"),
}
OPEN, CLOSED, KEYLESS = "health ready metrics", 403, 401
BEARER = b"Authorization: Bearer s3cret-token"
PASSWORD = b"Authorization: Basic " + b64encode(b"me:s3cret-token")


@pytest.mark.parametrize(
    ("rig_of", "peer", "fields", "let_in", "refusal"),
    [
        # A listener of its own, on loopback.
        ({}, LOCAL, (), "all", 0),
        ({}, LOCAL, (b"Host: evil.example",), OPEN, CLOSED),
        ({}, LOCAL, (b"Origin: http://evil.example",), OPEN, CLOSED),
        ({}, LOCAL, (b"X-Forwarded-For: 192.0.2.1",), OPEN, CLOSED),
        ({}, AFAR, (), OPEN, CLOSED),
        # One that others reach, without a token.
        ({"is_private": False}, LOCAL, (), OPEN, CLOSED),
        ({"is_private": False}, AFAR, (), OPEN, CLOSED),
        # With a token.
        ({"token": TOKEN}, LOCAL, (), "health ready", KEYLESS),
        ({"token": TOKEN}, LOCAL, (BEARER,), "all", 0),
        ({"token": TOKEN, "is_private": False}, AFAR, (), "health ready", KEYLESS),
        ({"token": TOKEN, "is_private": False}, AFAR, (BEARER, b"Host: admin.example"), "all", 0),
        ({"token": TOKEN, "is_private": False}, AFAR, (PASSWORD, b"Via: 1.1 front"), "all", 0),
        ({"token": TOKEN}, LOCAL, (PASSWORD, b"Origin: http://evil.example"), "health ready", CLOSED),
        # The port of the clients.
        ({"is_shared": True}, LOCAL, (), OPEN + " page events list", CLOSED),
        ({"is_shared": True}, LOCAL, (b"Host: evil.example",), OPEN, CLOSED),
        ({"is_shared": True}, LOCAL, (b"Via: 1.1 front",), OPEN, CLOSED),
        ({"is_shared": True}, AFAR, (), OPEN, CLOSED),
        ({"is_shared": True}, AFAR, (BEARER,), OPEN, CLOSED),
    ],
)
def test_who_may_what(
    rig_of: dict[str, Any], peer: IPv4Address, fields: tuple[bytes, ...], let_in: str, refusal: int
) -> None:
    """Every path with every kind of caller."""
    rig = Rig(**rig_of)
    rig.peer, rig.operations.flying = peer, [FLYING]
    may = PATHS.keys() if let_in == "all" else set(let_in.split())
    for name, (method, path) in PATHS.items():
        status, head, body = rig.ask(path, BROWSER, *fields, method=method)
        if name in may:
            assert status in (200, 204), name
            assert name != "page" or head[b"Content-Type"].startswith(b"text/html")
        elif name == "page" and rig_of.get("is_shared"):
            # Who may not see the page is told what everybody is.
            assert status == 200 and json.loads(body)["name"] == "openai_proxy"
        else:
            assert status == refusal, name
            assert (b"WWW-Authenticate" in head) == (refusal == KEYLESS)
            assert SAFE.items() <= head.items()
    assert ("end" in may) == bool(rig.operations.ended)
    rig.live.stop()
    rig.done()


def test_on_the_clients_port_nothing_else_changes() -> None:
    """What ``/`` says to programs is what it said; the paths of the pages are listed."""
    rig = Rig(is_shared=True)
    rig.peer = AFAR
    said = json.loads(rig.ask(b"/", b"Host: x")[2])
    assert said["routes"] == ["/events", "/healthz", "/inflight", "/metrics", "/readyz"]
    assert rig.ask(b"/", b"Host: x", method=b"POST")[0] == 405
    rig.done()


def test_an_operation_that_fails_or_never_answers(rig: Rig, nothing_left: list[Any]) -> None:
    """500 and a line in the log; 504 after a minute, and nothing is left waiting."""
    rig.operations.answers = fail(RuntimeError("secret words"))
    status, _, body = rig.ask(b"/inflight")
    assert status == 500 and b"secret" not in body
    assert len(nothing_left) == 1
    nothing_left.clear()
    rig.operations.answers = Deferred()
    rig.leave()
    rig.connect(rig.tree)
    rig.send(b"POST /-/reload HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert not rig.received
    rig.clock.advance(OPERATION_SECONDS)
    assert rig.answers(b"POST")[0][0] == 504


def test_a_client_that_does_not_wait_leaves_nothing(rig: Rig) -> None:
    """The answer that comes then goes nowhere."""
    waiting: Deferred[Reloaded] = Deferred()
    rig.operations.answers = waiting
    rig.send(b"POST /-/reload HTTP/1.1\r\nHost: localhost\r\n\r\n")
    rig.leave()
    waiting.callback(Reloaded(True, []))
    assert not rig.received


def test_nothing_that_is_hostile_gets_out_as_it_is(rig: Rig) -> None:
    """In no text; in JSON it is a string, and no browser reads that as a page."""
    rig.operations.flying = [replace(FLYING, id=HOSTILE, model=HOSTILE)]
    rig.operations.errors = [replace(SEEN, id=HOSTILE)]
    text = rig.ask(b"/inflight")[2].decode()
    assert "\x1b" not in text and "\u202e" not in text and len(text.splitlines()) == 4
    said = json.loads(rig.ask(b"/inflight", AS_JSON)[2])
    assert said["in_flight"][0]["id"] == HOSTILE
    assert isinstance(rig.clock, Clock)
