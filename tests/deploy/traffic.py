"""Mixed traffic through a daemon whose upstream is a mock: endpoints, faults, clients that leave."""

from __future__ import annotations

import json
from contextlib import suppress

from tests.support.daemon import Daemon
from tests.support.sockets import Truncated

JSON = "Content-Type: application/json"
AUTH = "Authorization: Bearer sk-made-up"
MESSAGES = [{"role": "user", "content": "Say something about proxies."}]
MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "a-model-without-a-price")

FAULTS = (
    "x-mock-status: 500",
    "x-mock-status: 503",
    "x-mock-status: 429",
    "x-mock-status: 401",
    "x-mock-status: 400",
    "x-mock-fault: reset",
    "x-mock-fault: truncate",
    "x-mock-fault: error-in-stream",
    "x-mock-fault: no-done",
)


class Traffic:
    """Through ``daemon``, one request after the other."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def round(self) -> None:
        """Some forty requests, a quarter of them with a fault."""
        for model in MODELS:
            for stream in (False, True):
                self.chat(model, stream)
                self.responses(model, stream)
        self.post("/v1/embeddings", {"model": "text-embedding-3-small", "input": "proxies"})
        self.post("/v1/completions", {"model": "gpt-3.5-turbo-instruct", "prompt": "proxies"})
        self.ask("GET", "/v1/models")
        self.ask("GET", "/v1/nothing-of-that-name")
        for fault in FAULTS:
            self.chat("gpt-4o", True, fault)
        self.chat("gpt-4o-mini", False, "x-mock-status: 500")
        self.leave()

    def chat(self, model: str, stream: bool, *fields: str) -> None:
        """A chat completion, a millisecond between its chunks."""
        body = {"model": model, "messages": MESSAGES, "stream": stream}
        self.post("/v1/chat/completions", body, "x-mock-chunk-ms: 1", *fields)

    def responses(self, model: str, stream: bool, *fields: str) -> None:
        """A response of the endpoint of that name."""
        self.post("/v1/responses", {"model": model, "input": "proxies", "stream": stream}, *fields)

    def post(self, path: str, body: dict[str, object], *fields: str) -> None:
        """JSON there; what comes back is not looked at."""
        self.ask("POST", path, JSON, *fields, body=json.dumps(body).encode())

    def ask(self, method: str, path: str, *fields: str, body: bytes = b"") -> None:
        """An answer that breaks off is what some of these are for."""
        with suppress(Truncated, OSError, ValueError):
            self._daemon.ask(method, path, AUTH, *fields, body=body)

    def leave(self) -> None:
        """A client that is gone when a stream has begun."""
        body = json.dumps({"model": "gpt-4o", "messages": MESSAGES, "stream": True}).encode()
        with self._daemon.connect() as client:
            fields = (JSON, AUTH, "x-mock-chunk-ms: 20")
            client.send_request("POST", "/v1/chat/completions", *fields, body=body)
            client.read_head()
            client.read_chunk()
