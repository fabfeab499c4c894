"""The traffic of docker compose: it reaches what the dashboards show, and ends when it is told to."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading

import yaml

from openai_proxy.providers.mock.knobs import Fault
from tests.deploy.promql import ROOT
from tests.support.daemon import Daemon
from tools.demo import ASKS, CLIENTS, Client

SCRIPT = ROOT / "tools" / "demo.py"


def counted(daemon: Daemon) -> dict[str, float]:
    """Ended requests by outcome."""
    found: dict[str, float] = {}
    text = daemon.ask("GET", "/metrics").body.decode()
    for labels, value in re.findall(r"^http_requests_total\{(.*)\} (\S+)$", text, re.MULTILINE):
        outcome = re.search(r'outcome="(\w+)"', labels)
        assert outcome
        found[outcome[1]] = found.get(outcome[1], 0) + float(value)
    return {outcome: count for outcome, count in found.items() if count}


def make_each() -> dict[str, float]:
    """Every request once, several at a time: the daemon's count when all have ended there too."""
    with Daemon() as daemon:
        left = list(ASKS)

        def work() -> None:
            client = Client(f"{daemon.url}/mock/v1")
            while left:
                client.make(left.pop())
            client.close()

        threads = [threading.Thread(target=work) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        while sum((found := counted(daemon)).values()) < len(ASKS):
            pass
        return found


def test_each_request_is_counted_and_every_kind_of_outcome_is_there() -> None:
    """A dashboard's first look has all colours but those of a broken network and of our own faults."""
    found = make_each()
    assert sum(found.values()) == len(ASKS)
    client = {"client_error", "client_auth", "client_disconnect"}
    assert found.keys() >= client | {"ok", "upstream_error", "upstream_rate_limited", "upstream_stream_error"}


def test_every_fault_of_the_mock_is_made_but_the_endless_one() -> None:
    """A fault that the mock learns is shown too."""
    made = {ask.fields["x-mock-fault"] for ask in ASKS if "x-mock-fault" in ask.fields}
    assert made == {fault.value.decode() for fault in Fault} - {"stall"}


def test_few_requests_fail() -> None:
    """A demonstration whose every alert fires shows nothing; a fiftieth fails."""
    failing = sum(ask.weight for ask in ASKS if {"x-mock-fault", "x-mock-status"} & ask.fields.keys())
    assert 0.005 < failing / sum(ask.weight for ask in ASKS) < 0.02


def test_it_goes_on_until_it_is_told_to_end() -> None:
    """As compose runs it: isolated, with nothing but the standard library."""
    with Daemon() as daemon:
        process = subprocess.Popen([sys.executable, "-IS", str(SCRIPT), daemon.url, "--per-second", "50"])
        try:
            while not counted(daemon):
                assert process.poll() is None
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()


def test_compose_runs_it_in_the_proxys_own_image() -> None:
    """Against the service and the port of the proxy, at a place where the file is mounted."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    demo, proxy = services["demo"], services["proxy"]
    assert demo["image"] == proxy["image"] and "build" not in demo
    (mount,) = demo["volumes"]
    source, target, mode = mount.split(":")
    assert (ROOT / source).samefile(SCRIPT) and mode == "ro"
    assert demo["command"] == [target, "http://proxy:8080"]
    assert demo["depends_on"] == {"proxy": {"condition": "service_healthy"}}
