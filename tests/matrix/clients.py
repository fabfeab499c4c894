"""The SDKs as the matrix runs them: openai-python sync and async here, openai-node as one child."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import openai
import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI
from openai.lib._pydantic import to_strict_json_schema

from tests.matrix.scenarios import MESSAGES, SCENARIOS, STATUSES, TOOLS, UPLOAD, Asker, Json, Weather, failure
from tests.matrix.ways import AZURE_VERSION, STEERING, Way
from tests.support.forms.said import RESULTS
from tests.support.tools import require_tool

NODE = Path(__file__).parent / "node"
SECONDS = 20.0


@dataclass(frozen=True)
class Door:
    """Where a client knocks, and with what."""

    way: Way
    url: str
    key: str
    organization: str | None = None

    @property
    def steering(self) -> dict[str, str]:
        """Of requests that name no model."""
        return {STEERING: self.way.provider} if self.way.is_steered else {}


class Runner(Protocol):
    """An SDK that is asked to do a scenario."""

    def run(self, scenario: str, door: Door) -> Json:
        """What was read of the SDK's objects, or of the error that it raised."""

    def close(self) -> None:
        """Let go of connections and processes."""


class SyncRunner:
    """openai-python: ``OpenAI`` and ``AzureOpenAI``."""

    def __init__(self) -> None:
        self._clients: dict[tuple[str, str], OpenAI] = {}

    def run(self, scenario: str, door: Door) -> Json:
        where = (door.way.name, door.url)
        if where not in self._clients:
            self._clients[where] = self._client(door)
        asker = Asker(self._clients[where], door.way.models, door.steering)
        return _without_loop(_result(scenario, asker))

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    def _client(self, door: Door) -> OpenAI:
        if door.way.client == "AzureOpenAI":
            return AzureOpenAI(azure_endpoint=door.url, api_version=AZURE_VERSION, **_options(door))
        return OpenAI(base_url=door.url, **_options(door))


class AsyncRunner:
    """openai-python: ``AsyncOpenAI`` and ``AsyncAzureOpenAI``, on one loop."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._clients: dict[tuple[str, str], AsyncOpenAI] = {}

    def run(self, scenario: str, door: Door) -> Json:
        where = (door.way.name, door.url)
        if where not in self._clients:
            self._clients[where] = self._client(door)
        asker = Asker(self._clients[where], door.way.models, door.steering)
        return self._runner.run(_result(scenario, asker))

    def close(self) -> None:
        for client in self._clients.values():
            self._runner.run(client.close())
        self._runner.close()

    def _client(self, door: Door) -> AsyncOpenAI:
        if door.way.client == "AzureOpenAI":
            return AsyncAzureOpenAI(azure_endpoint=door.url, api_version=AZURE_VERSION, **_options(door))
        return AsyncOpenAI(base_url=door.url, **_options(door))


class NodeRunner:
    """openai-node: a child that is asked line by line. Skips where node or the package is missing."""

    def __init__(self) -> None:
        program = require_tool("node")
        if not (NODE / "node_modules" / "openai").is_dir():
            missing = "tests/matrix/node has no node_modules: `make test` installs it"
            if os.environ.get("CI"):
                pytest.fail(missing, pytrace=False)
            pytest.skip(missing)
        self._process = subprocess.Popen(
            [program, "client.cjs"],
            cwd=NODE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def run(self, scenario: str, door: Door) -> Json:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {
            "scenario": scenario,
            "url": door.url,
            "key": door.key,
            "client": door.way.client,
            "version": AZURE_VERSION,
            "organization": door.organization,
            "steering": door.steering,
            "models": door.way.models,
            "messages": MESSAGES,
            "tools": TOOLS,
            "results": RESULTS,
            "schema": to_strict_json_schema(Weather),
            "upload": base64.b64encode(UPLOAD).decode(),
            "statuses": STATUSES,
        }
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        said = json.loads(self._process.stdout.readline())
        assert "raised" not in said, said["raised"]
        return cast(Json, said["result"])

    def close(self) -> None:
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(SECONDS)


RUNNERS: dict[str, type[Runner]] = {
    "openai-python": SyncRunner,
    "openai-python-async": AsyncRunner,
    "openai-node": NodeRunner,
}


def _options(door: Door) -> dict[str, Any]:
    return {
        "api_key": door.key,
        "organization": door.organization,
        "max_retries": 0,
        "timeout": SECONDS,
    }


async def _result(scenario: str, asker: Asker) -> Json:
    try:
        return await SCENARIOS[scenario](asker)
    except openai.APIStatusError as error:
        return failure(error)


def _without_loop(made: Awaitable[Json]) -> Json:
    """The result of a coroutine that never waits, for its client does not."""
    try:
        cast(Coroutine[Any, Any, Json], made).send(None)
    except StopIteration as end:
        return cast(Json, end.value)
    raise AssertionError("a sync client waited")
