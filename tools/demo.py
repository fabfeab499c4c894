"""Mixed traffic through a proxy to its mock provider, so that dashboards have something to show.

``python tools/demo.py http://localhost:8080`` goes on until it is stopped. The standard library is all that
it needs: docker-compose.yml runs this file in the proxy's own image.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import signal
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final
from urllib.parse import urlsplit

TIMEOUT_SECONDS: Final = 30.0
CLIENTS: Final = 4


class Patience(Enum):
    """When the client leaves."""

    TO_THE_END = "to the end"
    TO_FIRST_PIECE = "to the first piece"
    NONE = "before the head"


@dataclass(frozen=True, slots=True)
class Ask:
    """One request below ``/v1``. ``weight``: how often it is made, of the sum of all weights."""

    weight: float
    path: str
    body: Mapping[str, Any] | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    patience: Patience = Patience.TO_THE_END


def _chat(weight: float, model: str, patience: Patience = Patience.TO_THE_END, **fields: str) -> Ask:
    """A streamed chat completion; ``fields`` are the mock's knobs without ``x-mock-``, ``_`` for ``-``."""
    messages = [{"role": "user", "content": "Say something about proxies."}]
    knobs = {"chunk_ms": "20", "delay_ms": "150", **fields}
    headers = {f"x-mock-{name.replace('_', '-')}": value for name, value in knobs.items()}
    body = {"model": model, "messages": messages, "stream": True}
    return Ask(weight, "chat/completions", body, headers, patience)


def _whole(weight: float, path: str, body: Mapping[str, Any] | None, delay_ms: str = "200") -> Ask:
    return Ask(weight, path, body, {"x-mock-delay-ms": delay_ms})


# Above 1,024 tokens, a part of the prompt comes from the provider's cache.
_LONG: Final = [{"role": "user", "content": "Read this about proxies. " * 250}]
_MESSAGES: Final = [{"role": "user", "content": "What does a proxy do?"}]

ASKS: Final = (
    _chat(20, "gpt-4o"),
    _chat(30, "gpt-4o-mini", chunk_ms="10"),
    _chat(10, "gpt-4.1", delay_ms="400"),
    _chat(5, "o3", delay_ms="2500"),
    _chat(1, "a-model-without-a-price"),
    _whole(10, "chat/completions", {"model": "gpt-4o-mini", "messages": _MESSAGES}, "600"),
    _whole(5, "chat/completions", {"model": "gpt-4.1", "messages": _LONG}, "700"),
    Ask(6, "responses", {"model": "gpt-4.1", "input": "proxies", "stream": True}, {"x-mock-chunk-ms": "15"}),
    _whole(4, "responses", {"model": "gpt-4o", "input": "proxies"}, "900"),
    _whole(8, "embeddings", {"model": "text-embedding-3-small", "input": "proxies"}, "40"),
    _whole(1, "completions", {"model": "gpt-3.5-turbo-instruct", "prompt": "proxies"}),
    _whole(2, "models", None, "5"),
    # What goes wrong, seldom: the client's fault, the provider's, and clients that leave.
    _chat(0.4, "gpt-4o", status="400"),
    _chat(0.2, "gpt-4o", status="401"),
    _whole(0.2, "nothing-of-that-name", None, "5"),
    _chat(0.2, "gpt-4o", status="429"),
    _chat(0.2, "gpt-4.1", status="500"),
    _chat(0.1, "gpt-4.1", status="503"),
    _chat(0.1, "gpt-4o", fault="reset"),
    _chat(0.1, "gpt-4o", fault="truncate"),
    _chat(0.1, "gpt-4o-mini", fault="error-in-stream"),
    _chat(0.1, "gpt-4o-mini", fault="no-done"),
    _chat(0.6, "gpt-4o", Patience.TO_FIRST_PIECE),
    _chat(0.3, "o3", Patience.NONE, delay_ms="2500"),
)
"""Every endpoint and every fault of the mock but ``stall``, which takes as long as ``--idle-timeout``."""


class Client:
    """One connection to the proxy, made anew when it has been lost. ``base``: ``http://host:port/mock/v1``."""

    def __init__(self, base: str) -> None:
        url = urlsplit(base)
        self._path = url.path.rstrip("/")
        self._connection = http.client.HTTPConnection(
            url.hostname or "localhost", url.port, timeout=TIMEOUT_SECONDS
        )

    def make(self, ask: Ask) -> None:
        """Make the request and read what comes; that an answer breaks off is what some of these are for."""
        with suppress(OSError, http.client.HTTPException):
            self._send(ask)
            if ask.patience is not Patience.NONE:
                self._receive(ask)
                return
        self.close()

    def close(self) -> None:
        """Leave, whatever is still to come."""
        self._connection.close()

    def _send(self, ask: Ask) -> None:
        headers = {"Authorization": "Bearer sk-demo", **ask.fields}
        if ask.body is None:
            self._connection.request("GET", f"{self._path}/{ask.path}", headers=headers)
            return
        headers["Content-Type"] = "application/json"
        body = json.dumps(ask.body).encode()
        self._connection.request("POST", f"{self._path}/{ask.path}", body, headers)

    def _receive(self, ask: Ask) -> None:
        answer = self._connection.getresponse()
        if ask.patience is Patience.TO_FIRST_PIECE:
            answer.read1()
            answer.close()
            self.close()
            return
        answer.read()


def drive(base: str, per_second: float, stopped: threading.Event) -> None:
    """One client: asks as the weights say, at ``per_second`` on average, until ``stopped``."""
    client = Client(base)
    weights = [ask.weight for ask in ASKS]
    while not stopped.wait(random.expovariate(per_second)):
        (ask,) = random.choices(ASKS, weights)
        client.make(varied(ask))
    client.close()


def varied(ask: Ask) -> Ask:
    """The same with other waits, mostly a little shorter or longer, seldom much: as real models answer."""
    fields = {
        name: f"{float(value) * random.lognormvariate(0, 0.5):.1f}" if name.endswith("-ms") else value
        for name, value in ask.fields.items()
    }
    return replace(ask, fields=fields)


def main() -> None:
    """``url`` is the proxy's root; SIGTERM and SIGINT end it."""
    parser = argparse.ArgumentParser(description="Mixed traffic to a proxy's mock provider.")
    parser.add_argument("url", nargs="?", default="http://localhost:8080")
    parser.add_argument("--per-second", type=float, default=4.0, help="requests per second, at most")
    options = parser.parse_args()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    base = options.url.rstrip("/") + "/mock/v1"
    rate = options.per_second / CLIENTS
    threads = [threading.Thread(target=drive, args=(base, rate, stopped)) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
