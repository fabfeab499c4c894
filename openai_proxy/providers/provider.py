"""A provider: a named upstream service."""

from dataclasses import dataclass
from typing import Final

from openai_proxy.observe.usage import NO_QUIRKS, Quirks

TELL_USAGE_UNASKED: Final = frozenset(
    {b"api.anthropic.com", b"api.mistral.ai", b"openrouter.ai", b"api.perplexity.ai"}
)
"""Hosts whose streams need not be asked for their usage; some of them refuse to be."""


def tells_usage_unasked(base_url: bytes) -> bool:
    """Whether that is known of a provider with this root."""
    host = base_url.partition(b"://")[2].partition(b"/")[0].partition(b":")[0]
    return host.lower() in TELL_USAGE_UNASKED


@dataclass(frozen=True, slots=True)
class Provider:
    """``base_url`` has a scheme and an authority, may have a path, and ends without a slash."""

    name: str
    base_url: bytes
    dialect: str = "openai"
    """What its answers are read as: ``openai`` or ``anthropic``."""
    quirks: Quirks = NO_QUIRKS
    priced_as: str = ""
    """Whose price list holds for it: its own name's, if nothing is given."""
    observes: bool = True
    """Whether its answers are read, for tokens, clocks and errors."""
    includes_usage: bool = True
    """Whether chat and completion streams are asked for their usage where the client left that open."""
    names_models: bool = True
    """Whether a model that it answered for has its own name in the numbers, known or not."""

    def __post_init__(self) -> None:
        if not self.priced_as:
            object.__setattr__(self, "priced_as", self.name)
