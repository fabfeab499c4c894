"""The metrics of several processes as those of one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import add
from typing import Final

from msgspec.structs import replace

from openai_proxy.process.operations import Exemplar, Family, Labels, Sample

CUMULATIVE: Final = frozenset({"counter", "histogram", "summary"})
"""Types whose samples are sums since a process began: they count on when it is gone."""

Rule = Callable[[float, float], float]


GAUGES: Final[dict[str, Rule]] = {
    "http_requests_in_flight": add,
    "openai_proxy_build_info": max,
    "openai_proxy_circuit_state": max,
    "openai_proxy_client_connections": add,
    # One that did not reload is to be seen, though the others did.
    "openai_proxy_config_last_reload_success_timestamp_seconds": min,
    "openai_proxy_config_last_reload_successful": min,
    "openai_proxy_drain_exchanges": add,
    "openai_proxy_draining": max,
    "openai_proxy_reactor_delayed_calls": add,
    # One that stands still is to be seen, though the others go on.
    "openai_proxy_reactor_last_tick_timestamp_seconds": min,
    "openai_proxy_reactor_threadpool_queue_length": add,
    "openai_proxy_reactor_threadpool_threads": add,
    "openai_proxy_streams_open": add,
    "openai_proxy_target_resting": max,
    # A worker that was shown an older one still shows it.
    "openai_proxy_tls_certificate_expiry_timestamp_seconds": min,
    "openai_proxy_upstream_connections": add,
    # All share one account: what any of them was told last is at most what is left.
    "openai_proxy_upstream_ratelimit_limit": min,
    "openai_proxy_upstream_ratelimit_remaining": min,
    "openai_proxy_upstream_ratelimit_updated_timestamp_seconds": max,
    "openai_proxy_workers": add,
    "process_max_fds": min,
    "process_open_fds": add,
    "process_resident_memory_bytes": add,
    "process_start_time_seconds": min,
    "process_virtual_memory_bytes": add,
    "python_info": max,
}
"""What the gauges of two processes are together. One that is not named here is summed."""


def retained(families: Iterable[Family]) -> list[Family]:
    """What a process that is gone leaves: all that it has counted, and nothing of what it was."""
    return [family for family in families if family.type in CUMULATIVE]


def merged(lists: Iterable[Sequence[Family]]) -> list[Family]:
    """The families of several processes as of one, in the order in which they are first seen.

    Counters and histograms are summed, gauges as :data:`GAUGES` says. Of a family whose type or text differs
    (a newer version's) the first is shown.
    """
    families: dict[str, tuple[Family, _Series]] = {}
    for families_of_one in lists:
        for family in families_of_one:
            if (known := families.get(family.name)) is None:
                rule = add if family.type in CUMULATIVE else GAUGES.get(family.name, add)
                known = families[family.name] = family, _Series(rule)
            known[1].add(family.samples)
    return [replace(family, samples=series.samples()) for family, series in families.values()]


class _Series:
    """The samples of one family."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._samples: dict[tuple[str, frozenset[tuple[str, str]]], Sample] = {}

    def add(self, samples: Iterable[Sample]) -> None:
        known, rule = self._samples, self._rule
        for sample in samples:
            # Another version may name the labels in another order: twice the same series is an error
            # to who reads them.
            key = sample.name, frozenset(sample.labels)
            if (other := known.get(key)) is not None:
                exemplar = _latest(other.exemplar, sample.exemplar)
                sample = Sample(other.name, other.labels, rule(other.value, sample.value), exemplar)
            known[key] = sample

    def samples(self) -> list[Sample]:
        return list(self._samples.values())


def _latest(one: Exemplar | None, other: Exemplar | None) -> Exemplar | None:
    if one is None or other is None:
        return one or other
    return max(one, other, key=_age)


def _age(exemplar: Exemplar) -> tuple[float, float, Labels]:
    return exemplar.timestamp or 0.0, exemplar.value, exemplar.labels
