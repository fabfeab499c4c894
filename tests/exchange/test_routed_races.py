"""The unified way: deadlines, and two targets asked at a time."""

from __future__ import annotations

import json

import pytest

from openai_proxy.config.routing import Breaker, Hedge, Retry, Route
from openai_proxy.config.routing import Target as RouteTarget
from openai_proxy.config.secret import Secret
from openai_proxy.observe.record import Move, MoveKind
from openai_proxy.providers.token_fetch import TokenUnavailable
from openai_proxy.wire import errors
from tests.support.routed import CHAT, DONE, ERROR, EVENTS, JSON, ONCE, STREAM, TOKEN, Keys, RoutedRig, route

USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":1000,"completion_tokens":2}}\n\n'


def hedged(*providers: str, **more: object) -> RoutedRig:
    """A rig whose streams have a second target asked after a second; the first has been asked."""
    hedge = Hedge(enabled=True, min_samples=1, max_ratio=1.0, min_seconds=1.0)
    rig = RoutedRig(*providers, hedge=hedge, **more)  # type: ignore[arg-type]
    rig.gateway.hedging.first_token("fast", 0.1)
    rig.ask(STREAM)
    return rig


def both(**more: object) -> RoutedRig:
    """The same, with both under way."""
    rig = hedged(**more)
    rig.clock.advance(1)
    assert [len(rig.one.asks), len(rig.two.asks)] == [1, 1]
    return rig


def test_the_first_token_wins_though_it_is_the_seconds() -> None:
    """The other is cancelled, and its cost is known by what the winner counted."""
    rig = both()
    rig.one.last.respond(200, EVENTS)
    rig.two.last.respond(200, EVENTS)
    assert not rig.client.received
    rig.two.last.piece(TOKEN)
    assert rig.one.last.was_cancelled
    rig.two.last.piece(USAGE + DONE)
    rig.two.last.end()
    status, fields, body = rig.answer()
    assert (status, body) == (200, TOKEN + DONE)
    assert fields[b"x-openai-proxy-attempts"] == b"2"
    first, second = rig.record().attempts
    assert (first.provider, first.result, second.result) == ("one", "aborted", "ok")
    assert second.move == Move(MoveKind.HEDGE, "one", "slow")


def test_what_a_race_has_wasted_is_known() -> None:
    """The input of the slower one, by its own price."""
    priced = {"priced_as": "openai"}
    models = {
        "fast": Route((RouteTarget("one", "gpt-4o"), RouteTarget("two", "gpt-4o-mini"))),
    }
    rig = both(models=models, one=priced, two=priced)
    rig.two.last.stream(TOKEN, USAGE, DONE)
    first, second = rig.record().attempts
    assert first.wasted_picodollars == 1000 * 2_500_000
    assert second.wasted_picodollars is None


def test_the_slow_first_may_still_win() -> None:
    """Then the second is what was wasted, and has no trace in the answer but the number of attempts."""
    rig = both()
    rig.one.last.stream(TOKEN, DONE)
    assert rig.two.last.was_cancelled
    _, fields, body = rig.answer()
    assert body == TOKEN + DONE
    assert fields[b"x-openai-proxy-provider"] == b"one"
    assert sorted(rig.results()) == [("one", "ok"), ("two", "aborted")]


@pytest.mark.parametrize("first", ["one", "two"])
@pytest.mark.parametrize("way", ["status", "error", "in a stream", "cut"])
def test_who_fails_leaves_it_to_the_other(first: str, way: str) -> None:
    """No third attempt is made for it, and the client hears of the other alone."""
    rig = both()
    ask = rig.upstreams[first].last
    if way == "status":
        ask.give(500, ERROR)
    elif way == "error":
        ask.fail(errors.ConnectionClosed("x"))
    elif way == "in a stream":
        ask.stream(b"data: " + ERROR + b"\n\n")
    else:
        ask.respond(200, EVENTS)
        ask.end(errors.Truncated("x"))
    assert not rig.client.received
    other = {"one": "two", "two": "one"}[first]
    rig.upstreams[other].last.stream(TOKEN, DONE)
    assert rig.answer()[2] == TOKEN + DONE
    assert len(rig.record().attempts) == 2


