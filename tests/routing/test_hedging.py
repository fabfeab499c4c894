"""The first token is late: a second target is asked beside the first, and the faster one is the answer."""

from __future__ import annotations

from typing import Any

import pytest

from openai_proxy.observe.usage import Usage
from openai_proxy.policy.cost import cost_picodollars
from openai_proxy.policy.prices import Prices
from tests.routing import plays
from tests.routing.conftest import MakeWorld, Upstreams
from tests.routing.plays import ROLE, STREAM_HEAD, USAGE, error, healthy
from tests.routing.support import Sent, World, chat, providers

HEDGE: dict[str, Any] = {"enabled": True, "min_samples": 1, "min_seconds": 1, "max_ratio": 1}
MODEL = "gpt-4o-mini"
SLOW = plays.waits(STREAM_HEAD + ROLE)
STREAM = chat(stream=True)


async def warmed(world: MakeWorld, upstreams: Upstreams, *names: str, **document: Any) -> World:
    """A daemon that knows how long a first token takes: one stream was answered by the first target."""
    targets = [{"provider": name, "model": MODEL} for name in names]
    of = {name: upstreams[name] for name in names}
    document = {"hedge": HEDGE, "providers": providers(of, priced_as="openai"), **document}
    proxy = world(list(names), {"targets": targets}, **document)
    assert (await proxy.ask(STREAM)).status == 200
    upstreams[names[0]].asked.clear()
    return proxy


async def both_asked(proxy: World, upstreams: Upstreams) -> Sent:
    """A stream whose first target is slow, so that the second is asked too."""
    sent = await proxy.begin(STREAM)
    await proxy.until(lambda: upstreams["a"].attempts == 1)
    await proxy.turns(20)
    assert upstreams["b"].attempts == 0
    assert await proxy.wait_over() == 1
    await proxy.until(lambda: upstreams["b"].attempts == 1)
    return sent


def input_cost() -> float:
    """What the question costs at the model's price, in dollars."""
    price = Prices.load(None).price_of("openai", MODEL, None, 0.0)
    assert price is not None
    picodollars = cost_picodollars(Usage(input_tokens=USAGE["prompt_tokens"]), price)
    assert picodollars
    return picodollars / 1e12


async def test_the_second_one_is_faster(world: MakeWorld, upstreams: Upstreams) -> None:
    """Its answer is the client's, the slow one is cancelled, and its question was paid for nothing."""
    proxy = await warmed(world, upstreams, "a", "b", "c")
    upstreams["a"].play = SLOW
    sent = await both_asked(proxy, upstreams)
    answered = await proxy.end(sent)
    assert (answered.status, answered.whole) == (200, True)
    assert (answered.body.count(b'"role"'), answered.body.count(b"[DONE]")) == (1, 1)
    assert answered.values(b"x-openai-proxy-provider") == [b"b"]
    assert answered.values(b"x-openai-proxy-attempts") == [b"2"]
    assert await upstreams["a"].asked[0].connection.end() == "RST"
    assert upstreams["c"].attempts == 0
    numbers = await proxy.numbers()
    assert numbers.hedges == {("b", "won"): 1}
    assert numbers.attempts == {("a", "ok"): 1, ("a", "aborted"): 1, ("b", "ok"): 1}
    assert numbers.requests == {("a", "200", "ok"): 1, ("b", "200", "ok"): 1}
    assert numbers.of("openai_proxy_hedge_wasted_cost_usd_total", "provider") == {
        "a": pytest.approx(input_cost())
    }
    assert (numbers.fallbacks, numbers.retries, numbers.open_circuits) == ({}, {}, {})


async def test_the_first_one_is_faster_after_all(world: MakeWorld, upstreams: Upstreams) -> None:
    """The second one is cancelled, and was for nothing."""
    proxy = await warmed(world, upstreams, "a", "b")
    upstreams["a"].play = plays.waits()
    upstreams["b"].play = SLOW
    sent = await both_asked(proxy, upstreams)
    await proxy.turns(20)
    asked = upstreams["a"].asked[0]
    asked.connection.write(plays.made_by("a", asked))
    answered = await proxy.end(sent)
    assert (answered.status, answered.whole) == (200, True)
    assert answered.values(b"x-openai-proxy-provider") == [b"a"]
    assert await upstreams["b"].asked[0].connection.end() == "RST"
    numbers = await proxy.numbers()
    assert numbers.hedges == {("b", "lost"): 1}
    assert numbers.attempts == {("a", "ok"): 2, ("b", "aborted"): 1}
    wasted = numbers.of("openai_proxy_hedge_wasted_cost_usd_total", "provider")
    assert wasted == {"b": pytest.approx(input_cost())}


