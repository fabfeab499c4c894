"""Names without number: models, paths and methods that clients choose make no series without end."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from random import Random

import pytest

from openai_proxy.observe.model import KNOWN
from tests.support.daemon import ROOT
from tests.support.memory import CHAT_ANSWER, MemoryProxy, post

REQUESTS = int(os.environ.get("FLOOD_REQUESTS", "3000"))
ENDPOINTS = ("chat/completions", "responses", "embeddings", "completions", "images/generations")
STATUSES = ("200 OK", "404 No", "429 No", "500 No")


@pytest.fixture
def proxy() -> Iterator[MemoryProxy]:
    """One in memory."""
    proxy = MemoryProxy()
    yield proxy
    proxy.close()


def samples_of(proxy: MemoryProxy) -> dict[str, int]:
    """How many samples each family has."""
    families = proxy.service.metrics.registry.collect()
    return {family.name: len(list(family.samples)) for family in families}


def bound() -> int:
    """The most samples of families with children that docs/metrics.md allows."""
    return int(re.findall(r"never more than (\d+) samples", (ROOT / "docs" / "metrics.md").read_text())[0])


def ask(proxy: MemoryProxy, name: str, dice: Random) -> None:
    """A request with ``name`` for its model, its path or its method, and an answer that has it too."""
    body = b""
    method, path = "GET", f"/v1/{name}"
    kind = dice.choice(("model", "model", "path", "method"))
    if kind == "model":
        method, path = "POST", "/v1/" + dice.choice(ENDPOINTS)
        body = b'{"model":"%b"}' % name.encode()
    elif kind == "method":
        method = name.replace("-", "").upper()
    proxy.ask(f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    answer = f'{{"model":"{name}-b","usage":{{"prompt_tokens":1,"completion_tokens":1}}}}'
    head = f"HTTP/1.1 {dice.choice(STATUSES)}\r\nContent-Type: application/json\r\n"
    limits = f"x-ratelimit-remaining-requests: {len(name)}\r\nContent-Length: {len(answer)}\r\n\r\n"
    proxy.upstream.dataReceived((head + limits + answer).encode())
    assert proxy.client.take().startswith(b"HTTP/1.1 ")


def test_series_have_a_bound_that_no_client_moves(proxy: MemoryProxy) -> None:
    """Once the places are taken, names add no sample; what has no place is counted, and nothing is lost."""
    dice = Random(7)
    for number in range(REQUESTS // 2):
        ask(proxy, f"name-{number:06}", dice)
    before = samples_of(proxy)
    for number in range(REQUESTS // 2, REQUESTS):
        ask(proxy, f"name-{number:06}", dice)
    after = samples_of(proxy)
    grown = {name: (before[name], count) for name, count in after.items() if count > before[name]}
    # Of a name that has its place, an outcome that comes late is one more.
    assert sum(count - had for had, count in grown.values()) < 0.1 * sum(before.values()), grown
    assert sum(after.values()) < bound()
    assert sum(sample.value for sample in proxy.service.metrics.http.requests.samples()) == REQUESTS


def test_whoever_has_no_key_takes_no_place_of_others(proxy: MemoryProxy) -> None:
    """All known models at all endpoints, answered 401: the next good answer has its model's name."""
    answer = b"HTTP/1.1 401 No\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    for endpoint in ENDPOINTS:
        for model in sorted(KNOWN):
            body = f'{{"model":"{model}"}}'
            head = f"POST /v1/{endpoint} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            proxy.ask((head + body).encode())
            proxy.upstream.dataReceived(answer)
            assert proxy.client.take().startswith(b"HTTP/1.1 401 ")
    proxy.ask(post())
    proxy.upstream.dataReceived(CHAT_ANSWER)
    requests = list(proxy.service.metrics.http.requests.samples())
    noise = [sample for sample in requests if sample.labels["status"] == "401" and sample.value]
    assert {sample.labels["model"] for sample in noise} == {"other"}
    assert len(noise) == len(ENDPOINTS)
    good = [
        sample.labels["model"] for sample in requests if sample.labels["status"] == "200" and sample.value
    ]
    assert good == ["gpt-4o-mini"]
