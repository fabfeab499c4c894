"""From target to target: how often each is asked, and which are passed over."""

from __future__ import annotations

from typing import Any

from tests.routing import plays
from tests.routing.conftest import MakeWorld, Upstreams
from tests.routing.plays import error
from tests.routing.support import chat

RETRY: dict[str, Any] = {"jitter": 0, "budget_min_per_second": 100}


async def test_twice_at_each(world: MakeWorld, upstreams: Upstreams) -> None:
    """``attempts_per_target``: the same one again, after a wait, and then the next."""
    proxy = world(["a", "b"], retry={**RETRY, "attempts": 4, "attempts_per_target": 2})
    upstreams["a"].play = error(500)
    upstreams["b"].played(error(503))
    sent = await proxy.begin(chat())
    assert await proxy.wait_over() == 0.5
    assert await proxy.wait_over() == 0.5
    answered = await proxy.end(sent)
    assert (answered.status, answered.values(b"x-openai-proxy-attempts")) == (200, [b"4"])
    numbers = await proxy.numbers()
    assert numbers.retries == {("a", "http_5xx"): 1, ("b", "http_5xx"): 1}
    assert numbers.fallbacks == {("a", "b", "http_5xx"): 1}
    assert numbers.attempts == {("a", "http_5xx"): 2, ("b", "http_5xx"): 1, ("b", "ok"): 1}


async def test_no_wait_where_another_is(world: MakeWorld, upstreams: Upstreams) -> None:
    """A target that wants to be left alone is, and the next one is asked at once."""
    proxy = world(["a", "b"], retry={**RETRY, "attempts_per_target": 2})
    upstreams["a"].play = error(503, "retry-after: 1")
    assert (await proxy.ask(chat())).values(b"x-openai-proxy-provider") == [b"b"]
    assert upstreams["a"].attempts == 1


async def test_no_more_than_all_attempts(world: MakeWorld, upstreams: Upstreams) -> None:
    """``attempts`` is of all targets together; the last one's own answer is the client's."""
    proxy = world(["a", "b", "c", "d"], retry={**RETRY, "attempts": 3})
    for name in ("a", "b", "c", "d"):
        upstreams[name].play = error(500, f"x-request-id: {name}")
    answered = await proxy.ask(chat())
    assert (answered.status, answered.values(b"x-request-id")) == (500, [b"c"])
    assert answered.values(b"x-should-retry") == [b"false"]
    assert [upstreams[name].attempts for name in ("a", "b", "c", "d")] == [1, 1, 1, 0]
    numbers = await proxy.numbers()
    assert numbers.requests == {("c", "500", "upstream_error"): 1}
    assert numbers.fallbacks == {("a", "b", "http_5xx"): 1, ("b", "c", "http_5xx"): 1}


async def test_the_last_ones_body_is_whole(world: MakeWorld, upstreams: Upstreams) -> None:
    """However long: those before it were thrown away, and their connections are fit for use."""
    proxy = world(["a", "b"], retry={**RETRY, "attempts": 2}, breaker={"enabled": False})
    content = {"error": {"message": "x" * 200_000, "type": "server_error"}}
    upstreams["b"].play = plays.writes(plays.answer(500, content), then="")
    upstreams["a"].play = error(500)
    for _ in range(3):
        answered = await proxy.ask(chat())
        assert (answered.status, answered.whole, len(answered.body) > 200_000) == (500, True, True)
    assert len(upstreams["a"].server.connections) == 1
    upstreams["a"].play, upstreams["b"].play = upstreams["b"].play, plays.healthy
    assert (await proxy.ask(chat())).status == 200


async def test_a_target_that_the_request_has_no_form_for(world: MakeWorld, upstreams: Upstreams) -> None:
    """It is passed over by a fallback, whose reason the client knows nothing of: here nobody is left."""
    proxy = world(["a", "b", "c"], **of_dialects(upstreams), retry=RETRY)
    upstreams["a"].play = error(500)
    untranslatable = chat(messages="hi")
    answered = await proxy.ask(untranslatable)
    assert (answered.status, answered.values(b"x-openai-proxy-provider")) == (200, [b"c"])
    assert upstreams["b"].attempts == 0
    numbers = await proxy.numbers()
    assert numbers.fallbacks == {("a", "c", "http_5xx"): 1}
    assert numbers.attempts == {("a", "http_5xx"): 1, ("c", "ok"): 1}


async def test_no_target_has_a_form_for_it(world: MakeWorld, upstreams: Upstreams) -> None:
    """Then what the one before said is the answer."""
    targets = {"targets": [{"provider": "a"}, {"provider": "b"}]}
    proxy = world(["a", "b", "c"], targets, **of_dialects(upstreams), retry=RETRY)
    upstreams["a"].play = error(500, "x-request-id: req_of_a")
    answered = await proxy.ask(chat(messages="hi"))
    assert (answered.status, answered.values(b"x-request-id")) == (500, [b"req_of_a"])
    assert (await proxy.numbers()).attempts == {("a", "http_5xx"): 1}


def of_dialects(upstreams: Upstreams) -> dict[str, Any]:
    """Providers, the second of which speaks Anthropic's."""
    made: dict[str, Any] = {
        name: {"base_url": upstreams[name].url, "api_key": f"env:KEY_{name.upper()}"} for name in "abc"
    }
    made["b"]["dialect"] = "anthropic"
    return {"providers": made}
