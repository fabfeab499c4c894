"""One exchange: a client's request, its upstream's answer, one record at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IResponse

from openai_proxy.config.secret import Secret
from openai_proxy.config.settings import Limits
from openai_proxy.exchange.account import record_of
from openai_proxy.exchange.asking import has_usage_event, is_read, narrow_encodings
from openai_proxy.exchange.attempt import Attempt, Sent, is_cancelled
from openai_proxy.exchange.in_flight import Exchanges
from openai_proxy.exchange.reading import is_event_stream, read_on
from openai_proxy.exchange.server_timing import server_timing
from openai_proxy.exchange.target import Target
from openai_proxy.exchange.telling import SHOULD_RETRY, last_event, with_messages_id
from openai_proxy.observe.asked import Asked, asked_in
from openai_proxy.observe.endpoint import endpoint_of
from openai_proxy.observe.errors import error_of_refusal
from openai_proxy.observe.include_usage import splice_include_usage
from openai_proxy.observe.model import OTHER, ModelNames
from openai_proxy.observe.multipart_model import boundary_in, model_in_form
from openai_proxy.observe.outcome import CLIENT_CLOSED_REQUEST, Outcome, outcome_of_status
from openai_proxy.observe.record import Attempt as AttemptRecord
from openai_proxy.observe.record import AttemptResult, Error, ErrorSource, Sink
from openai_proxy.observe.trace import Trace, Traces
from openai_proxy.policy.prices import Prices
from openai_proxy.providers.provider import Provider
from openai_proxy.providers.translate.refusal import ANTHROPIC, refusal
from openai_proxy.relay.failures import HELD_BODIES_FULL, PROXY_FAILED, ErrorAnswer, error_answer_for
from openai_proxy.relay.tunnel import Tunnel
from openai_proxy.wire.body import BodyLost, HeldBodies, HeldBodiesFull, RequestBody
from openai_proxy.wire.errors import UpstreamError, reason_phrase
from openai_proxy.wire.fields import HOP_BY_HOP, Field, NameSet, end_to_end, first_of
from openai_proxy.wire.request import Request

_NOT_SENT_ON: Final = NameSet(HOP_BY_HOP | {b"host", b"content-length", b"expect"})
RATE_LIMITED: Final = 429
_STOPPED: Final = 503
_ANTHROPIC_VERSION: Final = b"anthropic-version"


@dataclass(frozen=True, slots=True)
class ExchangeContext:
    """What all exchanges share."""

    clock: IReactorTime
    sink: Sink
    held_bodies: HeldBodies
    held_answers: HeldBodies
    """Of JSON that is read when it is whole: a copy on the side, which goes first where room is short."""
    limits: Limits
    models: ModelNames
    prices: Prices
    in_flight: Exchanges = field(default_factory=Exchanges)
    wall_seconds: Callable[[], float] | None = None
    """Unix time; None: the clock's own."""
    traces: Traces | None = None
    """None: nothing is traced, and what requests say of traces goes on as it is."""

    def unix_seconds(self) -> float:
        """The time of day: for prices and dates, and never for a difference."""
        return (self.wall_seconds or self.clock.seconds)()


class Cancellable(Protocol):
    """What an exchange waits for."""

    def cancel(self) -> None:
        """Wait no more: it fails with ``CancelledError``."""


