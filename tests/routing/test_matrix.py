"""One of three targets is broken, in every way: each request succeeds, and the numbers say what was done."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.faults.support import Answer
from tests.routing import plays
from tests.routing.conftest import MakeWorld, Upstreams
from tests.routing.plays import ROLE, STREAM_HEAD, Play, answer, delta, error, error_in_answer, streams_or
from tests.routing.support import World, chat, embedding, tools, transcription

KINDS: list[Callable[[], bytes]] = [chat, lambda: chat(stream=True), tools, embedding, transcription]
REQUESTS = 15
PATIENCE_SECONDS = 5.0
OPEN_SECONDS = 1000.0
MIN_ATTEMPTS = 5
ROUTE_PATIENCE = {"head_seconds": PATIENCE_SECONDS, "first_token_seconds": PATIENCE_SECONDS}
BREAKER = {"min_attempts": MIN_ATTEMPTS, "open_seconds": OPEN_SECONDS, "window_seconds": 500.0}
CUT_JSON = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n" + b'{"id": "c", "ch'
)
CUT_STREAM = STREAM_HEAD + ROLE


@dataclass(frozen=True)
class Fault:
    """How a target is broken."""

    name: str
    play: Play | None
    """None: it is no request that it fails at."""
    result: str
    """Of an attempt there."""
    opens: bool = True
    """Whether its breaker opens of it."""
    rest_seconds: float = 0.0
    """How long it rests after the first one."""
    passes_time: bool = False
    """Whether the answer is waited for in vain."""
    begins: bytes = b""
    """With what a stream begins that is waited for."""


def _limited(*fields: str, rest_seconds: float = 0.0, name: str) -> Fault:
    return Fault(name, error(429, *fields), "http_429", opens=False, rest_seconds=rest_seconds)


FAULTS = [
    Fault("refuses", None, "connect_error"),
    Fault("hangs_up", None, "protocol_error"),
    Fault("closes", plays.writes(then="close"), "protocol_error"),
    Fault("resets", plays.writes(), "protocol_error"),
    Fault("no_head", plays.healthy, "timeout", passes_time=True),
    Fault("no_token", plays.healthy, "timeout", passes_time=True, begins=STREAM_HEAD + ROLE),
    _limited(name="429"),
    _limited("retry-after: 30", name="429_retry_after", rest_seconds=30),
    _limited("retry-after: 0", "retry-after-ms: 2500", name="429_retry_after_ms", rest_seconds=2.5),
    _limited(
        "x-ratelimit-remaining-tokens: 0",
        "x-ratelimit-reset-tokens: 1m30s",
        name="429_reset",
        rest_seconds=90,
    ),
    Fault("500", error(500), "http_5xx"),
    Fault("503", error(503), "http_5xx"),
    Fault("529", error(529), "http_5xx"),
    Fault("408", error(408), "http_4xx", opens=False),
    Fault("409", error(409), "http_4xx", opens=False),
    Fault("200_error_500", error_in_answer(type="server_error", code=None), "http_5xx"),
    Fault("200_error_429", error_in_answer(type="requests", code="429"), "http_429", opens=False),
    Fault(
        "cut_before_token",
        streams_or(plays.writes(CUT_STREAM), plays.writes(CUT_JSON)),
        "stream_error",
    ),
    Fault("cut_after_head", streams_or(plays.writes(STREAM_HEAD), plays.writes(CUT_JSON)), "stream_error"),
    Fault(
        "ends_without_token",
        streams_or(
            plays.writes(CUT_STREAM + plays.LAST_CHUNK, then=""), plays.writes(CUT_JSON, then="close")
        ),
        "stream_error",
    ),
    Fault("no_http", plays.writes(b"SSH-2.0-OpenSSH_9.9\r\n\r\n", then="close"), "protocol_error"),
    Fault("cut_in_head", plays.writes(b"HTTP/1.1 200 OK\r\nContent-Ty"), "protocol_error"),
]


@pytest.fixture
def refusing() -> Iterator[str]:
    """The root of a provider whose port nobody listens at."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def break_it(world: World, upstreams: Upstreams, fault: Fault) -> None:
    """Provider ``a`` has the fault from now on; to wait for it in vain lets the time pass."""
    broken = upstreams["a"]
    broken.hangs_up = fault.name == "hangs_up"
    if fault.play is None:
        return
    broken.play = fault.play
    if fault.passes_time:
        broken.play = streams_or(
            plays.waits(fault.begins, then=world.time_passes(PATIENCE_SECONDS)),
            plays.waits(then=world.time_passes(PATIENCE_SECONDS)),
        )


