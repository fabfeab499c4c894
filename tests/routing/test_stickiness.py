"""What was created at a provider is asked for there, and nowhere else, whatever happens."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.routing import plays
from tests.routing.conftest import MakeWorld, Upstreams
from tests.routing.plays import Asked, Upstream, answer, error
from tests.routing.support import ROUTE, World, get, post
from tests.support.upstream import UpstreamConnection

AT_B = "x-openai-proxy-provider: b"


def form(path: str, *fields: str) -> bytes:
    """An upload of a file."""
    body = (
        b'--bound\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        b'--bound\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n{}\r\n--bound--\r\n'
    )
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: multipart/form-data; boundary=bound"]
    return "\r\n".join([*lines, *fields, f"Content-Length: {len(body)}", "", ""]).encode() + body


CREATED = {
    "responses": post("/v1/responses", {"model": ROUTE, "input": "hi"}, AT_B),
    "files": form("/v1/files", AT_B),
    "batches": post("/v1/batches", {"input_file_id": "file-0", "endpoint": "/v1/responses"}, AT_B),
    "conversations": post("/v1/conversations", {}, AT_B),
    "vector_stores": post("/v1/vector_stores", {"name": "n"}, AT_B),
    "uploads": post("/v1/uploads", {"filename": "f", "bytes": 1}, AT_B),
    "containers": post("/v1/containers", {"name": "n"}, AT_B),
}


def count(upstreams: Upstreams) -> dict[str, int]:
    """How many requests each had."""
    return {name: one.attempts for name, one in upstreams.items()}


async def created(proxy: World, kind: str) -> str:
    """The id of a new object at ``b``."""
    answered = await proxy.ask(CREATED[kind])
    assert answered.status == 200, answered.body
    assert answered.values(b"x-openai-proxy-provider") == [b"b"]
    return str(json.loads(answered.body)["id"])


@pytest.mark.parametrize("kind", list(CREATED))
async def test_it_is_asked_for_where_it_is(world: MakeWorld, upstreams: Upstreams, kind: str) -> None:
    """GET, DELETE and what is below it, by its id alone."""
    proxy = world(["a", "b", "c"])
    name = await created(proxy, kind)
    for method, path in [("GET", ""), ("GET", "/content"), ("POST", "/cancel"), ("DELETE", "")]:
        answered = await proxy.ask(get(f"/v1/{kind}/{name}{path}", method=method), method.encode())
        assert answered.values(b"x-openai-proxy-provider") == [b"b"]
    assert count(upstreams) == {"a": 0, "b": 5, "c": 0}


@pytest.mark.parametrize("kind", ["files", "responses"])
@pytest.mark.parametrize("status", [404, 409, 429, 500])
async def test_no_other_is_asked_when_it_fails(
    world: MakeWorld, upstreams: Upstreams, kind: str, status: int
) -> None:
    """The others do not have it: what its provider says is the answer."""
    proxy = world(["a", "b", "c"], retry={"attempts": 1})
    name = await created(proxy, kind)
    upstreams["b"].play = error(status)
    answered = await proxy.ask(get(f"/v1/{kind}/{name}"), b"GET")
    assert answered.status == status
    assert count(upstreams) == {"a": 0, "b": 2, "c": 0}
    assert (await proxy.numbers()).fallbacks == {}


async def test_its_provider_is_asked_again(world: MakeWorld, upstreams: Upstreams) -> None:
    """Itself, with a wait: that moves nothing."""
    proxy = world(["a", "b"], retry={"jitter": 0})
    name = await created(proxy, "files")
    upstreams["b"].played(error(503))
    sent = await proxy.begin(get(f"/v1/files/{name}"), b"GET")
    assert await proxy.wait_over() == 0.5
    assert (await proxy.end(sent)).status == 200
    assert count(upstreams) == {"a": 0, "b": 3}


async def test_nobody_is_asked_while_its_provider_is_open(world: MakeWorld, upstreams: Upstreams) -> None:
    """503, and when it may be tried again."""
    proxy = world(["a", "b"], retry={"attempts": 1}, breaker={"min_attempts": 1, "failure_ratio": 0.1})
    name = await created(proxy, "files")
    upstreams["b"].play = error(500)
    assert (await proxy.ask(get(f"/v1/files/{name}"), b"GET")).status == 500
    answered = await proxy.ask(get(f"/v1/files/{name}"), b"GET")
    assert (answered.status, answered.values(b"retry-after")) == (503, [b"15"])
    assert count(upstreams) == {"a": 0, "b": 2}


@pytest.mark.parametrize(
    "follows",
    [
        lambda name: {"previous_response_id": name},
        lambda name: {"conversation": name},
        lambda name: {"conversation": {"id": name}},
    ],
)
async def test_a_response_that_goes_on(world: MakeWorld, upstreams: Upstreams, follows: Any) -> None:
    """From a response or a conversation at ``b``: by the route's name, and never anywhere else."""
    proxy = world(["a", "b", "c"], retry={"attempts": 1})
    kind = "responses" if "previous_response_id" in follows("") else "conversations"
    name = await created(proxy, kind)
    content = {"model": ROUTE, "input": "and?", **follows(name)}
    answered = await proxy.ask(post("/v1/responses", content))
    assert (answered.status, answered.values(b"x-openai-proxy-provider")) == (200, [b"b"])
    upstreams["b"].play = error(500)
    assert (await proxy.ask(post("/v1/responses", content))).status == 500
    assert count(upstreams) == {"a": 0, "b": 3, "c": 0}


