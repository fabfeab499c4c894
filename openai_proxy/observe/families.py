"""Counters, histograms and readings over plain numbers, exposed as prometheus_client's own are.

Why not prometheus_client's: each ``inc`` takes a lock (0.5 us) and each ``observe`` two locks and a walk
over the bounds (1.1 to 2.5 us), and an exchange changes some twenty numbers. Here only the reactor's thread
changes a number, so none needs a lock. The exporter's thread only reads: a list is copied in one step,
under the interpreter's lock, so the buckets of a histogram always fit together; its sum may be one
observation ahead of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final, Generic, TypeVar

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar, Sample
from prometheus_client.utils import floatToGoString

from openai_proxy.observe.intervals import IntervalCounts
from openai_proxy.observe.model import OTHER

COUNTER_CAP: Final = 200
HISTOGRAM_CAP: Final = 100
"""Children of a family unless it says otherwise: three providers with thirty models each have a place. A
histogram's child is some twenty samples."""

EXEMPLAR_LABEL: Final = "request_id"
EXEMPLAR_ID_CHARACTERS: Final = 128 - len(EXEMPLAR_LABEL)
"""Names and values of an exemplar are at most 128 characters in all (OpenMetrics 1.0, "Exemplars")."""

OPEN_LABELS: Final = frozenset({"member", "model"})
"""Labels with many values: what a full family makes ``other`` first."""

Values = tuple[str, ...]
Rows = Iterable[tuple[Values, float]]


class Counter:
    """One series of a counter: ``child.value += 1``."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0
        """An int, and so exact, as long as only ints are added."""


class Histogram:
    """One child of a histogram."""

    __slots__ = ("_bounds", "counts", "exemplars", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """In each bucket alone, not cumulative."""
        self.total = 0.0
        self.exemplars: dict[int, Exemplar] = {}
        """The last of each bucket, by its index."""

    def observe(self, value: float) -> None:
        """One observation. A bound belongs to the bucket below it."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def observe_with_id(self, value: float, request_id: str, unix_seconds: float) -> None:
        """One observation that can be found again: the id, cut to what an exemplar may hold."""
        labels = {EXEMPLAR_LABEL: request_id[:EXEMPLAR_ID_CHARACTERS]}
        self.exemplars[bisect_left(self._bounds, value)] = Exemplar(labels, value, unix_seconds)
        self.observe(value)

    def add_counts(self, intervals: IntervalCounts) -> None:
        """All that a stream counted, at once; with the same bounds as this."""
        counts = self.counts
        for index, count in enumerate(intervals.counts):
            if count:
                counts[index] += count
        self.total += intervals.total_seconds


class Family(Collector):
    """A name, its help, its labels: what a registry collects."""

    kind: str

    def __init__(self, name: str, documentation: str, labels: Values) -> None:
        """:param name: as prometheus_client's registry has it: a counter without ``_total``."""
        self.name = name
        self.documentation = documentation
        self.labels = labels

    @property
    def shown_name(self) -> str:
        """As it is in the text."""
        return f"{self.name}_total" if self.kind == "counter" else self.name

    def describe(self) -> list[Metric]:
        """Name, help and type, for the registry's check against doubles."""
        return [Metric(self.name, self.documentation, self.kind)]

    def collect(self) -> Iterator[Metric]:
        """The family; its samples are an iterator, to be read once, that makes each when it is wanted."""
        (metric,) = self.describe()
        metric.samples = self.samples()  # type: ignore[assignment]
        yield metric

    def samples(self) -> Iterator[Sample]:
        """Each sample of each child."""
        raise NotImplementedError

    def named(self, values: Values) -> dict[str, str]:
        """The labels with these values."""
        return dict(zip(self.labels, values, strict=True))


class Reading(Family):
    """A gauge, or a counter that others count, read where it is when somebody asks.

    ``read`` is called in the exporter's thread: it copies what it walks over (``list(dict.items())``).
    """

    def __init__(
        self, name: str, documentation: str, labels: Values, read: Callable[[], Rows], kind: str = "gauge"
    ) -> None:
        super().__init__(name, documentation, labels)
        self.kind = kind
        self._read = read

    def samples(self) -> Iterator[Sample]:
        for values, value in self._read():
            yield Sample(self.shown_name, self.named(values), value)


ChildT = TypeVar("ChildT")