def test_both_fail() -> None:
    """The last failure is the client's."""
    rig = both(retry=Retry(attempts=2))
    rig.two.last.fail(errors.ConnectFailed("x"))
    rig.one.last.give(503, ERROR)
    status, fields, body = rig.answer()
    assert (status, body) == (503, ERROR)
    assert fields[b"x-openai-proxy-provider"] == b"one"
    assert fields[b"x-should-retry"] == b"false"
    rig.record()


def test_a_client_that_leaves_leaves_both() -> None:
    """At once, and the record has both."""
    rig = both()
    rig.one.last.respond(200, EVENTS)
    rig.client.leave()
    assert rig.one.last.was_cancelled and rig.two.last.was_cancelled
    assert sorted(rig.results()) == [("one", "aborted"), ("two", "aborted")]


def test_a_second_that_waits_for_its_key_is_there_when_the_first_fails() -> None:
    """It is sent when the key comes."""
    keys = Keys()
    rig = hedged(keys={"two": keys}, two={"api_key": Secret("k", "test")})
    rig.clock.advance(1)
    assert not rig.two.asks
    rig.one.last.give(500, ERROR)
    assert not rig.client.received
    keys.waiter.callback(Secret("k", "test"))
    rig.two.last.stream(TOKEN, DONE)
    assert rig.answer()[2] == TOKEN + DONE
    assert rig.results() == [("one", "http_5xx"), ("two", "ok")]


def test_a_first_that_fails_is_followed_by_one_attempt_not_by_two() -> None:
    """No second target is asked any more for the slowness of what has ended."""
    rig = hedged()
    rig.one.last.give(500, ERROR)
    rig.clock.advance(5)
    assert [len(rig.one.asks), len(rig.two.asks)] == [1, 1]
    rig.two.last.stream(TOKEN, DONE)
    assert rig.results() == [("one", "http_5xx"), ("two", "ok")]


def test_no_second_is_asked_for_a_stream_that_has_begun() -> None:
    """However slow its rest is."""
    rig = hedged()
    rig.one.last.respond(200, EVENTS)
    rig.one.last.piece(TOKEN)
    rig.clock.advance(5)
    assert not rig.two.asks
    rig.one.last.piece(DONE)
    rig.one.last.end()
    rig.record()


def test_no_second_is_asked_for_what_is_no_stream() -> None:
    """JSON has no first token."""
    rig = hedged()
    rig.one.last.stream(TOKEN, DONE)
    rig.ask(CHAT)
    rig.clock.advance(5)
    assert not rig.two.asks
    rig.one.last.give(200, b"{}")
    rig.client.done()
    rig.check_given_back()


def test_a_second_that_cannot_be_asked_is_none() -> None:
    """What has no form in its dialect is the first one's alone."""
    hedge = Hedge(enabled=True, min_samples=1, max_ratio=1.0, min_seconds=1.0)
    rig = RoutedRig(hedge=hedge, two={"dialect": "anthropic"})
    rig.gateway.hedging.first_token("fast", 0.1)
    rig.ask(STREAM[:-1] + b',"n":3}')
    rig.clock.advance(5)
    rig.one.last.stream(TOKEN, DONE)
    assert rig.results() == [("one", "ok")]


def test_what_is_translated_and_not_read_begins_with_its_first_event() -> None:
    """It has no tokens that could be seen: a race does not hold it to its end."""
    rig = hedged(two={"dialect": "anthropic"})
    target = rig.gateway.targets["two"]
    object.__setattr__(target.provider, "observes", False)
    rig.clock.advance(1)
    rig.two.last.respond(200, EVENTS)
    started = b'{"type":"message_start","message":{"id":"a","role":"assistant","content":[],"usage":{}}}'
    rig.two.last.piece(b"event: message_start\ndata: " + started + b"\n\n")
    assert rig.client.received
    rig.client.leave()
    rig.record()


# Deadlines.


def timed(**timeouts: float) -> Route:
    """A route with less patience."""
    return route("one", "two", **timeouts)  # type: ignore[arg-type]


