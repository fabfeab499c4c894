"""Daemons with real traffic: what the mock can do over TLS, and what only a scripted upstream does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from tests.support import certificates
from tests.support.daemon import Daemon
from tests.support.openai_upstream import OpenAIUpstream, error, hang_up, json_answer
from tests.support.sockets import Truncated
from tools.demo import ASKS, Ask, Client

CLIENTS = 4
LATE = 8
"""Streams of a route that begins one in four at a slow target."""
IMAGE = {"OPENAI_PROXY_REVISION": "0123abc"}
"""What the image sets. Without it the label is empty, which to Prometheus is none."""
BASES = ("/v1", "/mock/v1")
MOST_MILLISECONDS = {"x-mock-delay-ms": 200, "x-mock-chunk-ms": 2}
JSON = "Content-Type: application/json"
ROUTES = """
default_provider: steady
ca_file: {trusted}
mock: false
providers:
  steady: {{base_url: {mock}, client_key: drop, priced_as: openai, quirks: {{drop: [logit_bias]}}}}
  slow: {{base_url: {mock}, client_key: drop, priced_as: openai, headers: {{x-mock-delay-ms: 400}}}}
  broken: {{base_url: {mock}, client_key: drop, headers: {{x-mock-status: 503}}}}
  limited: {{base_url: {upstream}, api_key: env:LIVE_KEY}}
models:
  shaky: {{targets: [{{provider: broken, model: gpt-4o}}, {{provider: steady, model: gpt-4o}}]}}
  resting: {{targets: [{{provider: limited, model: gpt-4o}}, {{provider: steady, model: gpt-4o-mini}}]}}
  late:
    choice: weighted
    targets:
      - {{provider: steady, model: gpt-4.1, weight: 3}}
      - {{provider: slow, model: gpt-4.1, weight: 1}}
    hedge: true