def check_success(answer: Answer, number: int) -> str:
    """It is an answer to the ``number``-th request; the provider that it is from."""
    assert (answer.status, answer.whole) == (200, True)
    (provider,) = answer.values(b"x-openai-proxy-provider")
    assert provider in answer.body or KINDS[number % len(KINDS)] in (tools, embedding)
    if b"text/event-stream" in answer.values(b"content-type"):
        assert answer.body.count(b"[DONE]") == 1
        assert answer.body.endswith(b"data: [DONE]\n\n")
        assert answer.body.count(b'"role"') == 1
    return provider.decode()


async def ask_all(world: World, requests: int = REQUESTS) -> list[tuple[str, int]]:
    """So many requests, of all kinds in turn: each succeeds. Who answered, and after how many attempts."""
    told = []
    for number in range(requests):
        answered = await world.ask(KINDS[number % len(KINDS)]())
        provider = check_success(answered, number)
        (attempts,) = answered.values(b"x-openai-proxy-attempts")
        assert int(attempts) in (1, 2)
        assert not answered.values(b"x-should-retry")
        told.append((provider, int(attempts)))
    return told


def counted_attempts(upstreams: Upstreams, failed: int, result: str) -> dict[tuple[str, str], float]:
    """As the upstreams counted them: all that ``a`` had failed."""
    counts = {
        ("a", result): failed,
        ("b", "ok"): upstreams["b"].attempts,
        ("c", "ok"): upstreams["c"].attempts,
    }
    return {key: count for key, count in counts.items() if count}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_ordered(world: MakeWorld, upstreams: Upstreams, refusing: str, fault: Fault) -> None:
    """The first target is broken: one more attempt at most, none while it is open or rests, then a trial."""
    urls = {"a": refusing} if fault.name == "refuses" else None
    proxy = world(["a", "b", "c"], {"timeouts": ROUTE_PATIENCE}, urls, breaker=BREAKER)
    broken = upstreams["a"]
    break_it(proxy, upstreams, fault)

    told = await ask_all(proxy)
    tried = MIN_ATTEMPTS if fault.opens else 1 if fault.rest_seconds else REQUESTS
    passed_over = REQUESTS - tried
    assert told == [("b", 2)] * tried + [("b", 1)] * passed_over
    if urls is None:
        assert broken.attempts == tried
    assert (upstreams["b"].attempts, upstreams["c"].attempts) == (REQUESTS, 0)

    numbers = await proxy.numbers()
    assert numbers.attempts == counted_attempts(upstreams, tried, fault.result)
    assert numbers.requests == {("b", "200", "ok"): REQUESTS}
    assert numbers.retries == {}
    reason = "rate_limited" if fault.rest_seconds else "circuit_open"
    expected = {("a", "b", fault.result): tried, ("a", "b", reason): passed_over}
    assert numbers.fallbacks == {key: count for key, count in expected.items() if count}
    assert numbers.open_circuits == ({("a", "open"): 1} if fault.opens else {})
    assert numbers.transitions("a") == ({"open": 1} if fault.opens else {})
    assert numbers.of("openai_proxy_target_resting", "provider") == ({"a": 1} if fault.rest_seconds else {})
    assert numbers.of("openai_proxy_errors_total", "provider") == {}
    await check_return(proxy, upstreams, fault, tried)