class Exchange:
    """Its states, in order: reading the request, waiting for the head, relaying, ended.

    It waits for one thing at a time. From any state it ends at once when the client leaves:
    what it waits for is cancelled, and with it the upstream. (Callbacks, not a coroutine: each
    ``await`` costs as much as parsing a head.)

    This one has one target, and one attempt: the way to a provider that changes nothing.
    """

    _log = Logger()
    # What most exchanges never change is an attribute of the class. First what its record is
    # made of; times are on the context's clock, None for what did not happen.
    attempt: Attempt | None = None
    """The last one: its answer is the client's."""
    earlier: tuple[AttemptRecord, ...] = ()
    """What came of the attempts before it, and beside it."""
    asked_model = ""
    """The client's own text."""
    model: str | None = None
    """The same as a label, once it is known whether the provider answered for it."""
    outcome: Outcome | None = None
    status = 0
    error: Error | None = None
    ready_at = 0.0
    """When the last byte came that had to be there before the request could be sent on."""
    given_at: float | None = None
    """When the answer was written to the client's socket, or to what waits for it."""
    first_bytes = 0
    """What is waited for of a body that is too long to be held."""
    blocked_before = 0.0
    """How long the client had been waited for, in all, when it began."""
    blocked_at_end: float | None = None
    """The same when the answer's last byte came."""
    dropped: tuple[str, ...] = ()
    """Members of the request that were not sent."""
    client_retry = 0
    """Which of the client's own retries it is."""
    first_sent_at: float | None = None
    """When the first of several attempts was sent."""
    tunnel: Tunnel | None = None
    is_stream = False
    """Whether the sink was told of one."""
    trace: Trace | None = None
    """Of one that has spans."""
    _boundary: bytes | None = None
    """Of a form whose model is not known yet."""
    _is_asked_for_usage = False
    _waits_for: Cancellable | None = None
    _is_settled = False

    def __init__(
        self,
        request: Request,
        target: Target,
        path: bytes,
        context: ExchangeContext,
        route: str,
        prefix: bytes = b"/v1",
    ) -> None:
        """:param path: the request target below the provider's base URL, query included.
        :param route: the resource that took it, as it is named in records.
        :param prefix: what the paths of the API begin with.
        """
        self.request = request
        self.target = target
        self.path = path
        self.route = route
        self.endpoint, generates, self.path_model = endpoint_of(path.partition(b"?")[0], prefix)
        self.generates = generates and request.method == b"POST"
        """Whether its answer is made for it, and billed: else what it says of usage was counted before."""
        self.context = context
        self.seconds = context.clock.seconds

    @cached_property
    def client_dialect(self) -> str:
        """In which our own errors are said: by the provider's form, or who asks for one that has several."""
        is_anthropic = first_of(self.request.fields, _ANTHROPIC_VERSION) is not None
        return ANTHROPIC if is_anthropic else self.target.provider.dialect

    @property
    def provider(self) -> Provider:
        """Whose exchange it is, in its record."""
        return self.target.provider

    @property
    def sent_model(self) -> str:
        """What its provider calls the model, or else its client."""
        return self.asked_model if self.attempt is None else self.attempt.model

    def start(self) -> None:
        """Run until it has ended; the record goes to the sink."""
        request, context = self.request, self.context
        context.sink.exchange_began(self.endpoint)
        context.in_flight.began(self)
        request.on_gone = self._client_gone
        self.blocked_before = request.channel.watch.blocked_seconds
        if context.traces is not None:
            self.trace = context.traces.begin(request.fields, request.began)
        try:
            if request.body is not None and self.is_held:
                self._hold(request.body)
            else:
                self._requested()
        except Exception:
            self._failed(Failure())

    # The request.

    @property
    def is_held(self) -> bool:
        """Whether its body is read whole before it is sent on."""
        return self.request.is_readable

    def _hold(self, body: RequestBody) -> None:
        limit_bytes, held_bodies = self.context.limits.held_body_bytes, self.context.held_bodies
        if body.is_complete:
            # As it mostly is: it came in one segment with its head.
            self._read(body.held(limit_bytes, held_bodies))
        else:
            self._wait(body.hold(limit_bytes, held_bodies, self.first_bytes), self._read)

    def _wait(self, deferred: Deferred[Any], then: Callable[[Any], None]) -> None:
        self._waits_for = deferred
        deferred.addCallback(then)
        deferred.addErrback(self._failed)

    def _read(self, held: bytes | None) -> None:
        """The body is whole, or too long to be held."""
        if held is None:
            self.asked_model = self.path_model or OTHER
        else:
            asked = asked_in(held)
            self.asked_model = asked.model
            if asked.is_stream and has_usage_event(self.target.provider, self.generates, self.endpoint):
                self._ask_for_usage(held, asked)
        self._requested()

    def _ask_for_usage(self, held: bytes, asked: Asked) -> None:
        asking = splice_include_usage(held, asked)
        if asking is not None and self.request.body is not None:
            self.request.body.replace(asking)
            self._is_asked_for_usage = True

    def _requested(self) -> None:
        """All that has to be known of the request is known."""
        self.ready_at = self.request.channel.heard_at
        attempt = Attempt(self, self.target, self.endpoint)
        attempt.model = self.asked_model = self.asked_model or self.path_model
        if not attempt.model:
            self._await_form()
        attempt.is_asked_for_usage = self._is_asked_for_usage
        self._try(attempt)

    def _await_form(self) -> None:
        """A form may name its model, in its first bytes; it is not held for that."""
        request = self.request
        if request.body is not None and request.method == b"POST" and not request.is_readable:
            self._boundary = boundary_in(first_of(request.fields, b"content-type") or b"")
            if self._boundary is not None:
                request.body.keep_first()

    def _read_form(self, attempt: Attempt) -> None:
        """What has come of it by now says the model, or nothing does."""
        boundary, self._boundary = self._boundary, None
        if boundary is not None and self.request.body is not None:
            attempt.model = self.asked_model = model_in_form(self.request.body.first, boundary)

    def _try(self, attempt: Attempt) -> None:
        self.attempt = self._waits_for = attempt
        attempt.begin()

    def prepared(self, attempt: Attempt, key: Secret | None) -> Sent:
        """What an attempt sends."""
        target = self.target
        fields = self._fields_to_send()
        if is_read(target.provider, self.generates, self.endpoint):
            narrow_encodings(fields, self._is_asked_for_usage)
        if target.addressing is None:
            return target.provider.base_url + self.path, fields, self.request.body
        fields, url = target.addressing.native(fields, self.path, key)
        return url, fields, self.request.body

    def _fields_to_send(self) -> list[Field]:
        request = self.request
        fields = end_to_end(request.fields, _NOT_SENT_ON)
        if request.wants_upgrade:
            fields.append((b"Upgrade", b"websocket"))
        return fields

    # The answer.

    def answered(self, attempt: Attempt, response: IResponse) -> None:
        """Its head has come."""
        if attempt.status == 101:
            self._upgraded(attempt, response)
            return
        self._read_form(attempt)
        read_on(self, attempt)
        self._begin(attempt)
        attempt.download(response, attempt.reading, self.request)

    def _begin(self, attempt: Attempt) -> None:
        """Begin the client's answer with this attempt's head: from now on there is no other."""
        request = self.request
        if request.body is not None and request.body.is_complete:
            # Nothing is repeated from now on: a long stream needs no memory for its question.
            request.body.discard()
        self.status = attempt.status
        self._tell_sink(attempt)
        fields = [*self._head_fields(attempt), server_timing(self, attempt)]
        request.begin(attempt.status, attempt.phrase, fields)

    def _head_fields(self, attempt: Attempt) -> list[Field]:
        """Those of the answer's head, for the client."""
        return attempt.fields

    def _tell_sink(self, attempt: Attempt) -> None:
        status, provider = attempt.status, attempt.target.provider
        self.model = self.context.models.of_answer(provider, attempt.model, status)
        if status < 400 or status == RATE_LIMITED:
            is_stream = status < 400 and attempt.reading is not None and attempt.reading.is_stream
            self.context.sink.answer_began(provider.name, self.model, attempt.fields, is_stream)
            self.is_stream = is_stream

    def relayed(self, attempt: Attempt, failure: Failure | None) -> None:
        """The answer's last byte came from the upstream, or none will come any more."""
        if failure is not None:
            self._failed(failure)
            return
        request = self.request
        self.blocked_at_end = request.channel.watch.blocked_seconds
        request.send(attempt.end(whole=True))
        if attempt.broken is not None:
            self._failed(Failure(attempt.broken))
        else:
            self._given(attempt)

    def _given(self, attempt: Attempt) -> None:
        """All that the client is to have was handed over."""
        request = self.request
        blocked = request.channel.watch.write_blocked
        if not request.end():
            self._end(Outcome.UPSTREAM_STREAM_ERROR)
        elif blocked:
            self.given_at = self.seconds()
            self._wait(request.channel.drained(), self._drained)
        else:
            self._end(self._outcome_of(attempt))

    def _outcome_of(self, attempt: Attempt) -> Outcome:
        """Of an answer that is whole, as far as its framing goes."""
        reading = attempt.reading
        if self.status < 400 and reading is not None and reading.has_failed:
            attempt.result = AttemptResult.STREAM_ERROR
            return Outcome.UPSTREAM_STREAM_ERROR if reading.is_stream else Outcome.UPSTREAM_ERROR
        return outcome_of_status(self.status)

    def _drained(self, is_drained: bool) -> None:
        assert self.attempt is not None
        self._end(self._outcome_of(self.attempt) if is_drained else Outcome.CLIENT_DISCONNECT)

    def _upgraded(self, attempt: Attempt, response: IResponse) -> None:
        """A tunnel that either side closes is ok; one that is cut off is blamed on who did it."""
        self.status = 101
        self.tunnel = Tunnel(self.request)
        self._wait(self.tunnel.run(response), lambda _: self._end(Outcome.OK))

    # The end.

    def failed(self, attempt: Attempt, failure: Failure) -> None:
        """An attempt had no answer."""
        self._failed(failure)

    def _failed(self, failure: Failure) -> None:
        """Whatever was waited for did not come."""
        error = failure.value
        if is_cancelled(failure) or isinstance(error, BodyLost):
            # The client left or was refused: `_client_gone` has said or will say so.
            self._ended_by_client()
        elif isinstance(error, UpstreamError):
            self._tell(error_answer_for(error))
        elif isinstance(error, HeldBodiesFull):
            self._tell(HELD_BODIES_FULL)
        else:
            self._log.failure("Exchange {id} failed", failure, id=self.request.request_id)
            if not self._is_settled:
                # Its connection may be at the client's next request by now.
                self._tell(PROXY_FAILED)
        self._settle()

    def stop(self, told: ErrorAnswer) -> None:
        """End it, for the daemon will not go on with it: an error for its client, then a cut if it has begun.

        Unlike what an upstream breaks off, a stream has an event that says so.
        """
        if self._is_settled:
            return
        waits_for, self._waits_for = self._waits_for, None
        self._tell(told, in_stream=True)
        self._settle()
        if waits_for is not None:
            waits_for.cancel()

    def _tell(self, failure: ErrorAnswer, in_stream: bool = False) -> None:
        """Tell the client, if its answer has not begun; else cut it off.

        :param in_stream: tell it in a stream of events too, before that is cut.
        """
        request, attempt = self.request, self.attempt
        self.outcome = failure.outcome
        result = failure.result
        if request.status:
            # Never a clean end for an unclean answer.
            if failure.outcome is not Outcome.PROXY_ERROR:
                self.outcome = Outcome.UPSTREAM_STREAM_ERROR
                result = AttemptResult.STREAM_ERROR
            request.on_gone = None
            if attempt is not None:
                # What was held back, for it might have become the event to take out, came too.
                request.send(attempt.end(whole=False))
                if in_stream and is_event_stream(attempt.fields):
                    request.send(last_event(self.client_dialect, failure))
                    self.error = Error(ErrorSource.PROXY, failure.type, failure.code)
            request.abort()
        else:
            self._answer(failure)
        if attempt is not None:
            attempt.result = result

    def _answer(self, failure: ErrorAnswer) -> None:
        """An answer of ours."""
        self.status = failure.status
        self.error = Error(ErrorSource.PROXY, failure.type, failure.code)
        timing = server_timing(self, self.attempt)
        fields = [(b"Content-Type", b"application/json"), *self._own_fields(), timing]
        if failure.retry_after_seconds is not None:
            fields.append((b"Retry-After", b"%d" % failure.retry_after_seconds))
        if failure.is_final:
            fields.append((SHOULD_RETRY, b"false"))
        dialect, request_id = self.client_dialect, None
        if dialect == ANTHROPIC:
            fields = with_messages_id(fields, self.request)
            request_id = self.request.request_id.decode("ascii")
        body = refusal(
            dialect, failure.status, failure.message, failure.type, failure.code, failure.param, request_id
        )
        self.request.answer(failure.status, reason_phrase(failure.status), fields, body)

    def _own_fields(self) -> list[Field]:
        """What an answer says of its exchange."""
        return []

    def _client_gone(self) -> None:
        self._ended_by_client()
        if self._waits_for is not None:
            self._waits_for.cancel()

    def _ended_by_client(self) -> None:
        if self.outcome is not None:
            return
        request, attempt = self.request, self.attempt
        if request.was_rejected:
            self.status = request.status
            self.outcome = Outcome.CLIENT_ERROR
            self.error = error_of_refusal(request.status)
        elif attempt is not None and (request.is_whole or (request.status and attempt.has_ended)):
            # It has all that it came for, and did not wait for the framing's end.
            attempt.end(whole=request.is_whole)
            self.outcome = self._outcome_of(attempt)
            return
        elif request.channel.was_cut:
            self.status = self.status or _STOPPED
            self.outcome = Outcome.PROXY_ERROR
        else:
            self.status = self.status or CLIENT_CLOSED_REQUEST
            self.outcome = Outcome.CLIENT_DISCONNECT
        if attempt is not None:
            attempt.result = AttemptResult.ABORTED

    def _end(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self._settle()

    def _settle(self) -> None:
        """One record, however often it seems to end."""
        if self._is_settled:
            return
        self._is_settled = True
        request, attempt = self.request, self.attempt
        request.on_gone = None
        self._waits_for = None
        body = request.body
        if body is not None:
            body.discard()
        if attempt is not None and attempt.received_at is None:
            attempt.end(whole=False)
            self._read_form(attempt)
        self.context.sink.exchange_ended(record_of(self))
        self.context.in_flight.ended(self)
        # The two know each other, and a cycle is work for the collector.
        self.attempt = None
