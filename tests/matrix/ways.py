"""The ways from a client to a model: through the daemon by each of its doors, or straight to the upstream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

AZURE_VERSION: Final = "2025-04-01-preview"
STEERING: Final = "x-openai-proxy-provider"
"""Says where a request goes that names no model."""


@dataclass(frozen=True)
class Models:
    """What the models of a form are called, by what they do; empty: it has none."""

    chat: str
    embedding: str = ""
    speech: str = ""
    transcription: str = ""
    image: str = ""
    newest: str = ""
    """One that takes fewer settings."""

    def named(self, prefix: str) -> dict[str, str]:
        """As a client asks for them. What a form has not is asked for by the name of its chat model."""
        names = {name: getattr(self, name) or self.chat for name in self.__dataclass_fields__}
        return {name: prefix + value for name, value in names.items()}


_OPENAI = Models("gpt-4o", "text-embedding-3-small", "gpt-4o-mini-tts", "gpt-4o-transcribe", "gpt-image-1")

MODELS: Final[Mapping[str, Models]] = MappingProxyType(
    {
        "openai": _OPENAI,
        "azure": _OPENAI,
        "anthropic": Models("claude-haiku-4-5", newest="claude-sonnet-5-5"),
        "gemini": Models("gemini-2.5-flash", "gemini-embedding-001", image="imagen-4.0-generate-001"),
    }
)
"""By form."""


@dataclass(frozen=True)
class Way:
    """One way for one client."""

    name: str
    form: str
    """What is at its end: a key of :data:`MODELS`."""
    path: str
    """Of the base URL."""
    provider: str = ""
    """Its label in the metrics; empty: the daemon is not asked."""
    prefix: str = ""
    """Before the names of models."""
    client: str = "OpenAI"
    """The class of the SDK."""
    is_steered: bool = False
    """Whether what names no model has to say where it goes."""
    needs_routing: bool = True

    def __str__(self) -> str:
        return self.name

    @property
    def is_direct(self) -> bool:
        """Whether the daemon is left out."""
        return not self.provider

    @property
    def is_unified(self) -> bool:
        """Whether the model decides where a request goes."""
        return bool(self.prefix)

    @property
    def models(self) -> dict[str, str]:
        """As a client names them on this way, by what they do."""
        return MODELS[self.form].named(self.prefix)


def _unified(provider: str, form: str) -> Way:
    return Way(f"v1-{provider}", form, "/v1", provider, prefix=f"{provider}/", is_steered=True)


WAYS: Final = (
    # As it has always been: whatever is asked for goes to the provider `openai`.
    Way("v1", "openai", "/v1", "openai", needs_routing=False),
    Way("transparent-openai", "openai", "/openai/v1", "openai", needs_routing=False),
    # By the model.
    replace(_unified("openai", "openai"), is_steered=False),
    _unified("azure", "azure"),
    _unified("azure-deployments", "azure"),
    _unified("anthropic", "anthropic"),
    _unified("gemini", "gemini"),
    # By the path, as the provider has it.
    Way("transparent-azure", "azure", "/azure/openai/v1", "azure"),
    Way("AzureOpenAI", "azure", "/azure-deployments", "azure-deployments", client="AzureOpenAI"),
    Way("transparent-gemini", "gemini", "/gemini/v1beta/openai", "gemini"),
    # Without the daemon.
    Way("direct-openai", "openai", "/v1", needs_routing=False),
    Way("direct-azure", "azure", "/openai/v1", needs_routing=False),
    Way("direct-AzureOpenAI", "azure", "", client="AzureOpenAI", needs_routing=False),
    Way("direct-gemini", "gemini", "/v1beta/openai", needs_routing=False),
)
"""For clients of OpenAI's dialect."""

MESSAGES_WAYS: Final = (
    Way("transparent-anthropic", "anthropic", "/anthropic", "anthropic"),
    Way("messages-anthropic", "anthropic", "", "anthropic", prefix="anthropic/"),
    Way("messages-openai", "openai", "", "openai", prefix="openai/"),
    Way("messages-azure", "azure", "", "azure", prefix="azure/"),
    Way("messages-azure-deployments", "azure", "", "azure-deployments", prefix="azure-deployments/"),
    Way("messages-gemini", "gemini", "", "gemini", prefix="gemini/"),
    Way("direct-anthropic", "anthropic", "", needs_routing=False),
)
"""For clients of Anthropic's."""
