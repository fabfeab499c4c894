"""What ``/metrics`` and the access log say of thousands of requests is what happened, to the last one.

``TRUTH_REQUESTS`` says how many requests are made (``make truth``: 20,000).
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.support.daemon import Daemon
from tests.truth.ledger import Ended, Ledger, samples_in
from tests.truth.plays import PlayUser
from tests.truth.questions import questions
from tests.truth.upstream import Upstream
from tests.truth.users import MockUser, User

REQUESTS = int(os.environ.get("TRUTH_REQUESTS", "2000"))
USERS = 24
SEED = int(os.environ.get("TRUTH_SEED", "41"))
SETTLE_SECONDS = 30.0


def settled(daemon: Daemon) -> str:
    """A page of metrics on which nothing goes on any more; its own client is there."""
    end = time.monotonic() + SETTLE_SECONDS
    while True:
        text = daemon.ask("GET", "/metrics").body.decode()
        left = {
            (sample.name, *sample.labels.values()): sample.value
            for sample in samples_in(text)
            if sample.value
            and (
                sample.name
                in (
                    "http_requests_in_flight",
                    "openai_proxy_streams_open",
                    "openai_proxy_client_connections",
                )
                or (sample.name == "openai_proxy_upstream_connections" and sample.labels["state"] == "active")
            )
        }
        if left == {("openai_proxy_client_connections",): 1}:
            return text
        assert time.monotonic() < end, left
        time.sleep(0.05)


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The access log's."""
    return [json.loads(line) for line in path.read_text().splitlines()]


async def together(
    users: Sequence[User], turn: Callable[[Any], Awaitable[None]], wanted: Callable[[], bool]
) -> None:
    """Turns by all users at a time, while more are wanted."""

    async def work(user: User) -> None:
        while wanted():
            await turn(user)

    async with asyncio.TaskGroup() as group:
        for user in users:
            group.create_task(work(user))
    for user in users:
        user.close()


def sum_of(text: str, name: str, **labels: str) -> float:
    """Of all samples that have these labels."""
    samples = [one for one in samples_in(text) if one.name == name]
    return float(sum(one.value for one in samples if labels.items() <= one.labels.items()))


def check(ledger: Ledger, text: str, log: Path) -> None:
    """The page and the log tell the ledger's story."""
    wrong = ledger.check_metrics(text) + ledger.check_lines(lines_of(log))
    assert not wrong, "\n".join(wrong)


def test_all_that_is_counted_is_what_happened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Requests, outcomes, tokens, bytes and dollars of mixed traffic with every fault are exact."""
    log = tmp_path / "access.log"
    ledger, upstream = Ledger(), Upstream()
    began = time.monotonic()

    async def run(daemon: Daemon) -> None:
        dice = Random(SEED)
        asked = questions(dice)
        mock = [MockUser(daemon.port, ledger, Random(dice.random()), asked) for _ in range(USERS)]
        plays = [PlayUser(daemon.port, ledger, Random(dice.random()), upstream) for _ in range(USERS)]
        unknown = list(asked)
        await together(mock, lambda user: user.learn(unknown.pop()), lambda: bool(unknown))
        await plays[0].learn()
        await together([*mock, *plays], lambda user: user.turn(), lambda: ledger.requests < REQUESTS)

    async def story() -> None:
        await upstream.start()
        options = ("--upstream", f"http://127.0.0.1:{upstream.port}", "--access-log", str(log))
        with await asyncio.to_thread(Daemon, *options, "--limit", "body_bytes=1000000") as daemon:
            await run(daemon)
            text = await asyncio.to_thread(settled, daemon)
            assert await asyncio.to_thread(daemon.stop) == 0
            assert "Traceback" not in daemon.output
        await upstream.stop()
        opened = sum_of(
            text, "openai_proxy_upstream_connections_opened_total", provider="openai", result="ok"
        )
        assert opened == upstream.connections
        answered = sum_of(text, "openai_proxy_upstream_connection_requests_total", provider="openai")
        assert answered == sum_of(text, "openai_proxy_time_to_first_byte_seconds_count", provider="openai")
        repeated = sum(count - 1 for count in upstream.arrived.values())
        assert sum_of(text, "openai_proxy_retries_total", provider="openai") == repeated
        check(ledger, text, log)

    asyncio.run(story())
    with capsys.disabled():
        cost = sum(ledger.picodollars.values()) / 10**12
        seconds = time.monotonic() - began
        print(f"\ntruth: {ledger.requests} requests, ${cost:.6f}, in {seconds:.0f} s")


def test_an_upstream_that_refuses_is_counted(tmp_path: Path) -> None:
    """Each request that finds no upstream is one failed attempt, one failed connection and one error."""
    log = tmp_path / "access.log"
    ledger = Ledger()
    with socket.socket() as deaf:
        # Bound and not listening: the port is nobody else's, and refuses.
        deaf.bind(("127.0.0.1", 0))
        options = ("--upstream", f"http://127.0.0.1:{deaf.getsockname()[1]}", "--access-log", str(log))
        with Daemon(*options) as daemon:
            for number in range(30):
                path, endpoint = (("/v1/embeddings", "embeddings"), ("/openai/v1/files", "files"))[number % 2]
                body = b'{"model":"gpt-4o"}' if number % 3 else b""
                seen = daemon.ask("POST", path, "Content-Type: application/json", body=body)
                error = ("proxy", "server_error", "upstream_connect_error")
                ledger.add(
                    Ended(
                        "openai",
                        endpoint,
                        # It has never been answered for.
                        "other" if body else "none",
                        502,
                        "upstream_connect_error",
                        len(body),
                        len(seen.body),
                        "connect_error",
                        error,
                    )
                )
            text = settled(daemon)
            assert daemon.stop() == 0
    assert sum_of(text, "openai_proxy_upstream_connections_opened_total", result="connect_error") == 30
    check(ledger, text, log)
