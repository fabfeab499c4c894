"""What an operator may ask of one process: of what it has itself, and not of those beside it."""

from __future__ import annotations

from collections.abc import Callable, Collection

from prometheus_client.registry import Collector
from twisted.internet.defer import Deferred, succeed

from openai_proxy.exchange.in_flight import told_of
from openai_proxy.graphs import Graphs
from openai_proxy.observe.last_errors import LastErrors
from openai_proxy.process.operations import ErrorSeen, Family, InFlight, Reloaded
from openai_proxy.relay.failures import ENDED_BY_OPERATOR
from openai_proxy.web.exporter import Exporter


class OwnOperations:
    """See :class:`~openai_proxy.process.operations.Operations`."""

    def __init__(
        self,
        graphs: Graphs,
        registry: Collector,
        exporter: Exporter,
        errors: LastErrors,
        reload: Callable[[], Reloaded],
    ) -> None:
        """:param registry: read in the exporter's thread."""
        self._graphs = graphs
        self._registry = registry
        self._exporter = exporter
        self._errors = errors
        self._reload = reload

    def families(self, names: Collection[str] | None = None) -> Deferred[list[Family]]:
        """See :class:`~openai_proxy.process.operations.Operations`."""
        # What few daemons are asked for.
        from openai_proxy.observe.snapshot import families_of

        return self._exporter.in_thread(lambda: families_of(self._registry, names))

    def in_flight(self) -> Deferred[list[InFlight]]:
        """See :class:`~openai_proxy.process.operations.Operations`."""
        return succeed([told_of(exchange) for exchange in self._graphs.exchanges()])

    def last_errors(self) -> Deferred[list[ErrorSeen]]:
        """See :class:`~openai_proxy.process.operations.Operations`."""
        return succeed(self._errors.latest())

    def end(self, request_id: str) -> Deferred[bool]:
        """See :class:`~openai_proxy.process.operations.Operations`."""
        wanted = request_id.encode("latin-1", "replace")
        found = [one for one in self._graphs.exchanges() if one.request.request_id == wanted]
        for exchange in found:
            exchange.stop(ENDED_BY_OPERATOR)
        return succeed(bool(found))

    def reload(self) -> Deferred[Reloaded]:
        """See :class:`~openai_proxy.process.operations.Operations`."""
        return succeed(self._reload())
