"""The operator's tree: what is in flight, reload, the page and its events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from twisted.web.resource import IResource, Resource

from openai_proxy.config.settings import Limits
from openai_proxy.process.operations import Operations
from openai_proxy.web.gate import ClientsGate, Gate, Wish
from openai_proxy.web.guarded import (
    TEXT,
    Answer,
    Guarded,
    GuardedExposition,
    Handler,
    safe_fields,
    wants_html,
    wants_json,
)
from openai_proxy.web.inflight import in_flight_resource
from openai_proxy.web.live import Live
from openai_proxy.web.page import HTML, page
from openai_proxy.web.pages import JSON, Health, NotFound, Page, about
from openai_proxy.web.root import ProxySite, Root
from openai_proxy.wire.errors import reason_phrase
from openai_proxy.wire.request import Request
from openai_proxy.wire.site import Site


class AdminSite(Site):
    """The site of the admin listener.

    ``/healthz`` and ``/readyz`` for everybody, ``/metrics``, ``/``, ``/events``, ``/inflight`` and
    ``/-/reload`` for whom the gate lets.
    """

    def __init__(
        self,
        clock: Any,
        limits: Limits,
        operations: Operations,
        exporter: IResource,
        gate: Gate,
        live: Live,
        ready: Health,
    ) -> None:
        """:param exporter: of all metrics.
        :param live: started and stopped by whoever made it.
        :param ready: what ``/readyz`` says: 503 from when it is drained.
        """
        not_found = NotFound(_not_counted, clock.seconds)
        root = Root(not_found)
        super().__init__(root, clock, limits)
        not_found.names = _put(root, operator_routes(operations, live, gate, clock, not_found))
        root.putChild(b"metrics", GuardedExposition(exporter, gate, not_found))
        root.putChild(b"healthz", Page(lambda: (200, {"status": "ok"}), not_found))
        root.putChild(b"readyz", Page(ready, not_found))
        paths = [
            "/-/reload",
            *(f"/{name.decode()}" for name in sorted(root.listStaticNames()) if name != b"-"),
        ]
        root.putChild(b"", Home(gate, clock, lambda: about(paths), not_found))


def shared_routes(site: ProxySite, operations: Operations, live: Live) -> dict[bytes, Resource]:
    """On the port of the clients, where there is no admin listener: pages for the machine itself.

    Of what changes something there is only the answer that it needs an admin listener.
    """
    gate, clock = ClientsGate(), site.clock
    return {
        **operator_routes(operations, live, gate, clock, site.not_found),
        b"": SharedHome(gate, clock, site.about, site.not_found),
    }


def operator_routes(
    operations: Operations, live: Live, gate: Gate, clock: Any, not_found: NotFound
) -> dict[bytes, Resource]:
    """By the first segment of their path."""
    actions = Root(not_found)
    actions.putChild(b"reload", Guarded(gate, clock, {b"POST": _reloads(operations)}, not_found))
    return {
        b"-": actions,
        b"events": Guarded(gate, clock, {b"GET": live.subscribe}, not_found),
        b"inflight": in_flight_resource(operations, gate, clock, not_found),
    }


class Home(Guarded):
    """``/``: the page for browsers, what this is for programs."""

    def __init__(
        self, gate: Gate, clock: Any, content: Callable[[], dict[str, object]], not_found: NotFound
    ) -> None:
        super().__init__(gate, clock, {b"GET": self._content}, not_found)
        self._about = content

    def _content(self, request: Request) -> Answer | None:
        if not wants_html(request):
            return Answer(200, JSON, msgspec.json.encode(self._about()) + b"\n")
        text, policy = page()
        request.answer(200, reason_phrase(200), [HTML, *safe_fields(policy)], text)
        return None


class SharedHome(Home):
    """The same, where clients come too: they are told what this is, as everybody is."""

    def render(self, request: Request) -> int:
        if not wants_html(request) or self._gate.refusal(request, Wish.LOOK) is not None:
            return Page(lambda: (200, self._about()), self._not_found).render(request)
        return super().render(request)


def _put(root: Resource, routes: dict[bytes, Resource]) -> list[str]:
    for segment, resource in routes.items():
        root.putChild(segment, resource)
    return [segment.decode() for segment in routes]


def _reloads(operations: Operations) -> Handler:
    async def reload(request: Request) -> Answer:
        reloaded = await operations.reload()
        status = 200 if reloaded.is_done else 422
        if wants_json(request):
            return Answer(status, JSON, msgspec.json.encode(reloaded) + b"\n")
        nothing = "Nothing is different." if reloaded.is_done else "Nothing has changed."
        lines = [*(line.replace("\n", " ") for line in reloaded.lines)] or [nothing]
        return Answer(status, TEXT, ("\n".join(lines) + "\n").encode())

    return reload


def _not_counted(status: int, duration_seconds: float) -> None:
    """What an operator asks is in no metric."""
