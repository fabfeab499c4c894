"""One target alone: when it is asked again, when not, and what the client is told at the end."""

from __future__ import annotations

import itertools
from email.utils import formatdate
from typing import Any

import pytest

from tests.faults.support import Answer
from tests.routing import plays
from tests.routing.conftest import MakeWorld, Upstreams
from tests.routing.plays import error, error_in_answer, healthy
from tests.routing.support import World, chat, embedding, transcription

RETRY: dict[str, Any] = {"jitter": 0, "budget_min_per_second": 100}
NO_BREAKER = {"enabled": False}
REQUESTS = 100


def told(answer: Answer, name: str) -> bytes | None:
    """A field's one value; None: it is not there."""
    values = answer.values(name.encode())
    assert len(values) <= 1
    return values[0] if values else None


async def waited(proxy: World, request: bytes, waits: int) -> tuple[Answer, list[float]]:
    """The answer, and how long each of so many waits was."""
    sent = await proxy.begin(request)
    seconds = [await proxy.wait_over() for _ in range(waits)]
    return await proxy.end(sent), seconds


@pytest.mark.parametrize("request_", [chat(), chat(stream=True), embedding(), transcription()])
async def test_failures_that_pass(world: MakeWorld, upstreams: Upstreams, request_: bytes) -> None:
    """Asked again after waits that double; the client has the answer, and is told how many there were."""
    proxy = world(["a"], retry=RETRY)
    upstreams["a"].played(error(500), error(409), healthy)
    answered, seconds = await waited(proxy, request_, 2)
    assert (answered.status, answered.whole, seconds) == (200, True, [0.5, 1.0])
    assert told(answered, "x-openai-proxy-attempts") == b"3"
    assert told(answered, "x-should-retry") is None
    first, *others = upstreams["a"].asked
    assert len(others) == 2
    for other in others:
        assert (other.target, other.fields, other.body) == (first.target, first.fields, first.body)
    numbers = await proxy.numbers()
    assert numbers.retries == {("a", "http_5xx"): 1, ("a", "http_4xx"): 1}
    assert numbers.attempts == {("a", "http_5xx"): 1, ("a", "http_4xx"): 1, ("a", "ok"): 1}
    assert numbers.requests == {("a", "200", "ok"): 1}
    assert numbers.fallbacks == {}


async def test_failures_that_stay(world: MakeWorld, upstreams: Upstreams) -> None:
    """The last answer is the client's, whose SDK is told not to begin again."""
    proxy = world(["a"], retry=RETRY)
    upstreams["a"].played(error(500), error(503), error(529, "x-request-id: last", code="overloaded"))
    answered, _ = await waited(proxy, chat(), 2)
    assert (answered.status, answered.whole) == (529, True)
    assert b'"overloaded"' in answered.body
    assert told(answered, "x-request-id") == b"last"
    assert told(answered, "x-should-retry") == b"false"
    assert told(answered, "x-openai-proxy-attempts") == b"3"
    assert told(answered, "x-openai-proxy-provider") == b"a"
    numbers = await proxy.numbers()
    assert numbers.attempts == {("a", "http_5xx"): 3}
    assert numbers.retries == {("a", "http_5xx"): 2}
    assert numbers.requests == {("a", "529", "upstream_error"): 1}


async def test_an_error_in_the_answer_that_stays(world: MakeWorld, upstreams: Upstreams) -> None:
    """200 with an error in it is answered as the error that it is, in a stream too."""
    proxy = world(["a"], retry=RETRY)
    upstreams["a"].play = error_in_answer(type="server_error", code="played")
    for stream in (False, True):
        answered, _ = await waited(proxy, chat(stream=stream), 2)
        assert (answered.status, answered.whole) == (500, True)
        assert b"It failed." in answered.body
        assert not answered.body.startswith(b"data:")
        assert told(answered, "content-type") == b"application/json"
        assert told(answered, "x-should-retry") == b"false"
    numbers = await proxy.numbers()
    assert numbers.attempts == {("a", "http_5xx"): 6}
    assert numbers.requests == {("a", "500", "upstream_error"): 2}
    assert numbers.of("openai_proxy_errors_total", "source", "type") == {("upstream", "server_error"): 2}


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        (["retry-after: 3"], 3.0),
        (["retry-after: 7", "retry-after-ms: 2500"], 2.5),
        (["retry-after: 10"], 10.0),
        (["retry-after: 0"], 0.5),
        (["retry-after: soon"], 0.5),
        (["retry-after: -3"], 0.5),
        (["x-ratelimit-remaining-requests: 0", "x-ratelimit-reset-requests: 4s"], 4.0),
        (["x-ratelimit-remaining-requests: 5", "x-ratelimit-reset-requests: 4s"], 0.5),
        ([], 0.5),
    ],
)
async def test_what_a_rate_limited_target_wants(
    world: MakeWorld, upstreams: Upstreams, fields: list[str], seconds: float
) -> None:
    """It is waited for, up to the bound, and never less than our own wait."""
    proxy = world(["a"], retry=RETRY)
    upstreams["a"].played(error(429, *fields), healthy)
    answered, waits = await waited(proxy, chat(), 1)
    assert answered.status == 200
    assert waits == [pytest.approx(seconds)]
    assert (await proxy.numbers()).retries == {("a", "http_429"): 1}


