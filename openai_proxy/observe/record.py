"""All that is known of an exchange when it has ended."""

from typing import Protocol

from msgspec import Struct

from openai_proxy.observe.outcome import Outcome


class Record(Struct, frozen=True):
    """One ended exchange; sinks are made from it and know nothing of each other."""

    provider: str
    """The provider's name; ``none`` if the request was never routed."""
    endpoint: str
    model: str
    """As a label: a known name, ``other`` or ``none``."""
    status: int
    outcome: Outcome
    duration_seconds: float
    """From the request's first byte to the answer's last."""
    received_bytes: int
    """Of the request's body, or from the client through a tunnel."""
    sent_bytes: int
    """Of the answer's body, or to the client through a tunnel."""


class Sink(Protocol):
    """Something made from records. It must not raise, and must not wait."""

    def exchange_began(self, endpoint: str) -> None:
        """An exchange was accepted."""

    def exchange_ended(self, record: Record) -> None:
        """It ended: called exactly once for each that began."""

    def request_refused(self, status: int, duration_seconds: float) -> None:
        """A request was answered with an error before it was an exchange."""
