"""Whose key goes where: each provider sees its own alone, whoever failed before it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.routing import plays
from tests.routing.conftest import MakeWorld, Upstreams
from tests.routing.plays import error
from tests.routing.support import chat, get

CANARY = "sk-canary-of-the-client"
SPELLINGS = [
    f"Authorization: Bearer {CANARY}",
    f"authorization: bearer {CANARY}",
    f"AUTHORIZATION: Basic {CANARY}",
    f"Authorization:   Bearer {CANARY}",
    f"api-key: {CANARY}",
    f"Api-Key: {CANARY}",
    f"x-api-key: {CANARY}",
    f"X-API-KEY: {CANARY}",
    f"x-goog-api-key: {CANARY}",
    f"Proxy-Authorization: Bearer {CANARY}",
    f"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.{CANARY}",
]
QUERIES = [
    f"?key={CANARY}",
    f"?Key={CANARY}",
    f"?a=1&key={CANARY}&b=2",
    f"?%6Bey={CANARY}",
    f"?api-key={CANARY}",
    f"?api_key={CANARY}",
]
PROVIDERS = ["a", "b", "c"]
OWN = {"a": "Bearer sk-of-a", "b": "Bearer sk-of-b", "c": "Bearer sk-of-c"}


def seen(upstreams: Upstreams, name: str) -> bytes:
    """All that an upstream was sent."""
    return b"".join(bytes(one.received) for one in upstreams[name].server.connections)


def check_keys(upstreams: Upstreams) -> None:
    """Each has had its own key in each request, and no trace of another's or the client's."""
    for name, one in upstreams.items():
        sent = seen(upstreams, name)
        assert CANARY.encode() not in sent
        for other in upstreams.keys() - {name}:
            assert f"sk-of-{other}".encode() not in sent
        assert [asked.values("authorization") for asked in one.asked] == [[OWN[name]]] * len(one.asked)


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_the_clients_key_stays_here(world: MakeWorld, upstreams: Upstreams, spelling: str) -> None:
    """In no spelling does it reach a provider whose key is ours: through fallbacks and retries."""
    proxy = world(PROVIDERS)
    upstreams["a"].play = upstreams["b"].play = error(500)
    answered = await proxy.ask(chat(spelling))
    assert answered.status == 200
    assert [one.attempts for one in upstreams.values()] == [1, 1, 1]
    check_keys(upstreams)


@pytest.mark.parametrize("query", QUERIES)
async def test_the_clients_key_in_the_query(world: MakeWorld, upstreams: Upstreams, query: str) -> None:
    """The same of the spelling that Google has."""
    proxy = world(PROVIDERS)
    upstreams["a"].play = error(500)
    request = chat().replace(b"/v1/chat/completions", f"/v1/chat/completions{query}".encode())
    assert (await proxy.ask(request)).status == 200
    check_keys(upstreams)
    kept = "?a=1&b=2" if "a=1" in query else ""
    assert upstreams["b"].asked[0].target == f"/v1/chat/completions{kept}"


async def test_keys_of_both_of_a_hedge(world: MakeWorld, upstreams: Upstreams) -> None:
    """They are asked at one time, and each with its own."""
    hedge = {"enabled": True, "min_samples": 1, "min_seconds": 1, "max_ratio": 1}
    proxy = world(["a", "b"], hedge=hedge)
    request = chat(f"x-api-key: {CANARY}", f"Authorization: Bearer {CANARY}", stream=True)
    assert (await proxy.ask(request)).status == 200
    upstreams["a"].play = plays.waits()
    sent = await proxy.begin(request)
    await proxy.until(lambda: upstreams["a"].attempts == 2)
    await proxy.turns(20)
    await proxy.wait_over()
    assert (await proxy.end(sent)).status == 200
    assert (upstreams["a"].attempts, upstreams["b"].attempts) == (2, 1)
    check_keys(upstreams)


@pytest.mark.parametrize("first", ["a", "open"])
async def test_a_key_of_ours_beside_none(world: MakeWorld, upstreams: Upstreams, first: str) -> None:
    """A server that wants no key gets none, ours or the client's, before and behind one that wants ours."""
    second = "a" if first == "open" else "open"
    of: dict[str, Any] = {
        "a": {"base_url": upstreams["a"].url, "api_key": "env:KEY_A"},
        "open": {"base_url": upstreams["open"].url, "client_key": "drop"},
    }
    proxy = world([first, second], providers=of)
    upstreams[first].play = error(500)
    assert (await proxy.ask(chat(f"Authorization: Bearer {CANARY}", f"x-api-key: {CANARY}"))).status == 200
    assert upstreams["a"].asked[0].values("authorization") == ["Bearer sk-of-a"]
    assert upstreams["open"].asked[0].values("authorization") == []
    for name in ("a", "open"):
        assert CANARY.encode() not in seen(upstreams, name)
    assert b"sk-of" not in seen(upstreams, "open")


async def test_the_clients_key_is_forwarded_where_that_is_meant(
    world: MakeWorld, upstreams: Upstreams
) -> None:
    """To the provider without a key of ours that the request names, again and again, and to no other."""
    of: dict[str, Any] = {
        "a": {"base_url": upstreams["a"].url, "api_key": "env:KEY_A"},
        "open": {"base_url": upstreams["open"].url},
    }
    proxy = world(["a", "open"], {"targets": [{"provider": "a"}]}, providers=of, retry={"jitter": 0})
    upstreams["open"].played(error(500))
    sent = await proxy.begin(chat(f"x-api-key: {CANARY}", model="open/m"))
    await proxy.wait_over()
    assert (await proxy.end(sent)).status == 200
    forwarded = [asked.values("authorization") for asked in upstreams["open"].asked]
    assert forwarded == [[f"Bearer {CANARY}"]] * 2
    assert not upstreams["open"].asked[0].values("x-api-key")
    assert upstreams["a"].attempts == 0
    assert b"sk-of" not in seen(upstreams, "open")


async def test_what_names_a_provider_is_sent_to_nobody(world: MakeWorld, upstreams: Upstreams) -> None:
    """Nor is the client told anything of keys, in a head or a body."""
    proxy = world(PROVIDERS)
    upstreams["a"].play = upstreams["b"].play = upstreams["c"].play = error(401)
    answered = await proxy.ask(chat(f"x-api-key: {CANARY}", model="b/m"))
    assert answered.status == 401
    assert upstreams["b"].asked[0].json["model"] == "m"
    told = answered.body + b"".join(name + value for name, value in answered.fields)
    assert b"sk-of" not in told
    assert CANARY.encode() not in told
    assert "sk-" not in (await proxy.numbers()).text


async def test_the_transparent_way(world: MakeWorld, upstreams: Upstreams) -> None:
    """The same keys there."""
    proxy = world(PROVIDERS)
    for name in PROVIDERS:
        for spelling in SPELLINGS:
            request = get(f"/{name}/v1/models?key={CANARY}", spelling)
            assert (await proxy.ask(request, b"GET")).status == 200
    check_keys(upstreams)
    assert [one.attempts for one in upstreams.values()] == [len(SPELLINGS)] * 3
