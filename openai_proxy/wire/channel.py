"""The server side of one connection: HTTP/1.1 parsed by llhttp, answered in order."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IProtocol, IPushProducer, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from openai_proxy.wire.body import RequestBody
from openai_proxy.wire.client_watch import ClientWatch
from openai_proxy.wire.deadlines import NEVER
from openai_proxy.wire.heads import Head, Rejected
from openai_proxy.wire.ids import new_request_id
from openai_proxy.wire.parser import RequestParser
from openai_proxy.wire.request import Request
from openai_proxy.wire.writing import write_now

if TYPE_CHECKING:
    from openai_proxy.wire.site import Site

PIPELINED_REQUESTS = 16
"""Requests that may wait behind the one being answered before the client is paused."""
EARLY_BYTES = 64 * 1024
"""What a client may send behind a request for an upgrade before the upgrade is decided."""
LINGER_SECONDS = 2.0
LINGER_BYTES = 64 * 1024 * 1024
"""What is read and thrown away after a final answer that came before the body's end: closing
with unread input makes the kernel send a reset, which can destroy the answer (RFC 9112 9.6)."""
RATE_WINDOW_SECONDS = 60.0
RATE_LOOK_SECONDS = 5.0
"""How often the rate of an upload is looked at: rarely, for a burst now and then is enough."""


@implementer(IPushProducer)
class Channel(Protocol):
    """Parses requests, hands them to the site one at a time, and keeps every limit.

    A request is begun when its head is there, and its body follows. What is not valid is
    answered by the channel itself: in order, in OpenAI's error form, and then it closes.
    """

    transport: Any

    def __init__(self, site: Site) -> None:
        self.site = site
        self.limits = site.limits
        self.watch = ClientWatch(self, site.clock, site.limits)
        self.heard_at = 0.0
        """When the bytes came that are being read, or the next request's turn."""
        self.message_began = 0.0
        self._seconds = site.clock.seconds
        self._parser = RequestParser(self, site.limits)
        self._requests: deque[Request] = deque()
        """The first is being answered; the others wait for it (RFC 9112 section 9.3.2)."""
        self._reading: Request | None = None
        """The one whose body is coming in."""
        self._rejection: Rejected | None = None
        self._closing = False
        self._lingered_bytes = -1
        self._feeding = False
        self._rate_from: tuple[float, int] | None = None
        """When the client could send its body, and what it had sent by then."""
        self._early: list[bytes] | None = None
        """What came behind a request for an upgrade that is not decided yet."""
        self._tunnel: IProtocol | None = None
        self._tunnel_producer: IPushProducer | None = None
        self._was_tunnel = False
        """Such a one lingers too, but is not aborted: much can still be on its way to a slow client."""
        self._drained: list[Deferred[bool]] = []
        self.was_cut = False
        """Whether the daemon ended it, for the daemon stops."""

    # The connection.

    def connectionMade(self) -> None:
        transport = self.transport
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
            transport.setTcpKeepAlive(True)
        transport.registerProducer(self, True)
        self.site.channel_opened(self)
        self._expect()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._closing = True
        self.watch.forget()
        self.site.channel_closed(self)
        requests, self._requests = self._requests, deque()
        reading, self._reading = self._reading, None
        tunnel, self._tunnel, self._tunnel_producer = self._tunnel, None, None
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
        elif self._early is not None:
            self._early.append(data)
            if sum(map(len, self._early)) > EARLY_BYTES:
                self.watch.pause("upgrade")
        elif self._lingered_bytes >= 0:
            self._lingered_bytes += len(data)
            if self._lingered_bytes > LINGER_BYTES:
                self.abortConnection()
        elif self._rejection is None and not self._closing:
            self._feed(data)

    def _feed(self, data: bytes) -> None:
        self._feeding = True
        self.heard_at = self._seconds()
        try:
            rest = self._parser.feed(data, between_requests=self._reading is None)
        except Rejected as rejection:
            self._feeding = False
            if self._reading is None or self._reading is not self._requests[0]:
                self._begin()
            self._reject(rejection)
        else:
            self._feeding = False
            self._begin()
            if rest is not None:
                self._after_upgrade(rest)
            self._expect()

    @property
    def idle_since(self) -> float:
        """Since when no request of its client is here, nor a part of one; ``NEVER``: one is."""
        is_idle = not self._requests and self._reading is None and not self._parser.in_head
        return (
            self.watch.began_waiting(self.limits.keepalive_seconds)
            if is_idle and not self._closing
            else NEVER
        )

    # What was parsed: Handler.

    def head_began(self) -> None:
        self.message_began = self.heard_at

    def head_complete(self, head: Head, keep_alive: bool) -> None:
        request = self._reading = self.site.request(self, head)
        request.keep_alive = keep_alive
        request.wants_upgrade = head.upgrade
        request.is_readable = head.readable
        if head.length is not None:
            request.body = RequestBody(self, head.length)
            request.expects_continue = head.expects_continue
            self._rate_from = None
        self._requests.append(request)
        if len(self._requests) > PIPELINED_REQUESTS:
            self.watch.pause("pipeline")

    def body_piece(self, data: bytes) -> None:
        request = self._reading
        if request is None or request.body is None:
            return
        if request.body.received_bytes + len(data) > self.limits.body_bytes:
            raise Rejected(413, "The request body is too large.")
        request.body.piece(data)

    def message_complete(self) -> None:
        request = self._reading
        if request is None:
            return
        self._reading = None
        if request.body is not None:
            self.watch.resume("body")
            request.body.completed_at = self.heard_at
            request.body.complete()

    # The body's reader: BodySource.

    def body_wanted(self) -> None:
        request = self._reading
        if request is None or not request.expects_continue:
            return
        request.expects_continue = False
        self._rate_from = None
        self._expect()
        if not request.status and request.body is not None and not request.body.received_bytes:
            write_now(self.transport, b"HTTP/1.1 100 Continue\r\n\r\n")

    def pause_body(self) -> None:
        self.watch.pause("body")

    def resume_body(self) -> None:
        if self.watch.resume("body"):
            # Only the time in which the client could send counts against its rate.
            self._rate_from = None
            self._expect()

    # The answer: what a Request asks of its channel.

    def may_persist(self, request: Request) -> bool:
        """Whether the connection can serve another request after this one's answer."""
        body = request.body
        return (
            request.keep_alive
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
            if request.body is None or request.body.is_complete:
                self.loseConnection()
            else:
                self._linger()
        elif self._requests:
            if len(self._requests) <= PIPELINED_REQUESTS:
                self.watch.resume("pipeline")
            # Not at once: a thousand pipelined requests would be a thousand frames deep.
            self.site.call_soon(self._begin_next)
        else:
            self._idle()

    def _idle(self) -> None:
        if self._early is not None:
            early, self._early = self._early, None
            self.watch.resume("upgrade")
            for data in early:
                self.site.call_soon(self.dataReceived, data)
        elif self._rejection is not None:
            self._send_rejection(self._rejection)
        else:
            self._expect()

    def _begin(self) -> None:
        """Hand over the first request, if that was not done yet.

        Not from within the parser: its body has mostly come in the same segment. Nor while the
        client does not take its last answer: that would make answers which only pile up.
        """
        requests = self._requests
        if requests and not requests[0].was_begun and not self._closing and not self.watch.write_blocked:
            requests[0].process()

    def _begin_next(self) -> None:
        # What it waited behind another was no work on it.
        self.heard_at = self._seconds()
        self._begin()

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

    # What is not valid.

    def reject(self, status: int, message: str) -> None:
        """Answer the request in hand with an error in OpenAI's form, and close."""
        if self._requests:
            self._reject_request(self._requests[0], Rejected(status, message))

    def _reject(self, rejection: Rejected) -> None:
        """Answer with an error after all that came before it, read no more, and close."""
        self._rejection = rejection
        self.watch.until(NEVER)
        reading, self._reading = self._reading, None
        if reading is not None and reading.body is not None:
            self._reject_request(reading, rejection)
        elif not self._requests:
            self._send_rejection(rejection)

    def _reject_request(self, request: Request, rejection: Rejected) -> None:
        """A request that a resource has, or will have, is not to be had whole."""
        if request.status or request is not self._requests[0]:
            self.abortConnection()
            return
        self._requests.popleft()
        self._rejection = rejection
        request.was_rejected = True
        request.status = rejection.status
        request.sent_bytes = len(rejection.body)
        write_now(self.transport, rejection.answer(request.request_id))
        if request.on_gone is None:
            self.site.rejected(rejection.status, self._seconds() - request.began)
        self._linger()
        request.connectionLost(Failure(rejection))

    def _send_rejection(self, rejection: Rejected) -> None:
        self.site.rejected(rejection.status, self._seconds() - self.message_began)
        write_now(self.transport, rejection.answer(new_request_id()))
        self._linger()

    def _linger(self) -> None:
        self._closing = True
        self._lingered_bytes = 0
        self._reading = None
        if not hasattr(self.transport, "loseWriteConnection"):
            self.loseConnection()
            return
        self.transport.unregisterProducer()
        self.transport.loseWriteConnection()
        self.watch.resume("pipeline")
        self.watch.resume("body")
        self.watch.within(LINGER_SECONDS)

    # Upgrade.

    def _after_upgrade(self, rest: bytes) -> None:
        """The parser stopped behind a head with an Upgrade field and no body."""
        request = self._requests[-1] if self._requests else None
        if request is not None and request.wants_upgrade and not request.status:
            self._early = [rest] if rest else []
            # The client has said what it had to say: it is the upstream that is waited for.
            self._expect()
            return
        if rest:
            self.dataReceived(rest)

    def start_tunnel(self, tunnel: IProtocol, producer: IPushProducer) -> bytes:
        """Give the connection to ``tunnel``, after a 101; the bytes that came early are returned.

        ``producer`` is paused while the client does not take what is written to it, and the
        connection is aborted after ``Limits.write_stall_seconds`` of that.
        """
        early, self._early = b"".join(self._early or ()), None
        self._tunnel = tunnel
        self._tunnel_producer = producer
        self._requests.clear()
        self.watch.until(NEVER)
        self.watch.resume("upgrade")
        if self.write_blocked:
            producer.pauseProducing()
        return early

    def end_tunnel(self) -> None:
        """Close behind all that was written; ``tunnel`` is told no more."""
        self._tunnel = self._tunnel_producer = None
        self._was_tunnel = True
        if self.isSecure():
            # A half-close below TLS would leave out its close_notify, and seem a truncation.
            self.loseConnection()
        else:
            self._linger()

    # Backpressure from the client: IPushProducer of the transport.

    @property
    def write_blocked(self) -> bool:
        """Whether the client has not taken what was written to it."""
        return self.watch.write_blocked

    def pauseProducing(self) -> None:
        self.watch.write_blocks(True)
        if self._tunnel_producer is not None:
            self._tunnel_producer.pauseProducing()
        elif self._requests and self._requests[0].producer is not None:
            self._requests[0].producer.pauseProducing()

    def resumeProducing(self) -> None:
        self.watch.write_blocks(False)
        self._tell_drained(True)
        if self._tunnel_producer is not None:
            self._tunnel_producer.resumeProducing()
        elif self._requests:
            if self._requests[0].producer is not None:
                self._requests[0].producer.resumeProducing()
            else:
                self.site.call_soon(self._begin_next)

    def stopProducing(self) -> None:
        """The transport is going; connectionLost follows."""

    # Time limits.

    def _expect(self) -> None:
        """Set the time limit for what the client has to do next.

        Not within a feed, where one segment mostly brings all that is waited for.
        """
        if self._feeding or self._closing:
            return
        reading = self._reading
        if self._parser.in_head:
            self.watch.until(self.message_began + self.limits.header_seconds)
        elif reading is not None and reading.body is not None:
            if self._rate_from is None:
                self._rate_from = (self._seconds(), reading.body.received_bytes)
                limited = self.limits.body_bytes_per_second
                self.watch.within(self.limits.header_seconds if limited else NEVER)
        elif self._requests:
            self.watch.until(NEVER)
        else:
            self.watch.within(self.limits.keepalive_seconds)

    def late(self, now: float) -> None:
        """The client did not send in time what it was waited for."""
        reading = self._reading
        if self._parser.in_head and not self._closing:
            self._reject(Rejected(408, "The request's header section did not come in time."))
        elif reading is not None and reading.body is not None:
            self._check_rate(reading, reading.body, now)
        elif self._closing and not self._was_tunnel:
            self.abortConnection()
        else:
            self.watch.until(NEVER)
            self.loseConnection()

    def _check_rate(self, request: Request, body: RequestBody, now: float) -> None:
        since, had = self._rate_from or (now, 0)
        enough = self.limits.body_bytes_per_second * (now - since)
        if request.expects_continue or body.received_bytes - had >= enough:
            if now - since >= RATE_WINDOW_SECONDS:
                # Or what came quickly at first would allow hours of silence.
                self._rate_from = (now, body.received_bytes)
            self.watch.within(RATE_LOOK_SECONDS)
        elif request.status:
            self.abortConnection()
        else:
            self._reject(Rejected(408, "The request body came too slowly."))

    # What else a twisted.web Request expects of its channel.

    def loseConnection(self) -> None:
        if not self._closing:
            self.transport.unregisterProducer()
        self._closing = True
        self.transport.loseConnection()
        # A client that does not take the rest of its answer must not keep the connection for ever.
        self.watch.write_blocks(True)

    def cut(self) -> None:
        """The daemon stops: abort, and nobody else is to blame."""
        self.was_cut = True
        self.abortConnection()

    def abortConnection(self) -> None:
        self._closing = True
        self.watch.forget()
        self.transport.abortConnection()

    def getPeer(self) -> IAddress:
        return cast(IAddress, self.transport.getPeer())

    def getHost(self) -> IAddress:
        return cast(IAddress, self.transport.getHost())

    def isSecure(self) -> bool:
        return hasattr(self.transport, "getPeerCertificate")
