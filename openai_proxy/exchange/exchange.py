"""One exchange: a client's request, its upstream's answer, one record at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.iweb import IResponse

from openai_proxy.config.settings import Limits
from openai_proxy.exchange.target import Target
from openai_proxy.observe.endpoint import endpoint_of
from openai_proxy.observe.model import NONE, OTHER, model_in, model_label
from openai_proxy.observe.outcome import CLIENT_CLOSED_REQUEST, Outcome, outcome_of_status
from openai_proxy.observe.record import Record, Sink
from openai_proxy.relay.download import Download
from openai_proxy.relay.failures import HELD_BODIES_FULL, PROXY_FAILED, Failing, failing
from openai_proxy.relay.tunnel import Tunnel
from openai_proxy.wire.body import BodyLost, HeldBodies, HeldBodiesFull
from openai_proxy.wire.errors import UpstreamError, error_body, reason_phrase
from openai_proxy.wire.fields import Field, Fields, end_to_end, first_of, raw_fields
from openai_proxy.wire.request import Request

_NOT_SENT_ON: Final = frozenset({b"host", b"content-length", b"expect"})
_READABLE: Final = (b"application/json", b"application/x-www-form-urlencoded", b"text/")
"""Bodies in which a model may be named. ``curl -d`` calls its JSON a form."""
_RESET: Final = 205


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all exchanges share."""

    clock: IReactorTime
    sink: Sink
    held_bodies: HeldBodies
    limits: Limits


class Exchange:
    """Its states, in order: reading the request, waiting for the head, relaying, ended.

    From any of them it ends at once when the client leaves: the upstream is cancelled.
    """

    _log = Logger()

    def __init__(self, request: Request, target: Target, path: bytes, around: Surroundings) -> None:
        """:param path: the request target below the provider's base URL, query included."""
        self.request = request
        self.target = target
        self.path = path
        self.endpoint = endpoint_of(path.partition(b"?")[0])
        self.model = NONE
        self._around = around
        self._outcome: Outcome | None = None
        self._status = 0
        self._download: Download | None = None
        self._tunnel: Tunnel | None = None
        self._running: Deferred[None] | None = None

    def start(self) -> None:
        """Run until it has ended; the record goes to the sink."""
        self._around.sink.exchange_began(self.endpoint)
        self.request.on_gone = self._client_gone
        running = Deferred.fromCoroutine(self._run())
        if not running.called:
            self._running = running

    async def _run(self) -> None:
        try:
            await self._relay()
        except UpstreamError as error:
            self._failed(failing(error))
        except HeldBodiesFull:
            self._failed(HELD_BODIES_FULL)
        except (CancelledError, BodyLost):
            # The client left or was refused: `_client_gone` has said or will say so.
            self._ended_by_client()
        except Exception:
            self._log.failure("Exchange {id} failed", id=self.request.request_id)
            self._failed(PROXY_FAILED)
        finally:
            self._settle()

    async def _relay(self) -> None:
        request = self.request
        if request.body is not None and self._is_readable():
            held = await request.body.hold(self._around.limits.held_body_bytes, self._around.held_bodies)
            self.model = OTHER if held is None else model_label(model_in(held))
        response = await self.target.client.request(
            request.method,
            self.target.provider.base_url + self.path,
            headers=Fields(raw=self._fields_to_send()),
            data=request.body,
        )
        if response.code == 101:
            await self._upgraded(response)
        else:
            await self._answer(response)

    def _is_readable(self) -> bool:
        request = self.request
        if request.method != b"POST" or first_of(request.fields, b"content-encoding"):
            return False
        content_type = first_of(request.fields, b"content-type")
        return content_type is None or content_type.lower().startswith(_READABLE)

    def _fields_to_send(self) -> list[Field]:
        fields = end_to_end(self.request.fields, _NOT_SENT_ON)
        if self.request.wants_upgrade:
            fields.append((b"Upgrade", b"websocket"))
        return fields

    async def _answer(self, response: IResponse) -> None:
        request = self.request
        fields = end_to_end(raw_fields(response.headers))
        if response.code == _RESET and not first_of(fields, b"content-length"):
            # RFC 9110 section 15.3.6: no content, said in a way that every client understands.
            fields.append((b"Content-Length", b"0"))
        request.begin(response.code, response.phrase, fields)
        self._status = response.code
        download = self._download = Download(request)
        response.deliverBody(download)
        await download.finished
        blocked = request.channel.write_blocked
        if not request.end():
            self._outcome = Outcome.UPSTREAM_STREAM_ERROR
            return
        if blocked and not await request.channel.drained():
            self._outcome = Outcome.CLIENT_DISCONNECT
            return
        self._outcome = outcome_of_status(response.code)

    async def _upgraded(self, response: IResponse) -> None:
        """A tunnel that either side closes is ok; one that is cut off is blamed on who did it."""
        self._status = 101
        self._tunnel = Tunnel(self.request)
        await self._tunnel.run(response)
        self._outcome = Outcome.OK

    def _failed(self, failure: Failing) -> None:
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
        running, self._running = self._running, None
        if running is not None:
            running.cancel()

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

    def _settle(self) -> None:
        request, around = self.request, self._around
        request.on_gone = None
        body = request.body
        if body is not None:
            body.discard()
        around.sink.exchange_ended(
            Record(
                request_id=request.request_id.decode(),
                provider=self.target.provider.name,
                endpoint=self.endpoint,
                model=self.model,
                status=self._status,
                outcome=self._outcome or Outcome.PROXY_ERROR,
                duration_seconds=around.clock.seconds() - request.began,
                received_bytes=self._received_bytes(),
                sent_bytes=request.sent_bytes,
            )
        )
