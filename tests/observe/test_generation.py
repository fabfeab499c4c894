"""The families of tokens, cost and token clocks."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from openai_proxy.observe.buckets import ITL
from openai_proxy.observe.families import Families
from openai_proxy.observe.generation import GenerationMetrics
from openai_proxy.observe.intervals import IntervalCounts
from openai_proxy.observe.record import Generation
from openai_proxy.observe.usage import Usage, UsageMissing

USAGE = Usage(
    input_tokens=100,
    cached_input_tokens=60,
    cache_write_tokens=30,
    cache_write_1h_tokens=10,
    output_tokens=50,
    reasoning_tokens=40,
)


class Rig:
    """The families and their registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.generation = GenerationMetrics(Families(self.registry))

    def end(self, generation: Generation) -> None:
        self.generation.ended("openai", "responses", generation)

    def read(self, name: str, **labels: str) -> float | None:
        labels = {"provider": "openai", **(labels or {"model": "gpt-5"})}
        return self.registry.get_sample_value(f"openai_proxy_{name}", labels)


def test_tokens_are_counted_whole_and_in_parts() -> None:
    """The parts are within the totals, and never added to them."""
    rig = Rig()
    for _ in range(2):
        rig.end(Generation(model="gpt-5", usage=USAGE, cost_picodollars=5))
    counted = {
        "input": 200, "input_cached": 120, "input_cache_write": 60, "output": 100, "output_reasoning": 80,
    }  # fmt: skip
    for kind, tokens in counted.items():
        assert rig.read(f"{kind}_tokens_total") == tokens


def test_cost_is_summed_in_whole_picodollars() -> None:
    """A million calls of a ten-thousandth of a cent are a dollar."""
    rig = Rig()
    priced = Generation(model="gpt-5", usage=Usage(input_tokens=1), cost_picodollars=333_333_333_333)
    for _ in range(3):
        rig.end(priced)
    assert rig.read("cost_usd_total") == 0.999_999_999_999
    assert rig.read("unpriced_requests_total") is None


def test_usage_without_a_price_is_never_free_in_silence() -> None:
    """Counted apart; a price of 0 is a price."""
    rig = Rig()
    rig.end(Generation(model="gpt-5", usage=USAGE))
    assert rig.read("unpriced_requests_total") == 1
    assert rig.read("cost_usd_total") is None
    rig.end(Generation(model="gpt-5", usage=USAGE, cost_picodollars=0))
    assert rig.read("unpriced_requests_total") == 1
    assert rig.read("cost_usd_total") == 0


@pytest.mark.parametrize("reason", UsageMissing)
def test_usage_that_did_not_come(reason: UsageMissing) -> None:
    """By its reason, and neither priced nor unpriced."""
    rig = Rig()
    rig.end(Generation(model="gpt-5", usage_missing=reason))
    assert rig.read("usage_missing_total", endpoint="responses", reason=reason.value) == 1
    assert rig.read("unpriced_requests_total") is None
    assert rig.read("input_tokens_total") is None


def test_audio_is_counted_in_seconds() -> None:
    """What is billed by its length has no tokens."""
    rig = Rig()
    rig.end(Generation(model="whisper-1", usage=Usage(seconds=1.5), cost_picodollars=1))
    rig.end(Generation(model="whisper-1", usage=Usage(seconds=2.0), cost_picodollars=1))
    assert rig.read("audio_seconds_total", model="whisper-1") == 3.5
    assert rig.read("output_tokens_total", model="whisper-1") == 0


def test_the_clocks_of_a_stream() -> None:
    """Each in its own family; all intervals at once."""
    rig = Rig()
    intervals = IntervalCounts(ITL)
    for seconds in (0.001, 0.001, 50.0):
        intervals.add(seconds)
    rig.end(
        Generation(
            model="gpt-5",
            first_token_seconds=0.3,
            first_visible_seconds=2.0,
            seconds_per_output_token=0.04,
            intervals=intervals,
        )
    )
    assert rig.read("time_to_first_token_seconds_sum") == 0.3
    assert rig.read("time_to_first_visible_token_seconds_sum") == 2.0
    assert rig.read("time_per_output_token_seconds_sum") == 0.04
    assert rig.read("stream_chunk_interval_seconds_count") == 3
    assert rig.read("stream_chunk_interval_seconds_bucket", model="gpt-5", le="0.001") == 2
    assert rig.read("stream_chunk_interval_seconds_bucket", model="gpt-5", le="30.0") == 2


def test_what_was_not_a_stream_has_no_clocks() -> None:
    """A histogram that nothing is in would be twenty series of zeros."""
    rig = Rig()
    rig.end(Generation(model="gpt-5", usage=USAGE, cost_picodollars=1))
    assert rig.read("time_to_first_token_seconds_count") is None


def test_missing_usage_is_there_before_it_happens() -> None:
    """Each reason of each endpoint."""
    rig = Rig()
    rig.generation.expect("openai", ("responses",))
    for reason in UsageMissing:
        assert rig.read("usage_missing_total", endpoint="responses", reason=reason.value) == 0
