"""The exporter renders in threads of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.web.resource import Resource

from openai_proxy.web.exporter import THREADS, Exporter
from tests.support.wire import Client


class Slow(Collector):
    """Renders when it may."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.began = threading.Semaphore(0)

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        self.began.release()
        assert self.may.wait(30)
        yield from ()


async def test_a_crowd_of_scrapes_leaves_the_reactors_threads_alone() -> None:
    """Names are looked up there: what is connected meanwhile must not wait for the crowd."""
    from twisted.internet import reactor

    slow, registry = Slow(), CollectorRegistry()
    registry.register(slow)
    exporter = Exporter(registry, reactor)
    exporter.start()
    began = slow.began
    root = Resource()
    root.putChild(b"metrics", exporter.resource)
    clients = [Client(root) for _ in range(40)]
    for client in clients:
        client.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    for _ in range(THREADS):
        assert await deferToThread(began.acquire, True, 30)
    assert not began.acquire(blocking=False)
    slow.may.set()
    while not all(client.received for client in clients):
        await deferLater(reactor, 0)
    for client in clients:
        assert client.received.startswith(b"HTTP/1.1 200 ")
        client.done()
    await exporter.stop()


async def test_a_scrape_on_its_way_does_not_keep_the_daemon_from_its_end() -> None:
    """Its thread waits for the reactor to write, so the reactor does not wait for its thread."""
    from twisted.internet import reactor

    slow, registry = Slow(), CollectorRegistry()
    registry.register(slow)
    exporter = Exporter(registry, reactor)
    exporter.start()
    root = Resource()
    root.putChild(b"metrics", exporter.resource)
    client = Client(root)
    client.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await deferToThread(slow.began.acquire, True, 30)
    stopped = exporter.stop()
    assert not stopped.called
    slow.may.set()
    await stopped
    await exporter.stop()
    client.done()
