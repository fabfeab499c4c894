"""A real Prometheus scrapes a running daemon, as etc/prometheus/prometheus.yml says."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import ROOT, Daemon
from tests.support.tools import require_tool

CONFIGURATION = ROOT / "etc" / "prometheus" / "prometheus.yml"
DEADLINE_SECONDS = 30
POLL_SECONDS = 0.1
QUERIES = (
    "rate(http_requests_total[1m])",
    "rate(http_request_duration_seconds_sum[1m]) / rate(http_request_duration_seconds_count[1m])",
)


def configuration(target: str) -> str:
    """The file as it is shipped, with another target, asked more often, at a port that needs no token."""
    text = CONFIGURATION.read_text()
    for pattern, value in (
        (r"targets: \[.*\]", f'targets: ["{target}"]'),
        (r"    authorization:\n.*\n", ""),
        (r"scrape_interval: \S+", "scrape_interval: 200ms"),
        (r"scrape_timeout: \S+", "scrape_timeout: 200ms"),
    ):
        text, count = re.subn(pattern, value, text)
        assert count == 1, pattern
    return text


class Prometheus:
    """The HTTP API of one that runs."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1"

    def get(self, path: str, **parameters: str) -> Any:
        """The ``data`` of an answer; None while it does not answer."""
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"{self._url}/{path}?{query}", timeout=5) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def values(self, query: str) -> dict[str, float]:
        """The numbers of an instant query, summed by endpoint and status or status class; without NaN."""
        data = self.get("query", query=query)
        found: dict[str, float] = defaultdict(float)
        for series in data["result"] if data else ():
            labels, value = series["metric"], float(series["value"][1])
            if value == value:
                found["/".join(labels[name] for name in sorted(labels) if name in KEYS)] += value
        return found


KEYS = ("endpoint", "status", "status_class")


@contextmanager
def running(folder: Path, target: str) -> Iterator[Prometheus]:
    """Prometheus on a free port, ended by its process id."""
    program = require_tool("prometheus")
    file = folder / "prometheus.yml"
    file.write_text(configuration(target))
    # It takes no port 0; another program may take this one first, and then it ends.
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = [
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    log = folder / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen([program, *arguments], stdout=output, stderr=output, cwd=folder)
        try:
            yield Prometheus(port)
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture(scope="module")
def prometheus(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with running(tmp_path_factory.mktemp("prometheus"), f"127.0.0.1:{daemon.port}") as prometheus:
        yield prometheus


def traffic(daemon: Daemon) -> None:
    """One request of each kind."""
    body = b'{"model":"gpt-4o-mini","messages":[],"stream":true}'
    json_field = "Content-Type: application/json"
    assert daemon.ask("POST", "/mock/v1/chat/completions", json_field, body=body).status == 200
    assert daemon.ask("POST", "/mock/v1/responses", "x-mock-status: 500", json_field, body=body).status == 500


def test_the_seed_queries_return_numbers(daemon: Daemon, prometheus: Prometheus) -> None:
    """Rate of requests and mean duration, of each endpoint that was used, both above zero."""
    end = time.monotonic() + DEADLINE_SECONDS
    rates: dict[str, float] = {}
    durations: dict[str, float] = {}
    while not (
        all(rates.get(key, 0) > 0 for key in ("chat_completions/200", "responses/500"))
        and all(durations.get(key, 0) > 0 for key in ("chat_completions/2xx", "responses/5xx"))
    ):
        assert time.monotonic() < end, (rates, durations, prometheus.get("targets"))
        traffic(daemon)
        time.sleep(POLL_SECONDS)
        rates, durations = (prometheus.values(query) for query in QUERIES)
    assert max(durations.values()) < 60


def test_the_target_is_up_and_within_its_limits(daemon: Daemon, prometheus: Prometheus) -> None:
    """Prometheus takes what the daemon exports: no sample limit, no label limit, no parse error."""
    end = time.monotonic() + DEADLINE_SECONDS
    traffic(daemon)
    while True:
        found = prometheus.get("targets")
        active = found["activeTargets"] if found else []
        if active and active[0]["health"] != "unknown":
            break
        assert time.monotonic() < end, found
        time.sleep(POLL_SECONDS)
    assert [(target["health"], target["lastError"]) for target in active] == [("up", "")]


def test_the_configuration_is_valid() -> None:
    """The shipped file passes Prometheus' own check."""
    promtool = require_tool("promtool")
    checked = subprocess.run(
        [promtool, "check", "config", str(CONFIGURATION)], capture_output=True, text=True, timeout=30
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
