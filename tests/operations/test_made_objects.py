"""Where an object was made is known to all processes of a daemon, and to those that come after them."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.operations.daemons import Configuration, until
from tests.operations.load import Provider
from tests.support.daemon import Daemon

ASKS = 12
MADE = "x-openai-proxy-provider"


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    """It calls every object as its ``user`` says, and has all that are asked for."""
    with Provider() as running:
        yield running


@pytest.fixture
def configuration(tmp_path: Path, provider: Provider) -> Configuration:
    """Two providers; the first is asked for what nobody knows."""
    made = Configuration(tmp_path, provider)
    url = f"{provider.url}/v1"
    one = {"base_url": url, "api_key": f"file:{made.key_path}"}
    made.write(providers={"first": one, "second": one}, default_provider="first")
    return made


def workers(daemon: Daemon) -> list[int]:
    """Their numbers."""
    return [int(one) for one in Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split()]


def make(daemon: Daemon, name: str) -> None:
    """An object at the second provider."""
    body = json.dumps({"model": "m", "input": "hi", "user": name}).encode()
    fields = ("Content-Type: application/json", "X-OpenAI-Proxy-Provider: second")
    answer = daemon.ask("POST", "/v1/responses", *fields, body=body)
    assert (answer.status, json.loads(answer.body)["id"]) == (200, name)


def all_know(daemon: Daemon, name: str) -> bool:
    """Whether everyone who happens to be asked knows where it was made."""
    asked = (daemon.ask("GET", f"/v1/responses/{name}") for _ in range(ASKS))
    return all(answer.get(MADE) == b"second" for answer in asked)


def test_what_one_worker_made_the_others_and_their_replacements_know(configuration: Configuration) -> None:
    """Behind the death of all who have seen it made it is still known."""
    with Daemon("--config", str(configuration.path), "--workers", "2", port=None) as daemon:
        assert not all_know(daemon, "ask-0")
        make(daemon, "ask-1")
        until(lambda: all_know(daemon, "ask-1"))
        for one in workers(daemon):
            lines = daemon.line_count
            os.kill(one, signal.SIGKILL)
            daemon.wait_for(re.compile("serves again"), after=lines)
        assert all_know(daemon, "ask-1")


@pytest.mark.parametrize("count", [1, 2])
def test_a_successor_knows_what_was_made_before(configuration: Configuration, count: int) -> None:
    """An upgrade loses no object: the provider that it is at would be lost with it."""
    options = ("--config", str(configuration.path), "--workers", str(count))
    with Daemon(*options, port=None) as daemon:
        make(daemon, "ask-1")
        os.kill(daemon.pid, signal.SIGUSR2)
        successor = int(daemon.wait_for(re.compile(r"process (\d+) serves now"))[1])
        try:
            # Not of all its output, which the successor goes on with.
            assert daemon.exit_status() == 0
            until(lambda: all_know(daemon, "ask-1"))
        finally:
            os.kill(successor, signal.SIGTERM)
            until(lambda: daemon.nobody_is_left)
