"""What ``/metrics`` of a running daemon says, after requests that are known."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.daemon import Daemon
from tests.support.relayed import OK, through
from tests.support.sockets import Peer, RawUpstream

JSON = "Content-Type: application/json"
CHAT = "/mock/v1/chat/completions"
MODEL = "gpt-4o-mini"
ASKED = json.dumps({"model": MODEL, "messages": []}).encode()
STREAMED = json.dumps({"model": MODEL, "messages": [], "stream": True}).encode()
DEADLINE_SECONDS = 20

PROMETHEUS_ACCEPTS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
FAMILIES = ("http_requests", "http_request_duration_seconds", "http_requests_in_flight")


class Counted(NamedTuple):
    """The labels of ``http_requests_total``."""

    provider: str
    endpoint: str
    model: str
    status: str
    outcome: str


class Scrape:
    """One reading of ``/metrics``."""

    def __init__(self, daemon: Daemon) -> None:
        answered = daemon.ask("GET", "/metrics")
        assert answered.status == 200
        self.text = answered.body.decode()
        self.families = {family.name: family for family in text_string_to_metric_families(self.text)}

    def counted(self) -> Counter[Counted]:
        """Requests by their labels, without series that are there for what has not happened."""
        samples = self.families["http_requests"].samples
        assert {sample.name for sample in samples} <= {"http_requests_total"}
        return +Counter({Counted(**sample.labels): int(sample.value) for sample in samples})

    def timed(self) -> Counter[tuple[str, str, str, str]]:
        """Durations observed, by provider, endpoint, model and status class."""
        counted: Counter[tuple[str, str, str, str]] = Counter()
        for sample in self.families["http_request_duration_seconds"].samples:
            if sample.name.endswith("_count"):
                of = sample.labels
                counted[(of["provider"], of["endpoint"], of["model"], of["status_class"])] += int(
                    sample.value
                )
        return counted

    def in_flight(self) -> dict[str, float]:
        """Requests that are not ended, by endpoint."""
        samples = self.families["http_requests_in_flight"].samples
        return {sample.labels["endpoint"]: sample.value for sample in samples}

    def series(self) -> set[str]:
        """The name and labels of every series of ours."""
        return {line.rpartition(" ")[0] for line in self.text.splitlines() if line.startswith("http_")}


def settled(daemon: Daemon) -> Scrape:
    """The numbers when nothing is in flight any more."""
    end = time.monotonic() + DEADLINE_SECONDS
    while True:
        scrape = Scrape(daemon)
        if not any(scrape.in_flight().values()):
            return scrape
        assert time.monotonic() < end, scrape.in_flight()


@pytest.fixture
def fresh(upstream: RawUpstream) -> Iterator[Daemon]:
    """A daemon that has counted nothing."""
    with Daemon("--upstream", upstream.url) as daemon:
        yield daemon


def mocked(daemon: Daemon, *fields: str, body: bytes = ASKED) -> int:
    return daemon.ask("POST", CHAT, JSON, *fields, body=body).status


def left(daemon: Daemon, *fields: str, body: bytes, after_head: bool) -> None:
    """A client that leaves: when it has seen the head, or before there is one."""
    with daemon.connect() as client:
        client.send_request("POST", CHAT, JSON, *fields, body=body)
        if after_head:
            client.read_head()
        else:
            _in_flight(daemon)


def _in_flight(daemon: Daemon) -> None:
    end = time.monotonic() + DEADLINE_SECONDS
    while not any(Scrape(daemon).in_flight().values()):
        assert time.monotonic() < end


def post(target: str, body: bytes, *fields: str) -> bytes:
    lines = [f"POST {target} HTTP/1.1", "Host: p", JSON, f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (PROMETHEUS_ACCEPTS, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("text/plain;version=0.0.4", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
def test_the_exporter_speaks_both_formats(daemon: Daemon, accept: str, content_type: str) -> None:
    """What Prometheus asks for, it gets."""
    answered = daemon.ask("GET", "/metrics", f"Accept: {accept}")
    assert (answered.get("content-type") or b"").decode().startswith(content_type)
    assert answered.body.endswith(b"# EOF\n") == content_type.startswith("application/")


def test_the_families(daemon: Daemon) -> None:
    """Ours, the process's and Python's are there; created-series are not."""
    mocked(daemon)
    scrape = Scrape(daemon)
    types = {name: family.type for name, family in scrape.families.items()}
    assert [types[name] for name in FAMILIES] == ["counter", "histogram", "gauge"]
    assert {"process_resident_memory_bytes", "process_open_fds", "python_info"} <= set(types)
    assert "_created" not in scrape.text
    buckets = [
        sample.labels["le"]
        for sample in scrape.families["http_request_duration_seconds"].samples
        if sample.name.endswith("_bucket")
    ]
    assert buckets[-1] == "+Inf"
    assert {"0.005", "60.0", "600.0"} <= set(buckets)


def test_a_scrape_is_not_counted(fresh: Daemon) -> None:
    """Nor are the health checks: they would drown what users do."""
    for path in ("/metrics", "/healthz", "/readyz", "/"):
        assert fresh.ask("GET", path).status == 200
    assert Scrape(fresh).counted() == Counter()


def test_every_end_of_a_request_is_counted_once(fresh: Daemon, upstream: RawUpstream) -> None:
    """Statuses, faults and clients that leave: each is one request with one outcome."""
    expected: Counter[Counted] = Counter()

    def expect(status: int, outcome: str, provider: str = "mock", **labels: str) -> None:
        values = {"endpoint": "chat_completions", "model": MODEL, **labels}
        expected[Counted(provider=provider, status=str(status), outcome=outcome, **values)] += 1

    for body in (ASKED, STREAMED, STREAMED):
        assert mocked(fresh, body=body) == 200
        expect(200, "ok")
    for status, outcome in (
        (400, "client_error"),
        (401, "client_auth"),
        (403, "client_auth"),
        (404, "client_error"),
        (429, "upstream_rate_limited"),
        (500, "upstream_error"),
        (503, "upstream_error"),
    ):
        assert mocked(fresh, f"x-mock-status: {status}") == status
        expect(status, outcome, model="other" if outcome == "client_auth" else MODEL)
    assert mocked(fresh, "x-mock-fault: reset") == 502
    expect(502, "upstream_error")
    for fault in ("error-in-stream", "no-done"):
        assert mocked(fresh, f"x-mock-fault: {fault}", body=STREAMED) == 200
        expect(200, "upstream_stream_error")
    for body in (ASKED, STREAMED):
        with fresh.connect() as client:
            client.send_request("POST", CHAT, JSON, "x-mock-fault: truncate", body=body)
            assert client.read_head().status == 200
            assert client.wait_end() == "RST"
        expect(200, "upstream_stream_error")
        left(fresh, "x-mock-fault: stall", body=body, after_head=True)
        expect(200, "client_disconnect")
    left(fresh, "x-mock-delay-ms: 600000", body=ASKED, after_head=False)
    expect(499, "client_disconnect")

    through(fresh, upstream, post("/v1/embeddings", b'{"model":"text-embedding-3-small"}'))
    expect(200, "ok", "openai", endpoint="embeddings", model="text-embedding-3-small")
    through(fresh, upstream, post("/openai/v1/responses", b'{"model":"gpt-4o-2024-08-06"}'))
    expect(200, "ok", "openai", endpoint="responses", model="gpt-4o")
    through(
        fresh,
        upstream,
        post("/v1/files", b"{}"),
        b"HTTP/1.1 500 Internal\r\nContent-Length: 0\r\n\r\n",
    )
    expect(500, "upstream_error", "openai", endpoint="files", model="none")
    assert fresh.ask("GET", "/nowhere").status == 404
    expect(404, "client_error", "none", endpoint="other", model="none")
    with fresh.connect() as client:
        client.send(b"GET / not http\r\n\r\n")
        assert client.read_answer().status == 400
    expect(400, "client_error", "none", endpoint="other", model="none")

    scrape = settled(fresh)
    assert scrape.counted() == expected
    timed: Counter[tuple[str, str, str, str]] = Counter()
    for counted, count in expected.items():
        status_class = f"{counted.status[0]}xx"
        timed[(counted.provider, counted.endpoint, counted.model, status_class)] += count
    assert scrape.timed() == timed
    assert scrape.counted().total() == scrape.timed().total() == expected.total()


def test_an_upstream_that_is_not_there_is_counted() -> None:
    """502 with the outcome that says why."""
    with RawUpstream() as gone:
        url = gone.url
    with Daemon("--upstream", url) as daemon:
        assert daemon.ask("POST", "/v1/responses", JSON, body=b'{"model":"gpt-5"}').status == 502
        assert daemon.ask("GET", "/v1/models").status == 502
        assert settled(daemon).counted() == {
            Counted("openai", "responses", "other", "502", "upstream_connect_error"): 1,
            Counted("openai", "models", "none", "502", "upstream_connect_error"): 1,
        }


def test_a_request_in_flight_is_seen(fresh: Daemon, upstream: RawUpstream) -> None:
    """The gauge goes up with the request and down at its end."""
    with fresh.connect() as client:
        client.send(post("/v1/responses", b"{}"))
        server = upstream.next()
        server.read_request()
        in_flight = Scrape(fresh).in_flight()
        assert in_flight.pop("responses") == 1
        assert not any(in_flight.values())
        server.send(OK)
        client.read_answer()
    assert not any(settled(fresh).in_flight().values())


def test_clients_cannot_make_series(fresh: Daemon) -> None:
    """A thousand paths, models and methods that nobody knows are a handful of series."""
    rng = random.Random(7)

    def word() -> str:
        return "".join(rng.choices('abcdefghijklmnopqrstuvwxyz0123456789-._%"\\{}', k=12)).replace("%", "%41")

    def storm(client: Peer, count: int) -> None:
        for _ in range(count):
            model = json.dumps({"model": word()}).encode()
            target = rng.choice((f"/mock/v1/{word()}", f"/mock/{word()}/{word()}?{word()}", CHAT))
            client.send_request("POST", target, JSON, f"x-{rng.random()}: {word()}", body=model)
            client.read_answer("POST")
            client.send_request("GET", f"/{word()}/{word()}")
            client.read_answer()

    with fresh.connect() as client:
        storm(client, 30)
        before = settled(fresh)
        storm(client, 500)
    after = settled(fresh)
    assert after.series() == before.series()
    assert after.counted().total() == 1060
    labels = {(one.provider, one.endpoint, one.model) for one in after.counted()}
    assert labels == {
        ("none", "other", "none"),
        ("mock", "other", "other"),
        ("mock", "chat_completions", "other"),
    }


CANARY = "canary0secret"


def _canaries(daemon: Daemon, upstream: RawUpstream) -> None:
    """Requests of many ends with the canary wherever a client or an upstream may put text."""
    body = json.dumps({"model": CANARY, "messages": [{"role": "user", "content": CANARY}]}).encode()
    secret = (f"Authorization: Bearer {CANARY}", f"X-Api-Key: {CANARY}", f"X-{CANARY}: {CANARY}")
    answer = (
        f"HTTP/1.1 400 {CANARY}\r\nX-{CANARY}: {CANARY}\r\nContent-Length: {len(CANARY)}\r\n\r\n{CANARY}"
    ).encode()
    through(daemon, upstream, post(f"/v1/{CANARY}?key={CANARY}", body, *secret), answer)
    for bad in (
        b"HTTP/1.1 200 OK\r\nbad " + CANARY.encode() + b"\r\n\r\n",
        CANARY.encode() * 9 + b"\r\n\r\n",
    ):
        through(daemon, upstream, post(f"/v1/{CANARY}", body, *secret), bad)
    for fault in ("reset", "error-in-stream", CANARY):
        daemon.ask("POST", f"{CHAT}?{CANARY}", *secret, f"x-mock-fault: {fault}", body=body)
    daemon.ask("POST", f"/{CANARY}", *secret, body=body)
    for broken in (
        f"GET /{CANARY} {CANARY}\r\n\r\n",
        f"GET /v1/../{CANARY} HTTP/1.1\r\nHost: {CANARY}\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: p\r\nX {CANARY}: 1\r\n\r\n",
        f"POST /v1/x HTTP/1.1\r\nHost: p\r\nTransfer-Encoding: {CANARY}\r\n\r\n",
        f"POST /v1/x HTTP/1.1\r\nHost: p\r\nTransfer-Encoding: chunked\r\n\r\n{CANARY}\r\n",
    ):
        with daemon.connect() as client:
            client.send(broken.encode())
            client.wait_end()
    with daemon.connect() as client:
        client.send(post(f"/v1/{CANARY}", body, *secret))
        upstream.next().read_request()


def test_nothing_of_a_request_is_told(fresh: Daemon, upstream: RawUpstream) -> None:
    """No key, header, query, path or body is in ``/metrics`` or in the log, whatever went wrong."""
    _canaries(fresh, upstream)
    text = settled(fresh).text
    assert fresh.stop() == 0
    assert CANARY not in text
    assert CANARY not in fresh.output
    assert "Traceback" not in fresh.output


def test_a_secret_of_a_failed_connection_is_not_told() -> None:
    """Nor when the upstream cannot be reached."""
    with RawUpstream() as gone:
        url = gone.url
    with Daemon("--upstream", url) as daemon:
        answered = daemon.ask("POST", f"/v1/x?{CANARY}", f"Authorization: {CANARY}", JSON, body=b'{"a":1}')
        assert answered.status == 502
        assert CANARY.encode() not in answered.body
        text = settled(daemon).text
        daemon.stop()
        assert CANARY not in text + daemon.output
