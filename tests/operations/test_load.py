"""The load of these tests sees every kind of loss, and counts it in its place. No daemon is in this file."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.operations.answering import FAULTS
from tests.operations.load import Counts, Load, Order, Provider

REQUESTS = 60
EVERY = 6
LOST = REQUESTS // EVERY


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    """The upstream, asked directly."""
    with Provider() as running:
        yield running


def ask(order: Order) -> Counts:
    """All of it."""
    with Load(order) as load:
        return load.end()


def test_all_is_answered_where_nothing_is_wrong(provider: Provider) -> None:
    """Both sides count the same requests, and no connection is closed or asked anew."""
    before = provider.truth
    counts = ask(Order(provider.port, requests=2000))
    assert (counts.sent, counts.answered, counts.lost, counts.retried, counts.closes) == (2000, 2000, 0, 0, 0)
    assert provider.truth.requests - before.requests == 2000
    assert provider.truth.repeated == before.repeated
    assert counts.keys == {"client": 2000}


def test_each_request_can_have_a_connection_of_its_own(provider: Provider) -> None:
    """More of them than one address has ports for in a minute are no trouble, as they come from many."""
    counts = ask(Order(provider.port, requests=500, keeps=False))
    assert (counts.answered, counts.lost) == (500, 0)


def test_streams_are_whole_to_their_last_event(provider: Provider) -> None:
    """Each event once, in order, and ``[DONE]``."""
    counts = ask(Order(provider.port, requests=40, connections=20, events=10, gap_ms=2))
    assert (counts.answered, counts.lost) == (40, 0)


def counted_at(fault: str, is_stream: bool) -> str:
    """Where a fault has its place."""
    if fault == "500":
        return "statuses"
    if fault in ("mix", "twice", "order", "short"):
        return "wrong"
    return {"close": "reset", "hang": "late", "told": "told"}.get(fault, "cut")


@pytest.mark.parametrize(
    ("fault", "is_stream"),
    [
        ("500", False),
        ("close", False),
        ("cut", False),
        ("mix", False),
        ("twice", False),
        ("hang", False),
        ("cut", True),
        ("short", True),
        ("order", True),
        ("told", True),
        ("hang", True),
    ],
)
def test_each_loss_is_seen(provider: Provider, fault: str, is_stream: bool) -> None:
    """One request in six goes wrong: so many are counted, in the right place, and all others are answered."""
    order = Order(
        provider.port, requests=REQUESTS, connections=4, keeps=False, fault=fault, fault_every=EVERY
    )
    if is_stream:
        order = replace(order, events=6, gap_ms=1)
    if fault == "hang":
        order = replace(order, patience_seconds=1.0, connections=LOST + 5)
    counts = ask(order)
    place = counted_at(fault, is_stream)
    seen = counts.statuses if place == "statuses" else getattr(counts, place)
    assert seen == ({"500": LOST} if place == "statuses" else LOST), counts
    assert (counts.answered, counts.lost, counts.retried) == (REQUESTS - LOST, LOST, 0)
    assert counts.notes


def test_a_stale_connection_is_a_retry_and_no_loss(provider: Provider) -> None:
    """As every client does: what closes before any byte, on a connection that had served, is sent again."""
    order = Order(provider.port, requests=REQUESTS, connections=1, fault="stale", fault_every=EVERY)
    before = provider.truth
    counts = ask(order)
    assert (counts.answered, counts.lost, counts.retried) == (REQUESTS, 0, LOST)
    assert provider.truth.repeated - before.repeated == LOST


def test_a_closed_connection_is_not_asked_twice(provider: Provider) -> None:
    """A new connection that is closed before any byte is a loss, though it comes behind a stale one."""
    order = Order(provider.port, requests=REQUESTS, connections=1, fault="close", fault_every=EVERY)
    counts = ask(order)
    assert (counts.reset, counts.retried) == (LOST, LOST)


def test_nobody_listens() -> None:
    """Every request is refused."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    counts = ask(Order(port, requests=20))
    assert (counts.sent, counts.refused, counts.answered) == (20, 20, 0)


def test_every_fault_of_the_provider_is_tried() -> None:
    """A fault that no test has would be one that the load may not see."""
    assert set(FAULTS) == {"500", "close", "stale", "cut", "short", "order", "twice", "mix", "told", "hang"}


def test_a_load_without_end_is_stopped(provider: Provider) -> None:
    """What is in flight ends first, and is counted."""
    with Load(Order(provider.port, connections=5, events=20, gap_ms=5)) as load:
        load.wait_for(answered=5, in_flight=5)
        counts = load.stop()
    assert counts.answered == counts.sent >= 10
