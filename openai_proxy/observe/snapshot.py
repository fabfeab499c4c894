"""Metrics as values that go from one process to another: taken of a registry, and rendered."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from prometheus_client import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as ShownExemplar
from prometheus_client.samples import Sample as ShownSample

from openai_proxy.observe.yielding_registry import Pauses, Restricted
from openai_proxy.process.operations import Exemplar, Family, Sample


def families_of(registry: Collector, names: Collection[str] | None = None) -> list[Family]:
    """All that a registry has now, or only the families with these names.

    It takes some 3 us a sample: of a YieldingRegistry in a thread.
    """
    return [
        Family(metric.name, metric.type, metric.documentation, [_sample(one) for one in metric.samples])
        for metric in registry.collect()
        if names is None or metric.name in names
    ]


def collector(
    families: Sequence[Family],
    pause: Callable[[float], object] = time.sleep,  # noqa: TID251 (in the exporter's thread)
) -> Collector:
    """For prometheus_client's encoders. They read it in a thread, which pauses between small portions."""
    return _Snapshot(families, pause)


def _sample(shown: ShownSample) -> Sample:
    exemplar = None if shown.exemplar is None else _exemplar(shown.exemplar)
    return Sample(shown.name, tuple(shown.labels.items()), float(shown.value), exemplar)


def _exemplar(shown: ShownExemplar) -> Exemplar:
    timestamp = None if shown.timestamp is None else float(shown.timestamp)
    return Exemplar(tuple(shown.labels.items()), shown.value, timestamp)


def _shown(sample: Sample) -> ShownSample:
    exemplar = sample.exemplar
    shown = (
        None if exemplar is None else ShownExemplar(dict(exemplar.labels), exemplar.value, exemplar.timestamp)
    )
    return ShownSample(sample.name, dict(sample.labels), sample.value, None, shown)


class _Snapshot(Collector):
    def __init__(self, families: Sequence[Family], pause: Callable[[float], object]) -> None:
        self._families = families
        self._pause = pause

    def collect(self) -> Iterator[Metric]:
        paused = Pauses(self._pause)
        for family in self._families:
            metric = Metric(family.name, family.documentation, family.type)
            # Made one by one, as of a registry.
            metric.samples = paused.after(map(_shown, family.samples))  # type: ignore[assignment]
            yield metric

    def restricted_registry(self, names: Iterable[str]) -> Collector:
        """For ``?name[]=``: only the samples with these names."""
        return Restricted(self, frozenset(names))
