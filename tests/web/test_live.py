"""The events of the page: when there are some, what is in them, and what is left when nobody looks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace
from twisted.internet.defer import Deferred, fail

from openai_proxy.observe.metrics import Metrics, new_registry
from openai_proxy.observe.outcome import Outcome
from openai_proxy.web.live import (
    ASK_SECONDS,
    MOST_ROWS,
    MOST_SUBSCRIBERS,
    SNAPSHOT_SECONDS,
    Live,
    most_important,
)
from openai_proxy.wire.request import Request
from tests.support.operations import FLYING, SEEN, FakeOperations
from tests.support.operator_page import record
from tests.support.wire import Client


class Rig:
    """Clients of one ``Live``, on one clock."""

    def __init__(self) -> None:
        self.metrics = Metrics(new_registry())
        self.operations = FakeOperations(self.metrics.registry)
        self.clients: list[Client] = []
        self.live: Live | None = None

    def subscribe(self, method: bytes = b"GET") -> Client:
        """One more page."""

        def handle(request: Request) -> None:
            assert self.live is not None
            answer = self.live.subscribe(request)
            if answer is not None:
                request.answer(answer.status, b"No", [], b"")

        client = Client(handle)
        if self.clients:
            client.clock = self.clients[0].clock
        if self.live is None:
            self.live = Live(self.operations, client.clock, lambda: 1_767_225_599.0)
        self.clients.append(client)
        client.send(b"%b /events HTTP/1.1\r\nHost: x\r\n\r\n" % method)
        return client

    def pass_seconds(self, seconds: float) -> None:
        """In steps of a second."""
        for _ in range(int(seconds)):
            self.clients[0].clock.advance(1)

    def stop(self) -> None:
        assert self.live is not None
        self.live.stop()


def body_of(client: Client) -> bytes:
    """What came so far of an answer in chunks that has no end yet; its head may have been taken away."""
    said, body = client.received, b""
    chunks = said.partition(b"\r\n\r\n")[2] if said.startswith(b"HTTP/") else said
    while chunks:
        size, _, rest = chunks.partition(b"\r\n")
        body += rest[: int(size, 16)]
        chunks = rest[int(size, 16) + 2 :]
    return body


def events(client: Client) -> list[tuple[str, Any]]:
    """Names and data of the events so far (HTML, 9.2.6)."""
    found = []
    for block in body_of(client).decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def names(client: Client) -> list[str]:
    return [name for name, _ in events(client)]


@pytest.fixture
def rig() -> Iterator[Rig]:
    """With its end checked: no timer is left."""
    rig = Rig()
    yield rig
    rig.stop()
    for client in rig.clients:
        client.leave()
    assert not [call for client in rig.clients for call in client.clock.getDelayedCalls()]


def test_all_parts_come_at_once_and_then_what_has_changed(rig: Rig) -> None:
    """One event a second in any case, which tells the time; the rates as often as there is a snapshot."""
    client = rig.subscribe()
    head = client.received.partition(b"\r\n\r\n")[0]
    assert b"Content-Type: text/event-stream" in head and b"no-store" in head
    assert body_of(client).startswith(b"retry: 2000\n\n")
    assert names(client) == ["in_flight", "summary", "errors", "providers"]
    client.transport.clear()
    client.clock.advance(0.5)
    assert not client.received
    rig.operations.errors = [SEEN]
    client.clock.advance(0.5)
    said = dict(events(client))
    assert list(said) == ["in_flight", "errors"] and said["errors"][0]["id"] == "req_9"
    client.transport.clear()
    client.clock.advance(1)
    assert names(client) == ["in_flight", "summary"]


def test_what_is_in_flight_is_counted_and_ordered(rig: Rig) -> None:
    """The stalled ones first, then the oldest; 50 at most, and how many there are."""
    rig.operations.flying = [replace(FLYING, id=f"r{n}", is_stalled=n in (70, 90)) for n in range(100)]
    said = dict(events(rig.subscribe()))["in_flight"]
    assert (said["total"], said["stalled"], len(said["rows"])) == (100, 2, MOST_ROWS)
    assert [row["id"] for row in said["rows"]][:4] == ["r70", "r90", "r0", "r1"]
    assert said["is_whole"] is True and said["at_seconds"] == 1_767_225_599.0
    assert most_important([]) == []


def test_the_numbers_of_the_last_minutes_come_with_the_events(rig: Rig) -> None:
    """A request that ended is in the rates some seconds later; counting begins at the first snapshot."""
    rig.subscribe()
    for _ in range(6):
        rig.metrics.exchange_began("chat_completions")
        rig.metrics.exchange_ended(record())
    rig.metrics.exchange_began("chat_completions")
    rig.metrics.exchange_ended(record(Outcome.UPSTREAM_ERROR))
    rig.pass_seconds(3)
    (summary,) = [data for name, data in events(rig.clients[0]) if name == "summary"][-1:]
    assert {one["outcome"]: one["count"] for one in summary["rates"]} == {"ok": 6, "upstream_error": 1}


def test_nobody_looks(rig: Rig) -> None:
    """No events are made; the history goes on, with a snapshot every ten seconds."""
    client = rig.subscribe()
    clock = client.clock
    client.leave()
    rig.operations.asked = 0
    for _ in range(int(SNAPSHOT_SECONDS) * 6):
        clock.advance(1)
    assert rig.operations.asked == 6
    rig.clients.append(client)
    again = rig.subscribe()
    assert names(again) == ["in_flight", "summary", "errors", "providers"]


def test_a_second_page_has_all_parts_too(rig: Rig) -> None:
    """Also those that have not changed since the first had them; and one that goes does not end the other."""
    first = rig.subscribe()
    second = rig.subscribe()
    assert names(second) == ["in_flight", "summary", "errors", "providers"]
    first.leave()
    second.transport.clear()
    second.clock.advance(1)
    assert b"event: in_flight" in second.received


def test_a_page_that_does_not_take_its_events(rig: Rig) -> None:
    """Nothing piles up for it; when it takes again it has all parts."""
    client = rig.subscribe()
    client.channel.pauseProducing()
    client.transport.clear()
    rig.operations.errors = [SEEN]
    rig.pass_seconds(5)
    assert not client.received
    client.channel.resumeProducing()
    rig.pass_seconds(1)
    assert names(client) == ["in_flight", "summary", "errors", "providers"]


def test_there_is_a_bound(rig: Rig) -> None:
    """One page too many is told so, and may come again when another has gone."""
    clients = [rig.subscribe() for _ in range(MOST_SUBSCRIBERS)]
    assert rig.subscribe().received.startswith(b"HTTP/1.1 503 ")
    clients[3].leave()
    assert rig.subscribe().received.startswith(b"HTTP/1.1 200 ")


def test_the_end(rig: Rig) -> None:
    """Every stream of events ends whole, a later one is refused, and it can be stopped twice."""
    clients = [rig.subscribe(), rig.subscribe()]
    rig.stop()
    for client in clients:
        assert client.received.endswith(b"0\r\n\r\n")
    rig.stop()
    assert rig.subscribe().received.startswith(b"HTTP/1.1 503 ")


def test_only_the_head(rig: Rig) -> None:
    """HEAD is answered and is no page."""
    client = rig.subscribe(b"HEAD")
    assert client.received.startswith(b"HTTP/1.1 200 ") and b"retry" not in client.received
    assert rig.operations.asked == 0


def test_what_cannot_be_had_is_said_and_logged_once(rig: Rig, nothing_left: list[Any]) -> None:
    """The page stays as it was, and knows it."""
    rig.operations.flying = [FLYING]
    client = rig.subscribe()
    for _ in range(3):
        rig.operations.answers = fail(RuntimeError("no"))
        rig.operations.answers.addErrback(lambda failure: failure)
        client.transport.clear()
        rig.pass_seconds(1)
    said = dict(events(client))
    assert list(said) == ["in_flight"] and said["in_flight"]["is_whole"] is False
    assert [row["id"] for row in said["in_flight"]["rows"]] == ["req_1"]
    assert len(nothing_left) == 1
    rig.operations.answers = None
    nothing_left.clear()
    client.transport.clear()
    rig.pass_seconds(1)
    assert dict(events(client))["in_flight"]["is_whole"] is True


def test_what_never_comes_is_not_waited_for(rig: Rig, nothing_left: list[Any]) -> None:
    """An event without it, some seconds late."""
    client = rig.subscribe()
    client.transport.clear()
    rig.operations.answers = Deferred()
    rig.pass_seconds(1 + ASK_SECONDS)
    assert dict(events(client))["in_flight"]["is_whole"] is False
    nothing_left.clear()


def test_the_end_while_something_is_asked(rig: Rig) -> None:
    """What is waited for is given up: no timer is left, and nothing is logged."""
    rig.subscribe()
    rig.operations.answers = Deferred()
    rig.pass_seconds(1)
    rig.stop()
