"""The graph that is in use, and those before it whose exchanges have not ended."""

from __future__ import annotations

from collections.abc import Iterator

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from openai_proxy.exchange.exchange import Exchange
from openai_proxy.graph import Graph


class Graphs:
    """An exchange ends in the graph in which it began; behind the last of them that is let go of."""

    _log = Logger()

    def __init__(self, first: Graph) -> None:
        self.current = first
        self._retiring: list[Graph] = []

    def __len__(self) -> int:
        return 1 + len(self._retiring)

    def __iter__(self) -> Iterator[Graph]:
        yield from (*self._retiring, self.current)

    def exchanges(self) -> Iterator[Exchange]:
        """All that are in flight, those of older graphs first."""
        for graph in self:
            yield from graph.context.in_flight

    def count(self) -> int:
        """How many exchanges that are."""
        return sum(len(graph.context.in_flight) for graph in self)

    def use(self, graph: Graph) -> None:
        """This one, in place of the current one, which is let go of behind its last exchange."""
        before, self.current = self.current, graph
        self._retiring.append(before)
        before.context.in_flight.when_empty(lambda: self._retired(before))

    def _retired(self, graph: Graph) -> None:
        self._retiring.remove(graph)
        self.discard(graph)

    def discard(self, graph: Graph) -> None:
        """Let go of all that this one has alone: it was in use, or never will be."""
        stopping = Deferred.fromCoroutine(graph.stop([one for one in self if one is not graph]))
        stopping.addErrback(lambda failure: self._log.failure("A graph could not be let go of", failure))

    async def stop(self) -> None:
        """Let go of everything."""
        for graph in self:
            # Of what several have, the first stops it: nobody goes on.
            await graph.stop([])
