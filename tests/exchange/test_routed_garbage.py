"""What a routed exchange leaves behind: nothing of ours for the cyclic collector."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from openai_proxy.config.provider import Quirks
from openai_proxy.config.routing import Breaker, Hedge, Retry
from openai_proxy.wire import errors
from tests.support.garbage import garbage_of
from tests.support.routed import CHAT, DONE, ERROR, EVENTS, JSON, STREAM, TOKEN, RoutedRig, route

MESSAGE = (
    b'{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"hi"}],'
    b'"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":2}}'
)


def answered(rig: RoutedRig) -> None:
    rig.ask()
    rig.one.asks.pop().give(200, b"{}")


def streamed(rig: RoutedRig) -> None:
    rig.ask(STREAM)
    rig.one.asks.pop().stream(TOKEN, TOKEN, DONE)


def fallen_back(rig: RoutedRig) -> None:
    rig.ask(STREAM)
    rig.one.asks.pop().stream(b"data: " + ERROR + b"\n\n")
    rig.two.asks.pop().stream(TOKEN, DONE)


def cut(rig: RoutedRig) -> None:
    rig.ask()
    ask = rig.one.asks.pop()
    ask.respond(200, JSON)
    ask.piece(b"{")
    ask.end(errors.Truncated("x"))
    rig.two.asks.pop().give(200, b"{}")


def refused(rig: RoutedRig) -> None:
    rig.ask()
    rig.one.asks.pop().give(500, ERROR)
    rig.two.asks.pop().give(500, ERROR)


def hedged(rig: RoutedRig) -> None:
    rig.ask(STREAM)
    rig.clock.advance(1)
    first, second = rig.one.asks.pop(), rig.two.asks.pop()
    first.respond(200, EVENTS)
    second.stream(TOKEN, DONE)


def retried(rig: RoutedRig) -> None:
    rig.ask(CHAT.replace(b"fast", b"one/x"))
    rig.one.asks.pop().give(500, ERROR)
    rig.clock.advance(1)
    rig.one.asks.pop().give(200, b"{}")


def timed_out(rig: RoutedRig) -> None:
    rig.ask(CHAT.replace(b"fast", b"timed"))
    rig.clock.advance(1)
    rig.one.asks.pop()
    rig.two.asks.pop().give(200, b"{}")


def translated(rig: RoutedRig) -> None:
    rig.ask(CHAT.replace(b"fast", b"claude"))
    rig.three.asks.pop().give(200, MESSAGE)


def untranslatable(rig: RoutedRig) -> None:
    rig.ask(CHAT.replace(b"fast", b"claude")[:-1] + b',"n":3}')


@pytest.mark.parametrize(
    "work",
    [
        answered,
        streamed,
        fallen_back,
        cut,
        refused,
        hedged,
        retried,
        timed_out,
        translated,
        untranslatable,
    ],
)
def test_a_routed_exchange_leaves_no_cycles(work: Callable[[RoutedRig], None]) -> None:
    """Not one object of ours."""
    rig = RoutedRig(
        "one",
        "two",
        "three",
        models={
            "fast": route("one", "two"),
            "timed": route("one", "two", head_seconds=1.0),
            "claude": route("three"),
        },
        retry=Retry(attempts=2, budget_min_per_second=1000),
        breaker=Breaker(enabled=False),
        hedge=Hedge(enabled=True, min_samples=1, max_ratio=1.0, min_seconds=1.0),
        two={"quirks": Quirks(fix_finish_reason=True)},
        three={"dialect": "anthropic"},
    )
    rig.gateway.hedging.first_token("fast", 0.1)

    def once() -> None:
        work(rig)
        rig.sink.ended.clear()
        rig.client.transport.clear()

    ours = {name: count for name, count in garbage_of(once).items() if name.startswith("openai_proxy.")}
    assert ours == {}
    rig.client.done()
    rig.check_given_back()