breaker: {{min_attempts: 2, open_seconds: 1}}
hedge: {{min_samples: 1, min_seconds: 0.05, quantile: 0.5, max_ratio: 1}}
"""
"""A provider that is well, and three beside it that are not: slow, broken, and with a limit used up."""


class Traffic:
    """Through ``mocked``, before another daemon's mock, ``scripted``, before ``upstream``, and ``routed``,
    which has routes over both.
    """

    def __init__(self, mocked: Daemon, scripted: Daemon, routed: Daemon, upstream: OpenAIUpstream) -> None:
        self.url = mocked.url
        self.targets = tuple(f"127.0.0.1:{daemon.port}" for daemon in (mocked, scripted, routed))
        self._mocked = mocked
        self._scripted = scripted
        self._routed = routed
        self._upstream = upstream

    def round(self) -> None:
        """Every request of the demonstration to both providers, some at a time; then what is scripted."""
        self._make([(base, quick(ask)) for base in BASES for ask in ASKS])
        self._tokens_of_all_kinds()
        self._connections_that_went_stale()
        self._between_targets()
        self._nonsense()

    def _make(self, left: list[tuple[str, Ask]]) -> None:
        threads = [threading.Thread(target=self._work, args=(left,)) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self, left: list[tuple[str, Ask]]) -> None:
        clients = {base: Client(self._mocked.url + base) for base in BASES}
        with suppress(IndexError):
            while True:
                base, ask = left.pop()
                clients[base].make(ask)
        for client in clients.values():
            client.close()

    def _tokens_of_all_kinds(self) -> None:
        """What the mock has none of: cached and reasoning tokens, cache writes, seconds of audio."""
        # What an earlier round left would answer the wrong requests.
        self._upstream.planned.clear()
        self._upstream.planned += [
            json_answer(
                {
                    "id": "chatcmpl-1",
                    "model": "gpt-4o",
                    "choices": [],
                    "usage": {
                        "prompt_tokens": 2000,
                        "completion_tokens": 50,
                        "prompt_tokens_details": {"cached_tokens": 1024},
                        "completion_tokens_details": {"reasoning_tokens": 30},
                    },
                }
            ),
            json_answer(
                {
                    "id": "resp_1",
                    "model": "gpt-4o",
                    "status": "completed",
                    "output": [],
                    "usage": {
                        "input_tokens": 2000,
                        "output_tokens": 50,
                        "input_tokens_details": {"cached_tokens": 512, "cache_write_tokens": 256},
                        "output_tokens_details": {"reasoning_tokens": 30},
                    },
                }
            ),
            json_answer({"text": "Proxies.", "usage": {"type": "duration", "seconds": 9}}),
        ]
        self._post("chat/completions", {"model": "gpt-4o", "messages": []})
        self._post("responses", {"model": "gpt-4o", "input": "proxies"})
        self._post("audio/transcriptions", {"model": "whisper-1"})

    def _connections_that_went_stale(self) -> None:
        """Closed when the next request is on its way: sent again, once well and once in vain."""
        ok = json_answer({"object": "list", "data": []})
        self._upstream.planned.clear()
        self._upstream.planned += [ok, hang_up, ok, hang_up, hang_up]
        for _ in range(3):
            self._post("embeddings", {"model": "text-embedding-3-small", "input": "proxies"})

    def _between_targets(self) -> None:
        """Fallbacks, breakers that open and close, targets that rest, hedges, members that are not sent."""
        self._upstream.planned.clear()
        self._upstream.planned.append(error(429, "rate_limit_exceeded", retry_after="2"))
        for model in ("shaky", "shaky", "shaky", "resting", "resting"):
            self._ask({"model": model, "messages": [], "logit_bias": {}})
        for _ in range(LATE):
            self._ask({"model": "late", "messages": [], "stream": True})

    def _ask(self, content: dict[str, object]) -> None:
        self._routed.ask("POST", "/v1/chat/completions", JSON, body=json.dumps(content).encode())

    def _post(self, path: str, body: dict[str, object]) -> None:
        with suppress(Truncated, OSError):
            self._scripted.ask("POST", f"/v1/{path}", JSON, body=json.dumps(body).encode())

    def _nonsense(self) -> None:
        """What is refused before it is an exchange."""
        with self._mocked.connect() as client:
            client.send(b"GET /v1/models HTTP/1.1\r\nHost : x\r\n\r\n")
            client.wait_end()


def quick(ask: Ask) -> Ask:
    """The same with short waits."""
    fields = {
        name: str(min(int(value), MOST_MILLISECONDS[name])) if name in MOST_MILLISECONDS else value
        for name, value in ask.fields.items()
    }
    return replace(ask, fields=fields)


@contextmanager
def driven(folder: Path, *options: str) -> Iterator[Traffic]:
    """The daemons, and their upstreams; ``options`` are of the daemon before the mock."""
    authority = certificates.make(authority=True)
    leaf = certificates.make("localhost", issuer=authority)
    key, certificate, trusted = folder / "key.pem", folder / "certificate.pem", folder / "authority.pem"
    certificate.write_bytes(leaf.pem)
    trusted.write_bytes(authority.pem)
    key.write_bytes(
        leaf.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    tls = f"ssl:0:privateKey={key}:certKey={certificate}:interface=127.0.0.1"
    with ExitStack() as stack:
        mock = stack.enter_context(Daemon(port=tls))
        upstream = stack.enter_context(OpenAIUpstream())
        to_mock = ("--upstream", f"https://localhost:{mock.port}/mock", "--ca-file", str(trusted))
        mocked = stack.enter_context(Daemon(*to_mock, *options, env=IMAGE))
        scripted = stack.enter_context(Daemon("--upstream", upstream.url))
        routes = folder / "routes.yaml"
        ways = {"mock": f"https://localhost:{mock.port}/mock/v1", "upstream": f"{upstream.url}/v1"}
        routes.write_text(ROUTES.format(trusted=trusted, **ways))
        routed = stack.enter_context(Daemon("--config", str(routes), env={"LIVE_KEY": "sk-live"}))
        yield Traffic(mocked, scripted, routed, upstream)
