"""What one daemon is to be: what its command line and its file say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openai_proxy.config.settings import Settings

if TYPE_CHECKING:
    from openai_proxy.config.configuration import Configuration


@dataclass(frozen=True, slots=True)
class Setup:
    """Read at the start, and again on each reload."""

    settings: Settings
    configuration: Configuration | None = None
    """What a file says of providers and routes; None: there is no file."""
    listen_places: Sequence[str] = ()
    """Where each of ``settings.listen`` was said, for errors; all as ``--port``, if nothing is told."""
    admin_place: str = "--admin"
    """The same of the operator's port."""

    def listen_place(self, number: int) -> str:
        """Where this one of ``settings.listen`` was said."""
        return self.listen_places[number] if self.listen_places else "--port"
