"""Clients that leave, and requests that never come whole: nobody is asked, or nobody is left waiting."""

from __future__ import annotations

import json

import pytest

from tests.routing import plays
from tests.routing.conftest import MakeWorld, Upstreams
from tests.routing.plays import ROLE, STREAM_HEAD, delta
from tests.routing.support import chat, post, transcription

LEAVING = ["close", "abort"]
PATIENCE = {"timeouts": {"head_seconds": 50, "first_token_seconds": 50, "total_seconds": 60}}


@pytest.mark.parametrize("leaving", LEAVING)
@pytest.mark.parametrize("request_", [chat(), transcription()], ids=["json", "form"])
async def test_in_the_upload(world: MakeWorld, upstreams: Upstreams, request_: bytes, leaving: str) -> None:
    """Before its body is whole there is no telling where it goes."""
    proxy = world(["a", "b"], PATIENCE)
    client = await proxy.client()
    client.write(request_[:-1])
    await proxy.until(lambda: proxy.in_flight)
    getattr(client, leaving)()
    numbers = await proxy.numbers()
    assert numbers.requests == {("none", "499", "client_disconnect"): 1}
    assert numbers.of("openai_proxy_client_disconnects_total", "phase") == {"before_upstream": 1}
    assert [one.attempts for one in upstreams.values()] == [0, 0]


@pytest.mark.parametrize("leaving", LEAVING)
@pytest.mark.parametrize("begins", [b"", STREAM_HEAD, STREAM_HEAD + ROLE], ids=["nothing", "head", "event"])
async def test_before_the_first_token(
    world: MakeWorld, upstreams: Upstreams, begins: bytes, leaving: str
) -> None:
    """The upstream is told; no other one is asked, and it is nobody's failure."""
    proxy = world(["a", "b"], PATIENCE, breaker={"min_attempts": 1})
    upstreams["a"].play = plays.waits(begins)
    client = await proxy.client()
    client.write(chat(stream=True))
    await proxy.until(lambda: upstreams["a"].attempts == 1)
    await proxy.turns(20)
    getattr(client, leaving)()
    assert await upstreams["a"].asked[0].connection.end() == "RST"
    numbers = await proxy.numbers()
    assert numbers.requests == {("a", "499", "client_disconnect"): 1}
    assert numbers.attempts == {("a", "aborted"): 1}
    assert numbers.of("openai_proxy_client_disconnects_total", "phase") == {"before_first_byte": 1}
    assert (numbers.open_circuits, upstreams["b"].attempts) == ({}, 0)


@pytest.mark.parametrize("leaving", LEAVING)
async def test_in_the_stream(world: MakeWorld, upstreams: Upstreams, leaving: str) -> None:
    """The same, and the client had its head."""
    proxy = world(["a", "b"], PATIENCE, breaker={"min_attempts": 1})
    upstreams["a"].play = plays.waits(STREAM_HEAD + ROLE + delta({"content": "x"}))
    client = await proxy.client()
    client.write(chat(stream=True))
    await client.until(lambda: b'"x"' in client.received)
    getattr(client, leaving)()
    assert await upstreams["a"].asked[0].connection.end() == "RST"
    numbers = await proxy.numbers()
    assert numbers.requests == {("a", "200", "client_disconnect"): 1}
    assert numbers.of("openai_proxy_client_disconnects_total", "phase") == {"mid_stream": 1}
    assert numbers.open_circuits == {}


@pytest.mark.parametrize("leaving", LEAVING)
async def test_after_a_fallback(world: MakeWorld, upstreams: Upstreams, leaving: str) -> None:
    """What was tried before is counted as it was; what is on its way is cancelled."""
    proxy = world(["a", "b"], PATIENCE)
    upstreams["a"].play = plays.error(500)
    upstreams["b"].play = plays.waits()
    client = await proxy.client()
    client.write(chat())
    await proxy.until(lambda: upstreams["b"].attempts == 1)
    getattr(client, leaving)()
    assert await upstreams["b"].asked[0].connection.end() == "RST"
    numbers = await proxy.numbers()
    assert numbers.requests == {("b", "499", "client_disconnect"): 1}
    assert numbers.attempts == {("a", "http_5xx"): 1, ("b", "aborted"): 1}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_a_body_that_there_is_no_room_for(world: MakeWorld, upstreams: Upstreams, path: str) -> None:
    """503, in the client's dialect; nobody is asked."""
    proxy = world(["a", "b"], limits={"held_total_bytes": 100})
    answered = await proxy.ask(post(path, {"model": "fast", "max_tokens": 1, "messages": ["x" * 1000]}))
    assert (answered.status, answered.values(b"retry-after")) == (503, [b"1"])
    content = json.loads(answered.body)
    assert content.get("type") == ("error" if path == "/v1/messages" else None)
    numbers = await proxy.numbers()
    assert numbers.requests == {("none", "503", "proxy_overload"): 1}
    assert [one.attempts for one in upstreams.values()] == [0, 0]
