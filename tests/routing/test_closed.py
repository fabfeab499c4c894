"""No target may be asked: they have failed too often, or have no limit left. And how they come back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.faults.support import Answer
from tests.routing import plays
from tests.routing.conftest import MakeWorld, Upstreams
from tests.routing.plays import ROLE, STREAM_HEAD, delta, error, healthy
from tests.routing.support import ROUTE, World, chat, get, post

NO_RETRY = {"attempts": 1}
BREAKER = {"min_attempts": 1, "open_seconds": 60, "failure_ratio": 1}
MESSAGES = post("/v1/messages", {"model": ROUTE, "max_tokens": 1, "messages": []})


def told(answer: Answer) -> dict[str, Any]:
    """The error in an answer, in either dialect."""
    content: dict[str, Any] = json.loads(answer.body)
    return dict(content["error"])


async def opened(world: MakeWorld, upstreams: Upstreams, *names: str, **document: Any) -> World:
    """A daemon whose targets have all failed just now."""
    proxy = world(list(names), retry={"jitter": 0}, breaker={**BREAKER, **document})
    for name in names:
        upstreams[name].play = error(500)
    assert (await proxy.ask(chat())).status == 500
    assert [upstreams[name].attempts for name in names] == [1] * len(names)
    return proxy


async def test_all_are_open(world: MakeWorld, upstreams: Upstreams) -> None:
    """503 at once, with the time after which the first of them is tried again."""
    proxy = await opened(world, upstreams, "a", "b")
    proxy.pass_time(20.5)
    for stream in (False, True):
        answered = await proxy.ask(chat(stream=stream))
        assert (answered.status, answered.values(b"retry-after")) == (503, [b"40"])
        assert told(answered)["code"] == "circuit_open"
        assert answered.values(b"x-openai-proxy-attempts") == [b"0"]
    assert [one.attempts for one in upstreams.values()] == [1, 1]
    numbers = await proxy.numbers()
    assert numbers.requests == {
        ("b", "500", "upstream_error"): 1,
        ("none", "503", "proxy_circuit_open"): 2,
    }
    assert numbers.attempts == {("a", "http_5xx"): 1, ("b", "http_5xx"): 1}
    assert numbers.fallbacks == {("a", "b", "http_5xx"): 1}
    assert numbers.open_circuits == {("a", "open"): 1, ("b", "open"): 1}
    assert numbers.of("openai_proxy_errors_total", "provider", "source", "code") == {
        ("none", "proxy", "circuit_open"): 2,
        ("b", "upstream", "other"): 1,
    }


async def test_all_are_open_in_the_dialect_of_messages(world: MakeWorld, upstreams: Upstreams) -> None:
    """Said as Anthropic says it."""
    proxy = await opened(world, upstreams, "a", "b")
    answered = await proxy.ask(MESSAGES)
    assert (answered.status, answered.values(b"retry-after")) == (503, [b"60"])
    assert told(answered)["type"] == "api_error"


@pytest.mark.parametrize("request_", [chat(), MESSAGES], ids=["chat", "messages"])
async def test_all_rest(world: MakeWorld, upstreams: Upstreams, request_: bytes) -> None:
    """429, with the time until the first limit is there again; then it is asked."""
    proxy = world(["a", "b"], retry=NO_RETRY)
    upstreams["a"].played(error(429, "retry-after: 50"))
    upstreams["b"].played(error(429, "retry-after: 30"))
    first = await proxy.ask(chat())
    assert (first.status, first.values(b"retry-after")) == (429, [b"50"])
    # With one attempt alone, it takes two requests until both rest.
    second = await proxy.ask(chat())
    assert (second.status, second.values(b"retry-after")) == (429, [b"30"])
    answered = await proxy.ask(request_)
    assert (answered.status, answered.values(b"retry-after")) == (429, [b"30"])
    assert told(answered)["type"] == "rate_limit_error"
    numbers = await proxy.numbers()
    assert numbers.of("openai_proxy_target_resting", "provider") == {"a": 1, "b": 1}
    assert numbers.requests == {
        ("a", "429", "upstream_rate_limited"): 1,
        ("b", "429", "upstream_rate_limited"): 1,
        ("none", "429", "upstream_rate_limited"): 1,
    }
    assert numbers.open_circuits == {}
    proxy.pass_time(30.125)
    assert (await proxy.ask(chat())).values(b"x-openai-proxy-provider") == [b"b"]
    proxy.pass_time(20)
    assert (await proxy.ask(chat())).values(b"x-openai-proxy-provider") == [b"a"]


async def test_one_is_open_and_one_rests(world: MakeWorld, upstreams: Upstreams) -> None:
    """What ends first is what the client is told of."""
    proxy = world(["a", "b"], retry={"jitter": 0}, breaker=BREAKER)
    upstreams["a"].play = error(500)
    upstreams["b"].play = error(429, "retry-after: 30")
    assert (await proxy.ask(chat())).status == 429
    answered = await proxy.ask(chat())
    assert (answered.status, answered.values(b"retry-after")) == (429, [b"30"])
    proxy.pass_time(30.125)
    upstreams["b"].play = error(500)
    assert (await proxy.ask(chat())).status == 500
    answered = await proxy.ask(chat())
    assert (answered.status, answered.values(b"retry-after")) == (503, [b"30"])


async def test_a_rest_has_a_bound(world: MakeWorld, upstreams: Upstreams) -> None:
    """A day's limit may be raised meanwhile."""
    proxy = world(["a"], retry=NO_RETRY, breaker={"rest_max_seconds": 100})
    upstreams["a"].played(error(429, "retry-after: 86400"))
    assert (await proxy.ask(chat())).status == 429
    assert (await proxy.ask(chat())).values(b"retry-after") == [b"100"]
    proxy.pass_time(100.125)
    assert (await proxy.ask(chat())).status == 200