async def test_a_date_is_waited_for(world: MakeWorld, upstreams: Upstreams) -> None:
    """As RFC 9110 allows it."""
    proxy = world(["a"], retry=RETRY)
    date = formatdate(proxy.reactor.seconds() + 8, usegmt=True)
    upstreams["a"].played(error(503, f"retry-after: {date}"), healthy)
    answered, (seconds,) = await waited(proxy, chat(), 1)
    assert answered.status == 200
    assert 7 <= seconds <= 8


@pytest.mark.parametrize("field", ["retry-after: 11", "retry-after-ms: 10001"])
async def test_a_target_that_wants_too_much_rest(world: MakeWorld, upstreams: Upstreams, field: str) -> None:
    """The client has its answer as it is, at once, and may wait itself; meanwhile nobody asks."""
    proxy = world(["a"], retry=RETRY)
    upstreams["a"].play = error(429, field)
    answered = await proxy.ask(chat())
    name, _, value = field.partition(": ")
    assert (answered.status, told(answered, name)) == (429, value.encode())
    assert told(answered, "x-should-retry") is None
    assert upstreams["a"].attempts == 1
    again = await proxy.ask(chat())
    assert (again.status, told(again, "retry-after")) == (429, b"11")
    assert b"upstream_rate_limited" in again.body
    assert upstreams["a"].attempts == 1
    numbers = await proxy.numbers()
    assert numbers.attempts == {("a", "http_429"): 1}
    assert numbers.of("http_requests_total", "outcome") == {"upstream_rate_limited": 2}


async def test_x_should_retry_true(world: MakeWorld, upstreams: Upstreams) -> None:
    """It is above the status."""
    proxy = world(["a"], retry=RETRY)
    upstreams["a"].played(error(400, "x-should-retry: true"), healthy)
    answered, _ = await waited(proxy, chat(), 1)
    assert answered.status == 200


async def test_x_should_retry_false(world: MakeWorld, upstreams: Upstreams) -> None:
    """The same target is not asked again, by us or by the client, who is told as the target told us."""
    proxy = world(["a"], retry=RETRY)
    upstreams["a"].play = error(500, "x-should-retry: false")
    answered = await proxy.ask(chat())
    assert (answered.status, upstreams["a"].attempts) == (500, 1)
    assert told(answered, "x-should-retry") == b"false"


async def test_x_should_retry_of_an_answer_that_is_given_on(world: MakeWorld, upstreams: Upstreams) -> None:
    """What it says to its client stays, where we have not tried in the client's stead."""
    proxy = world(["a"], retry=RETRY)
    upstreams["a"].play = error(429, "x-should-retry: true", "retry-after: 60")
    answered = await proxy.ask(chat())
    assert (answered.status, upstreams["a"].attempts) == (429, 1)
    assert told(answered, "x-should-retry") == b"true"


async def test_x_should_retry_when_all_was_tried(world: MakeWorld, upstreams: Upstreams) -> None:
    """Ours is the last word, once."""
    proxy = world(["a"], retry=RETRY)
    upstreams["a"].play = error(500, "x-should-retry: true")
    answered, _ = await waited(proxy, chat(), 2)
    assert (answered.status, upstreams["a"].attempts) == (500, 3)
    assert told(answered, "x-should-retry") == b"false"


async def test_a_dead_target_and_no_storm(world: MakeWorld, upstreams: Upstreams) -> None:
    """Retries are a fifth of the requests, whatever each of them could have had."""
    proxy = world(["a"], retry={"jitter": 0}, breaker=NO_BREAKER)
    upstreams["a"].play = error(500)
    sent = [await proxy.begin(chat()) for _ in range(REQUESTS)]
    while not all(one.answer for one in sent):
        await proxy.until(lambda: proxy.waits or all(one.answer for one in sent))
        await proxy.turns()
        proxy.pass_time(0.125)
    answers = [await proxy.end(one) for one in sent]
    assert {answer.status for answer in answers} == {500}
    retries = upstreams["a"].attempts - REQUESTS
    assert 10 <= retries <= 0.2 * REQUESTS
    said = sum(int(told(answer, "x-openai-proxy-attempts") or 0) for answer in answers)
    assert said == upstreams["a"].attempts
    # Each had its retries, or was refused them so that there is no storm: its client's would be one.
    assert {told(answer, "x-should-retry") for answer in answers} == {b"false"}
    numbers = await proxy.numbers()
    assert numbers.retries == {("a", "http_5xx"): retries}
    assert numbers.attempts == {("a", "http_5xx"): REQUESTS + retries}
    assert numbers.requests == {("a", "500", "upstream_error"): REQUESTS}


