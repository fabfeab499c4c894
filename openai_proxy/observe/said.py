"""What an answer has said so far, of what is read in every answer."""

from __future__ import annotations

from typing import Final

from msgspec import UNSET, structs

from openai_proxy.observe.answer import AnyAnswer
from openai_proxy.observe.members import (
    NOTHING,
    UNREADABLE,
    ErrorName,
    Named,
    error_of,
    is_said,
    text_of,
)
from openai_proxy.observe.usage import NO_QUIRKS, Form, Quirks, Usage, Wire

SILENT: Final = 0
"""An event without a generated token: a role, a ping, the end of something."""
TOKEN: Final = 1
"""One with a token that the user does not see: reasoning, a tool's arguments."""
VISIBLE: Final = 2
"""One with a token of the answer itself."""


UNFINISHED: Final = frozenset({"queued", "in_progress", "cancelling", "requires_action"})
"""The status of a response or a run that is made in the background: its usage is not yet known."""
UNMADE: Final = frozenset({"failed", "cancelled", "expired"})
"""The status of one that is over and brings nothing."""


class Said:
    """Filled by readers; of each member the last that was said counts."""

    __slots__ = (
        "_form",
        "_quirks",
        "_usage",
        "_wire",
        "answer_id",
        "ended",
        "error",
        "model",
        "partial",
        "reasoned",
        "service_tier",
        "status",
        "unread",
    )

    def __init__(self, form: Form | None, quirks: Quirks = NO_QUIRKS) -> None:
        self._form = form
        self._quirks = quirks
        self._usage = NOTHING
        self._wire: Wire | None = None
        self.error: ErrorName | None = None
        self.ended = False
        """Whether the answer came to the end that its form prescribes."""
        self.unread = False
        """Whether something that may have held the usage could not be read."""
        self.partial = False
        """Whether the usage that was said last is that of a beginning, and more is to be said."""
        self.reasoned = False
        """Whether an event with reasoning came."""
        self.status: str | None = None
        """Of a response or a run."""
        self.model: str | None = None
        self.service_tier: str | None = None
        self.answer_id: str | None = None

    def take(self, named: Named) -> None:
        """Remember what ``named`` says. Nothing is ever added up."""
        if is_said(named.usage):
            # A copy: the member alone, not the megabytes that it came in.
            self._usage = named.usage.copy()
            self._wire = None
        self.model = text_of(named.model) or self.model
        self.service_tier = text_of(named.service_tier) or self.service_tier
        self.answer_id = text_of(named.id) or self.answer_id
        self.status = text_of(named.status) or self.status
        self.error = error_of(named.error) or self.error

    def take_answer(self, answer: AnyAnswer) -> None:
        """The same for what is decoded already."""
        if answer.usage is not UNSET:
            self._wire = answer.usage
        self.model = answer.model or self.model
        self.service_tier = answer.service_tier or self.service_tier
        self.answer_id = answer.id or self.answer_id
        self.status = answer.status or self.status
        if len(answer.error):
            self.error = error_of(answer.error) or self.error

    def usage(self) -> Usage | None:
        """In the one form, as of this answer's model and tier."""
        usage = self._read()
        if usage is None:
            return None
        tier = self.service_tier or usage.service_tier
        return structs.replace(usage, model=self.model, service_tier=tier)

    def _read(self) -> Usage | None:
        if self._wire is not None:
            return self._wire.normal(self._quirks)
        # A number of an unexpected type makes it no usage at all: it is counted as missing,
        # which is seen; half of the truth is not.
        if self._form is None or not len(self._usage):
            return None
        try:
            return self._form(self._usage).normal(self._quirks)
        except UNREADABLE:
            self.unread = True
            return None
