"""Several processes are asked and shown as one, whoever of them does not answer or goes."""

from __future__ import annotations

import socket
from collections.abc import Collection
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from openai_proxy.process.link import Link, LinkFailed, adopt
from openai_proxy.process.operations import (
    ErrorSeen,
    Family,
    InFlight,
    Operations,
    Reloaded,
    Sample,
)
from openai_proxy.process.peers import (
    ANSWER_SECONDS,
    LOOK_SECONDS,
    PATIENCE_SECONDS,
    AskedOperations,
    Peers,
    answering,
)


def exchange(request_id: str, age_seconds: float, worker: int | None = None) -> InFlight:
    """One that is under way."""
    return InFlight(
        id=request_id,
        age_seconds=age_seconds,
        route="/v1",
        endpoint="responses",
        provider="openai",
        model="none",
        phase="answer",
        is_stream=True,
        attempts=1,
        received_bytes=0,
        sent_bytes=0,
        output_events=0,
        idle_seconds=0,
        is_stalled=False,
        worker=worker,
    )


def error(request_id: str, at_seconds: float) -> ErrorSeen:
    """One that was."""
    return ErrorSeen(
        at_seconds=at_seconds,
        id=request_id,
        provider="openai",
        endpoint="responses",
        model="none",
        status=500,
        outcome="upstream_error",
        error_type="none",
        error_code="none",
        duration_seconds=1,
    )


class Numbers:
    """A process that can be asked."""

    def __init__(self, requests: float, open_streams: float, *ids: tuple[str, float]) -> None:
        self.requests, self.open_streams, self.ids = requests, open_streams, dict(ids)
        self.reloaded = Reloaded(True, ["log.level: info -> debug"])
        self.waits = False
        self.reloads = 0

    def families(self, names: Collection[str] | None = None) -> Deferred[list[Family]]:
        shown = [one for one in self.now() if names is None or one.name in names]
        return Deferred() if self.waits else succeed(shown)

    def now(self) -> list[Family]:
        """Its numbers."""
        return [
            Family("requests", "counter", "Some.", [Sample("requests_total", (), self.requests)]),
            Family("streams", "gauge", "Some.", [Sample("streams", (), self.open_streams)]),
        ]

    def in_flight(self) -> Deferred[list[InFlight]]:
        return Deferred() if self.waits else succeed([exchange(*one) for one in self.ids.items()])

    def last_errors(self) -> Deferred[list[ErrorSeen]]:
        return succeed([error(*one) for one in self.ids.items()])

    def end(self, request_id: str) -> Deferred[bool]:
        return succeed(self.ids.pop(request_id, None) is not None)

    def reload(self) -> Deferred[Reloaded]:
        self.reloads += 1
        return succeed(self.reloaded)


class Others:
    """Peers, and what is at the other ends of their links."""

    def __init__(self, local: Operations | None = None) -> None:
        self.clock = Clock()
        self.peers = Peers(self.clock, local)
        self.here: list[Link] = []
        self.there: list[Link] = []
        self.gone: dict[Link, Deferred[None]] = {}

    def add(self, operations: Operations, number: int | None = None) -> Link:
        """A process at the end of a link."""
        from twisted.internet import reactor

        ours, theirs = socket.socketpair()

        def answer(what: str, argument: Any) -> None:
            assert what == "families"
            self.peers.told(link, argument)

        def ended() -> None:
            self.peers.leave(link)
            self.gone[link].callback(None)

        link = adopt(reactor, ours.detach(), answer, ended)
        self.gone[link] = Deferred()
        self.there.append(adopt(reactor, theirs.detach(), answering(operations), lambda: None))
        self.here.append(link)
        self.peers.join(link, number)
        return link

    async def end(self, link: Link) -> None:
        """It dies."""
        self.there[self.here.index(link)].transport.abortConnection()  # type: ignore[union-attr]
        await self.gone[link]

    async def values(self, *names: str) -> dict[str, float]:
        """All numbers, or those with these names."""
        families = await self.peers.families(names or None)
        return {one.name: one.samples[0].value for one in families}

    async def close(self) -> None:
        """Let go of all."""
        self.peers.stop()
        for link in (*self.here, *self.there):
            await link.close()
        assert not self.clock.getDelayedCalls()


