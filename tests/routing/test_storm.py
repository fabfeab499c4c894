"""Whatever fails, however often, all at once: each client has one end, and all numbers agree."""

from __future__ import annotations

import random

import pytest

from openai_proxy import targets
from tests.faults.support import Answer
from tests.routing import plays
from tests.routing.conftest import MakeWorld, Upstreams
from tests.routing.plays import ROLE, STREAM_HEAD, delta, error, error_in_answer, healthy
from tests.routing.support import Numbers, Sent, World, chat, embedding, tools, transcription

NAMES = ["a", "b", "c"]
REQUESTS = 60
KINDS = [chat(), chat(stream=True), chat(stream=True), tools(), embedding(), transcription()]
PLAYS = [
    healthy,
    healthy,
    healthy,
    error(500),
    error(503, "retry-after: 1"),
    error(429),
    error(429, "retry-after-ms: 700"),
    error(409),
    error(400),
    error_in_answer(type="server_error"),
    plays.waits(),
    plays.waits(STREAM_HEAD + ROLE),
    plays.writes(),
    plays.writes(STREAM_HEAD + ROLE),
    plays.writes(STREAM_HEAD + ROLE + delta({"content": "x"})),
    plays.writes(b"nonsense\r\n\r\n"),
]
STALE = "stale_connection"
OURS = ("circuit_open", "rate_limited")


async def all_ended(proxy: World, sent: list[Sent]) -> list[Answer]:
    """The answers, however much time that takes."""
    while not all(one.answer or one.client.ended for one in sent):
        await proxy.turns(20)
        proxy.pass_time(0.25)
    return [await proxy.end(one) for one in sent if one.client in proxy.clients]


@pytest.mark.parametrize("hedges", [False, True], ids=["plain", "hedged"])
@pytest.mark.parametrize("seed", range(4))
async def test_a_storm(
    world: MakeWorld, upstreams: Upstreams, seed: int, hedges: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attempts are requests, retries, fallbacks and hedges together, and what the upstreams counted."""
    chance = random.Random(seed)
    monkeypatch.setattr(targets, "Random", lambda: random.Random(seed))
    timeouts = {"head_seconds": 4, "first_token_seconds": 4, "total_seconds": 20}
    hedge = {"enabled": hedges, "min_samples": 1, "min_seconds": 1, "max_ratio": 1}
    breaker = {"min_attempts": 4, "open_seconds": 5}
    proxy = world(NAMES, {"timeouts": timeouts, "choice": "weighted"}, breaker=breaker, hedge=hedge)
    for name in NAMES:
        upstreams[name].plays.extend(chance.choices(PLAYS, k=10 * REQUESTS))
    answers: list[Answer] = []
    gone = 0
    for _ in range(4):
        sent = [await proxy.begin(chance.choice(KINDS)) for _ in range(REQUESTS // 4)]
        await proxy.turns(chance.randrange(20))
        for one in chance.sample(sent, 2):
            if one.answer is None:
                one.client.abort()
                gone += 1
                proxy.clients.remove(one.client)
        answers += await all_ended(proxy, [one for one in sent if one.client in proxy.clients])
    numbers = await proxy.numbers()
    requests = sum(numbers.requests.values())
    # Who left at once may have been read by nobody.
    assert len(answers) <= requests <= len(answers) + gone == REQUESTS
    check_answers(answers)
    check_numbers(numbers, upstreams)
    retried = sum(n for (_, reason), n in numbers.retries.items() if reason != STALE)
    fallen = sum(n for (_, _, reason), n in numbers.fallbacks.items() if reason not in OURS)
    began = requests - numbers.of("http_requests_total", "provider").get("none", 0)
    assert sum(numbers.attempts.values()) == began + retried + fallen + sum(numbers.hedges.values())
    told = sum(int(answer.values(b"x-openai-proxy-attempts")[0]) for answer in answers)
    assert told <= sum(numbers.attempts.values()) <= told + 3 * gone
    assert not [one for one in numbers.of("http_requests_total", "outcome") if one.startswith("proxy_err")]


def check_answers(answers: list[Answer]) -> None:
    """Whole, or cut: but never two beginnings, and never an end behind half a stream."""
    for answer in answers:
        assert answer.status in (200, 400, 409, 429, 500, 502, 503, 504)
        assert answer.body.count(b'"role": "assistant"') <= 1
        assert answer.body.count(b"[DONE]") <= 1
        is_stream = b"text/event-stream" in answer.values(b"content-type")
        if is_stream and answer.status == 200:
            assert answer.whole == answer.body.endswith(b"[DONE]\n\n")
        else:
            assert answer.whole


def check_numbers(numbers: Numbers, upstreams: Upstreams) -> None:
    """As the upstreams counted, who may not have read what was cancelled, or came as they hung up."""
    for name in NAMES:
        stale = numbers.retries.get((name, STALE), 0)
        sent = numbers.of("openai_proxy_upstream_attempts_total", "provider").get(name, 0) + stale
        unread = numbers.attempts.get((name, "aborted"), 0) + stale
        assert sent - unread <= upstreams[name].attempts <= sent