class Parent(Family, Generic[ChildT]):
    """A family with children, at most ``cap``; whoever counts keeps the child that it needs."""

    def __init__(
        self, name: str, documentation: str, labels: Values, cap: int, overflowed: Callable[[str], None]
    ) -> None:
        """:param overflowed: is told the family's name when a set of labels finds no place."""
        super().__init__(name, documentation, labels)
        self.cap = cap
        self._overflowed = overflowed
        self._children: dict[Values, ChildT] = {}

    @property
    def bound(self) -> int:
        """Children that there can be, whatever happens."""
        return self.cap + self.cap // 4 + 1

    def child(self, *values: str) -> ChildT:
        """The child with these values, or the one that takes what is too much.

        Past ``cap`` the open labels become ``other``, so that outcomes and statuses stay right; past a
        quarter more, all labels do.
        """
        children = self._children
        if values not in children and len(children) >= self.cap:
            self._overflowed(self.shown_name)
            values = tuple(
                OTHER if label in OPEN_LABELS else value
                for label, value in zip(self.labels, values, strict=True)
            )
            if values not in children and len(children) >= self.bound - 1:
                values = (OTHER,) * len(values)
        child = children.get(values)
        if child is None:
            child = children[values] = self._new()
        return child

    def children(self) -> list[tuple[Values, ChildT]]:
        """All at this moment."""
        return list(self._children.items())

    def _new(self) -> ChildT:
        raise NotImplementedError


class CounterFamily(Parent[Counter]):
    """Its children count; ``per_unit`` of what they count is shown as one."""

    kind = "counter"

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Values,
        cap: int,
        overflowed: Callable[[str], None],
        per_unit: int = 1,
    ) -> None:
        super().__init__(name, documentation, labels, cap, overflowed)
        self._per_unit = per_unit

    def samples(self) -> Iterator[Sample]:
        for values, child in self.children():
            yield Sample(self.shown_name, self.named(values), child.value / self._per_unit)

    def _new(self) -> Counter:
        return Counter()


class HistogramFamily(Parent[Histogram]):
    """Its children count by bucket."""

    kind = "histogram"

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Values,
        bounds: Sequence[float],
        cap: int,
        overflowed: Callable[[str], None],
    ) -> None:
        super().__init__(name, documentation, labels, cap, overflowed)
        self.bounds = bounds
        self._shown = [floatToGoString(bound) for bound in (*bounds, float("inf"))]

    def samples(self) -> Iterator[Sample]:
        for values, child in self.children():
            yield from self._of(self.named(values), child)

    def _of(self, labels: dict[str, str], child: Histogram) -> Iterator[Sample]:
        counts, total = child.counts.copy(), child.total
        count = 0
        for index, count in enumerate(accumulate(counts)):
            exemplar = child.exemplars.get(index)
            yield Sample(
                f"{self.name}_bucket", {**labels, "le": self._shown[index]}, count, exemplar=exemplar
            )
        yield Sample(f"{self.name}_count", labels, count)
        yield Sample(f"{self.name}_sum", labels, total)

    def _new(self) -> Histogram:
        return Histogram(self.bounds)


class Families:
    """Makes the families of one registry; what finds no place in one is counted for all."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._overflows = self.counter(
            "openai_proxy_metric_label_overflow",
            "Sets of label values that found no place in a full family and were counted as other.",
            ("metric",),
        )

    def counter(
        self, name: str, documentation: str, labels: Values, *, cap: int = COUNTER_CAP, per_unit: int = 1
    ) -> CounterFamily:
        """A counter; ``name`` without ``_total``."""
        family = CounterFamily(name, documentation, labels, cap, self.overflowed, per_unit)
        self._registry.register(family)
        return family

    def histogram(
        self,
        name: str,
        documentation: str,
        labels: Values,
        bounds: Sequence[float],
        *,
        cap: int = HISTOGRAM_CAP,
    ) -> HistogramFamily:
        """A histogram; its children are seen from when they are asked for."""
        family = HistogramFamily(name, documentation, labels, bounds, cap, self.overflowed)
        self._registry.register(family)
        return family

    def gauge(self, name: str, documentation: str, labels: Values, read: Callable[[], Rows]) -> None:
        """A gauge that is read when it is asked for."""
        self._registry.register(Reading(name, documentation, labels, read))

    def counted(self, name: str, documentation: str, labels: Values, read: Callable[[], Rows]) -> None:
        """A counter, named without ``_total``, that others count."""
        self._registry.register(Reading(name, documentation, labels, read, "counter"))

    def overflowed(self, name: str) -> None:
        """``name`` had no place for a set of labels: in the reactor's thread only."""
        self._overflows.child(name).value += 1
