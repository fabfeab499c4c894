"""One exchange: a client's request, its upstream's answer, one record at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IResponse

from openai_proxy.config.settings import Limits
from openai_proxy.exchange.account import record_of
from openai_proxy.exchange.asking import has_usage_event, is_read, narrow_encodings
from openai_proxy.exchange.reading import Reading, reading_of
from openai_proxy.exchange.target import Target
from openai_proxy.observe.asked import Asked, asked_in
from openai_proxy.observe.endpoint import endpoint_of
from openai_proxy.observe.errors import PROXY_TYPE, error_of_refusal
from openai_proxy.observe.include_usage import splice_include_usage
from openai_proxy.observe.model import OTHER, ModelNames
from openai_proxy.observe.outcome import CLIENT_CLOSED_REQUEST, Outcome, outcome_of_status
from openai_proxy.observe.record import AttemptResult, Error, ErrorSource, Sink
from openai_proxy.observe.usage import UsageMissing
from openai_proxy.policy.prices import Prices
from openai_proxy.relay.download import Download, Unread
from openai_proxy.relay.failures import HELD_BODIES_FULL, PROXY_FAILED, ErrorAnswer, error_answer_for
from openai_proxy.relay.tunnel import Tunnel
from openai_proxy.wire.body import BodyLost, HeldBodies, HeldBodiesFull, RequestBody
from openai_proxy.wire.errors import UpstreamError, error_body, reason_phrase
from openai_proxy.wire.fields import HOP_BY_HOP, Field, Fields, NameSet, end_to_end, first_of, raw_fields
from openai_proxy.wire.request import Request
from openai_proxy.wire.response import Timings

_NOT_SENT_ON: Final = NameSet(HOP_BY_HOP | {b"host", b"content-length", b"expect"})
_RESET: Final = 205
_RATE_LIMITED: Final = 429
_STOPPED: Final = 503


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


class Cancellable(Protocol):
    """What an exchange waits for."""

    def cancel(self) -> None:
        """Wait no more: it fails with ``CancelledError``."""


class Exchange:
    """Its states, in order: reading the request, waiting for the head, relaying, ended.

    It waits for one thing at a time. From any state it ends at once when the client leaves:
    what it waits for is cancelled, and with it the upstream. (Callbacks, not a coroutine: each
    ``await`` costs as much as parsing a head.)
    """

    _log = Logger()
    # What most exchanges never change is an attribute of the class. First what its record is
    # made of; times are on the context's clock, None for what did not happen.
    asked_model = ""
    """The client's own text."""
    model: str | None = None
    """The same as a label, once it is known whether the provider answered for it."""
    outcome: Outcome | None = None
    status = 0
    result: AttemptResult | None = None
    """Where the attempt did not end with the answer that its status tells of."""
    error: Error | None = None
    ready_at = 0.0
    """When the last byte came that had to be there before the request could be sent on."""
    sent_at: float | None = None
    answered_at: float | None = None
    received_at: float | None = None
    """When the answer's last byte came."""
    given_at: float | None = None
    """When it was written to the client's socket, or to what waits for it."""
    blocked_before = 0.0
    """How long the client had been waited for, in all, when it began."""
    blocked_at_end: float | None = None
    """The same when the answer's last byte came."""
    timings: Timings | None = None
    failed_again = False
    """Whether the request was sent a second time, and had no answer then either."""
    fields: list[Field] | None = None
    reading: Reading | None = None
    usage_missing: UsageMissing | None = None
    """Why there is none in an answer that is not read."""
    tunnel: Tunnel | None = None
    is_stream = False
    """Whether the sink was told of one."""
    _reader: Reading | Unread | None = None
    _is_asked_for_usage = False
    _waits_for: Cancellable | None = None
    _is_settled = False

    def __init__(
        self, request: Request, target: Target, path: bytes, context: ExchangeContext, route: str
    ) -> None:
        """:param path: the request target below the provider's base URL, query included.
        :param route: the resource that took it, as it is named in records.
        """
        self.request = request
        self.target = target
        self.path = path
        self.route = route
        self.endpoint, generates = endpoint_of(path.partition(b"?")[0])
        self.generates = generates and request.method == b"POST"
        """Whether its answer is made for it, and billed: else what it says of usage was counted before."""
        self.context = context

    def start(self) -> None:
        """Run until it has ended; the record goes to the sink."""
        request, context = self.request, self.context
        context.sink.exchange_began(self.endpoint)
        request.on_gone = self._client_gone
        self.blocked_before = request.channel.watch.blocked_seconds
        try:
            if request.body is not None and request.is_readable:
                self._hold(request.body)
            else:
                self._send()
        except Exception:
            self._failed(Failure())

    # The request.

    def _hold(self, body: RequestBody) -> None:
        limit_bytes, held_bodies = self.context.limits.held_body_bytes, self.context.held_bodies
        if body.is_complete:
            # As it mostly is: it came in one segment with its head.
            self._read(body.held(limit_bytes, held_bodies))
        else:
            self._wait(body.hold(limit_bytes, held_bodies), self._read)

    def _wait(self, deferred: Deferred[Any], then: Callable[[Any], None]) -> None:
        self._waits_for = deferred
        deferred.addCallback(then)
        deferred.addErrback(self._failed)

    def _read(self, held: bytes | None) -> None:
        if held is None:
            self.asked_model = OTHER
        else:
            asked = asked_in(held)
            self.asked_model = asked.model
            if asked.is_stream and has_usage_event(self.target.provider, self.generates, self.endpoint):
                self._ask_for_usage(held, asked)
        self._send()

    def _ask_for_usage(self, held: bytes, asked: Asked) -> None:
        asking = splice_include_usage(held, asked)
        if asking is not None and self.request.body is not None:
            self.request.body.replace(asking)
            self._is_asked_for_usage = True

    def _send(self) -> None:
        request, provider = self.request, self.target.provider
        self.ready_at = request.channel.heard_at
        fields = end_to_end(request.fields, _NOT_SENT_ON)
        if request.wants_upgrade:
            fields.append((b"Upgrade", b"websocket"))
        elif is_read(provider, self.generates, self.endpoint):
            narrow_encodings(fields, self._is_asked_for_usage)
        response = self.target.client.request(
            request.method,
            provider.base_url + self.path,
            headers=Fields(raw=fields),
            data=request.body,
        )
        self.sent_at = self.context.clock.seconds()
        self._wait(response, self._answered)

    # The answer.

    def _answered(self, response: IResponse) -> None:
        self.answered_at = self.context.clock.seconds()
        self.timings = getattr(response, "timings", None)
        if response.code == 101:
            self._upgraded(response)
            return
        request = self.request
        if request.body is not None and request.body.is_complete:
            # Nothing is repeated from now on: a long stream needs no memory for its question.
            request.body.discard()
        fields = end_to_end(raw_fields(response.headers))
        if response.code == _RESET and not first_of(fields, b"content-length"):
            # RFC 9110 section 15.3.6: no content, said in a way that every client understands.
            fields.append((b"Content-Length", b"0"))
        self.status = response.code
        self.fields = fields
        self.reading, self.usage_missing = reading_of(self, fields, self._is_asked_for_usage)
        reader = self._reader = self.reading or Unread()
        self._tell_sink(fields)
        request.begin(response.code, response.phrase, fields)
        download = self._waits_for = Download(request, reader, self._relayed)
        response.deliverBody(download)

    def _tell_sink(self, fields: list[Field]) -> None:
        status, provider = self.status, self.target.provider
        self.model = self.context.models.of_answer(provider, self.asked_model, status)
        if status < 400 or status == _RATE_LIMITED:
            is_stream = status < 400 and self.reading is not None and self.reading.is_stream
            self.context.sink.answer_began(provider.name, self.model, fields, is_stream)
            self.is_stream = is_stream

    def _relayed(self, failure: Failure | None) -> None:
        """The answer's last byte came from the upstream, or none will come any more."""
        if failure is not None:
            self._failed(failure)
            return
        self.received_at = self.context.clock.seconds()
        request = self.request
        self.blocked_at_end = request.channel.watch.blocked_seconds
        if self.reading is not None:
            request.send(self.reading.end(whole=True))
        blocked = request.channel.watch.write_blocked
        if not request.end():
            self._end(Outcome.UPSTREAM_STREAM_ERROR)
        elif blocked:
            self.given_at = self.context.clock.seconds()
            self._wait(request.channel.drained(), self._drained)
        else:
            self._end(self._outcome_of_answer())

    def _outcome_of_answer(self) -> Outcome:
        """Of one that is whole, as far as its framing goes."""
        if self.status < 400 and self.reading is not None and self.reading.has_failed:
            self.result = AttemptResult.STREAM_ERROR
            return Outcome.UPSTREAM_STREAM_ERROR if self.reading.is_stream else Outcome.UPSTREAM_ERROR
        return outcome_of_status(self.status)

    def _drained(self, is_drained: bool) -> None:
        self._end(self._outcome_of_answer() if is_drained else Outcome.CLIENT_DISCONNECT)

    def _upgraded(self, response: IResponse) -> None:
        """A tunnel that either side closes is ok; one that is cut off is blamed on who did it."""
        self.status = 101
        self.tunnel = Tunnel(self.request)
        self._wait(self.tunnel.run(response), lambda _: self._end(Outcome.OK))

    # The end.

    def _failed(self, failure: Failure) -> None:
        """Whatever was waited for did not come."""
        error = failure.value
        if isinstance(error, (CancelledError, BodyLost)):
            # The client left or was refused: `_client_gone` has said or will say so.
            self._ended_by_client()
        elif isinstance(error, UpstreamError):
            self.failed_again = error.repeated
            self._tell(error_answer_for(error))
        elif isinstance(error, HeldBodiesFull):
            self._tell(HELD_BODIES_FULL)
        else:
            self._log.failure("Exchange {id} failed", failure, id=self.request.request_id)
            self._tell(PROXY_FAILED)
        self._settle()

    def _tell(self, failure: ErrorAnswer) -> None:
        """Tell the client, if its answer has not begun; else cut it off."""
        request = self.request
        self.outcome = failure.outcome
        self.result = failure.result
        if request.status:
            # Never a clean end for an unclean answer.
            if failure.outcome is not Outcome.PROXY_ERROR:
                self.outcome = Outcome.UPSTREAM_STREAM_ERROR
                self.result = AttemptResult.STREAM_ERROR
            request.on_gone = None
            if self.reading is not None:
                # What was held back, for it might have become the event to take out, came too.
                request.send(self.reading.end(whole=False))
            request.abort()
            return
        self.status = failure.status
        self.error = Error(ErrorSource.PROXY, PROXY_TYPE, failure.code)
        fields = [(b"Content-Type", b"application/json")]
        if failure.retry_after_seconds is not None:
            fields.append((b"Retry-After", b"%d" % failure.retry_after_seconds))
        body = error_body(failure.message, PROXY_TYPE, failure.code)
        request.answer(failure.status, reason_phrase(failure.status), fields, body)

    def _client_gone(self) -> None:
        self._ended_by_client()
        if self._waits_for is not None:
            self._waits_for.cancel()

    def _ended_by_client(self) -> None:
        if self.outcome is not None:
            return
        request = self.request
        if request.was_rejected:
            self.status = request.status
            self.outcome = Outcome.CLIENT_ERROR
            self.error = error_of_refusal(request.status)
        elif request.is_whole or (self._reader is not None and self._reader.has_ended):
            # It has all that it came for, and did not wait for the framing's end.
            if self.reading is not None:
                self.reading.end(whole=request.is_whole)
            self.outcome = self._outcome_of_answer()
            return
        elif request.channel.was_cut:
            self.status = self.status or _STOPPED
            self.outcome = Outcome.PROXY_ERROR
        else:
            self.status = self.status or CLIENT_CLOSED_REQUEST
            self.outcome = Outcome.CLIENT_DISCONNECT
        self.result = AttemptResult.ABORTED

    def _end(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self._settle()

    def _settle(self) -> None:
        """One record, however often it seems to end."""
        if self._is_settled:
            return
        self._is_settled = True
        request = self.request
        request.on_gone = None
        self._waits_for = None
        body = request.body
        if body is not None:
            body.discard()
        if self.received_at is None and self.reading is not None:
            self.reading.end(whole=False)
        self.context.sink.exchange_ended(record_of(self))