@pytest.mark.parametrize("body", [CHAT, STREAM])
def test_a_head_that_does_not_come_in_time_is_anothers_chance(body: bytes) -> None:
    """As the route has it, though the daemon is more patient."""
    rig = RoutedRig(models={"fast": timed(head_seconds=2)})
    rig.ask(body)
    rig.clock.advance(2)
    assert rig.one.last.was_cancelled
    rig.two.last.give(200, b"{}")
    assert rig.answer()[0] == 200
    assert rig.results() == [("one", "timeout"), ("two", "ok")]


def test_a_first_token_that_does_not_come_in_time_is_anothers_chance() -> None:
    """The head alone is none; the time counts from the request's sending."""
    rig = RoutedRig(models={"fast": timed(first_token_seconds=2)})
    rig.ask(STREAM)
    rig.clock.advance(1)
    rig.one.last.respond(200, EVENTS)
    rig.one.last.piece(b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n')
    assert not rig.client.received
    rig.clock.advance(1)
    assert rig.one.last.was_cancelled
    rig.two.last.stream(TOKEN, DONE)
    assert rig.answer()[2] == TOKEN + DONE
    assert rig.results() == [("one", "timeout"), ("two", "ok")]


def test_a_token_in_time_ends_the_deadline() -> None:
    """The rest may take its time."""
    rig = RoutedRig(models={"fast": timed(first_token_seconds=2, total_seconds=3)})
    rig.ask(STREAM)
    rig.one.last.respond(200, EVENTS)
    rig.one.last.piece(TOKEN)
    rig.clock.advance(60)
    rig.one.last.piece(DONE)
    rig.one.last.end()
    assert rig.record().outcome == "ok"


def test_all_attempts_share_one_deadline() -> None:
    """Past it the client is told that nobody answered in time."""
    rig = RoutedRig(models={"fast": timed(head_seconds=2, total_seconds=3)})
    rig.ask()
    rig.clock.advance(2)
    rig.two.last.respond(200, JSON)
    rig.two.last.piece(b"{")
    rig.clock.advance(1)
    status, fields, body = rig.answer()
    assert (status, json.loads(body)["error"]["code"]) == (504, "upstream_timeout")
    assert fields[b"x-should-retry"] == b"false"
    assert rig.two.last.was_cancelled
    assert rig.results() == [("one", "timeout"), ("two", "timeout")]


def test_a_bug_in_a_timer_is_told(nothing_left: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    """A client does not wait for ever for what failed while nobody looked."""
    rig = RoutedRig("one")
    rig.ask()
    rig.one.last.give(500, ERROR)
    monkeypatch.setattr("openai_proxy.exchange.routed.RoutedAttempt", None)
    rig.clock.advance(1)
    assert rig.answer()[0] == 500
    rig.record()
    nothing_left.clear()


def test_a_bug_at_an_answers_end_is_told(nothing_left: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    """As is one at its beginning; the upstream is let go."""
    rig = RoutedRig("one", breaker=Breaker(min_attempts=1), retry=ONCE)
    rig.ask(path=b"/v1/responses")
    monkeypatch.setattr(rig.gateway.stickiness, "remember", None)
    rig.one.last.give(200, b"{}")
    assert rig.answer()[0] == 500
    rig.record()
    nothing_left.clear()


def test_a_key_that_fails_beside_a_slow_first_changes_nothing() -> None:
    """The first one may answer yet."""
    keys = Keys()
    rig = hedged(keys={"two": keys}, two={"api_key": Secret("k", "test")})
    rig.clock.advance(1)
    keys.waiter.errback(TokenUnavailable("x"))
    rig.one.last.stream(TOKEN, DONE)
    assert rig.results() == [("one", "ok")]


def test_a_slow_upload_is_no_slow_answer() -> None:
    """The deadline of all attempts begins when the client has said all."""
    rig = RoutedRig(models={"fast": timed(total_seconds=3)})
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(CHAT)
    rig.client.send(head + CHAT[:9])
    rig.clock.advance(5)
    rig.client.send(CHAT[9:])
    rig.clock.advance(2)
    rig.one.last.give(200, b"{}")
    assert rig.record().outcome == "ok"
