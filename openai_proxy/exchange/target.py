"""A target: what an exchange may be sent to."""

from __future__ import annotations

from dataclasses import dataclass

from openai_proxy.providers.provider import Provider
from openai_proxy.relay.client import TransparentClient


@dataclass(frozen=True, slots=True)
class Target:
    """A provider, and the client that reaches it."""

    provider: Provider
    client: TransparentClient
    keys: None = None
