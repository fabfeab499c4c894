"""A registry that yields the interpreter to others while it is read.

The exporter renders in a thread, at some 6 us a sample. While it holds the interpreter, each
wake-up of the reactor, and each of its system calls, waits for the switch interval (5 ms by
default): a scrape of 10,000 samples would hold up every stream for a tenth of a second. So the
thread sleeps between small portions, which gives the interpreter away at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from copy import copy

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

PORTION_SAMPLES = 32
"""About a fifth of a millisecond of rendering."""
PAUSE_SECONDS = 0.0001
"""As long as the reactor takes to wake up. It keeps the interpreter until it has nothing to do, so a longer
pause helps nobody: with one of 1 ms a scrape took four times as long, and no stream was less late."""


class YieldingRegistry(Collector):
    """What ``registry`` collects, family by family, sample by sample, with pauses."""

    def __init__(
        self,
        registry: CollectorRegistry,
        pause: Callable[[float], object] = time.sleep,  # noqa: TID251 (in the exporter's thread)
    ) -> None:
        self._registry = registry
        self._pause = pause

    def collect(self) -> Iterator[Metric]:
        """Each family once. The samples of a family must be read before the next is asked for."""
        paused = Pauses(self._pause)
        for collector in list(self._registry._collector_to_names):
            for metric in self._metrics(collector):
                # The encoders only iterate over the samples: an iterator that makes each when it
                # is wanted does for a list, and never makes thousands of them in one go.
                # On a copy: some collectors (PlatformCollector) give the same family each time, which
                # would have no samples left from the second scrape on.
                shown = copy(metric)
                shown.samples = paused.after(metric.samples)  # type: ignore[assignment]
                yield shown

    def restricted_registry(self, names: Iterable[str]) -> Collector:
        """For ``?name[]=``: only the samples with these names."""
        return Restricted(self, frozenset(names))

    @staticmethod
    def _metrics(collector: Collector) -> Iterable[Metric]:
        """What ``collector`` collects; where it can be, with samples that are made one by one."""
        if not isinstance(collector, MetricWrapperBase):
            # Ours do so by themselves, and others are small.
            return collector.collect()
        (metric,) = collector.describe()
        metric.samples = _samples(collector)  # type: ignore[assignment]
        return (metric,)


def _samples(family: MetricWrapperBase) -> Iterator[Sample]:
    # `_samples` is what `collect` makes its list of.
    for sample in family._samples():
        yield sample._replace(name=family._name + sample.name)


class Pauses:
    """Counts through all families: most are smaller than a portion."""

    def __init__(self, pause: Callable[[float], object]) -> None:
        self._pause = pause
        self._rendered = 0

    def after(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        """The same samples, with pauses between."""
        # The family's own two lines take as long as a sample.
        self._rendered += 1
        for sample in samples:
            yield sample
            self._rendered += 1
            if self._rendered >= PORTION_SAMPLES:
                self._rendered = 0
                self._pause(PAUSE_SECONDS)


class Restricted(Collector):
    """What ``collector`` collects, but only the samples with these names."""

    def __init__(self, collector: Collector, names: frozenset[str]) -> None:
        self._collector = collector
        self._names = names

    def collect(self) -> Iterator[Metric]:
        for metric in self._collector.collect():
            metric.samples = [sample for sample in metric.samples if sample.name in self._names]
            if metric.samples:
                yield metric
