"""Each provider as the page shows it."""

from __future__ import annotations

from openai_proxy.observe.metrics import Metrics, new_registry
from openai_proxy.observe.providers_now import FAMILIES, LimitNow, TargetNow, providers_now
from openai_proxy.observe.snapshot import families_of
from openai_proxy.process.operations import Family, Sample


def test_the_families_that_are_read_are_there() -> None:
    """A family that is called otherwise one day would be missing on the page, and nowhere else."""
    names = {family.name for family in families_of(Metrics(new_registry()).registry)}
    assert names >= FAMILIES


def test_breakers_limits_streams_and_connections() -> None:
    """Of every provider that there is, by name."""
    metrics = Metrics(new_registry(), lambda: 1000.0)
    for provider in ("openai", "groq"):
        metrics.expect(provider)
    metrics.watch_circuit("openai", "gpt-4o", lambda: "half_open")
    metrics.watch_circuit("openai", "", lambda: "closed")
    metrics.watch_rest("openai", "gpt-4o", lambda: True)
    metrics.http.streams_open["openai"] = 3
    fields = [(b"x-ratelimit-remaining-tokens", b"7"), (b"x-ratelimit-limit-tokens", b"9")]
    metrics.answer_began("openai", "gpt-4o", fields, False)
    groq, openai = providers_now(families_of(metrics.registry))
    assert (groq.provider, groq.targets, groq.limits) == ("groq", [], [])
    assert openai.targets == [TargetNow("any", "closed", False), TargetNow("gpt-4o", "half_open", True)]
    assert openai.limits == [LimitNow("gpt-4o", "tokens", 7, 9, 1000.0)]
    assert (openai.streams_open, openai.active_connections) == (3, 0)


def test_a_breaker_that_is_not_the_same_in_all_processes() -> None:
    """The worst is told."""

    def state(name: str, value: float) -> Sample:
        return Sample("", (("provider", "p"), ("model", "m"), ("state", name)), value)

    samples = [state("closed", 2), state("open", 1), state("half_open", 1)]
    (provider,) = providers_now([Family("openai_proxy_circuit_state", "gauge", "", samples)])
    assert provider.targets == [TargetNow("m", "open", False)]


def test_a_limit_of_which_only_a_part_was_said() -> None:
    """The rest is not known, which is not 0."""
    labels = (("provider", "p"), ("model", "m"), ("resource", "tokens"))
    family = Family("openai_proxy_upstream_ratelimit_limit", "gauge", "", [Sample("", labels, 5.0)])
    (provider,) = providers_now([family])
    assert provider.limits == [LimitNow("m", "tokens", None, 5.0, None)]
    assert providers_now([]) == []
