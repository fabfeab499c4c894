"""What an operator sees of one daemon: on a port of its own, or on the port of the clients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IListeningPort
from twisted.web.resource import IResource, Resource

from openai_proxy.config.settings import Settings
from openai_proxy.process.operations import Operations
from openai_proxy.web.pages import Health
from openai_proxy.web.root import ProxySite
from openai_proxy.wire.request import Request
from openai_proxy.wire.site import Site

if TYPE_CHECKING:
    from openai_proxy.web.gate import AdminGate
    from openai_proxy.web.live import Live

_SHARED: Final = (b"", b"-", b"events", b"inflight")
"""By their first segment, the pages that the clients' port has where there is no other."""


class _Later(Resource):
    """A resource that is made when it is first asked for: its code is memory that most daemons are spared."""

    streams = True

    def __init__(self, make: Callable[[], IResource]) -> None:
        super().__init__()
        self._make = make
        self._made: Any = None

    @property
    def _it(self) -> Any:
        if self._made is None:
            self._made = self._make()
        return self._made

    def getChildWithDefault(self, path: bytes, request: Request) -> IResource:
        # A leaf answers for all that is below it, whatever its path.
        resource: IResource = self._it if self._it.isLeaf else self._it.getChildWithDefault(path, request)
        return resource

    def render(self, request: Request) -> Any:
        return self._it.render(request)


class OperatorPages:
    """The pages of one daemon, wherever they are shown."""

    def __init__(
        self,
        operations: Operations,
        site: ProxySite | None,
        ready: Health,
        exporter: IResource,
        reactor: Any,
    ) -> None:
        """:param site: the clients'; None: they are served by other processes.
        :param ready: what ``/readyz`` says.
        :param exporter: of all metrics.
        """
        self.operations = operations
        """Set it before the first request, or leave it."""
        self._clients = site
        self._ready = ready
        self._exporter = exporter
        self._reactor = reactor
        self._live: Live | None = None
        self._gate: AdminGate | None = None
        self._shared: dict[bytes, IResource] | None = None
        self.site: Site | None = None
        """The operator's own; None: there is none yet."""

    @property
    def live(self) -> Live:
        """The events of the page."""
        if self._live is None:
            from openai_proxy.web.live import Live

            self._live = Live(self.operations, self._reactor)
        return self._live

    def admin_site(self, settings: Settings) -> Site:
        """Of a port of its own; the same one whenever it is asked for."""
        from openai_proxy.web.admin import AdminSite
        from openai_proxy.web.gate import AdminGate

        if self.site is None:
            self._gate = AdminGate(settings.admin.token, settings.admin.shows_all)
            self.site = AdminSite(
                self._reactor,
                settings.limits,
                self.operations,
                self._exporter,
                self._gate,
                self.live,
                self._ready,
            )
        return self.site

    def use(self, settings: Settings) -> None:
        """From now on these hold."""
        if self._gate is not None:
            self._gate.change(settings.admin.token, settings.admin.shows_all)
        if self.site is not None:
            self.site.limit(settings.limits)

    def opened(self, port: IListeningPort) -> None:
        """There is a port of its own: its history begins now."""
        self.live.start()

    def routes(self, settings: Settings) -> dict[bytes, IResource]:
        """What of it clients' ports have: nothing where there is another."""
        if settings.admin.listen is not None:
            return {}
        shared = {name: _Later(partial(self._shared_at, name)) for name in _SHARED}
        return {b"metrics": self._exporter, **shared}

    def _shared_at(self, name: bytes) -> IResource:
        from openai_proxy.web.admin import shared_routes

        assert self._clients is not None
        if self._shared is None:
            self._shared = {**shared_routes(self._clients, self.operations, self.live)}
        return self._shared[name]

    def stop(self) -> None:
        """End all streams of events."""
        if self._live is not None:
            self._live.stop()
