"""What changes in a request from target to target: the model's name alone."""

from __future__ import annotations

from tests.routing.conftest import MakeWorld, Upstreams
from tests.routing.plays import Asked, Upstream, error
from tests.routing.support import chat, get, post, transcription
from tests.support.upstream import UpstreamConnection

TARGETS = {"targets": [{"provider": "a", "model": "model-of-a"}, {"provider": "b", "model": "b's/model"}]}


async def test_json(world: MakeWorld, upstreams: Upstreams) -> None:
    """Each target has its own name in the body, whose other bytes stay as they came."""
    proxy = world(["a", "b"], TARGETS)
    upstreams["a"].play = error(500)
    body = b'{ "messages" : [],"x":1.0e2 , "model"\t:"fast", "model_":"fast", "y":"\\u00e9" }'
    answered = await proxy.ask(post("/v1/chat/completions", body))
    assert (answered.status, answered.values(b"x-openai-proxy-model")) == (200, [b"b's/model"])
    assert upstreams["a"].asked[0].body == body.replace(b'"fast"', b'"model-of-a"', 1)
    assert upstreams["b"].asked[0].body == body.replace(b'"fast"', b'"b\'s/model"', 1)


async def test_a_form(world: MakeWorld, upstreams: Upstreams) -> None:
    """The same of a part of a form, whose file stays as it came."""
    proxy = world(["a", "b"], TARGETS)
    upstreams["a"].play = error(500)
    request = transcription()
    body = request.partition(b"\r\n\r\n")[2]
    assert (await proxy.ask(request)).status == 200
    assert upstreams["a"].asked[0].body == body.replace(b"fast", b"model-of-a", 1)
    assert upstreams["b"].asked[0].body == body.replace(b"fast", b"b's/model", 1)


async def test_a_stream_asked_for_its_usage(world: MakeWorld, upstreams: Upstreams) -> None:
    """Each target is asked for it, and the client that did not ask has no event of it."""
    proxy = world(["a", "b"], TARGETS)
    upstreams["a"].play = error(500)
    answered = await proxy.ask(chat(stream=True))
    assert (answered.status, answered.whole) == (200, True)
    assert b'"usage"' not in answered.body
    for name in ("a", "b"):
        assert upstreams[name].asked[0].json["stream_options"] == {"include_usage": True}
    numbers = await proxy.numbers()
    assert sum(numbers.of("openai_proxy_input_tokens_total", "provider").values()) == 1000


async def test_provider_and_model(world: MakeWorld, upstreams: Upstreams) -> None:
    """``b/x``: that provider alone, whatever becomes of it."""
    proxy = world(["a", "b"], retry={"attempts": 1})
    upstreams["b"].play = error(500)
    assert (await proxy.ask(chat(model="b/org/x"))).status == 500
    assert (await proxy.ask(chat("x-openai-proxy-provider: b", model="b/org/x"))).status == 500
    assert [asked.json["model"] for asked in upstreams["b"].asked] == ["org/x", "org/x"]
    assert upstreams["a"].attempts == 0


async def test_a_model_in_a_path(world: MakeWorld, upstreams: Upstreams) -> None:
    """``/v1/models/{name}``: of a route, the first target's own name."""
    proxy = world(["a", "b"], TARGETS)
    for name, target in [
        ("fast", "/v1/models/model-of-a"),
        ("b%2Fx", "/v1/models/x"),
        ("gpt-4o", "/v1/models/gpt-4o"),
    ]:
        assert (await proxy.ask(get(f"/v1/models/{name}"), b"GET")).status == 200
        provider = "b" if name.startswith("b") else "a"
        assert upstreams[provider].asked[-1].target == target


async def test_a_realtime_session(world: MakeWorld, upstreams: Upstreams) -> None:
    """A target that is down is no end of it: the next one has the session, by its own name for the model."""
    proxy = world(["a", "b"], TARGETS)
    upstreams["a"].hangs_up = True

    async def switches(upstream: Upstream, connection: UpstreamConnection, asked: Asked) -> None:
        connection.write(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
        await connection.take(3)
        connection.write(b"bye")
        connection.close()

    upstreams["b"].play = switches
    client = await proxy.client()
    client.write(
        get(
            "/v1/realtime?model=fast&x=1", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: k"
        )
    )
    await client.until(lambda: b"hello" in client.received)
    client.write(b"you")
    await client.end()
    assert client.received.startswith(b"HTTP/1.1 101 ")
    assert client.received.endswith(b"hellobye")
    assert upstreams["b"].asked[0].target == "/v1/realtime?model=b%27s%2Fmodel&x=1"
    numbers = await proxy.numbers()
    assert numbers.requests == {("b", "101", "ok"): 1}
    assert numbers.fallbacks == {("a", "b", "protocol_error"): 1}


async def test_a_form_too_long_to_be_held(world: MakeWorld, upstreams: Upstreams) -> None:
    """It goes where its model says if the name need not be changed; with a wrong name nobody gets it."""
    proxy = world(["a", "b"], TARGETS, limits={"held_body_bytes": 1000})
    long = transcription(size=1_000_000)
    answered = await proxy.ask(long)
    assert (answered.status, upstreams["a"].attempts, upstreams["b"].attempts) == (400, 0, 0)
    assert b"too long" in answered.body
    assert (await proxy.ask(transcription(size=1_000_000, model="whisper-1"))).status == 200
    assert upstreams["a"].attempts == 1


async def test_a_body_too_long_to_be_held_goes_as_it_is(world: MakeWorld, upstreams: Upstreams) -> None:
    """Nobody knows its model: it is the default provider's, once."""
    proxy = world(["a", "b"], limits={"held_body_bytes": 1000}, retry={"attempts": 3})
    upstreams["a"].play = error(500)
    answered = await proxy.ask(chat(model="b/x", more="x" * 1_000_000))
    assert (answered.status, upstreams["b"].attempts) == (500, 0)
    assert len(upstreams["a"].asked) == 1
    assert upstreams["a"].asked[0].json["model"] == "b/x"
    numbers = await proxy.numbers()
    assert numbers.requests == {("a", "500", "upstream_error"): 1}
