"""The field of an answer that tells where the time went."""

from __future__ import annotations

import re

import pytest
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone

from openai_proxy.wire import errors
from openai_proxy.wire.fields import Field
from openai_proxy.wire.response import Timings
from tests.support.exchanges import POST, Rig
from tests.support.routed import DONE, EVENTS, JSON, STREAM, TOKEN, RoutedRig


def told(fields: list[Field]) -> dict[str, float]:
    """The last field of the name: ours."""
    value = [value for name, value in fields if name.lower() == b"server-timing"][-1].decode("ascii")
    assert re.fullmatch(r"\w+;dur=\d+\.\d(, \w+;dur=\d+\.\d)*", value)
    return {name: float(dur) for name, dur in re.findall(r"(\w+);dur=([\d.]+)", value)}


def answered(rig: Rig) -> list[Field]:
    [(_, fields, _)] = rig.client.answers()
    rig.record()
    return fields


@pytest.mark.parametrize(
    ("timings", "parts"),
    [
        (None, {"queue": 0, "upstream": 750}),
        (Timings(reused=True, pool_wait_seconds=0.25), {"queue": 250, "upstream": 500}),
        (
            Timings(
                pool_wait_seconds=0.125, lookup_seconds=0.0625, connect_seconds=0.125, tls_seconds=0.0625
            ),
            {"queue": 125, "connect": 250, "upstream": 375},
        ),
    ],
)
def test_the_parts_of_the_wait_for_a_head(timings: Timings | None, parts: dict[str, float]) -> None:
    """The steps to a connection are apart, and those that were not needed are not told."""
    rig = Rig()
    rig.post()
    rig.clock.advance(0.75)
    rig.agent.respond(200, (b"Content-Length", b"0"), timings=timings)
    rig.agent.end(ResponseDone())
    assert told(answered(rig)) == {**parts, "proxy": 0}


def test_the_upstreams_own_field_stays() -> None:
    """Ours is one more line behind it, as the field may stand often."""
    rig = Rig()
    rig.post()
    rig.agent.respond(200, (b"Content-Length", b"0"), (b"server-timing", b"db;dur=3"))
    rig.agent.end(ResponseDone())
    found = [value for name, value in answered(rig) if name.lower() == b"server-timing"]
    assert found == [b"db;dur=3", b"queue;dur=0.0, upstream;dur=0.0, proxy;dur=0.0"]


def test_a_slow_upload_is_nobodys_wait() -> None:
    """While the client sends, neither the upstream nor we are waited for."""
    rig = Rig()
    rig.client.send(POST.replace(b"POST", b"PUT") + b"Content-Type: image/png\r\n\r\n")
    rig.clock.advance(4)
    rig.client.send(b"x" * 37)
    rig.clock.advance(0.5)
    rig.agent.respond(200, (b"Content-Length", b"0"))
    rig.agent.end(ResponseDone())
    assert told(answered(rig)) == {"queue": 0, "upstream": 500, "proxy": 0}


def test_an_error_of_ours_tells_how_long_it_took() -> None:
    """A time-out at the upstream is seen to be one."""
    rig = Rig()
    rig.post()
    rig.clock.advance(3)
    rig.agent.answer.errback(Failure(errors.HeadTimedOut("x")))
    assert told(answered(rig)) == {"queue": 0, "upstream": 3000, "proxy": 0}


def test_what_came_before_the_last_attempt_is_apart() -> None:
    """An attempt that failed is neither this upstream's time nor ours."""
    rig = RoutedRig()
    rig.ask()
    rig.clock.advance(2)
    rig.one.last.give(503, b"{}", JSON)
    rig.clock.advance(0.25)
    rig.two.last.give(200, b"{}", JSON)
    _, fields, _ = rig.answer()
    assert told(list(fields.items())) == {"earlier": 2000, "queue": 0, "upstream": 250, "proxy": 0}


def test_what_was_held_back_was_waited_for() -> None:
    """A stream's head goes out with its first event: until then it is the upstream's time."""
    rig = RoutedRig()
    rig.ask(STREAM)
    rig.clock.advance(1)
    rig.one.last.respond(200, EVENTS)
    rig.clock.advance(2)
    rig.one.last.piece(TOKEN + DONE)
    rig.one.last.end()
    _, fields, _ = rig.answer()
    assert told(list(fields.items())) == {"queue": 0, "upstream": 3000, "proxy": 0}