async def test_a_head_is_no_token(world: MakeWorld, upstreams: Upstreams) -> None:
    """Who sends a head and a first event has not won yet."""
    proxy = await warmed(world, upstreams, "a", "b")
    upstreams["a"].play = SLOW
    upstreams["b"].play = SLOW
    sent = await both_asked(proxy, upstreams)
    await proxy.turns(20)
    assert not sent.client.received
    asked = upstreams["b"].asked[0]
    asked.connection.write(plays.chat_stream("b").removeprefix(STREAM_HEAD + ROLE))
    answered = await proxy.end(sent)
    assert answered.values(b"x-openai-proxy-provider") == [b"b"]
    assert answered.body.count(b'"role"') == 1


@pytest.mark.parametrize("fails", ["a", "b"])
async def test_one_of_both_fails(world: MakeWorld, upstreams: Upstreams, fails: str) -> None:
    """The other one is waited for: no third attempt, and no word of it to the client."""
    other = "b" if fails == "a" else "a"
    proxy = await warmed(world, upstreams, "a", "b", "c")
    upstreams["a"].play = upstreams["b"].play = plays.waits()
    sent = await both_asked(proxy, upstreams)
    failed = upstreams[fails].asked[0]
    await error(500)(upstreams[fails], failed.connection, failed)
    await proxy.turns(20)
    assert sent.answer is None
    asked = upstreams[other].asked[0]
    asked.connection.write(plays.made_by(other, asked))
    answered = await proxy.end(sent)
    assert (answered.status, answered.whole) == (200, True)
    assert answered.values(b"x-openai-proxy-provider") == [other.encode()]
    assert answered.values(b"x-openai-proxy-attempts") == [b"2"]
    assert upstreams["c"].attempts == 0
    numbers = await proxy.numbers()
    assert numbers.attempts[(fails, "http_5xx")] == 1
    assert numbers.hedges == {("b", "won" if other == "b" else "lost"): 1}
    # Nobody was faster than it.
    assert numbers.of("openai_proxy_hedge_wasted_cost_usd_total", "provider") == {}


async def test_both_fail(world: MakeWorld, upstreams: Upstreams) -> None:
    """Then the next one is asked, as always."""
    proxy = await warmed(world, upstreams, "a", "b", "c")
    upstreams["a"].play = upstreams["b"].play = plays.waits()
    sent = await both_asked(proxy, upstreams)
    for name in ("a", "b"):
        failed = upstreams[name].asked[0]
        await error(500)(upstreams[name], failed.connection, failed)
        await proxy.turns(20)
    answered = await proxy.end(sent)
    assert answered.status == 200
    assert answered.values(b"x-openai-proxy-attempts") == [b"3"]
    numbers = await proxy.numbers()
    assert numbers.attempts == {
        ("a", "ok"): 1,
        ("a", "http_5xx"): 1,
        ("b", "http_5xx"): 1,
        ("c", "ok"): 1,
    }
    assert numbers.hedges == {("b", "lost"): 1}
    assert numbers.fallbacks == {("b", "c", "http_5xx"): 1}


async def test_a_first_one_that_fails_soon(world: MakeWorld, upstreams: Upstreams) -> None:
    """What follows in its stead is not hedged: the first one is slow no more, and nobody is beside it."""
    proxy = await warmed(world, upstreams, "a", "b", "c")
    upstreams["a"].play = upstreams["b"].play = plays.waits()
    sent = await proxy.begin(STREAM)
    await proxy.until(lambda: upstreams["a"].attempts == 1)
    await proxy.turns(20)
    proxy.pass_time(0.5)
    failed = upstreams["a"].asked[0]
    await error(500)(upstreams["a"], failed.connection, failed)
    await proxy.until(lambda: upstreams["b"].attempts == 1)
    assert not proxy.waits
    proxy.pass_time(10)
    await proxy.turns(20)
    asked = upstreams["b"].asked[0]
    asked.connection.write(plays.made_by("b", asked))
    answered = await proxy.end(sent)
    assert answered.values(b"x-openai-proxy-provider") == [b"b"]
    assert answered.values(b"x-openai-proxy-attempts") == [b"2"]
    assert upstreams["c"].attempts == 0
    numbers = await proxy.numbers()
    assert numbers.hedges == {}
    assert numbers.attempts == {("a", "ok"): 1, ("a", "http_5xx"): 1, ("b", "ok"): 1}


async def test_no_more_than_a_share(world: MakeWorld, upstreams: Upstreams) -> None:
    """Of the requests, however many of them are slow."""
    proxy = await warmed(world, upstreams, "a", "b", hedge={**HEDGE, "max_ratio": 0.1})
    upstreams["a"].play = plays.waits()
    sent = [await proxy.begin(STREAM) for _ in range(29)]
    await proxy.until(lambda: upstreams["a"].attempts == 29)
    proxy.pass_time(1)
    await proxy.turns(20)
    assert not proxy.waits
    await proxy.until(lambda: upstreams["b"].attempts == 3)
    await proxy.turns(20)
    for asked in upstreams["a"].asked:
        asked.connection.write(plays.made_by("a", asked) if asked.connection.ended is None else b"")
    answers = [await proxy.end(one) for one in sent]
    assert {(answer.status, answer.whole) for answer in answers} == {(200, True)}
    assert upstreams["b"].attempts == 3
    numbers = await proxy.numbers()
    assert sum(numbers.hedges.values()) == 3
    assert sum(numbers.attempts.values()) == 1 + 29 + 3


