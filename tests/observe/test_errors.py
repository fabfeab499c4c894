"""The family of errors: what is not on a list is no label."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from openai_proxy.observe.errors import CODES, PROXY_CODES, ROUTING_TYPES, TYPES, ErrorMetrics
from openai_proxy.observe.families import Families
from openai_proxy.observe.model import NONE, OTHER
from openai_proxy.observe.record import Error, ErrorSource
from openai_proxy.relay.failures import _BY_ERROR, HELD_BODIES_FULL, PROXY_FAILED


def counted(errors: CollectorRegistry) -> list[dict[str, str]]:
    """The labels of each error that was counted once."""
    (family,) = [one for one in errors.collect() if one.name == "openai_proxy_errors"]
    return [sample.labels for sample in family.samples if sample.value == 1]


@settings(deadline=None)
@given(st.none() | st.text() | st.sampled_from(sorted(TYPES)), st.none() | st.text())
def test_only_known_words_are_labels(type_: str | None, code: str | None) -> None:
    """Whatever an upstream writes there."""
    registry = CollectorRegistry()
    ErrorMetrics(Families(registry)).told("openai", Error(ErrorSource.UPSTREAM, type_, code))
    (labels,) = counted(registry)
    assert labels["provider"] == "openai" and labels["source"] == "upstream"
    assert labels["type"] == (type_ if type_ in TYPES else OTHER if type_ else NONE)
    assert labels["code"] == (code if code in CODES else OTHER if code else NONE)


def test_every_error_of_ours_is_known_and_expected() -> None:
    """None of them is ``other``."""
    assert {one.code for one in (*_BY_ERROR.values(), HELD_BODIES_FULL, PROXY_FAILED)} == set(PROXY_CODES)
    registry = CollectorRegistry()
    ErrorMetrics(Families(registry)).expect("openai")
    for code in PROXY_CODES:
        labels = {"provider": "openai", "source": "proxy", "type": "server_error", "code": code}
        assert registry.get_sample_value("openai_proxy_errors_total", labels) == 0


def test_errors_of_routing_are_known_and_those_with_a_provider_expected() -> None:
    """Each with its type; who asks for a model or a provider that does not exist has none."""
    registry = CollectorRegistry()
    ErrorMetrics(Families(registry)).expect("openai")
    assert ROUTING_TYPES.keys() <= CODES and set(ROUTING_TYPES.values()) <= TYPES
    expected = set()
    for code, type_ in ROUTING_TYPES.items():
        labels = {"provider": "openai", "source": "proxy", "type": type_, "code": code}
        if registry.get_sample_value("openai_proxy_errors_total", labels) == 0:
            expected.add(code)
    assert ROUTING_TYPES.keys() - expected == {"model_not_found", "provider_not_found"}


@pytest.mark.parametrize(
    ("status", "source", "code"),
    [
        (404, "client", "none"),
        (431, "client", "none"),
        (501, "client", "none"),
        (505, "client", "none"),
        (500, "proxy", "proxy_error"),
        (503, "proxy", "proxy_overload"),
    ],
)
def test_a_refused_request_has_no_provider(status: int, source: str, code: str) -> None:
    """And whose fault it was is told by its status."""
    registry = CollectorRegistry()
    ErrorMetrics(Families(registry)).refused(status)
    (labels,) = counted(registry)
    assert (labels["provider"], labels["source"], labels["code"]) == ("none", source, code)