async def test_a_response_of_a_file(world: MakeWorld, upstreams: Upstreams) -> None:
    """One that names a file of ``b``'s goes there alone; one whose file nobody knows, as its model says."""
    proxy = world(["a", "b"], retry={"attempts": 1})
    name = await created(proxy, "files")

    def content(file: str) -> dict[str, Any]:
        return {
            "model": ROUTE,
            "input": [{"role": "user", "content": [{"type": "input_file", "file_id": file}]}],
        }

    answered = await proxy.ask(post("/v1/responses", content(name)))
    assert answered.values(b"x-openai-proxy-provider") == [b"b"]
    answered = await proxy.ask(post("/v1/responses", content("file-other")))
    assert answered.values(b"x-openai-proxy-provider") == [b"a"]


async def test_a_batch_of_a_file(world: MakeWorld, upstreams: Upstreams) -> None:
    """It is made where its file is; the files that it makes are there too, as its GET says."""
    proxy = world(["a", "b"])
    name = await created(proxy, "files")
    await proxy.ask(post("/v1/batches", {"input_file_id": name, "endpoint": "/v1/chat/completions"}))

    async def completed(upstream: Upstream, connection: UpstreamConnection, asked: Asked) -> None:
        said = {"id": "batches-b", "object": "batch", "output_file_id": "file-out", "error_file_id": None}
        connection.write(answer(200, said))

    upstreams["b"].played(completed)
    await proxy.ask(get("/v1/batches/batches-b"), b"GET")
    await proxy.ask(get("/v1/files/file-out/content"), b"GET")
    assert count(upstreams) == {"a": 0, "b": 4}


async def test_a_streamed_response(world: MakeWorld, upstreams: Upstreams) -> None:
    """Its id is in the stream's first event."""
    proxy = world(["a", "b"])
    made = {"id": "resp_1", "object": "response", "output": []}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": made},
        {"type": "response.output_text.delta", "delta": "hi"},
        {"type": "response.completed", "response": made},
    ]
    data = [
        plays.chunk(b"event: %b\ndata: %b\n\n" % (_type(one), json.dumps(one).encode())) for one in events
    ]
    upstreams["b"].played(plays.writes(plays.STREAM_HEAD, *data, plays.LAST_CHUNK, then=""))
    asked = post("/v1/responses", {"model": ROUTE, "input": "hi", "stream": True}, AT_B)
    assert (await proxy.ask(asked)).whole
    answered = await proxy.ask(get("/v1/responses/resp_1"), b"GET")
    assert answered.values(b"x-openai-proxy-provider") == [b"b"]


def _type(content: dict[str, Any]) -> bytes:
    return str(content["type"]).encode()


async def test_what_was_made_after_a_fallback(world: MakeWorld, upstreams: Upstreams) -> None:
    """It is where it was made in the end."""
    proxy = world(["a", "b"])
    upstreams["a"].played(error(500))
    made = await proxy.ask(post("/v1/responses", {"model": ROUTE, "input": "hi"}))
    assert made.values(b"x-openai-proxy-provider") == [b"b"]
    await proxy.ask(get(f"/v1/responses/{json.loads(made.body)['id']}"), b"GET")
    assert count(upstreams) == {"a": 1, "b": 2}


@pytest.mark.parametrize("kind", list(CREATED))
async def test_an_id_that_nobody_has_seen(world: MakeWorld, upstreams: Upstreams, kind: str) -> None:
    """It is the default provider's: made before the daemon was started, say. No other is tried."""
    proxy = world(["a", "b"], retry={"attempts": 1})
    upstreams["a"].play = error(404)
    answered = await proxy.ask(get(f"/v1/{kind}/x-unknown"), b"GET")
    assert (answered.status, count(upstreams)) == (404, {"a": 1, "b": 0})


async def test_a_provider_that_is_named_goes_before(world: MakeWorld, upstreams: Upstreams) -> None:
    """Who knows better may say so; the name is sent to nobody."""
    proxy = world(["a", "b"])
    name = await created(proxy, "files")
    await proxy.ask(get(f"/v1/files/{name}?provider=a&limit=1"), b"GET")
    await proxy.ask(get(f"/v1/files/{name}?limit=1", "X-OpenAI-Proxy-Provider: a"), b"GET")
    assert count(upstreams) == {"a": 2, "b": 1}
    for asked in upstreams["a"].asked:
        assert asked.target == f"/v1/files/{name}?limit=1"
        assert not asked.values("x-openai-proxy-provider")
