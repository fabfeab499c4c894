"""A mapping of a file whose keys are known."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

Broken = tuple[str, str]
"""A rule that does not hold: the key that it is about, or nothing for all, and what is wrong."""


class Section(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Keys with their types; ``rules`` says what they must be beyond these."""

    def rules(self) -> Iterator[Broken]:
        """What is wrong with the values, each of which is of its type. Never a value that may be a secret."""
        yield from ()
