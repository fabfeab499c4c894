"""One daemon: it listens, serves what its configuration makes, changes that in one step, and ends well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.logger import Logger

from openai_proxy import __version__
from openai_proxy.config.settings import Settings
from openai_proxy.config.setup import Setup
from openai_proxy.config.started import started
from openai_proxy.graph import Graph, Lasting
from openai_proxy.graphs import Graphs
from openai_proxy.observe.log_counter import LogCounter
from openai_proxy.observe.metrics import Metrics, new_registry
from openai_proxy.observe.model import ModelNames
from openai_proxy.observe.reactor_watch import ReactorWatch
from openai_proxy.observe.record import Sink
from openai_proxy.observe.yielding_registry import YieldingRegistry
from openai_proxy.own_operations import OwnOperations
from openai_proxy.process.doors import CannotOpen, Change, Door, Doors, Wanted
from openai_proxy.process.drain import CUT, Drain
from openai_proxy.process.gossip import Gossip
from openai_proxy.process.listening import Listeners, Socket
from openai_proxy.process.operations import Family, Operations, Reloaded
from openai_proxy.process.peers import Peers
from openai_proxy.process.telling import end_with, problem_of, problems_of, reason_of, tell_reloaded, url_of
from openai_proxy.relay.failures import SHUTTING_DOWN
from openai_proxy.web.exporter import Exporter
from openai_proxy.web.operator_pages import OperatorPages
from openai_proxy.web.root import ProxySite
from openai_proxy.wire.body import HeldBodies

if TYPE_CHECKING:
    from openai_proxy.config.configuration import Configuration
    from openai_proxy.process.link import Link

Reread = Callable[[], Setup]
"""Reads the configuration again. Raises SystemExit with every problem."""


class ProxyService(MultiService):
    """Listens, serves, and lets go of everything when it is stopped.

    What it serves is a :class:`Graph`. A reload makes another; an exchange ends in that in which it began.
    """

    _log = Logger()
    _is_replaced = False
    _is_worker = False
    exit_status = 0
    """Of the process, once it has stopped: ``CUT`` if something was cut off."""

    def __init__(
        self,
        setup: Setup,
        reactor: Any,
        *,
        sockets: Sequence[Socket] = (),
        reread: Reread | None = None,
        sinks: Sequence[Sink] = (),
    ) -> None:
        """:param sockets: that the process was handed.
        :param reread: None: there is nothing to read again.
        :param sinks: told of every exchange, besides what the settings want.
        """
        super().__init__()
        self.reactor = reactor
        self._setup = setup
        self._reread = reread
        self.metrics = Metrics(new_registry())
        self._reactor_watch = ReactorWatch(reactor, self.metrics)
        self._log_counter = LogCounter(self.metrics)
        self.site = ProxySite(reactor, setup.settings.limits, self.metrics)
        self._lasting = self._made_to_last(sinks)
        self.graphs = Graphs(Graph(setup.settings, setup.configuration, self._lasting))
        registry = YieldingRegistry(self.metrics.registry)
        self._exporter = Exporter(registry, reactor, self._families_of_all)
        self.own = OwnOperations(
            self.graphs, registry, self._exporter, self.metrics.last_errors, self._reload
        )
        """Of this process alone."""
        self.peers = Peers(reactor, self.own)
        self.operations: Operations = self.peers
        """Those of all processes: what pages show."""
        self.pages = OperatorPages(self.peers, self.site, self.site.ready, self._exporter.resource, reactor)
        self.doors = Doors(Listeners(reactor, sockets), reactor)
        self.gossip = self._gossip()
        """Of objects that providers made, with other processes of this daemon."""
        self._drain: Drain | None = None
        self._watch()
        self._show(self.graph)

    def _made_to_last(self, sinks: Sequence[Sink]) -> Lasting:
        return Lasting(
            self.reactor,
            self.metrics,
            tuple(sinks),
            ModelNames(lambda provider, name: None),
            self.site.held_bodies,
            HeldBodies(self.site.limits.held_total_bytes),
        )

    def _watch(self) -> None:
        self.metrics.watch_clients(lambda: len(self.site.channels))
        self.metrics.operating.left_to_drain = self.graphs.count
        self.metrics.operating.begun()

    def _gossip(self) -> Gossip:
        made = self.graph.made
        gossip = Gossip(made, self.reactor.seconds)
        if made is not None:
            made.told = gossip.made
        return gossip

    @property
    def graph(self) -> Graph:
        """The one in use."""
        return self.graphs.current

    def when_serving(self) -> Deferred[None]:
        """At once: it listens when it is started."""
        return succeed(None)

    @property
    def can_reload(self) -> bool:
        """Whether there is something to read again."""
        return self._reread is not None

    @property
    def settings(self) -> Settings:
        """Those in use."""
        return self.graph.settings

    @property
    def ports(self) -> list[IListeningPort]:
        """Those that are open."""
        return self.doors.listeners.ports

    def _wanted(self, setup: Setup) -> list[Wanted]:
        """The doors that there are to be."""
        settings = setup.settings
        wanted = [
            Wanted(one, self.site, setup.listen_place(number)) for number, one in enumerate(settings.listen)
        ]
        admin = settings.admin.listen
        if admin is not None and not self._is_worker:
            wanted.append(Wanted(admin, self.pages.admin_site(settings), setup.admin_place))
        return wanted

    def _show(self, graph: Graph) -> None:
        """What requests find, from the next one on."""
        graph.use()
        self.site.limit(graph.settings.limits)
        self.site.sink = graph.context.sink
        self.pages.use(graph.settings)
        self.site.serve({**graph.routes, **self.pages.routes(graph.settings)})

    # The start.

    def privilegedStartService(self) -> None:
        """Listen; a port that cannot be had ends the daemon with one line and status 1."""
        super().privilegedStartService()
        try:
            change = self.doors.prepare(self._wanted(self._setup))
        except CannotOpen as error:
            end_with(problem_of(error))
        change.use()
        self._show_certificates()
        self.doors.listeners.close_unused()
        for door in change.new:
            self._opened(door)

    def _show_certificates(self) -> None:
        shown = self.metrics.certificates
        shown.clear()
        shown.update(self.doors.certificates())
        for line in self.doors.warnings(self.metrics.seconds()):
            self._log.warn("{line}", line=line)

    def _opened(self, door: Door) -> None:
        url = url_of(door.port.getHost(), "https" if door.is_secure else "http")
        if door.wanted.site is self.site:
            who = "a worker of openai_proxy" if self._is_worker else "openai_proxy"
            self._log.info("{who} {version} serves on {url}", who=who, version=__version__, url=url)
        else:
            self.pages.opened(door.port)
            self._log.info("Metrics and pages for operators are at {url}", url=url)

    def startService(self) -> None:
        """Open the access log, as the user that will write it; one that cannot be opened ends the daemon."""
        try:
            self.graph.start()
        except OSError as error:
            end_with(f"--access-log {self.settings.access_log}: {reason_of(error)}")
        super().startService()
        if not self._is_worker:
            for line in started(self.settings, self.graph.configuration):
                self._log.info("{line}", line=line)
        self._exporter.start()
        self._log_counter.start()
        self._reactor_watch.start()

    # Another configuration.

    def reload(self) -> Deferred[Reloaded]:
        """Read the configuration again: all of it, or nothing."""
        return self.own.reload()

    def _reload(self) -> Reloaded:
        try:
            lines = self._reloaded()
        except (SystemExit, ValueError, OSError, CannotOpen) as error:
            reloaded = Reloaded(False, problems_of(error))
        except Exception:
            self._log.failure("The configuration could not be taken into use")
            reloaded = Reloaded(False, ["the daemon failed at it; its log says how"])
        else:
            reloaded = Reloaded(True, lines)
        # Of several processes the parent counts, and says it once for all.
        if self.can_reload:
            # What is in use is right, where there is no file to be wrong.
            self.metrics.operating.reloaded(reloaded.is_done, is_counted=not self._is_worker)
        if not self._is_worker:
            tell_reloaded(self._log, reloaded)
        return reloaded

    def _reloaded(self) -> list[str]:
        """What is different now. Raises what is wrong; nothing has changed then."""
        if self._reread is None:
            raise ValueError("there is no configuration file to read again (--config)")
        if self._drain is not None:
            raise ValueError("the daemon is ending")
        before, setup = self._setup, self._reread()
        if setup.settings.workers != before.settings.workers:
            raise ValueError("workers: changes at an upgrade or a restart")
        graph = Graph(setup.settings, setup.configuration, self._lasting, self.graph)
        try:
            change = self._prepared(graph, setup)
        except BaseException:
            self.graphs.discard(graph)
            raise
        for port in change.use():
            Deferred.fromCoroutine(self.doors.listeners.close(port))
        self._show_certificates()
        self._show(graph)
        for door in change.new:
            self._opened(door)
        self.graphs.use(graph)
        self._setup = setup
        return [*_difference(before.configuration, setup.configuration), *change.lines]

    def _prepared(self, graph: Graph, setup: Setup) -> Change:
        """All that can fail has been done then."""
        change = self.doors.prepare(self._wanted(setup))
        try:
            graph.start()
        except BaseException:
            change.undo()
            raise
        return change

    # Other processes of the same daemon.

    def _families_of_all(self) -> Deferred[list[Family]] | None:
        is_alone = not self._is_worker and self.peers.is_alone
        return None if is_alone else self.operations.families()

    def work_for(self, parent: Operations) -> None:
        """This is one of several workers, whose parent knows of them all."""
        self._is_worker = True
        self.operations = self.pages.operations = parent

    def sockets(self) -> list[Socket]:
        """All that are open, for a successor."""
        return self.doors.listeners.to_hand_down()

    def follow(self, link: Link) -> None:
        """There is a process before this one, which is about to end: it is shown with this one."""
        self.peers.join(link)
        self.peers.start()

    def retire(self, link: Link, families: Any) -> None:
        """Its last numbers: they are counted on here."""
        self.peers.told(link, families)

    def followed(self, link: Link) -> None:
        """It has ended."""
        self.peers.leave(link)

    # The end.

    @property
    def is_draining(self) -> bool:
        """Whether its end has begun."""
        return self._drain is not None

    def drain(self, grace_seconds: float | None = None) -> Deferred[None]:
        """End in good order: fires when nothing is left, or its time is over. A second time: end it now.

        :param grace_seconds: how long connections are still accepted; None: as the settings say.
        """
        if self._drain is not None:
            self._drain.end()
            return succeed(None)
        settings, admin = self.settings.drain, self.settings.admin.listen
        grace_seconds = settings.grace_seconds if grace_seconds is None else grace_seconds
        self._log.info(
            "The daemon is ending: it listens for {grace:g} s more, and waits {timeout:g} s at most",
            grace=grace_seconds,
            timeout=settings.timeout_seconds,
        )
        self.site.draining = True
        if admin is None:
            # Its events are exchanges of clients, here.
            self.pages.stop()
        self.metrics.operating.is_draining = True
        self._drain = Drain(self, self.reactor, settings.timeout_seconds)
        return self._drain.begin(grace_seconds)

    def hand_over(self) -> Deferred[None]:
        """Another process serves at the same sockets: this one ends as :meth:`drain` says."""
        self.doors.listeners.share()
        self._is_replaced = True
        return self.drain(0)

    async def stop_listening(self) -> None:
        """See :class:`~openai_proxy.process.drain.Draining`: for clients; operators are listened to on, but
        for the successor's sake.
        """
        for door in self.doors.open:
            if door.wanted.site is self.site or self._is_replaced:
                await self.doors.listeners.close(door.port)

    def let_idle_go(self, idle_seconds: float) -> None:
        """See :class:`~openai_proxy.process.drain.Draining`."""
        self.site.let_idle_go(idle_seconds)

    def left(self) -> tuple[int, int]:
        """See :class:`~openai_proxy.process.drain.Draining`."""
        return self.graphs.count(), len(self.site.channels)

    def cut(self) -> None:
        """See :class:`~openai_proxy.process.drain.Draining`."""
        exchanges = list(self.graphs.exchanges())
        if exchanges:
            self.exit_status = CUT
        for exchange in exchanges:
            exchange.stop(SHUTTING_DOWN)

    async def _close(self) -> None:
        self.site.draining = True
        await self.doors.listeners.close_all()
        self.cut()
        # A transport aborts, and what was said last goes out, in the next turn. Without it the process's exit
        # would close the sockets, and an answer without a length would seem to have ended.
        await deferLater(self.reactor, 0)
        self.site.abort_all()
        if self.pages.site is not None:
            self.pages.site.abort_all()
        await deferLater(self.reactor, 0)
        await self._exporter.stop()
        # The access log last: what was cut off just now has its lines too.
        await self.graphs.stop()

    def stopService(self) -> Deferred[None]:
        """Stop listening, then cut what is left."""
        super().stopService()
        self._reactor_watch.stop()
        self._log_counter.stop()
        self.peers.stop()
        self.pages.stop()
        return Deferred.fromCoroutine(self._close())


def _difference(before: Configuration | None, after: Configuration | None) -> list[str]:
    if before is None or after is None:
        return []
    from openai_proxy.config.difference import difference

    return difference(before, after)