async def test_numbers_are_those_of_all() -> None:
    """Its own and those of each other process are summed."""
    others = Others(Numbers(1, 1))
    others.add(Numbers(10, 2), 1)
    others.add(Numbers(100, 3), 2)
    assert await others.values() == {"requests": 111, "streams": 6}
    await others.close()


async def test_what_a_process_counted_outlives_it() -> None:
    """A process that dies leaves what it had counted at the last look, and none of its gauges."""
    others, dying = Others(), Numbers(10, 2)
    link = others.add(dying, 1)
    others.add(Numbers(100, 3), 2)
    assert await others.values() == {"requests": 110, "streams": 5}
    await others.end(link)
    assert await others.values() == {"requests": 110, "streams": 3}
    again = others.add(Numbers(5, 1), 1)
    assert await others.values() == {"requests": 115, "streams": 4}
    await others.end(again)
    assert await others.values() == {"requests": 115, "streams": 3}
    await others.close()


async def test_what_a_process_told_at_its_end_counts() -> None:
    """Nothing is lost of one that ends by itself, and an older answer of it changes nothing."""
    others, ending = Others(), Numbers(10, 2)
    link = others.add(ending, 1)
    assert await others.values() == {"requests": 10, "streams": 2}
    ending.requests = 12
    there = others.there[0]
    there.tell("families", ending.now())
    closed = there.close()
    await others.gone[link]
    await closed
    assert await others.values() == {"requests": 12}
    await others.close()


async def test_numbers_are_looked_at_though_nobody_asks() -> None:
    """Every two seconds: that is what a process that is killed can take with it at most."""
    others, busy = Others(), Numbers(10, 2)
    link = others.add(busy, 1)
    await link.ask("end", "nobody")
    others.peers.start()
    busy.requests = 20
    others.clock.advance(LOOK_SECONDS)
    # An answer to this comes after the one to that look.
    await link.ask("end", "nobody")
    busy.requests = 30
    await others.end(link)
    assert await others.values() == {"requests": 20}
    await others.close()


async def test_one_that_does_not_answer_is_passed_over() -> None:
    """Its last numbers count; of the rest it is left out."""
    others, hanging = Others(), Numbers(10, 2, ("a", 1))
    others.add(hanging, 1)
    others.add(Numbers(100, 3, ("b", 2)), 2)
    assert await others.values() == {"requests": 110, "streams": 5}
    hanging.waits, hanging.requests = True, 11
    asked, in_flight = Deferred.fromCoroutine(others.values()), others.peers.in_flight()
    # Answers come in the order of the asks.
    await others.here[1].ask("end", "nobody")
    others.clock.advance(ANSWER_SECONDS)
    assert await asked == {"requests": 110, "streams": 5}
    assert [one.id for one in await in_flight] == ["b"]
    await others.close()


async def test_nobody_waits_for_one_that_has_not_answered_for_long() -> None:
    """Scrapes go on at once, with its last numbers; when it answers again, it is asked again."""
    others, hanging = Others(), Numbers(10, 2, ("a", 1))
    others.add(hanging, 1)
    others.add(Numbers(100, 3, ("b", 2)), 2)
    assert await others.values() == {"requests": 110, "streams": 5}
    hanging.waits = True
    with capturedLogs() as logged:
        others.peers.start()
        for _ in range(6):
            others.clock.advance(LOOK_SECONDS)
            # The other one has answered by then.
            await others.here[1].ask("end", "nobody")
        # The clock stands still from here on.
        assert await others.values() == {"requests": 110, "streams": 5}
        assert [one.id for one in await others.peers.in_flight()] == ["b"]
        hanging.waits, hanging.requests = False, 11
        others.clock.advance(ANSWER_SECONDS)
        others.clock.advance(LOOK_SECONDS)
        for one in others.here:
            await one.ask("end", "nobody")
        assert await others.values() == {"requests": 111, "streams": 5}
    said = [formatEvent(event) for event in logged]
    assert said == ["Worker 1 has not answered for 10 s", "Worker 1 answers again"]
    await others.close()