async def test_a_clients_own_limit_is_no_others(world: MakeWorld, upstreams: Upstreams) -> None:
    """Where the key is the client's, its 429 is no reason to let others wait."""
    of = {"a": {"base_url": upstreams["a"].url}}
    proxy = world(["a"], retry=NO_RETRY, providers=of)
    upstreams["a"].played(error(429, "retry-after: 50"))
    assert (await proxy.ask(chat("authorization: Bearer one"))).status == 429
    assert (await proxy.ask(chat("authorization: Bearer other"))).status == 200


async def test_one_trial_at_a_time(world: MakeWorld, upstreams: Upstreams) -> None:
    """While it is on its way others are not sent there; its good beginning is the end of it."""
    proxy = world(["a", "b"], {"timeouts": {"first_token_seconds": 600}}, breaker=BREAKER)
    upstreams["a"].played(error(500), plays.waits())
    assert (await proxy.ask(chat())).status == 200
    proxy.pass_time(60.125)
    trial = await proxy.begin(chat(stream=True))
    await proxy.until(lambda: upstreams["a"].attempts == 2)
    answers = [await proxy.ask(chat()) for _ in range(3)]
    assert [answer.values(b"x-openai-proxy-provider") for answer in answers] == [[b"b"]] * 3
    assert (await proxy.numbers_now()).open_circuits == {("a", "half_open"): 1}
    connection = upstreams["a"].asked[1].connection
    connection.write(STREAM_HEAD + ROLE + delta({"content": "begun"}))
    await proxy.until(lambda: b"begun" in trial.client.received)
    assert (await proxy.numbers_now()).open_circuits == {}
    assert (await proxy.ask(chat())).values(b"x-openai-proxy-provider") == [b"a"]
    connection.write(delta({}, "stop") + plays.chunk(b"data: [DONE]\n\n") + plays.LAST_CHUNK)
    assert (await proxy.end(trial)).whole
    numbers = await proxy.numbers()
    assert numbers.transitions("a") == {"open": 1, "half_open": 1, "closed": 1}
    assert numbers.fallbacks == {("a", "b", "http_5xx"): 1, ("a", "b", "circuit_open"): 3}


async def test_a_single_target_on_trial(world: MakeWorld, upstreams: Upstreams) -> None:
    """Others are told to come back soon."""
    proxy = await opened(world, upstreams, "a")
    upstreams["a"].play = plays.waits()
    proxy.pass_time(60.125)
    trial = await proxy.begin(chat())
    await proxy.until(lambda: upstreams["a"].attempts == 2)
    answered = await proxy.ask(chat())
    assert (answered.status, answered.values(b"retry-after")) == (503, [b"1"])
    asked = upstreams["a"].asked[1]
    asked.connection.write(plays.made_by("a", asked))
    asked.connection.close()
    assert (await proxy.end(trial)).status == 200
    upstreams["a"].play = healthy
    assert (await proxy.ask(chat())).status == 200


