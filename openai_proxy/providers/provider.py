"""A provider: a named upstream service."""

from dataclasses import dataclass

from openai_proxy.observe.usage import NO_QUIRKS, Quirks


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
