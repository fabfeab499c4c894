"""The last exchanges that ended badly: who, when and how, in labels only."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from openai_proxy.observe.errors import CODES, TYPES, label_of
from openai_proxy.observe.http_metrics import shown_id
from openai_proxy.observe.model import NONE
from openai_proxy.observe.outcome import Outcome
from openai_proxy.observe.record import Record
from openai_proxy.process.operations import ErrorSeen
from openai_proxy.wire.fields import Field

KEPT: Final = 50
SHOWN_ID_CHARACTERS: Final = 128


class LastErrors:
    """A sink that keeps the last of them, clients that left among them.

    What others wrote is not kept, however short.
    """

    wants_ids = False
    """A failed one has its id in any case."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        """:param seconds: unix time."""
        self._seconds = seconds
        self._kept: deque[ErrorSeen] = deque(maxlen=KEPT)

    def exchange_began(self, endpoint: str) -> None:
        """See ``Sink``."""

    def answer_began(self, provider: str, model: str, fields: Sequence[Field], is_stream: bool) -> None:
        """See ``Sink``."""

    def exchange_ended(self, record: Record) -> None:
        if record.outcome is not Outcome.OK:
            self._kept.append(_seen(self._seconds(), record))

    def request_refused(self, status: int, duration_seconds: float) -> None:
        """Not kept: it had no provider, and no id that anybody was told."""

    def latest(self) -> list[ErrorSeen]:
        """All that are kept, the latest first."""
        return list(reversed(self._kept))


def _seen(at_seconds: float, record: Record) -> ErrorSeen:
    error = record.error
    return ErrorSeen(
        at_seconds=at_seconds,
        id=shown_id(record.request_id)[:SHOWN_ID_CHARACTERS] if record.request_id else NONE,
        provider=record.provider,
        endpoint=record.endpoint,
        model=record.model,
        status=record.status if 100 <= record.status < 600 else 0,
        outcome=record.outcome.value,
        error_type=NONE if error is None else label_of(error.type, TYPES),
        error_code=NONE if error is None else label_of(error.code, CODES),
        duration_seconds=record.duration_seconds,
    )
