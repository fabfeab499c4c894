"""How long a route waits: for a head, for a first token, for all attempts together."""

from __future__ import annotations

from tests.routing import plays
from tests.routing.conftest import MakeWorld, Upstreams
from tests.routing.plays import ROLE, STREAM_HEAD, delta, error
from tests.routing.support import World, chat

RETRY = {"jitter": 0, "budget_min_per_second": 100}


async def wait_there(proxy: World, upstreams: Upstreams, name: str, attempts: int) -> None:
    """The ``attempts``-th request is at this upstream, and what it wrote has been read."""
    await proxy.until(lambda: upstreams[name].attempts == attempts)
    await proxy.turns(20)


async def test_a_head_that_does_not_come(world: MakeWorld, upstreams: Upstreams) -> None:
    """Past the route's own patience the next target is asked, not before."""
    proxy = world(["a", "b"], {"timeouts": {"head_seconds": 5}})
    upstreams["a"].play = plays.waits()
    sent = await proxy.begin(chat())
    await wait_there(proxy, upstreams, "a", 1)
    proxy.pass_time(4.875)
    await proxy.turns()
    assert upstreams["b"].attempts == 0
    proxy.pass_time(0.125)
    assert (await proxy.end(sent)).status == 200
    # Nobody works for nobody: the slow one is told.
    assert await upstreams["a"].asked[0].connection.end() == "RST"
    numbers = await proxy.numbers()
    assert numbers.attempts == {("a", "timeout"): 1, ("b", "ok"): 1}
    assert numbers.fallbacks == {("a", "b", "timeout"): 1}


async def test_one_target_that_never_answers(world: MakeWorld, upstreams: Upstreams) -> None:
    """Asked again as often as allowed, and then the client is told, in our words."""
    proxy = world(["a"], {"timeouts": {"head_seconds": 5}}, retry=RETRY)
    upstreams["a"].play = plays.waits()
    sent = await proxy.begin(chat())
    for attempt in (1, 2, 3):
        await wait_there(proxy, upstreams, "a", attempt)
        assert await proxy.wait_over() == 5
        if attempt < 3:
            assert await proxy.wait_over() == 0.5 * attempt
    answered = await proxy.end(sent)
    assert (answered.status, answered.values(b"x-should-retry")) == (504, [b"false"])
    assert b"upstream_timeout" in answered.body
    assert answered.values(b"x-openai-proxy-attempts") == [b"3"]
    numbers = await proxy.numbers()
    assert numbers.attempts == {("a", "timeout"): 3}
    assert numbers.requests == {("a", "504", "upstream_timeout"): 1}


async def test_a_first_token_that_does_not_come(world: MakeWorld, upstreams: Upstreams) -> None:
    """The time runs from the request's sending: neither head nor first event begin it anew."""
    proxy = world(["a", "b"], {"timeouts": {"first_token_seconds": 5}})
    upstreams["a"].play = plays.writes(STREAM_HEAD, ROLE, then="")
    sent = await proxy.begin(chat(stream=True))
    await wait_there(proxy, upstreams, "a", 1)
    proxy.pass_time(3)
    await proxy.turns()
    connection = upstreams["a"].asked[0].connection
    connection.write(ROLE)
    await proxy.turns()
    proxy.pass_time(1.875)
    await proxy.turns()
    assert upstreams["b"].attempts == 0
    proxy.pass_time(0.125)
    answered = await proxy.end(sent)
    assert (answered.status, answered.body.count(b'"role"')) == (200, 1)
    assert await connection.end() == "RST"
    assert (await proxy.numbers()).fallbacks == {("a", "b", "timeout"): 1}


async def test_a_first_token_in_time(world: MakeWorld, upstreams: Upstreams) -> None:
    """Behind it a stream may take as long as it likes."""
    timeouts = {"head_seconds": 3, "first_token_seconds": 5, "total_seconds": 6}
    proxy = world(["a", "b"], {"timeouts": timeouts})
    upstreams["a"].play = plays.writes(STREAM_HEAD + ROLE, then="")
    sent = await proxy.begin(chat(stream=True))
    await wait_there(proxy, upstreams, "a", 1)
    proxy.pass_time(4.875)
    connection = upstreams["a"].asked[0].connection
    connection.write(delta({"content": "slow"}))
    await proxy.until(lambda: b"slow" in sent.client.received)
    assert not proxy.waits
    proxy.pass_time(500)
    await proxy.turns()
    connection.write(delta({}, "stop") + plays.chunk(b"data: [DONE]\n\n") + plays.LAST_CHUNK)
    answered = await proxy.end(sent)
    assert (answered.whole, upstreams["b"].attempts) == (True, 0)
    assert (await proxy.numbers()).requests == {("a", "200", "ok"): 1}