async def check_return(proxy: World, upstreams: Upstreams, fault: Fault, tried: int) -> None:
    """Left alone until the very end of its time, then tried; well again, it has all requests again."""
    broken = upstreams["a"]
    left_alone = OPEN_SECONDS if fault.opens else fault.rest_seconds
    if fault.name == "refuses" or not left_alone:
        return
    proxy.pass_time(left_alone - 0.125)
    assert await ask_all(proxy, 1) == [("b", 1)]
    assert broken.attempts == tried
    proxy.pass_time(0.25)
    assert await ask_all(proxy, 2) == [("b", 2), ("b", 1)]
    assert broken.attempts == tried + 1
    proxy.pass_time(left_alone + 0.125)
    broken.hangs_up, broken.play = False, plays.healthy
    assert await ask_all(proxy, 5) == [("a", 1)] * 5
    numbers = await proxy.numbers()
    assert numbers.open_circuits == {}
    expected = {"open": 2, "half_open": 2, "closed": 1} if fault.opens else {}
    assert numbers.transitions("a") == expected
    assert numbers.requests == {("a", "200", "ok"): 5, ("b", "200", "ok"): REQUESTS + 3}
    assert numbers.attempts[("a", fault.result)] == tried + 1
    assert numbers.attempts[("a", "ok")] == 5


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_weighted(world: MakeWorld, upstreams: Upstreams, refusing: str, fault: Fault) -> None:
    """One of three by chance: every request succeeds, and no number differs from what was seen outside."""
    urls = {"a": refusing} if fault.name == "refuses" else None
    route = {"choice": "weighted", "timeouts": ROUTE_PATIENCE}
    proxy = world(["a", "b", "c"], route, urls, breaker={**BREAKER, "min_attempts": 2})
    break_it(proxy, upstreams, fault)
    told = await ask_all(proxy)
    moved = Counter(provider for provider, attempts in told if attempts == 2)
    failed = moved.total()
    if urls is None:
        assert upstreams["a"].attempts == failed
    if fault.opens or fault.rest_seconds:
        assert failed <= (2 if fault.opens else 1)
    numbers = await proxy.numbers()
    assert numbers.attempts == counted_attempts(upstreams, failed, fault.result)
    answered = Counter(provider for provider, _ in told)
    assert numbers.requests == {(provider, "200", "ok"): count for provider, count in answered.items()}
    assert {provider: upstreams[provider].attempts for provider in answered} == answered
    assert numbers.retries == {}
    after_failures = {key: n for key, n in numbers.fallbacks.items() if key[2] == fault.result}
    assert after_failures == {("a", provider, fault.result): n for provider, n in moved.items()}
    others = numbers.fallbacks.keys() - after_failures.keys()
    passed_over = "rate_limited" if fault.rest_seconds else "circuit_open"
    assert others <= {("a", "b", passed_over), ("a", "c", passed_over)}
    is_open = fault.opens and failed == 2
    assert numbers.transitions("a") == ({"open": 1} if is_open else {})


@pytest.mark.parametrize("how", ["abort", "close"])
async def test_a_stream_that_is_cut_after_its_first_token(
    world: MakeWorld, upstreams: Upstreams, how: str
) -> None:
    """The client has what came, never a clean end and never another answer: one attempt."""
    proxy = world(["a", "b", "c"], {"timeouts": ROUTE_PATIENCE})
    begun = STREAM_HEAD + ROLE + delta({"content": "only"})
    upstreams["a"].play = plays.writes(begun, then=how)
    for _ in range(3):
        answered = await proxy.ask(chat(stream=True))
        assert (answered.status, answered.whole) == (200, False)
        assert answered.values(b"x-openai-proxy-provider") == [b"a"]
        assert b"only" in answered.body
        assert b"[DONE]" not in answered.body
        assert b"Hello" not in answered.body
    assert {name: one.attempts for name, one in upstreams.items()} == {"a": 3, "b": 0, "c": 0}
    numbers = await proxy.numbers()
    assert numbers.requests == {("a", "200", "upstream_stream_error"): 3}
    assert numbers.attempts == {("a", "stream_error"): 3}
    assert (numbers.fallbacks, numbers.retries) == ({}, {})


