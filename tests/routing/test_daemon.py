"""The same of a daemon as users run it: a child process, a file, keys in its environment."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import yaml

from tests.routing.support import ROUTE, Numbers, keys
from tests.support.daemon import Daemon
from tests.support.openai_upstream import OpenAIUpstream, error, hang_up, stream

JSON = "Content-Type: application/json"
REQUESTS = 12


def written(folder: Path, urls: dict[str, str]) -> str:
    """The path of a file with these providers, all of them targets of the route."""
    document = {
        "providers": {
            name: {"base_url": url, "api_key": f"env:KEY_{name.upper()}"} for name, url in urls.items()
        },
        "default_provider": "a",
        "models": {ROUTE: {"targets": [{"provider": name} for name in urls]}},
        "retry": {"budget_min_per_second": 100},
        "breaker": {"min_attempts": 4, "open_seconds": 3600},
    }
    path = folder / "proxy.yaml"
    path.write_text(yaml.safe_dump(document))
    return str(path)


def asked(number: int) -> bytes:
    """Every other one is a stream."""
    return json.dumps({"model": ROUTE, "messages": [], "stream": number % 2 == 1}).encode()


def test_one_of_three_is_down(tmp_path: Path) -> None:
    """Each request succeeds, after two attempts or, once that is open, one; the numbers say so."""
    with socket.socket() as bound, OpenAIUpstream() as b, OpenAIUpstream() as c:
        bound.bind(("127.0.0.1", 0))
        urls = {"a": f"http://127.0.0.1:{bound.getsockname()[1]}", "b": b.url, "c": c.url}
        b.planned.extend([error(503, "played"), stream(then=hang_up), hang_up])
        with Daemon("--config", written(tmp_path, urls), env=keys("a", "b", "c")) as daemon:
            attempts = []
            for number in range(REQUESTS):
                answered = daemon.ask("POST", "/v1/chat/completions", JSON, body=asked(number))
                assert answered.status == 200
                assert b"Hello" in answered.body
                attempts.append(int(answered.get("x-openai-proxy-attempts") or 0))
            numbers = Numbers(daemon.ask("GET", "/metrics").body.decode())
            assert daemon.stop() == 0
        assert "Traceback" not in daemon.output
        assert attempts == [3, 3, 3, 2] + [1] * (REQUESTS - 4)
        assert (len(b.requests), len(c.requests)) == (REQUESTS, 3)
        assert {one.get("authorization") for one in b.requests} == {b"Bearer sk-of-b"}
        assert {one.get("authorization") for one in c.requests} == {b"Bearer sk-of-c"}
    assert numbers.attempts == {
        ("a", "connect_error"): 4,
        ("b", "http_5xx"): 1,
        ("b", "protocol_error"): 1,
        ("b", "stream_error"): 1,
        ("b", "ok"): REQUESTS - 3,
        ("c", "ok"): 3,
    }
    assert numbers.fallbacks == {
        ("a", "b", "connect_error"): 4,
        ("a", "b", "circuit_open"): REQUESTS - 4,
        ("b", "c", "http_5xx"): 1,
        ("b", "c", "protocol_error"): 1,
        ("b", "c", "stream_error"): 1,
    }
    assert numbers.open_circuits == {("a", "open"): 1}
    assert numbers.requests == {("b", "200", "ok"): REQUESTS - 3, ("c", "200", "ok"): 3}
