"""A daemon of several processes, as its parent lives it: the sockets and the operator's port are here."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from openai_proxy import __version__
from openai_proxy.config.settings import Settings
from openai_proxy.config.setup import Setup
from openai_proxy.config.started import started
from openai_proxy.process.command_line import CommandLine
from openai_proxy.process.doors import CannotOpen, Change, Doors, Wanted
from openai_proxy.process.listening import Listeners, Socket
from openai_proxy.process.operations import Reloaded
from openai_proxy.process.telling import end_with, problem_of, problems_of, tell_reloaded, url_of
from openai_proxy.service import Reread
from openai_proxy.supervisor import Supervisor
from openai_proxy.web.exporter import Exporter
from openai_proxy.web.operator_pages import OperatorPages

if TYPE_CHECKING:
    from openai_proxy.process.link import Link


class Parent(MultiService):
    """Holds the sockets, has them served by workers, and shows all of them as one."""

    _log = Logger()

    def __init__(
        self,
        setup: Setup,
        reactor: Any,
        command: CommandLine,
        environment: Mapping[str, str],
        sockets: Sequence[Socket],
        reread: Reread | None,
    ) -> None:
        """:param command: that has started this process.
        :param sockets: that it was handed.
        :param reread: see :class:`~openai_proxy.service.ProxyService`.
        """
        super().__init__()
        self._setup = self._read = setup
        self._reread = reread
        self._serving: Deferred[None] = Deferred()
        self._is_replaced = False
        admin = setup.settings.admin.listen
        # The last: "any free port" is described alike for both, and those of clients come first.
        mine = [one for one in sockets if admin is not None and one[0] == admin.description][-1:]
        self._held = Listeners(reactor, [one for one in sockets if one not in mine])
        self.doors = Doors(Listeners(reactor, mine), reactor)
        self._supervisor = Supervisor(
            setup.settings,
            reactor,
            command,
            environment,
            listeners=self._held,
            served=self._served,
            check=self._check,
        )
        self._supervisor.setServiceParent(self)
        self.operations = self._supervisor.operations
        self.operations.reloaded = self._reloaded
        self.gossip = self._supervisor.gossip
        self._exporter = Exporter(self._supervisor.registry, reactor, self.operations.families)
        self._pages = OperatorPages(self.operations, None, self._ready, self._exporter.resource, reactor)
        self._change: Change | None = None
        """What a reload that is under way makes of the operator's port."""

    @property
    def settings(self) -> Settings:
        """Those in use."""
        return self._setup.settings

    @property
    def exit_status(self) -> int:
        """Of the process, once it has stopped."""
        return self._supervisor.exit_status

    def _ready(self) -> tuple[int, dict[str, object]]:
        return (503, {"status": "draining"}) if self._supervisor.is_ending else (200, {"status": "ok"})

    # The start.

    def privilegedStartService(self) -> None:
        """Open all ports; one that cannot be had ends the daemon with one line and status 1."""
        super().privilegedStartService()
        for number, listen in enumerate(self.settings.listen):
            try:
                self._held.hold(listen)
            except Exception as error:
                # Each kind of endpoint fails in its own way.
                end_with(problem_of(CannotOpen(self._setup.listen_place(number), listen, error)))
        try:
            change = self._prepared(self._setup)
        except CannotOpen as error:
            end_with(problem_of(error))
        self._use(change)
        for door in change.new:
            self._pages.opened(door.port)
            url = url_of(door.port.getHost(), "https" if door.is_secure else "http")
            self._log.info("Metrics and pages for operators are at {url}", url=url)
        self._held.close_unused()
        self.doors.listeners.close_unused()

    def _prepared(self, setup: Setup) -> Change:
        """What the operator's port is to be. Raises CannotOpen."""
        admin = setup.settings.admin.listen
        if admin is None:
            return self.doors.prepare([])
        return self.doors.prepare([Wanted(admin, self._pages.admin_site(setup.settings), setup.admin_place)])

    def _use(self, change: Change) -> None:
        change.use()
        self._supervisor.certificates.clear()
        self._supervisor.certificates.update(self.doors.certificates())
        for line in self.doors.warnings(time.time()):  # noqa: TID251 (of the day: certificates expire by it)
            self._log.warn("{line}", line=line)

    def startService(self) -> None:
        """Start the workers."""
        super().startService()
        for line in started(self.settings, self._setup.configuration):
            self._log.info("{line}", line=line)
        self._exporter.start()

    def when_serving(self) -> Deferred[None]:
        """Fires when all workers serve."""
        return self._serving

    def _served(self) -> None:
        self._serving.callback(None)
        for listen, port in zip(self.settings.listen, self._held.ports, strict=True):
            is_secure = listen.certificate is not None or listen.description.startswith("ssl:")
            self._log.info(
                "openai_proxy {version} serves on {url} with {count} workers",
                version=__version__,
                url=url_of(port.getHost(), "https" if is_secure else "http"),
                count=self.settings.workers,
            )

    # What a daemon can be asked: see lifecycle.Daemon.

    @property
    def can_reload(self) -> bool:
        """Whether there is something to read again."""
        return self._reread is not None

    def reload(self) -> Deferred[Reloaded]:
        """Read the configuration here, and then, if it is right, in each worker."""
        return self.operations.reload()

    def _check(self) -> Reloaded:
        """What this process makes of the file: the workers read it only if it is right."""
        try:
            if self._reread is None:
                raise ValueError("there is no configuration file to read again (--config)")
            setup = self._reread()
            settings = setup.settings
            for name, before, now in (
                ("listeners", self.settings.listen, settings.listen),
                ("admin", self.settings.admin.listen, settings.admin.listen),
                ("workers", self.settings.workers, settings.workers),
            ):
                if before != now:
                    raise ValueError(f"{name}: with workers it changes at an upgrade or a restart")
            self._change = self._prepared(setup)
        except (SystemExit, ValueError, OSError, CannotOpen) as error:
            return Reloaded(False, problems_of(error))
        self._read = setup
        return Reloaded(True, self._change.lines)

    def _reloaded(self, reloaded: Reloaded) -> None:
        """It is in use here, too, where every worker has it: only they know of ports' and files' problems."""
        if reloaded.is_done and self._change is not None:
            self._use(self._change)
            self._setup = self._read
            self._supervisor.settings = self.settings
            self._pages.use(self.settings)
        tell_reloaded(self._log, reloaded)
        if self.can_reload:
            self._supervisor.operating.reloaded(reloaded.is_done)

    def sockets(self) -> list[Socket]:
        """All that are open, for a successor."""
        return [*self._held.to_hand_down(), *self.doors.listeners.to_hand_down()]

    def drain(self) -> Deferred[None]:
        """End in good order; a second time: now."""
        return self._supervisor.drain(0 if self._is_replaced else None)

    def hand_over(self) -> Deferred[None]:
        """The same, for another process serves already."""
        self._held.share()
        self.doors.listeners.share()
        self._is_replaced = True
        Deferred.fromCoroutine(self.doors.listeners.close_all())
        return self.drain()

    def follow(self, link: Link) -> None:
        """There is a daemon before this one, which is about to end."""
        self.operations.join(link)

    def retire(self, link: Link, families: Any) -> None:
        """Its last numbers."""
        self.operations.told(link, families)

    def followed(self, link: Link) -> None:
        """It has ended."""
        self.operations.leave(link)

    # The end.

    def stopService(self) -> Deferred[None]:
        """End what is left."""
        self._pages.stop()
        stopping: Deferred[None] = super().stopService()
        return stopping.addCallback(lambda _: Deferred.fromCoroutine(self._close()))

    async def _close(self) -> None:
        await self.doors.listeners.close_all()
        if self._pages.site is not None:
            self._pages.site.abort_all()
        await self._exporter.stop()
