"""Answers that come compressed, as a provider may send them to who accepts that."""

from __future__ import annotations

import gzip
import json

import pytest

from tests.routing import plays
from tests.routing.conftest import MakeWorld, Upstreams
from tests.routing.plays import Play, Upstream, answer, chat_completion
from tests.routing.support import chat, get, post
from tests.support.upstream import UpstreamConnection

ACCEPTS = "accept-encoding: gzip, deflate, br"
FAILED = {"error": {"message": "It failed.", "type": "server_error", "code": None}}


def compressed(content: object) -> Play:
    """JSON, or a stream with one event, in gzip."""

    async def play(upstream: Upstream, connection: UpstreamConnection, asked: plays.Asked) -> None:
        body = json.dumps(content).encode()
        kind = "application/json"
        if asked.is_stream:
            body, kind = b"data: %b\n\n" % body, "text/event-stream"
        connection.write(answer(200, gzip.compress(body), "content-encoding: gzip", content_type=kind))

    return play


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_an_error_in_it(world: MakeWorld, upstreams: Upstreams, stream: bool) -> None:
    """It is found, and answered in a form that can be read."""
    proxy = world(["a"], retry={"attempts": 1})
    upstreams["a"].play = compressed(FAILED)
    answered = await proxy.ask(chat(ACCEPTS, stream=stream))
    assert (answered.status, answered.whole) == (500, True)
    body = answered.body
    if answered.values(b"content-encoding") == [b"gzip"]:
        body = gzip.decompress(body)
    assert json.loads(body) == FAILED


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
async def test_another_one_answers(world: MakeWorld, upstreams: Upstreams, stream: bool) -> None:
    """As where it is not compressed."""
    proxy = world(["a", "b"])
    upstreams["a"].play = compressed(FAILED)
    answered = await proxy.ask(chat(ACCEPTS, stream=stream))
    assert (answered.status, answered.values(b"x-openai-proxy-provider")) == (200, [b"b"])
    assert (await proxy.numbers()).fallbacks == {("a", "b", "http_5xx"): 1}


async def test_a_completion(world: MakeWorld, upstreams: Upstreams) -> None:
    """It reaches the client as it came, and its tokens are counted."""
    proxy = world(["a", "b"])
    content = chat_completion("a")
    upstreams["a"].play = compressed(content)
    answered = await proxy.ask(chat(ACCEPTS))
    assert answered.values(b"content-encoding") == [b"gzip"]
    assert json.loads(gzip.decompress(answered.body)) == content
    numbers = await proxy.numbers()
    assert sum(numbers.of("openai_proxy_input_tokens_total", "provider").values()) == 1000


async def test_what_makes_objects_is_asked_for_plainly(world: MakeWorld, upstreams: Upstreams) -> None:
    """The ids in its answer are wanted."""
    proxy = world(["a", "b"])
    await proxy.ask(post("/v1/batches", {"input_file_id": "f"}, ACCEPTS))
    await proxy.ask(get("/v1/models/m", ACCEPTS), b"GET")
    accepted = [asked.values("accept-encoding") for asked in upstreams["a"].asked]
    assert accepted == [["identity"], ["gzip, deflate, br"]]
