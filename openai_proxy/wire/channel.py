"""The server side of one connection: HTTP/1.1 parsed by llhttp, answered in order."""

from __future__ import annotations

import socket
from collections import deque
from typing import TYPE_CHECKING, Any, cast

from httptools import (
    HttpParserCallbackError,
    HttpParserError,
    HttpParserInvalidMethodError,
    HttpParserUpgrade,
    HttpRequestParser,
)
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IProtocol, IPushProducer, ITCPTransport
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.http import RESPONSES
from twisted.web.iweb import UNKNOWN_LENGTH
from zope.interface import implementer

from openai_proxy.wire.body import RequestBody
from openai_proxy.wire.deadlines import NEVER
from openai_proxy.wire.errors import error_body
from openai_proxy.wire.fields import Field
from openai_proxy.wire.heads import Head, Rejected
from openai_proxy.wire.ids import new_request_id
from openai_proxy.wire.request import Request

if TYPE_CHECKING:
    from openai_proxy.wire.site import Site

PIPELINED_REQUESTS = 16
"""Requests that may wait behind the one being answered before the client is paused."""
LINGER_SECONDS = 2.0
LINGER_BYTES = 1024 * 1024
"""What is read and thrown away after a final answer that came before the body's end: closing
with unread input makes the kernel send a reset, which can destroy the answer (RFC 9112 9.6)."""
PAUSED_LOOK_SECONDS = 0.1
RATE_LOOK_SECONDS = 5.0
_TCP_CLOSE_WAIT = 8


