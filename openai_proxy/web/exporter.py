"""prometheus_client's exporter for Twisted, with threads of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client.registry import Collector
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET

from openai_proxy.process.operations import Family
from openai_proxy.wire.request import Request

THREADS = 2
"""Renderings at one time; more would only take the interpreter from each other, and from the reactor."""

_NOBODY = IPv4Address("TCP", "", 0)

Others = Callable[[], Deferred[list[Family]] | None]
"""The metrics of all processes; None: this one is alone."""


def _alone() -> None:
    """There are no others."""


class Exporter:
    """Renders a registry, or the numbers of several processes, from :meth:`start` to :meth:`stop`.

    Not in the reactor's own threads: names are looked up there, and a crowd of scrapes would be
    before each look-up in their queue.
    """

    def __init__(self, registry: Collector, reactor: Any, others: Others = _alone) -> None:
        """:param others: asked at each scrape."""
        self._reactor = reactor
        self._threads = ThreadPool(0, THREADS, "exporter")
        self.resource: IResource = _Exposed(self.rendering(registry), others, self)

    def rendering(self, registry: Collector) -> IResource:
        """What renders it."""
        # It installs the default reactor when it is imported, so it must not be imported before
        # twistd has chosen one.
        from prometheus_client.twisted import MetricsResource

        resource: IResource = MetricsResource(registry)
        # It names the reactor's own pool, and leaves no choice.
        resource._threadpool = self._threads  # type: ignore[attr-defined]
        return resource

    def in_thread(self, call: Callable[[], Any]) -> Deferred[Any]:
        """Call it beside the reactor."""
        if self._threads.joined:
            return succeed([])
        return deferToThreadPool(self._reactor, self._threads, call)

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


class _Exposed(Resource):
    isLeaf = True

    def __init__(self, own: IResource, others: Others, exporter: Exporter) -> None:
        super().__init__()
        self._own = own
        self._others = others
        self._exporter = exporter

    def render(self, request: Request) -> Any:
        families = self._others()
        if families is None:
            return self._own.render(request)
        families.addCallback(self._rendered, request)
        families.addErrback(self._failed, request)
        return NOT_DONE_YET

    def _rendered(self, families: list[Family], request: Request) -> None:
        # What few daemons need.
        from openai_proxy.observe.snapshot import collector

        if not request._disconnected:
            self._exporter.rendering(collector(families)).render(request)

    @staticmethod
    def _failed(failure: Failure, request: Request) -> None:
        request.processingFailed(failure)


def seem_to_be_from_nobody(request: Request) -> None:
    """WSGI asks each request for a host and a port, which a Unix socket does not have."""
    if isinstance(request.client, UNIXAddress):
        request.client = _NOBODY
    if isinstance(request.host, UNIXAddress):
        request.host = _NOBODY
