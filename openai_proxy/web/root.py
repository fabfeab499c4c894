"""The resource tree, and the site over it."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import IResource, Resource

from openai_proxy.config.settings import Limits
from openai_proxy.observe.record import Sink
from openai_proxy.web.pages import Exposition, NotFound, Page, about
from openai_proxy.wire.request import Request
from openai_proxy.wire.site import Site


class Root(Resource):
    """The next segment of the path chooses; one that no route has is 404, and so is none at all."""

    streams = True

    def __init__(self, not_found: NotFound) -> None:
        super().__init__()
        self._not_found = not_found

    def getChild(self, path: bytes, request: Request) -> IResource:
        return self._not_found

    def render(self, request: Request) -> int:
        return self._not_found.render(request)


class ProxySite(Site):
    """The site of the daemon: what its channels refuse is counted too."""

    def __init__(self, clock: IReactorTime, limits: Limits, sink: Sink) -> None:
        self.not_found = NotFound(self.rejected, clock.seconds)
        self.root = Root(self.not_found)
        super().__init__(self.root, clock, limits)
        self.sink = sink
        """Told of what is refused."""
        self._fixed: dict[bytes, IResource] = {
            b"": Page(lambda: (200, self.about()), self.not_found),
            b"healthz": Page(lambda: (200, {"status": "ok"}), self.not_found),
            b"readyz": Page(self.ready, self.not_found),
        }

    def serve(self, routes: Mapping[bytes, IResource]) -> None:
        """From the next request on, these are below the root, and no others; ``/`` lists their paths."""
        children: dict[bytes, IResource] = dict(self._fixed)
        for segment, resource in routes.items():
            streams = getattr(resource, "streams", False)
            children[segment] = resource if streams else Exposition(resource, self.not_found)
        self.not_found.names = [segment.decode("ascii") for segment in routes]
        # In one step: no request finds half of them.
        self.root.children = children

    def about(self) -> dict[str, object]:
        """What ``/`` says."""
        shown = [segment for segment in self.root.listStaticNames() if segment not in (b"", b"-")]
        return about(sorted(f"/{segment.decode()}" for segment in shown))

    def ready(self) -> tuple[int, dict[str, object]]:
        """What ``/readyz`` says."""
        return (503, {"status": "draining"}) if self.draining else (200, {"status": "ok"})

    def rejected(self, status: int, duration_seconds: float) -> None:
        self.sink.request_refused(status, duration_seconds)