async def test_a_stream_that_ends_without_its_last_event(world: MakeWorld, upstreams: Upstreams) -> None:
    """Its framing is whole and is kept; the numbers call it what it is, and its breaker hears of it."""
    proxy = world(["a", "b"], breaker={**BREAKER, "min_attempts": 2})
    begun = STREAM_HEAD + ROLE + delta({"content": "only"}) + plays.LAST_CHUNK
    upstreams["a"].play = plays.writes(begun, then="")
    for _ in range(2):
        answered = await proxy.ask(chat(stream=True))
        assert (answered.status, answered.whole) == (200, True)
    assert upstreams["b"].attempts == 0
    numbers = await proxy.numbers()
    assert numbers.requests == {("a", "200", "upstream_stream_error"): 2}
    assert numbers.attempts == {("a", "stream_error"): 2}
    assert numbers.open_circuits == {("a", "open"): 1}


async def test_long_json_that_is_cut(world: MakeWorld, upstreams: Upstreams) -> None:
    """Of more than a mebibyte the beginning is the client's before the end is known: it is cut there."""
    proxy = world(["a", "b"])
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 3000000\r\n\r\n"
    upstreams["a"].play = plays.writes(head + b'{"data": "' + b"x" * 2_000_000, then="close")
    answered = await proxy.ask(embedding())
    assert (answered.status, answered.whole, upstreams["b"].attempts) == (200, False, 0)
    numbers = await proxy.numbers()
    assert numbers.requests == {("a", "200", "upstream_stream_error"): 1}


async def test_an_error_in_the_midst_of_a_stream(world: MakeWorld, upstreams: Upstreams) -> None:
    """Behind the first token it is the client's: given on as it came, and counted."""
    proxy = world(["a", "b"], {"timeouts": ROUTE_PATIENCE})
    failed = plays.event({"error": {"message": "m", "type": "server_error"}}) + plays.LAST_CHUNK
    begun = STREAM_HEAD + ROLE + delta({"content": "only"})
    upstreams["a"].play = plays.writes(begun, failed, then="")
    answered = await proxy.ask(chat(stream=True))
    assert (answered.status, answered.body.count(b"server_error")) == (200, 1)
    assert upstreams["b"].attempts == 0
    numbers = await proxy.numbers()
    assert numbers.requests == {("a", "200", "upstream_stream_error"): 1}
    assert numbers.attempts == {("a", "stream_error"): 1}


async def test_a_wrong_request_is_not_tried_elsewhere(world: MakeWorld, upstreams: Upstreams) -> None:
    """400, 401, 404, 422: the provider's own answer, byte for byte, after one attempt."""
    proxy = world(["a", "b"])
    for status in (400, 401, 404, 422):
        upstreams["a"].play = error(status, "x-request-id: req_1")
        answered = await proxy.ask(chat())
        assert (answered.status, answered.values(b"x-request-id")) == (status, [b"req_1"])
        assert answered.body == answer(status, _played(status)).partition(b"\r\n\r\n")[2]
        assert not answered.values(b"x-should-retry")
    assert (upstreams["a"].attempts, upstreams["b"].attempts) == (4, 0)
    numbers = await proxy.numbers()
    assert numbers.attempts == {("a", "http_4xx"): 4}
    assert numbers.fallbacks == {}


def _played(status: int) -> dict[str, Any]:
    return {"error": {"message": f"It is {status}.", "type": "played_error", "param": None, "code": "played"}}
