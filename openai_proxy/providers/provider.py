"""A provider: a named upstream service."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Provider:
    """``base_url`` has a scheme and an authority, may have a path, and ends without a slash."""

    name: str
    base_url: bytes