async def test_json_has_no_first_token(world: MakeWorld, upstreams: Upstreams) -> None:
    """What is no stream may take longer than a first token may."""
    proxy = world(["a", "b"], {"timeouts": {"first_token_seconds": 5}})
    upstreams["a"].play = plays.waits()
    sent = await proxy.begin(chat())
    await wait_there(proxy, upstreams, "a", 1)
    proxy.pass_time(100)
    await proxy.turns()
    asked = upstreams["a"].asked[0]
    asked.connection.write(plays.made_by("a", asked))
    assert (await proxy.end(sent)).status == 200
    assert upstreams["b"].attempts == 0


async def test_all_attempts_together(world: MakeWorld, upstreams: Upstreams) -> None:
    """At the total's end the client is told, however much the attempts may still have."""
    proxy = world(["a", "b", "c"], {"timeouts": {"head_seconds": 5, "total_seconds": 8}}, retry=RETRY)
    for name in ("a", "b"):
        upstreams[name].play = plays.waits()
    sent = await proxy.begin(chat())
    await wait_there(proxy, upstreams, "a", 1)
    assert await proxy.wait_over() == 5
    await wait_there(proxy, upstreams, "b", 1)
    assert await proxy.wait_over() == 3
    answered = await proxy.end(sent)
    assert (answered.status, upstreams["c"].attempts) == (504, 0)
    assert answered.values(b"x-openai-proxy-attempts") == [b"2"]
    assert answered.values(b"x-should-retry") == [b"false"]
    numbers = await proxy.numbers()
    assert numbers.attempts == {("a", "timeout"): 1, ("b", "timeout"): 1}
    assert numbers.requests == {("b", "504", "upstream_timeout"): 1}


async def test_no_wait_longer_than_the_total(world: MakeWorld, upstreams: Upstreams) -> None:
    """A back-off that would end behind it is not begun."""
    proxy = world(["a"], {"timeouts": {"total_seconds": 1.25}}, retry=RETRY)
    upstreams["a"].play = error(500)
    sent = await proxy.begin(chat())
    assert await proxy.wait_over() in (0.5, 1.25)
    answered = await proxy.end(sent)
    assert (answered.status, upstreams["a"].attempts) == (500, 2)
    assert answered.values(b"x-should-retry") == [b"false"]


async def test_the_total_of_json_that_does_not_end(world: MakeWorld, upstreams: Upstreams) -> None:
    """Its beginning is held back, so the client can be told."""
    proxy = world(["a"], {"timeouts": {"total_seconds": 8}})
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"
    upstreams["a"].play = plays.waits(head)
    sent = await proxy.begin(chat())
    await wait_there(proxy, upstreams, "a", 1)
    assert await proxy.wait_over() == 8
    answered = await proxy.end(sent)
    assert (answered.status, answered.whole) == (504, True)


async def test_the_daemons_own_patience(world: MakeWorld, upstreams: Upstreams) -> None:
    """A route that says nothing has the daemon's, and the next target is asked behind it."""
    proxy = world(["a", "b"], timeouts={"head_seconds": 60})
    upstreams["a"].play = plays.waits()
    sent = await proxy.begin(chat())
    await wait_there(proxy, upstreams, "a", 1)
    proxy.pass_time(59)
    await proxy.turns()
    assert upstreams["b"].attempts == 0
    proxy.pass_time(2)
    assert (await proxy.end(sent)).status == 200
    assert (await proxy.numbers()).fallbacks == {("a", "b", "timeout"): 1}


async def test_a_route_that_waits_longer_than_the_daemon(world: MakeWorld, upstreams: Upstreams) -> None:
    """Its own patience is what holds."""
    proxy = world(["a", "b"], {"timeouts": {"head_seconds": 120}}, timeouts={"head_seconds": 60})
    upstreams["a"].play = plays.waits()
    sent = await proxy.begin(chat())
    await wait_there(proxy, upstreams, "a", 1)
    proxy.pass_time(100)
    await proxy.turns()
    asked = upstreams["a"].asked[0]
    assert asked.connection.ended is None
    asked.connection.write(plays.made_by("a", asked))
    assert (await proxy.end(sent)).status == 200
    assert upstreams["b"].attempts == 0


async def test_a_route_whose_answers_may_not_pause(world: MakeWorld, upstreams: Upstreams) -> None:
    """Between two pieces of an answer a route waits as long as it says."""
    proxy = world(["a"], {"timeouts": {"idle_seconds": 5}})
    upstreams["a"].play = plays.waits(STREAM_HEAD + ROLE + delta({"content": "only"}))
    sent = await proxy.begin(chat(stream=True))
    await proxy.until(lambda: b"only" in sent.client.received)
    proxy.pass_time(6)
    await proxy.turns()
    assert sent.answer is not None
    assert not sent.answer.whole
