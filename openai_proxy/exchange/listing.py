"""An exchange that lists the models that can be asked for: of all providers, in one list."""

from __future__ import annotations

from typing import Final

from openai_proxy.exchange.exchange import Exchange, ExchangeContext
from openai_proxy.exchange.model_fetch import ListRefused
from openai_proxy.exchange.model_list import merged, part_of_routes
from openai_proxy.exchange.model_lists import Gathered, ModelLists
from openai_proxy.exchange.question import Question
from openai_proxy.exchange.server_timing import server_timing
from openai_proxy.exchange.telling import with_messages_id
from openai_proxy.exchange.told import NOBODY
from openai_proxy.observe.outcome import Outcome, outcome_of_status
from openai_proxy.observe.record import AttemptResult
from openai_proxy.providers.provider import Provider
from openai_proxy.providers.translate.refusal import ANTHROPIC
from openai_proxy.relay.failures import ErrorAnswer, error_answer_for
from openai_proxy.wire.errors import reason_phrase
from openai_proxy.wire.fields import HOP_BY_HOP, Field, NameSet, end_to_end
from openai_proxy.wire.request import Request

MODELS_PATH: Final = b"/v1/models"
_READS: Final = frozenset({b"GET", b"HEAD"})
_MISSING: Final = b"x-openai-proxy-missing"
_JSON: Final = (b"Content-Type", b"application/json")
_NOT_ASKED_WITH: Final = NameSet(
    HOP_BY_HOP
    | {b"host", b"expect", b"content-length", b"content-type", b"content-encoding", b"accept-encoding"}
    # The list that the client knows is not this one.
    | {b"range", b"if-range", b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since"}
)
_OF_PAGES: Final = frozenset({b"limit", b"after_id", b"before_id"})
_KEY_REFUSED: Final = {
    status: ErrorAnswer(
        status,
        outcome_of_status(status),
        "invalid_api_key",
        "The provider did not take the key.",
        AttemptResult.HTTP_4XX,
        type="invalid_request_error",
    )
    for status in (401, 403)
}


def asks_for_list(request: Request) -> bool:
    """Whether it is for all that there is: one that names a provider wants that one's own list."""
    is_list = request.path == MODELS_PATH and request.method in _READS
    return is_list and not Question(request).provider


class ListingExchange(Exchange):
    """It has no attempts of its own: what it tells was mostly asked for by another, or by many."""

    _missing: tuple[str, ...] = ()

    def __init__(self, request: Request, lists: ModelLists, context: ExchangeContext, route: str) -> None:
        super().__init__(request, lists.gateway.default, request.uri, context, route)
        self._lists = lists
        question = Question(request)
        self.client_dialect, self.client_retry = question.client_dialect, question.client_retry

    @property
    def provider(self) -> Provider:
        return NOBODY

    def _read(self, held: bytes | None) -> None:
        """A body says nothing here."""
        self._requested()

    def _requested(self) -> None:
        request = self.request
        self.ready_at = request.channel.heard_at
        fields = tuple(end_to_end(request.fields, _NOT_ASKED_WITH))
        query = b"&".join(one for one in request.uri.partition(b"?")[2].split(b"&") if not _is_of_pages(one))
        self._wait(self._lists.gathered(fields, query), self._gathered)

    def _gathered(self, gathered: Gathered) -> None:
        self._missing = tuple(gathered.missing)
        gateway, dialect = self._lists.gateway, self.client_dialect
        if not gateway.routes and not gathered.lists:
            self._tell(self._failure(gathered))
            self._settle()
            return
        parts = [part_of_routes(gateway.routes, dialect)]
        parts += [one.part(dialect, gateway.router) for one in gathered.lists]
        self.status = 200
        fields = [_JSON, *self._own_fields(), server_timing(self, None)]
        if dialect == ANTHROPIC:
            fields = with_messages_id(fields, self.request)
        self.request.answer(200, reason_phrase(200), fields, merged(parts, dialect))
        self._end(Outcome.OK)

    def _failure(self, gathered: Gathered) -> ErrorAnswer:
        """There is nothing to be listed: why the default provider has no list, or else the first one."""
        missing, default = gathered.missing, self._lists.gateway.default
        error = missing.get(default.provider.name) or next(iter(missing.values()))
        is_clients_key = default.addressing is not None and default.addressing.keeps_client_key
        if is_clients_key and isinstance(error, ListRefused) and error.status in _KEY_REFUSED:
            return _KEY_REFUSED[error.status]
        return error_answer_for(error)

    def _own_fields(self) -> list[Field]:
        return [(_MISSING, ",".join(self._missing).encode("ascii"))] if self._missing else []


def _is_of_pages(parameter: bytes) -> bool:
    return parameter.partition(b"=")[0] in _OF_PAGES