async def test_a_trial_whose_client_leaves(world: MakeWorld, upstreams: Upstreams) -> None:
    """It says nothing, and the next request is one."""
    proxy = await opened(world, upstreams, "a")
    upstreams["a"].play = plays.waits()
    proxy.pass_time(60.125)
    for trial in (2, 3, 4):
        sent = await proxy.begin(chat())
        await proxy.until(lambda: upstreams["a"].attempts == trial)  # noqa: B023
        sent.client.abort()
        await proxy.settled()
    upstreams["a"].play = healthy
    assert (await proxy.ask(chat())).status == 200
    assert (await proxy.numbers()).transitions("a") == {"open": 1, "half_open": 1, "closed": 1}


@pytest.mark.parametrize("status", [400, 404, 429])
async def test_a_trial_that_is_refused(world: MakeWorld, upstreams: Upstreams, status: int) -> None:
    """Whoever says that a request is wrong is alive."""
    proxy = await opened(world, upstreams, "a")
    upstreams["a"].play = error(status, "x-should-retry: false")
    proxy.pass_time(60.125)
    assert (await proxy.ask(chat())).status == status
    assert (await proxy.numbers()).open_circuits == {}


async def test_a_good_share_keeps_it_closed(world: MakeWorld, upstreams: Upstreams) -> None:
    """Failures below the ratio, or too few of them to say: it stays closed."""
    breaker = {"min_attempts": 6, "failure_ratio": 0.5, "window_seconds": 1000}
    proxy = world(["a"], retry=NO_RETRY, breaker=breaker)
    for good in (False, True, True, False, True, True, False, True):
        upstreams["a"].played(healthy if good else error(500))
        assert (await proxy.ask(chat())).status == (200 if good else 500)
    assert (await proxy.numbers()).open_circuits == {}
    upstreams["a"].play = error(500)
    assert (await proxy.ask(chat())).status == 500
    # 4 of 9, then 5 of 10.
    assert (await proxy.numbers()).open_circuits == {}
    assert (await proxy.ask(chat())).status == 500
    assert (await proxy.numbers()).open_circuits == {("a", "open"): 1}


async def test_targets_of_one_provider_have_breakers_of_their_own(
    world: MakeWorld, upstreams: Upstreams
) -> None:
    """A model that fails is no reason to leave the provider's others alone."""
    targets = [{"provider": "a", "model": "weak"}, {"provider": "a", "model": "well"}]
    proxy = world(["a"], {"targets": targets}, breaker=BREAKER)

    async def by_model(upstream: plays.Upstream, connection: Any, asked: plays.Asked) -> None:
        await (error(500) if asked.json["model"] == "weak" else healthy)(upstream, connection, asked)

    upstreams["a"].play = by_model
    for _ in range(3):
        answered = await proxy.ask(chat())
        assert (answered.status, answered.values(b"x-openai-proxy-model")) == (200, [b"well"])
    assert [asked.json["model"] for asked in upstreams["a"].asked] == ["weak", "well", "well", "well"]
    numbers = await proxy.numbers()
    assert numbers.of("openai_proxy_circuit_state", "model", "state", provider="a")[("weak", "open")] == 1
    assert numbers.fallbacks == {("a", "a", "http_5xx"): 1, ("a", "a", "circuit_open"): 2}


async def test_without_breakers(world: MakeWorld, upstreams: Upstreams) -> None:
    """They can be switched off: then each request asks the first target again, though it should rest."""
    proxy = world(["a", "b"], breaker={**BREAKER, "enabled": False})
    for play in (error(500), error(429, "retry-after: 60")):
        upstreams["a"].play = play
        for _ in range(5):
            assert (await proxy.ask(chat())).status == 200
    assert upstreams["a"].attempts == 10


async def test_the_transparent_way_is_nobody_elses(world: MakeWorld, upstreams: Upstreams) -> None:
    """One attempt, the provider's own answer, no field of ours; an open circuit does not close it."""
    proxy = await opened(world, upstreams, "a", "b")
    for _ in range(3):
        answered = await proxy.ask(get("/a/v1/models"), b"GET")
        assert answered.status == 500
        assert not [name for name, _ in answered.fields if name.startswith(b"x-openai-proxy")]
    assert (upstreams["a"].attempts, upstreams["b"].attempts) == (4, 1)
