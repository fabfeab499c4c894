"""prometheus_client's exporter for Twisted, with threads of its own."""

from __future__ import annotations

from typing import Any

from prometheus_client.registry import Collector
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from twisted.web.resource import IResource

from openai_proxy.wire.request import Request

THREADS = 2
"""Renderings at one time; more would only take the interpreter from each other, and from the reactor."""

_NOBODY = IPv4Address("TCP", "", 0)


class Exporter:
    """Renders a registry, from :meth:`start` to :meth:`stop`.

    Not in the reactor's own threads: names are looked up there, and a crowd of scrapes would be
    before each look-up in their queue.
    """

    def __init__(self, registry: Collector, reactor: Any) -> None:
        # It installs the default reactor when it is imported, so it must not be imported before
        # twistd has chosen one.
        from prometheus_client.twisted import MetricsResource

        self._reactor = reactor
        self._threads = ThreadPool(0, THREADS, "exporter")
        self.resource: IResource = MetricsResource(registry)
        # It names the reactor's own pool, and leaves no choice.
        self.resource._threadpool = self._threads

    def start(self) -> None:
        """Render what was asked for, and what will be."""
        self._threads.start()

    def stop(self) -> Deferred[None]:
        """Render no more; fires when nothing is being rendered. May be called again."""
        if self._threads.joined:
            return succeed(None)
        # Not in the reactor: a thread that has rendered waits for it to write, and it would wait for
        # the thread's end.
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), self._threads.stop)


def seem_to_be_from_nobody(request: Request) -> None:
    """WSGI asks each request for a host and a port, which a Unix socket does not have."""
    if isinstance(request.client, UNIXAddress):
        request.client = _NOBODY
    if isinstance(request.host, UNIXAddress):
        request.host = _NOBODY
