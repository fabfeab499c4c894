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
from openai_proxy.exchange.target import Target
from openai_proxy.observe.endpoint import endpoint_of
from openai_proxy.observe.model import NONE, OTHER, model_in, model_label
from openai_proxy.observe.outcome import CLIENT_CLOSED_REQUEST, Outcome, outcome_of_status
from openai_proxy.observe.record import Record, Sink
from openai_proxy.relay.download import Download
from openai_proxy.relay.failures import HELD_BODIES_FULL, PROXY_FAILED, ErrorAnswer, error_answer_for
from openai_proxy.relay.tunnel import Tunnel
from openai_proxy.wire.body import BodyLost, HeldBodies, HeldBodiesFull, RequestBody
from openai_proxy.wire.errors import UpstreamError, error_body, reason_phrase
from openai_proxy.wire.fields import Fields, end_to_end, first_of, raw_fields
from openai_proxy.wire.request import Request

_NOT_SENT_ON: Final = frozenset({b"host", b"content-length", b"expect"})
_RESET: Final = 205


@dataclass(frozen=True, slots=True)
class ExchangeContext:
    """What all exchanges share."""

    clock: IReactorTime
    sink: Sink
    held_bodies: HeldBodies
    limits: Limits


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
    model = NONE
    _outcome: Outcome | None = None
    _status = 0
    _download: Download | None = None
    _tunnel: Tunnel | None = None
    _waits_for: Cancellable | None = None
    _is_settled = False

    def __init__(self, request: Request, target: Target, path: bytes, context: ExchangeContext) -> None:
        """:param path: the request target below the provider's base URL, query included."""
        self.request = request
        self.target = target
        self.path = path
        self.endpoint = endpoint_of(path.partition(b"?")[0])
        self._context = context

    def start(self) -> None:
        """Run until it has ended; the record goes to the sink."""
        request, context = self.request, self._context
        context.sink.exchange_began(self.endpoint)
        request.on_gone = self._client_gone
        try:
            if request.body is not None and request.is_readable:
                self._hold(request.body)
            else:
                self._send()
        except Exception:
            self._failed(Failure())

    def _hold(self, body: RequestBody) -> None:
        limit_bytes, held_bodies = self._context.limits.held_body_bytes, self._context.held_bodies
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
        self.model = OTHER if held is None else model_label(model_in(held))
        self._send()

    def _send(self) -> None:
        request = self.request
        fields = end_to_end(request.fields, _NOT_SENT_ON)
        if request.wants_upgrade:
            fields.append((b"Upgrade", b"websocket"))
        response = self.target.client.request(
            request.method,
            self.target.provider.base_url + self.path,
            headers=Fields(raw=fields),
            data=request.body,
        )
        self._wait(response, self._answered)

    def _answered(self, response: IResponse) -> None:
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
        request.begin(response.code, response.phrase, fields)
        self._status = response.code
        download = self._waits_for = self._download = Download(request, self._relayed)
        response.deliverBody(download)

    def _relayed(self, failure: Failure | None) -> None:
        """The answer's last byte came from the upstream, or none will come any more."""
        if failure is not None:
            self._failed(failure)
            return
        blocked = self.request.channel.write_blocked
        if not self.request.end():
            self._end(Outcome.UPSTREAM_STREAM_ERROR)
        elif blocked:
            self._wait(self.request.channel.drained(), self._drained)
        else:
            self._end(outcome_of_status(self._status))

    def _drained(self, is_drained: bool) -> None:
        self._end(outcome_of_status(self._status) if is_drained else Outcome.CLIENT_DISCONNECT)

    def _upgraded(self, response: IResponse) -> None:
        """A tunnel that either side closes is ok; one that is cut off is blamed on who did it."""
        self._status = 101
        self._tunnel = Tunnel(self.request)
        self._wait(self._tunnel.run(response), lambda _: self._end(Outcome.OK))

    def _failed(self, failure: Failure) -> None:
        """Whatever was waited for did not come."""
        error = failure.value
        if isinstance(error, (CancelledError, BodyLost)):
            # The client left or was refused: `_client_gone` has said or will say so.
            self._ended_by_client()
        elif isinstance(error, UpstreamError):
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
        self._outcome = failure.outcome
        if request.status:
            # Never a clean end for an unclean answer.
            if failure.outcome is not Outcome.PROXY_ERROR:
                self._outcome = Outcome.UPSTREAM_STREAM_ERROR
            request.on_gone = None
            request.abort()
            return
        self._status = failure.status
        fields = [(b"Content-Type", b"application/json")]
        if failure.retry_after_seconds is not None:
            fields.append((b"Retry-After", b"%d" % failure.retry_after_seconds))
        body = error_body(failure.message, "server_error", failure.code)
        request.answer(failure.status, reason_phrase(failure.status), fields, body)

    def _client_gone(self) -> None:
        self._ended_by_client()
        if self._waits_for is not None:
            self._waits_for.cancel()

    def _ended_by_client(self) -> None:
        if self._outcome is not None:
            return
        request = self.request
        if request.was_rejected:
            self._status = request.status
            self._outcome = Outcome.CLIENT_ERROR
        elif request.is_whole or (self._download is not None and self._download.saw_end_of_stream):
            # It has all that it came for, and did not wait for the framing's end.
            self._outcome = outcome_of_status(self._status)
        else:
            self._status = self._status or CLIENT_CLOSED_REQUEST
            self._outcome = Outcome.CLIENT_DISCONNECT

    def _received_bytes(self) -> int:
        if self._tunnel is not None:
            return self._tunnel.received_bytes
        body = self.request.body
        return body.received_bytes if body is not None else 0

    def _end(self, outcome: Outcome) -> None:
        self._outcome = outcome
        self._settle()

    def _settle(self) -> None:
        """One record, however often it seems to end."""
        if self._is_settled:
            return
        self._is_settled = True
        request, context = self.request, self._context
        request.on_gone = None
        self._waits_for = None
        body = request.body
        if body is not None:
            body.discard()
        context.sink.exchange_ended(
            Record(
                provider=self.target.provider.name,
                endpoint=self.endpoint,
                model=self.model,
                status=self._status,
                outcome=self._outcome or Outcome.PROXY_ERROR,
                duration_seconds=context.clock.seconds() - request.began,
                received_bytes=self._received_bytes(),
                sent_bytes=request.sent_bytes,
            )
        )