async def test_a_scrape_is_answered_before_its_time_is_over() -> None:
    """Also the first one that meets a process that hangs: Prometheus waits for ten seconds."""
    others, hanging = Others(), Numbers(10, 2)
    others.add(hanging, 1)
    assert await others.values() == {"requests": 10, "streams": 2}
    hanging.waits = True
    asked = Deferred.fromCoroutine(others.values())
    await others.here[0].ask("end", "nobody")
    others.clock.advance(PATIENCE_SECONDS)
    assert await asked == {"requests": 10, "streams": 2}
    await others.close()


async def test_some_numbers_are_asked_for_by_their_names() -> None:
    """Of those who are there, who do not answer, and who are gone."""
    others, hanging = Others(Numbers(1, 1)), Numbers(10, 2)
    others.add(hanging, 1)
    gone = others.add(Numbers(100, 3), 2)
    others.add(Numbers(1000, 4), 3)
    assert await others.values("streams") == {"streams": 10}
    await others.values()
    hanging.waits = True
    await others.end(gone)
    asked = Deferred.fromCoroutine(others.values("requests"))
    await others.here[2].ask("end", "nobody")
    others.clock.advance(ANSWER_SECONDS)
    assert await asked == {"requests": 1111}
    await others.close()


async def test_exchanges_are_shown_with_their_worker_and_ended_where_they_are() -> None:
    """The oldest first; each knows who has it; one is ended by whoever has it."""
    local, one, two = Numbers(0, 0, ("own", 5)), Numbers(0, 0, ("a", 9), ("b", 1)), Numbers(0, 0, ("c", 3))
    others = Others(local)
    others.add(one, 1)
    others.add(two)
    seen = [(one.id, one.worker) for one in await others.peers.in_flight()]
    assert seen == [("a", 1), ("own", None), ("c", None), ("b", 1)]
    assert await others.peers.end("c") is True
    assert await others.peers.end("own") is True
    assert await others.peers.end("nobody") is False
    assert (two.ids, local.ids) == ({}, {})
    assert [one.id for one in await others.peers.last_errors()] == ["a", "b"]
    await others.close()


async def test_a_reload_is_everyones() -> None:
    """Workers reload, and say the same once; one that is about to end does not; one problem is a failure."""
    local, one, two, old = Numbers(0, 0), Numbers(0, 0), Numbers(0, 0), Numbers(0, 0)
    others = Others(local)
    others.add(one, 1)
    link = others.add(two, 2)
    others.add(old)
    assert await others.peers.reload() == Reloaded(True, ["log.level: info -> debug"])
    assert (local.reloads, one.reloads, two.reloads, old.reloads) == (1, 1, 1, 0)
    two.reloaded = Reloaded(False, ["models: none"])
    assert await others.peers.reload() == Reloaded(False, ["log.level: info -> debug", "models: none"])
    reloading = others.peers.reload()
    await others.end(link)
    assert (await reloading).is_done is False
    await others.close()


async def test_the_other_side_of_a_link_can_be_asked_like_this_one() -> None:
    """A worker asks its parent for everything, through one more link."""
    from twisted.internet import reactor

    ours, theirs = socket.socketpair()
    numbers = Numbers(3, 1, ("a", 2))
    parent = adopt(reactor, ours.detach(), answering(numbers), lambda: None)
    worker = adopt(reactor, theirs.detach(), answering(numbers), lambda: None)
    asked: Operations = AskedOperations(worker)
    assert await asked.families() == numbers.now()
    assert await asked.families({"streams"}) == numbers.now()[1:]
    assert await asked.in_flight() == [exchange("a", 2)]
    assert await asked.last_errors() == [error("a", 2)]
    assert await asked.reload() == numbers.reloaded
    assert await asked.end("a") is True
    with pytest.raises(LinkFailed, match="nobody here knows of 'exec'"):
        await worker.ask("exec")
    await worker.close()
    await parent.close()