async def test_the_clients_own_retries_are_counted(world: MakeWorld, upstreams: Upstreams) -> None:
    """As its SDK numbers them."""
    proxy = world(["a"], retry=RETRY)
    for said in ("0", "1", "2", "nonsense", "-1", "99999"):
        await proxy.ask(chat(f"x-stainless-retry-count: {said}"))
    numbers = await proxy.numbers()
    assert numbers.of("openai_proxy_client_retries_total", "endpoint") == {"chat_completions": 2}


@pytest.mark.parametrize("play", [error(500), plays.writes()])
async def test_an_upload_that_cannot_be_repeated(
    world: MakeWorld, upstreams: Upstreams, play: plays.Play
) -> None:
    """A body that was sent on as it came is gone: one attempt, and what it brought."""
    proxy = world(["a"], retry=RETRY)
    upstreams["a"].play = play
    size = 1024 * 1024
    head = (
        b"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
        b"Content-Length: %d\r\n\r\n" % size
    )
    answered = await proxy.ask(head + bytes(size))
    assert answered.status in (500, 502)
    assert len(upstreams["a"].asked) == 1
    assert told(answered, "x-openai-proxy-attempts") == b"1"
    numbers = await proxy.numbers()
    assert sum(numbers.attempts.values()) == 1
    assert numbers.retries == {}


@pytest.mark.parametrize("leaving", ["close", "abort"])
async def test_a_client_that_leaves_in_the_wait(world: MakeWorld, upstreams: Upstreams, leaving: str) -> None:
    """The wait ends with it, and nothing is asked of anybody."""
    proxy = world(["a"], retry=RETRY)
    upstreams["a"].play = error(500)
    client = await proxy.client()
    client.write(chat())
    await proxy.until(lambda: proxy.waits)
    getattr(client, leaving)()
    await proxy.until(lambda: not proxy.waits)
    await proxy.settled()
    proxy.pass_time(100)
    await proxy.turns()
    assert upstreams["a"].attempts == 1
    numbers = await proxy.numbers()
    assert numbers.requests == {("a", "499", "client_disconnect"): 1}
    assert numbers.attempts == {("a", "http_5xx"): 1}
    assert numbers.retries == {}
    assert numbers.of("openai_proxy_client_disconnects_total", "phase") == {"before_first_byte": 1}
    assert numbers.of("openai_proxy_errors_total", "source") == {}


async def test_a_daemon_that_stops_in_the_wait(world: MakeWorld, upstreams: Upstreams) -> None:
    """Nothing is left behind (see the end of every world)."""
    proxy = world(["a"], retry=RETRY)
    upstreams["a"].play = error(500)
    client = await proxy.client()
    client.write(chat())
    await proxy.until(lambda: proxy.waits)


async def test_a_circuit_that_opens_in_the_wait(world: MakeWorld, upstreams: Upstreams) -> None:
    """What waited to ask again does not: the client is told that the circuit is open."""
    breaker = {"min_attempts": 2, "open_seconds": 60}
    proxy = world(["a"], retry=RETRY, breaker=breaker)
    upstreams["a"].play = error(500)
    sent = await proxy.begin(chat())
    await proxy.until(lambda: proxy.waits)
    other = await proxy.ask(chat())
    # It has made the breaker open, and it was not told to try again by us.
    assert other.status == 500
    await proxy.wait_over()
    answered = await proxy.end(sent)
    assert upstreams["a"].attempts == 2
    assert answered.status == 503
    assert b"circuit_open" in answered.body
    assert told(answered, "retry-after") == b"60"
    assert told(answered, "x-openai-proxy-attempts") == b"1"
    numbers = await proxy.numbers()
    assert numbers.attempts == {("a", "http_5xx"): 2}
    assert numbers.retries == {}
    assert numbers.requests == {("a", "500", "upstream_error"): 1, ("a", "503", "proxy_circuit_open"): 1}


async def test_chance_keeps_waits_apart(world: MakeWorld, upstreams: Upstreams) -> None:
    """A quarter of each wait is left to it."""
    proxy = world(["a"], retry={"attempts": 2, "budget_min_per_second": 100}, breaker=NO_BREAKER)
    upstreams["a"].play = error(500)
    seconds = [(await waited(proxy, chat(), 1))[1][0] for _ in range(10)]
    assert all(0.375 <= one <= 0.5 for one in seconds)
    assert all(one != other for one, other in itertools.pairwise(seconds))
