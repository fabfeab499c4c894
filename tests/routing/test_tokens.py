"""Keys that are fetched: a provider without one now is as one that is down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.routing import plays
from tests.routing.conftest import MakeWorld, Upstreams
from tests.routing.plays import error
from tests.routing.support import chat


def with_token(upstreams: Upstreams, file: Path, *names: str) -> dict[str, Any]:
    """Providers; the key of the first is in this file."""
    made: dict[str, Any] = {
        name: {"base_url": upstreams[name].url, "api_key": f"env:KEY_{name.upper()}"} for name in names
    }
    del made[names[0]]["api_key"]
    made[names[0]]["token"] = {"file": str(file)}
    return made


async def test_no_key_and_another_target(world: MakeWorld, upstreams: Upstreams, tmp_path: Path) -> None:
    """The next one has the request, with its own key; nothing was sent to the first, or counted for it."""
    file = tmp_path / "token"
    proxy = world(["a", "b"], providers=with_token(upstreams, file, "a", "b"))
    for stream in (False, True):
        answered = await proxy.ask(chat("authorization: Bearer sk-client", stream=stream))
        assert (answered.status, answered.values(b"x-openai-proxy-provider")) == (200, [b"b"])
        assert answered.values(b"x-openai-proxy-attempts") == [b"1"]
    assert upstreams["a"].attempts == 0
    assert [asked.values("authorization") for asked in upstreams["b"].asked] == [["Bearer sk-of-b"]] * 2
    numbers = await proxy.numbers()
    assert numbers.attempts == {("b", "ok"): 2}
    assert numbers.fallbacks == {("a", "b", "connect_error"): 2}
    file.write_text("sk-fetched\n")
    proxy.pass_time(10)
    assert (await proxy.ask(chat())).values(b"x-openai-proxy-provider") == [b"a"]
    assert upstreams["a"].asked[0].values("authorization") == ["Bearer sk-fetched"]


async def test_no_key_and_no_other_target(world: MakeWorld, upstreams: Upstreams, tmp_path: Path) -> None:
    """The client is told so, and not that its own key is wrong."""
    providers = with_token(upstreams, tmp_path / "token", "a")
    proxy = world(["a"], providers=providers, retry={"attempts": 1})
    answered = await proxy.ask(chat("authorization: Bearer sk-client"))
    assert answered.status == 502
    assert b"upstream_key_unavailable" in answered.body
    assert upstreams["a"].attempts == 0
    numbers = await proxy.numbers()
    assert numbers.requests == {("a", "502", "upstream_connect_error"): 1}
    assert numbers.attempts == {}


async def test_a_key_that_is_refused(world: MakeWorld, upstreams: Upstreams, tmp_path: Path) -> None:
    """The client has the 401 as it is, and the next request has a fresh key."""
    file = tmp_path / "token"
    file.write_text("sk-old")
    proxy = world(["a", "b"], providers=with_token(upstreams, file, "a", "b"))
    upstreams["a"].played(plays.healthy, error(401))
    assert (await proxy.ask(chat())).status == 200
    file.write_text("sk-new")
    proxy.pass_time(60)
    assert (await proxy.ask(chat())).status == 401
    assert (await proxy.ask(chat())).status == 200
    sent = [asked.values("authorization") for asked in upstreams["a"].asked]
    assert sent == [["Bearer sk-old"], ["Bearer sk-old"], ["Bearer sk-new"]]
    assert upstreams["b"].attempts == 0