async def test_off_by_default(world: MakeWorld, upstreams: Upstreams) -> None:
    """And for a route that wants none."""
    for document in ({"hedge": {**HEDGE, "enabled": False}}, {"route": {"hedge": False}, "hedge": HEDGE}):
        upstreams["a"].play = healthy
        proxy = world(["a", "b"], **document)
        assert (await proxy.ask(STREAM)).status == 200
        upstreams["a"].play = plays.waits()
        before = upstreams["a"].attempts
        sent = await proxy.begin(STREAM)
        await proxy.until(lambda: upstreams["a"].attempts == before + 1)  # noqa: B023
        await proxy.turns(20)
        assert not proxy.waits
        asked = upstreams["a"].asked[-1]
        asked.connection.write(plays.made_by("a", asked))
        assert (await proxy.end(sent)).status == 200
        assert upstreams["b"].attempts == 0


async def test_a_route_that_is_hedged_alone(world: MakeWorld, upstreams: Upstreams) -> None:
    """Where it is off for all others."""
    proxy = world(["a", "b"], {"hedge": True}, hedge={**HEDGE, "enabled": False})
    assert (await proxy.ask(STREAM)).status == 200
    upstreams["a"].asked.clear()
    upstreams["a"].play = SLOW
    answered = await proxy.end(await both_asked(proxy, upstreams))
    assert answered.values(b"x-openai-proxy-provider") == [b"b"]


async def test_json_is_not_hedged(world: MakeWorld, upstreams: Upstreams) -> None:
    """It has no first token."""
    proxy = await warmed(world, upstreams, "a", "b")
    upstreams["a"].play = plays.waits()
    sent = await proxy.begin(chat())
    await proxy.until(lambda: upstreams["a"].attempts == 1)
    await proxy.turns(20)
    assert not proxy.waits
    sent.client.abort()
    await proxy.settled()
    assert upstreams["b"].attempts == 0


@pytest.mark.parametrize("leaving", ["close", "abort"])
async def test_a_client_that_leaves(world: MakeWorld, upstreams: Upstreams, leaving: str) -> None:
    """Both are cancelled; it is nobody's failure."""
    proxy = await warmed(world, upstreams, "a", "b", breaker={"min_attempts": 1})
    upstreams["a"].play = upstreams["b"].play = SLOW
    sent = await both_asked(proxy, upstreams)
    await proxy.turns(20)
    getattr(sent.client, leaving)()
    for name in ("a", "b"):
        assert await upstreams[name].asked[0].connection.end() == "RST"
    await proxy.settled()
    assert not proxy.waits
    numbers = await proxy.numbers()
    assert numbers.attempts == {("a", "ok"): 1, ("a", "aborted"): 1, ("b", "aborted"): 1}
    assert numbers.of("http_requests_total", "status", "outcome") == {
        ("200", "ok"): 1,
        ("499", "client_disconnect"): 1,
    }
    assert numbers.of("openai_proxy_client_disconnects_total", "phase") == {"before_first_byte": 1}
    assert numbers.open_circuits == {}


async def test_a_client_that_leaves_before(world: MakeWorld, upstreams: Upstreams) -> None:
    """Then no second one is asked."""
    proxy = await warmed(world, upstreams, "a", "b")
    upstreams["a"].play = plays.waits()
    sent = await proxy.begin(STREAM)
    await proxy.until(lambda: upstreams["a"].attempts == 1)
    await proxy.turns(20)
    sent.client.abort()
    await proxy.settled()
    assert not proxy.waits
    assert upstreams["b"].attempts == 0


async def test_a_second_one_that_is_open_is_not_asked(world: MakeWorld, upstreams: Upstreams) -> None:
    """The one behind it is."""
    proxy = await warmed(world, upstreams, "a", "b", "c", breaker={"min_attempts": 1, "open_seconds": 500})
    upstreams["a"].played(error(409))
    upstreams["b"].played(error(500))
    assert (await proxy.ask(chat())).values(b"x-openai-proxy-provider") == [b"c"]
    for one in upstreams.values():
        one.asked.clear()
    upstreams["a"].play = SLOW
    sent = await proxy.begin(STREAM)
    await proxy.until(lambda: upstreams["a"].attempts == 1)
    await proxy.turns(20)
    assert await proxy.wait_over() == 1
    answered = await proxy.end(sent)
    assert answered.values(b"x-openai-proxy-provider") == [b"c"]
    assert upstreams["b"].attempts == 0
    assert (await proxy.numbers()).hedges == {("c", "won"): 1}
