"""What the client of the unified way is told: whose answer it has, and errors that are no upstream's."""

from __future__ import annotations

from typing import Final

from openai_proxy.exchange.attempt import Attempt
from openai_proxy.exchange.course import Leg
from openai_proxy.exchange.exchange import Exchange, ExchangeContext
from openai_proxy.exchange.gateway import Gateway
from openai_proxy.exchange.routed_attempt import RoutedAttempt
from openai_proxy.exchange.server_timing import server_timing
from openai_proxy.exchange.telling import (
    JSON,
    LONGEST_MODEL,
    telling_fields,
    upstream_fields,
    with_messages_id,
    without_body,
)
from openai_proxy.observe.model import NONE
from openai_proxy.observe.outcome import outcome_of_status
from openai_proxy.providers.provider import Provider
from openai_proxy.providers.translate.refusal import ANTHROPIC
from openai_proxy.relay.failures import ErrorAnswer
from openai_proxy.wire.errors import reason_phrase
from openai_proxy.wire.fields import Field
from openai_proxy.wire.request import Request

NOBODY: Final = Provider(NONE, b"", names_models=False)
"""Whose exchange it is that was sent to nobody."""


class ToldExchange(Exchange):
    """An exchange of several attempts, as far as it speaks to its client."""

    attempt: RoutedAttempt | None
    """The last one; None before the first, and between two."""
    _leg: Leg | None = None
    """The last one that was begun."""
    _ends_retries = False
    """Whether the client's SDK is told not to try again: we have."""

    def __init__(self, request: Request, gateway: Gateway, context: ExchangeContext, route: str) -> None:
        super().__init__(request, gateway.default, request.uri, context, route, b"/v1")
        self._gateway = gateway

    @property
    def provider(self) -> Provider:
        leg = self._leg if self.attempt is None else self.attempt.leg
        return NOBODY if leg is None else self._gateway.targets[leg.candidate.provider].provider

    @property
    def sent_model(self) -> str:
        leg = self._leg if self.attempt is None else self.attempt.leg
        return self.asked_model if leg is None else leg.candidate.model or self.asked_model

    def _head_fields(self, attempt: Attempt) -> list[Field]:
        assert isinstance(attempt, RoutedAttempt)
        given = attempt.given_fields(attempt.status)
        fields = [*upstream_fields(given, self._ends_retries), *self._own_fields()]
        return with_messages_id(fields, self.request) if self.client_dialect == ANTHROPIC else fields

    def _own_fields(self) -> list[Field]:
        attempt, leg = self.attempt, self._leg
        attempts = len(self.earlier) + (attempt is not None and attempt.sent_at is not None)
        provider = "" if leg is None else self.provider.name
        if attempt is not None:
            leg = attempt.leg
        model = "" if leg is None else leg.candidate.model
        if len(model) > LONGEST_MODEL:
            # Nothing so long is kept, nor told.
            model = ""
        return list(telling_fields(attempts, provider, model, self._ends_retries))

    def _refuse(self, told: ErrorAnswer) -> None:
        """Nothing is sent for it, or no more: the client has an error of ours."""
        self._tell(told)
        self._settle()

    def _answer_whole(self, status: int, body: bytes) -> None:
        """An answer that is whole, and no upstream's own."""
        self.status = status
        attempt = self.attempt
        given: list[Field] = []
        if attempt is not None and attempt.answered_at is not None:
            given = without_body(upstream_fields(attempt.given_fields(status), self._ends_retries))
        fields = [*given, JSON, *self._own_fields(), server_timing(self, attempt)]
        if self.client_dialect == ANTHROPIC:
            fields = with_messages_id(fields, self.request)
        self.request.answer(status, reason_phrase(status), fields, body)
        self._end(outcome_of_status(status))