@implementer(IPushProducer)
class Channel(Protocol):
    """Parses requests, hands them to the site one at a time, and keeps every limit."""

    transport: Any

    def __init__(self, site: Site) -> None:
        self.site = site
        self.limits = site.limits
        self.deadline = NEVER
        self.message_began = 0.0
        self._seconds = site.clock.seconds
        self._parser = HttpRequestParser(self)
        self._requests: deque[Request] = deque()
        """The first is being answered; the others wait for it (RFC 9112 section 9.3.2)."""
        self._reading: Request | None = None
        """The one whose body is coming in."""
        self._target = b""
        self._fields: list[Field] = []
        self._head_bytes = 0
        self._in_head = False
        self._muted = False
        self._rejection: Rejected | None = None
        self._lingered_bytes = -1
        self._closing = False
        self._write_blocked_at = NEVER
        self._read_pauses: set[str] = set()
        self._read_deadline = NEVER
        self._body_began = 0.0
        self._waiting_bytes: list[bytes] | None = None
        """What came behind a request for an upgrade that is not decided yet."""
        self._tunnel: IProtocol | None = None
        self._drained: list[Deferred[bool]] = []

    # The connection.

    def connectionMade(self) -> None:
        transport = self.transport
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
            transport.setTcpKeepAlive(True)
        transport.registerProducer(self, True)
        self.site.channel_opened(self)
        self._read_until(self._seconds() + self.limits.keepalive_seconds)

    def connectionLost(self, reason: Failure = Failure(ConnectionError())) -> None:  # noqa: B008
        self.deadline = NEVER
        self.site.channel_closed(self)
        requests, self._requests = self._requests, deque()
        reading, self._reading = self._reading, None
        tunnel, self._tunnel = self._tunnel, None
        self._tell_drained(bool(reason.check(ConnectionDone)))
        for request in requests:
            request.connectionLost(reason)
        if reading is not None and reading.body is not None:
            reading.body.lost()
        if tunnel is not None:
            tunnel.connectionLost(reason)

    def dataReceived(self, data: bytes) -> None:
        if self._tunnel is not None:
            self._tunnel.dataReceived(data)
        elif self._waiting_bytes is not None:
            self._waiting_bytes.append(data)
            if sum(map(len, self._waiting_bytes)) > 64 * 1024:
                self._pause_reading("upgrade")
        elif self._lingered_bytes >= 0:
            self._lingered_bytes += len(data)
            if self._lingered_bytes > LINGER_BYTES:
                self.abortConnection()
        elif self._rejection is None and not self._closing:
            self._feed(data)

    def _feed(self, data: bytes) -> None:
        self._head_bytes += len(data)
        if not self._in_head and self._reading is None:
            self._read_until_head()
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._after_upgrade(data[upgrade.args[0] :])
        except HttpParserCallbackError as error:
            if not isinstance(error.__context__, Rejected):
                raise
            self._reject(error.__context__)
        except HttpParserInvalidMethodError:
            self._reject(Rejected(501, "The proxy does not know this request method."))
        except HttpParserError:
            self._reject(Rejected(400, "The request is not valid HTTP/1.1."))
        else:
            if (
                self._in_head
                and self._head_bytes > self.limits.header_bytes + self.limits.request_target_bytes
            ):
                self._reject(Rejected(431, "The request's header section is too large."))

    # llhttp's callbacks: no exception but Rejected may leave them.

    def on_message_begin(self) -> None:
        if not self._muted:
            self._target = b""
            self._fields = []
            self._in_head = True

    def on_url(self, piece: bytes) -> None:
        if not self._muted:
            self._target += piece
            if len(self._target) > self.limits.request_target_bytes:
                raise Rejected(414, "The request target is too long.")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head and not self._muted:
            self._fields.append((name, value))
            if len(self._fields) > self.limits.header_count:
                raise Rejected(431, "The request has too many header fields.")

    def on_headers_complete(self) -> None:
        if self._muted:
            return
        self._in_head = False
        parser = self._parser
        http_version = parser.get_http_version()
        if http_version not in ("1.1", "1.0"):
            raise Rejected(505, "The proxy speaks HTTP/1.1.")
        head = Head.read(parser.get_method(), self._target, self._fields, http_version == "1.1", self.limits)
        request = self.site.request(self, head)
        request.keep_alive = parser.should_keep_alive() and head.http11
        if head.length is not None:
            request.body = RequestBody(self, head.length)
            request.expects_continue = head.expects_continue
            self._body_began = self._seconds()
            self._read_until(self._body_began + self._grace_seconds())
        else:
            self._read_until(NEVER)
        request.wants_upgrade = head.upgrade
        self._reading = request
        self._requests.append(request)
        if len(self._requests) == 1:
            request.process()
        elif len(self._requests) > PIPELINED_REQUESTS:
            self._pause_reading("pipeline")

    def on_body(self, data: bytes) -> None:
        request = self._reading
        if request is None or request.body is None:
            return
        body = request.body
        if body.received_bytes + len(data) > self.limits.body_bytes:
            raise Rejected(413, "The request body is too large.")
        body.piece(data)

    def on_message_complete(self) -> None:
        request = self._reading
        if self._muted or request is None:
            return
        self._reading = None
        self._head_bytes = 0
        self._read_until(NEVER)
        self._read_pauses.discard("body")
        if request.body is not None:
            request.body.complete()

    # The body's reader: BodySource.

    def body_wanted(self) -> None:
        request = self._reading
        if request is not None and request.expects_continue:
            request.expects_continue = False
            if not request.status and request.body is not None and not request.body.received_bytes:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def pause_body(self) -> None:
        self._pause_reading("body")

    def resume_body(self) -> None:
        self._resume_reading("body")

    def _pause_reading(self, why: str) -> None:
        if not self._read_pauses:
            self.transport.pauseProducing()
            self._set_deadline()
        self._read_pauses.add(why)

    def _resume_reading(self, why: str) -> None:
        if why in self._read_pauses:
            self._read_pauses.discard(why)
            if not self._read_pauses:
                if why == "body":
                    # Only the time in which the client could send counts against its rate.
                    self._body_began = self._seconds()
                    self._read_until(self._body_began + self._grace_seconds())
                self.transport.resumeProducing()

    # The answer: what a Request asks of its channel.

    def may_persist(self, request: Request) -> bool:
        """Whether the connection can serve another request after this one's answer."""
        body = request.body
        return (
            request.keep_alive
            and request.status != 101
            and (body is None or body.is_complete)
            and self._rejection is None
            and not self.site.draining
        )

    def request_done(self, request: Request) -> None:
        """The first request's answer is complete: the next one's turn, or the end."""
        self._requests.popleft()
        if request.body is not None:
            request.body.discard()
        if not request.keep_alive:
            self._close_after(request)
        elif self._waiting_bytes is not None and not self._requests:
            rest, self._waiting_bytes = b"".join(self._waiting_bytes), None
            self._resume_reading("upgrade")
            self._idle()
            if rest:
                self.site.call_soon(self.dataReceived, rest)
        elif self._requests:
            self._resume_reading("pipeline")
            # Not at once: a thousand pipelined requests would be a thousand frames deep.
            self.site.call_soon(self._next)
        elif self._rejection is not None:
            self._send_rejection()
            self.site.rejected(self._rejection.status, 0.0)
        else:
            self._idle()

    def _next(self) -> None:
        if self._requests and not self._requests[0].status and not self._closing:
            self._requests[0].process()

    def _idle(self) -> None:
        if not self._in_head and self._reading is None:
            self._read_until(self._seconds() + self.limits.keepalive_seconds)

    def _close_after(self, request: Request) -> None:
        if request.body is None or request.body.is_complete:
            self.loseConnection()
        else:
            self._linger()

    def _linger(self) -> None:
        self._closing = True
        self._lingered_bytes = 0
        self._reading = None
        if not hasattr(self.transport, "loseWriteConnection"):
            self.transport.loseConnection()
            return
        self.transport.unregisterProducer()
        self.transport.loseWriteConnection()
        if self._read_pauses:
            self._read_pauses.clear()
            self.transport.resumeProducing()
        self._read_until(self._seconds() + LINGER_SECONDS)

    def reject(self, status: int, message: str) -> None:
        """Answer the request in hand with an error in OpenAI's form, and close."""
        self._reject(Rejected(status, message))

    def _reject(self, rejection: Rejected) -> None:
        """Answer with an error after all that came before it, read no more, and close."""
        self._rejection = rejection
        self._in_head = False
        self._read_until(NEVER)
        reading, self._reading = self._reading, None
        if reading is not None and reading.body is not None:
            # A body that is not valid: whoever waits for it must not wait on.
            if reading.status or reading is not self._requests[0]:
                self.abortConnection()
                return
            self._requests.popleft()
            reading.was_rejected = True
            self._send_rejection(reading)
            if reading.on_gone is None:
                self.site.rejected(rejection.status, self._seconds() - reading.began)
            reading.connectionLost(Failure(rejection))
        elif not self._requests:
            self._send_rejection()
            self.site.rejected(rejection.status, self._seconds() - self.message_began)

    def _send_rejection(self, request: Request | None = None) -> None:
        rejection = self._rejection
        assert rejection is not None
        body = error_body(rejection.message, "invalid_request_error", rejection.code)
        if request is not None:
            request.status = rejection.status
        self.transport.write(
            b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
            b"x-request-id: %b\r\nConnection: close\r\n\r\n%b"
            % (
                rejection.status,
                cast(bytes, RESPONSES.get(rejection.status, b"Error")),
                len(body),
                request.request_id if request is not None else new_request_id(),
                body,
            )
        )
        self._linger()

    # Upgrade.

    def _after_upgrade(self, rest: bytes) -> None:
        """llhttp stopped behind a head with an Upgrade field, its body unread."""
        request = self._reading or (self._requests[-1] if self._requests else None)
        if request is None:
            return
        if request.wants_upgrade:
            self._waiting_bytes = [rest] if rest else []
            return
        body = request.body
        if body is not None and not body.is_complete:
            # llhttp takes an upgrade's body for the other protocol's bytes. We do not: a parser
            # that is told the same framing without the Upgrade field goes on from there.
            self._parser = HttpRequestParser(self)
            self._muted = True
            framing = (
                b"Transfer-Encoding: chunked"
                if body.length is UNKNOWN_LENGTH
                else b"Content-Length: %d" % body.length
            )
            self._parser.feed_data(b"POST / HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n" % framing)
            self._muted = False
            self._reading = request
        if rest:
            self._feed(rest)

    def start_tunnel(self, tunnel: IProtocol) -> bytes:
        """Give the connection to ``tunnel``, after a 101; the bytes that came early are returned."""
        rest, self._waiting_bytes = b"".join(self._waiting_bytes or ()), None
        self._tunnel = tunnel
        self._requests.clear()
        self._read_until(NEVER)
        self._write_blocked_at = NEVER
        self.transport.unregisterProducer()
        self._resume_reading("upgrade")
        return rest

    def drained(self) -> Deferred[bool]:
        """Fires when the client has taken what was written: True; or False if it left first."""
        waiting: Deferred[bool] = Deferred()
        self._drained.append(waiting)
        return waiting

    def _tell_drained(self, is_drained: bool) -> None:
        waiting, self._drained = self._drained, []
        for one in waiting:
            if not one.called:
                one.callback(is_drained)

    # Backpressure from the client: IPushProducer of the transport.

    def pauseProducing(self) -> None:
        self._write_blocked_at = self._seconds()
        self._set_deadline()
        if self._requests and self._requests[0].producer is not None:
            self._requests[0].producer.pauseProducing()

    def resumeProducing(self) -> None:
        self._write_blocked_at = NEVER
        self._set_deadline()
        self._tell_drained(True)
        if self._requests and self._requests[0].producer is not None:
            self._requests[0].producer.resumeProducing()

    def stopProducing(self) -> None:
        """The transport is going; connectionLost follows."""

    @property
    def write_blocked(self) -> bool:
        """Whether the client has not taken what was written to it."""
        return self._write_blocked_at != NEVER

    # Deadlines.

    def _grace_seconds(self) -> float:
        return self.limits.header_seconds if self.limits.body_bytes_per_second else NEVER

    def _read_until_head(self) -> None:
        now = self.message_began = self._seconds()
        self._in_head = True
        self._read_until(now + self.limits.header_seconds)

    def _read_until(self, deadline: float) -> None:
        self._read_deadline = deadline
        self._set_deadline()

    def _set_deadline(self) -> None:
        deadline = self._read_deadline
        if self._write_blocked_at != NEVER:
            deadline = min(deadline, self._write_blocked_at + self.limits.write_stall_seconds)
        if self._read_pauses:
            # A paused socket does not tell that its client left: look now and then.
            deadline = min(deadline, self._seconds() + PAUSED_LOOK_SECONDS)
        self.deadline = deadline

    def deadline_passed(self, now: float) -> None:
        if now >= self._write_blocked_at + self.limits.write_stall_seconds:
            self.abortConnection()
        elif self._read_pauses:
            if self._peer_closed():
                self.abortConnection()
            else:
                self._set_deadline()
        elif now >= self._read_deadline:
            self._late(now)

    def _late(self, now: float) -> None:
        reading = self._reading
        if self._lingered_bytes >= 0:
            self.abortConnection()
        elif self._in_head:
            self._reject(Rejected(408, "The request's header section did not come in time."))
        elif reading is not None and reading.body is not None:
            self._check_rate(reading, now)
        else:
            self.loseConnection()

    def _check_rate(self, request: Request, now: float) -> None:
        body = request.body
        assert body is not None
        waits_for_continue = request.expects_continue
        enough = self.limits.body_bytes_per_second * (now - self._body_began)
        if waits_for_continue or body.received_bytes >= enough:
            self._read_until(now + RATE_LOOK_SECONDS)
        elif request.status:
            self.abortConnection()
        else:
            self._reject(Rejected(408, "The request body came too slowly."))

    def _peer_closed(self) -> bool:
        """Whether the client has sent its FIN behind bytes that we do not read yet."""
        handle = getattr(self.transport, "socket", None)
        if not isinstance(handle, socket.socket) or handle.family == socket.AF_UNIX:
            return False
        return handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE_WAIT

    # What else a twisted.web Request expects of its channel.

    def loseConnection(self) -> None:
        self._closing = True
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        # A client that does not take the rest of its answer must not keep the connection for ever.
        self._write_blocked_at = self._seconds()
        self._set_deadline()

    def abortConnection(self) -> None:
        self._closing = True
        self.deadline = NEVER
        self.transport.abortConnection()

    def getPeer(self) -> IAddress:
        return cast(IAddress, self.transport.getPeer())

    def getHost(self) -> IAddress:
        return cast(IAddress, self.transport.getHost())

    def isSecure(self) -> bool:
        return hasattr(self.transport, "getPeerCertificate")
