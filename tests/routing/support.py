"""A whole proxy with several providers on real sockets, whose clock the tests turn by hand."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.task import Clock, deferLater

from openai_proxy.config.configuration import load
from openai_proxy.config.secret import SecretReader
from openai_proxy.config.setup import Setup
from openai_proxy.providers.catalogue import read_catalogue
from openai_proxy.service import ProxyService
from tests.faults.support import Answer, Client, eventually
from tests.routing.plays import Upstream

_SAMPLE = re.compile(r"(?P<name>\w+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_TURNS = 10
ROUTE = "fast"
"""The model's name that the tests' route has."""


class TimedReactor:
    """The reactor's sockets, and a clock that stands still until a test turns it.

    What is due at once is the reactor's own. However busy the machine is, no deadline passes by itself.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.clock = Clock()
        self.clock.advance(reactor.seconds())
        self.seconds = self.clock.seconds

    def callLater(self, delay: float, function: Callable[..., object], *args: Any, **named: Any) -> Any:
        where = self.clock if delay > 0 else self._reactor
        return where.callLater(delay, function, *args, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


@dataclass
class Sent:
    """A request of a client, and what came of it."""

    client: Client
    answering: Deferred[Answer]
    answer: Answer | None = field(default=None)


class World:
    """A daemon's service by a file, its upstreams and its clients."""

    def __init__(self, reactor: Any, folder: Path, document: Mapping[str, Any], keys: Mapping[str, str]):
        """:param document: the file, as YAML has it.
        :param keys: what ``env:`` finds.
        """
        self.real = reactor
        self.reactor = TimedReactor(reactor)
        path = folder / "proxy.yaml"
        listeners = [{"address": "tcp:0:interface=127.0.0.1"}]
        path.write_text(yaml.safe_dump({"listeners": listeners, "mock": False, **document}))
        configuration = load(path, read_catalogue(), SecretReader(keys))
        self.service = ProxyService(Setup(configuration.settings(), configuration), self.reactor)
        self.service.privilegedStartService()
        self.service.startService()
        self.port: int = cast(Any, self.service.ports[0].getHost()).port
        self.clients: list[Client] = []

    # Time.

    def pass_time(self, seconds: float) -> None:
        """So long later."""
        self.reactor.clock.advance(seconds)

    def time_passes(self, seconds: float) -> Callable[[], None]:
        """What lets so much time pass."""
        return lambda: self.pass_time(seconds)

    async def turns(self, count: int = _TURNS) -> None:
        """Let what is in the sockets be read, and what follows from it be done."""
        for _ in range(count):
            await deferLater(self.real, 0)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for what no event tells of."""
        await eventually(self.real, condition)

    # Clients.

    async def client(self) -> Client:
        """A new connection to the proxy."""
        client = Client()
        self.clients.append(client)
        endpoint = TCP4ClientEndpoint(self.real, "127.0.0.1", self.port)
        connected: Deferred[Client] = connectProtocol(endpoint, client)
        return await connected

    async def ask(self, request: bytes, method: bytes = b"POST") -> Answer:
        """The answer to ``request`` on a connection of its own, which is closed then."""
        sent = await self.begin(request, method)
        return await self.end(sent)

    async def begin(self, request: bytes, method: bytes = b"POST") -> Sent:
        """Send ``request``, and do not wait for its answer."""
        client = await self.client()
        client.write(request)
        sent = Sent(client, Deferred.fromCoroutine(client.answer(method)))

        def came(answer: Answer) -> Answer:
            sent.answer = answer
            return answer

        sent.answering.addCallback(came)
        return sent

    async def end(self, sent: Sent) -> Answer:
        """Its answer; the connection is closed."""
        answer = await sent.answering
        sent.client.close()
        await sent.client.end()
        self.clients.remove(sent.client)
        return answer

    # What the numbers say.

    @property
    def in_flight(self) -> int:
        """Requests that have not ended."""
        return sum(self.service.metrics.http.in_flight.values())

    async def settled(self) -> None:
        """Wait until no request is in flight."""
        await self.until(lambda: not self.in_flight)

    async def numbers(self) -> Numbers:
        """What ``/metrics`` says when nothing is in flight."""
        await self.settled()
        return await self.numbers_now()

    async def numbers_now(self) -> Numbers:
        """What it says whatever is in flight."""
        answer = await self.ask(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"GET")
        assert answer.status == 200
        return Numbers(answer.body.decode())

    @property
    def waits(self) -> list[Any]:
        """What is due later, of the exchanges alone: not the daemon's own ticks and sweeps."""
        calls: Any = self.reactor.clock.getDelayedCalls()
        return [call for call in calls if "exchange" in call.func.__module__]

    async def wait_over(self) -> float:
        """An exchange waits for one thing alone: wait with it; for how many seconds."""
        await self.until(lambda: self.waits)
        (call,) = self.waits
        seconds = float(call.getTime() - self.reactor.seconds())
        self.pass_time(seconds)
        return seconds

    # The end.

    async def stop(self) -> None:
        """Let the clients go; nothing may be left: no request, no body, no connection, no timer."""
        for client in self.clients:
            if client.ended is None:
                client.abort()
        service = self.service
        try:
            await self.until(lambda: not service.site.channels)
            await self.settled()
            assert service.site.held_bodies.held_bytes == 0
            assert service.graph.context.held_answers.held_bytes == 0
            assert not self.waits
        finally:
            await cast(Any, service.stopService())
        assert not service.graph.agent._deadlines._members
        assert not self.reactor.clock.getDelayedCalls()


class Numbers:
    """One reading of ``/metrics``."""

    def __init__(self, text: str) -> None:
        self.text = text

    def of(self, name: str, *by: str, **only: str) -> dict[Any, float]:
        """Samples that are not 0, summed by these labels (one: its value; several: a tuple), where
        ``only`` holds.
        """
        counted: dict[Any, float] = defaultdict(float)
        for labels, value in self._samples(name):
            if all(labels[key] == wanted for key, wanted in only.items()):
                key = tuple(labels[one] for one in by)
                counted[key[0] if len(by) == 1 else key] += value
        return {key: value for key, value in counted.items() if value}

    @property
    def attempts(self) -> dict[tuple[str, str], float]:
        """By provider and result."""
        return self.of("openai_proxy_upstream_attempts_total", "provider", "result")

    @property
    def retries(self) -> dict[tuple[str, str], float]:
        """By provider and reason."""
        return self.of("openai_proxy_retries_total", "provider", "reason")

    @property
    def fallbacks(self) -> dict[tuple[str, str, str], float]:
        """By the provider before, the one after, and the reason."""
        return self.of("openai_proxy_fallbacks_total", "from_provider", "to_provider", "reason")

    @property
    def requests(self) -> dict[tuple[str, str, str], float]:
        """By provider, status and outcome; without the ones for ``/metrics``."""
        return self.of("http_requests_total", "provider", "status", "outcome")

    @property
    def hedges(self) -> dict[tuple[str, str], float]:
        """By provider and result."""
        return self.of("openai_proxy_hedges_total", "provider", "result")

    @property
    def open_circuits(self) -> dict[tuple[str, str], float]:
        """The states other than closed, by provider and state."""
        found = self.of("openai_proxy_circuit_state", "provider", "state")
        return {key: value for key, value in found.items() if key[1] != "closed"}

    def transitions(self, provider: str) -> dict[str, float]:
        """Of a provider's targets, by the new state."""
        return self.of("openai_proxy_circuit_transitions_total", "to_state", provider=provider)

    def _samples(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        for line in self.text.splitlines():
            if line.startswith(name):
                match = _SAMPLE.match(line)
                if match is not None and match["name"] == name:
                    yield dict(_LABEL.findall(match["labels"] or "")), float(match["value"])


# What clients send.


def post(path: str, content: object, *fields: str) -> bytes:
    """A POST of JSON, or of bytes as they are."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/json"]
    lines += [*fields, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def get(path: str, *fields: str, method: str = "GET") -> bytes:
    """A request without a body."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *fields, "", ""]).encode("latin-1")


def chat(*fields: str, model: str = ROUTE, stream: bool = False, **more: object) -> bytes:
    """A chat completion is asked for."""
    content: dict[str, object] = {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}
    if stream:
        content["stream"] = True
    return post("/v1/chat/completions", content, *fields)


def tools(*fields: str) -> bytes:
    """The same with a tool."""
    function = {"name": "look", "parameters": {"type": "object", "properties": {}}}
    return chat(*fields, tools=[{"type": "function", "function": function}])


def embedding(*fields: str) -> bytes:
    """An embedding is asked for."""
    return post("/v1/embeddings", {"model": ROUTE, "input": "hi"}, *fields)


def transcription(*fields: str, model: str = ROUTE, size: int = 256) -> bytes:
    """A form with a file and a model."""
    parts = [
        b'Content-Disposition: form-data; name="model"\r\n\r\n' + model.encode(),
        b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + bytes(size),
    ]
    body = b"".join(b"--bound\r\n%b\r\n" % part for part in parts) + b"--bound--\r\n"
    lines = ["POST /v1/audio/transcriptions HTTP/1.1", "Host: x"]
    lines += ["Content-Type: multipart/form-data; boundary=bound", *fields, f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def providers(upstreams: Mapping[str, Upstream | str], **more: object) -> dict[str, object]:
    """The part of a file, each with a key of its own (``env:KEY_A`` of ``a``)."""
    return {
        name: {"base_url": one if isinstance(one, str) else one.url, "api_key": f"env:KEY_{name.upper()}"}
        | more
        for name, one in upstreams.items()
    }


def keys(*names: str) -> dict[str, str]:
    """What ``env:`` finds."""
    return {f"KEY_{name.upper()}": f"sk-of-{name}" for name in names}
