"""The ways through a daemon to a server, and what the daemon says of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

from openai import OpenAI
from prometheus_client.parser import text_string_to_metric_families

from tests.real.llama import KEY, MODEL, Server
from tests.support.daemon import Daemon

T = TypeVar("T")

SECONDS = 60.0
CLIENT_KEY = "sk-of-the-client"
CONFIGURATION = """
providers:
  llamacpp:
    base_url: {url}
    api_key: env:LLAMA_KEY
models:
  small:
    targets: [{{provider: llamacpp, model: {model}}}]
"""


class Way(NamedTuple):
    """How a client's request gets to the server."""

    name: str
    path: str
    """Of the SDK's base URL."""
    model: str
    """What the client calls it."""
    is_routed: bool
    """Whether a configuration file says so, with the server's key in it; else the client brings the key."""

    @property
    def provider(self) -> str:
        """The metrics' label."""
        return "llamacpp" if self.is_routed else "openai"

    @property
    def key(self) -> str:
        """The client's."""
        return CLIENT_KEY if self.is_routed else KEY


WAYS = [
    Way("upstream", "/v1", MODEL, False),
    Way("transparent", "/llamacpp/v1", MODEL, True),
    Way("named", "/v1", f"llamacpp/{MODEL}", True),
    Way("route", "/v1", "small", True),
]

UNIFIED = [way for way in WAYS if way.is_routed and way.path == "/v1"]
"""Where the daemon chooses the provider, and translates."""


def sdk(url: str, key: str) -> OpenAI:
    """The official client; it does not try again."""
    return OpenAI(api_key=key, base_url=url, max_retries=0, timeout=SECONDS)


class Page:
    """``/metrics`` of a daemon, when nothing is in flight any more."""

    def __init__(self, daemon: Daemon) -> None:
        end = time.monotonic() + SECONDS
        while True:
            text = daemon.ask("GET", "/metrics").body.decode()
            self._samples = [
                sample for family in text_string_to_metric_families(text) for sample in family.samples
            ]
            if not self.sum("http_requests_in_flight"):
                return
            assert time.monotonic() < end

    def sum(self, name: str, **labels: str) -> float:
        """Of all samples that have these labels."""
        return sum(
            one.value for one in self._samples if one.name == name and labels.items() <= one.labels.items()
        )


class Through:
    """A daemon over a server, with a client of each: the SDK's, ``straight`` to the server and ``client``."""

    def __init__(self, way: Way, server: Server, folder: Path) -> None:
        self.way = way
        self.server = server
        self._clients = ExitStack()
        options = ["--upstream", server.url]
        if way.is_routed:
            file = folder / "openai-proxy.yaml"
            file.write_text(CONFIGURATION.format(url=server.url, model=MODEL))
            options = ["--config", str(file)]
        self.daemon = Daemon(*options, env={"LLAMA_KEY": KEY})
        self.straight = self._clients.enter_context(sdk(f"{server.url}/v1", KEY))
        self.client = self._clients.enter_context(sdk(self.daemon.url + way.path, way.key))

    def both(self, ask: Callable[[OpenAI, str], T]) -> tuple[T, T]:
        """What a question gets from the server itself, and through the daemon."""
        return ask(self.straight, MODEL), ask(self.client, self.way.model)

    def counted(self, name: str, **labels: str) -> float:
        """What the daemon has counted of the server, when nothing is in flight any more."""
        return Page(self.daemon).sum(name, provider=self.way.provider, **labels)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clients.close()
        self.daemon.stop()
