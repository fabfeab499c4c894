"""What the processes of one daemon tell each other of: which provider has made which object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import msgspec

from openai_proxy.process.link import Link

MADE: Final = "made"
"""What is told. Its argument: pairs of an object's id and its provider."""

PORTION: Final = 5000
"""Pairs in one message: a tenth of a second's work for nobody."""

Pair = tuple[str, str]


class Store(Protocol):
    """Where a process keeps them."""

    def learn(self, pairs: Sequence[Pair], now: float) -> None:
        """Another process knows of these."""

    def known(self) -> list[Pair]:
        """All, the most recently used last."""


class Gossip:
    """Tells all links what is new here, and passes on what one of them tells to the others.

    Links make a tree: a parent and its workers, a daemon and its successor. So nothing is told for ever. Who
    asks for an object on another connection than that of the answer which named it, and does so faster than
    two messages between processes take, may find one that has not heard of it.
    """

    def __init__(self, store: Store | None, seconds: Callable[[], float]) -> None:
        """:param store: None: this process keeps none."""
        self._store = store
        self._seconds = seconds
        self._links: list[Link] = []

    def join(self, link: Link) -> None:
        """One more: it is told all that is known."""
        self._links.append(link)
        known = [] if self._store is None else self._store.known()
        for place in range(0, len(known), PORTION):
            link.tell(MADE, known[place : place + PORTION])

    def leave(self, link: Link) -> None:
        """It is gone. May be called again."""
        if link in self._links:
            self._links.remove(link)

    def made(self, pairs: Sequence[Pair]) -> None:
        """These are new here."""
        for link in self._links:
            link.tell(MADE, pairs)

    def heard(self, link: Link, argument: Any) -> None:
        """What the other side of a link has told."""
        pairs = msgspec.convert(argument, list[Pair])
        if self._store is not None:
            self._store.learn(pairs, self._seconds())
        for other in self._links:
            if other is not link:
                other.tell(MADE, pairs)
