"""The contract and the registry: what is exported is what was promised."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pytest

from openai_proxy.observe.circuits import STATES
from openai_proxy.observe.operating import RESULTS
from openai_proxy.observe.outcome import Outcome
from openai_proxy.observe.record import AttemptResult, DisconnectPhase, ErrorSource
from openai_proxy.observe.routing_metrics import FALLBACK_REASONS, HEDGE_RESULTS, RETRY_REASONS
from openai_proxy.observe.upstream import STALE_CONNECTION
from openai_proxy.observe.usage import UsageMissing
from tests.deploy.contract import BUCKETS, FAMILIES, Family, values
from tests.support.exported import registries

PROMISED = {family.name: family for family in FAMILIES}


def exported() -> dict[str, tuple[str, Any]]:
    """The type of each family, and the collector that makes it."""
    both = registries()
    collectors: dict[Any, list[str]] = {}
    for registry in both:
        collectors |= registry._collector_to_names
    by_name = {
        re.sub(r"_(total|bucket|sum|count|created)$", "", name): one
        for one in collectors
        for name in collectors[one]
    }
    return {
        family.name: (family.type, by_name.get(family.name))
        for registry in both
        for family in registry.collect()
    }


def test_every_exported_family_is_promised() -> None:
    """Same name, same type, same labels in the same order, same buckets."""
    for name, (kind, collector) in exported().items():
        assert name in PROMISED
        assert PROMISED[name].kind == kind, name
        labels = getattr(collector, "_labelnames", None)
        assert labels is None or tuple(labels) == PROMISED[name].labels, name
        bounds = getattr(collector, "_kwargs", {}).get("buckets")
        assert bounds is None or tuple(bounds) == BUCKETS[name], name


def test_every_promised_family_is_exported() -> None:
    """Nothing that a dashboard asks for is missing."""
    assert PROMISED.keys() <= exported().keys()


def test_every_histogram_has_its_buckets() -> None:
    """And nothing else has; the bounds rise."""
    histograms: list[Family] = [family for family in FAMILIES if family.kind == "histogram"]
    assert BUCKETS.keys() == {family.name for family in histograms}
    assert all(list(bounds) == sorted(set(bounds)) for bounds in BUCKETS.values())


@pytest.mark.parametrize(
    ("family", "label", "promised"),
    [
        ("http_requests", "outcome", Outcome),
        ("openai_proxy_upstream_attempts", "result", AttemptResult),
        ("openai_proxy_client_disconnects", "phase", DisconnectPhase),
        ("openai_proxy_errors", "source", ErrorSource),
        ("openai_proxy_usage_missing", "reason", UsageMissing),
        ("openai_proxy_retries", "reason", {STALE_CONNECTION, *RETRY_REASONS}),
        ("openai_proxy_fallbacks", "reason", FALLBACK_REASONS),
        ("openai_proxy_hedges", "result", HEDGE_RESULTS),
        ("openai_proxy_config_reloads", "result", RESULTS),
        ("openai_proxy_circuit_state", "state", STATES),
        ("openai_proxy_circuit_transitions", "to_state", STATES),
    ],
)
def test_a_closed_set_is_the_one_that_the_code_has(family: str, label: str, promised: Iterable[str]) -> None:
    """A value that the code adds, or drops, is a change of the contract."""
    assert set(values(family, label)) == {str(one) for one in promised}
