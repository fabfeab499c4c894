"""From what a file says of a provider to what an exchange needs of it."""

from __future__ import annotations

from openai_proxy.config import provider as said
from openai_proxy.config.settings import Observation
from openai_proxy.observe.usage import Quirks
from openai_proxy.providers.provider import Provider


def usage_quirks(quirks: said.Quirks) -> Quirks:
    """What its numbers mean, for who reads them."""
    return Quirks(
        reasoning_is_additional="reasoning" in quirks.additive_usage,
        citations_are_additional="citations" in quirks.additive_usage,
    )


def wants_asking(configured: said.Provider) -> bool:
    """Whether its streams tell their usage only to who asks, and may be asked."""
    return configured.stream_usage == "on_request" and not configured.quirks.strip_stream_options


def provider_of(name: str, configured: said.Provider, observation: Observation) -> Provider:
    """``configured`` is ready for use: see ``config.provider.resolved``."""
    assert configured.base_url is not None
    return Provider(
        name,
        configured.base_url.encode("ascii"),
        dialect=configured.dialect,
        quirks=usage_quirks(configured.quirks),
        priced_as=configured.priced_as or name,
        observes=observation.answers,
        includes_usage=observation.include_usage and wants_asking(configured),
    )
