"""Providers of a file as an exchange needs them."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from openai_proxy.config.provider import Quirks, resolved
from openai_proxy.config.settings import Observation
from openai_proxy.observe.usage import NO_QUIRKS, QUIRKS
from openai_proxy.providers.catalogue import read_catalogue
from openai_proxy.providers.configured import provider_of, usage_quirks

CATALOGUE = read_catalogue()


@pytest.mark.parametrize("name", CATALOGUE)
def test_each_of_the_catalogue_is_one(name: str) -> None:
    """With the observer's own quirks; usage is asked for only where it is taken and not there unasked."""
    entry = CATALOGUE[name]
    ready = resolved(replace(entry, parameters=dict.fromkeys(entry.wanted_parameters, "x")), entry, name)
    provider = provider_of(name, ready, Observation())
    assert provider.quirks == QUIRKS.get(name, NO_QUIRKS)
    assert (provider.name, provider.dialect) == (name, entry.dialect)
    assert provider.base_url.startswith(b"http")
    assert provider.includes_usage == (name not in ("anthropic", "mistral", "openrouter", "perplexity"))
    assert provider.observes


def test_a_provider_that_refuses_stream_options_is_not_sent_any() -> None:
    """Whatever else is said of it."""
    ready = resolved(replace(CATALOGUE["groq"], quirks=Quirks(strip_stream_options=True)), None, "groq")
    assert not provider_of("groq", ready, Observation()).includes_usage


def test_observation_can_be_off() -> None:
    """For all of them at once."""
    ready = resolved(CATALOGUE["groq"], None, "groq")
    provider = provider_of("groq", ready, Observation(answers=False, include_usage=False))
    assert not provider.observes
    assert not provider.includes_usage


def test_what_is_counted_beside_is_told_apart() -> None:
    """Reasoning, citations, both."""
    assert usage_quirks(Quirks()) == NO_QUIRKS
    assert usage_quirks(Quirks(additive_usage=("reasoning", "citations"))) == QUIRKS["perplexity"]
