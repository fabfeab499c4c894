"""A target: what an exchange may be sent to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from openai_proxy.providers.provider import Provider
from openai_proxy.relay.client import TransparentClient

if TYPE_CHECKING:
    from openai_proxy.config.provider import Quirks
    from openai_proxy.providers.addressing import Addressing
    from openai_proxy.providers.request_rules import RequestRules
    from openai_proxy.providers.token_source import KeySource
    from openai_proxy.providers.translate.translation import Options


@dataclass(frozen=True, slots=True)
class Target:
    """A provider, and how it is reached. What a file says of it is None where there is no file."""

    provider: Provider
    client: TransparentClient
    addressing: Addressing | None = None
    """None: requests go below its base URL as they are."""
    keys: KeySource | None = None
    """None: the key is the client's."""
    rules: RequestRules | None = None
    """Of requests on the unified way."""
    fixes: Quirks | None = None
    """Of its answers, on the unified way."""
    translation: Options | None = None

    @property
    def has_own_key(self) -> bool:
        """Whether the key is ours."""
        return self.keys is not None
