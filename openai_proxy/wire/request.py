"""A client's request, as a ``twisted.web`` Request with a straight way through for relays."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.server import Request as ServerRequest
from twisted.web.server import version as twisted_version

from openai_proxy.wire.body import BodyLost, HeldBodiesFull, RequestBody
from openai_proxy.wire.fields import Field, NameSet, raw_fields
from openai_proxy.wire.ids import new_request_id
from openai_proxy.wire.writing import write_now

if TYPE_CHECKING:
    from openai_proxy.wire.channel import Channel

SMALL_BODY_BYTES = 1024 * 1024
"""The most that a resource which reads ``request.content`` is given."""

_BODILESS = frozenset({204, 304})
_ID, _OTHER_ID = b"x-request-id", b"request-id"
"""An answer's name, as OpenAI's clients and as Anthropic's look for it."""
_LOOKED_AT = NameSet(frozenset({b"content-length", _ID, _OTHER_ID}))


def _headers(request: Request) -> Headers:
    headers = Headers()
    for name, value in request.fields:
        headers.addRawHeader(name, value)
    return headers


_MADE_WHEN_ASKED: dict[str, Callable[[Any], Any]] = {
    "request_id": lambda _: new_request_id(),
    "requestHeaders": _headers,
    "responseHeaders": lambda _: Headers(),
    "received_cookies": lambda _: {},
    "_adapterCache": lambda _: {},
    "cookies": lambda _: [],
    "client": lambda request: request.channel.getPeer(),
    "host": lambda request: request.channel.getHost(),
}


class Request(ServerRequest):
    """One request on a :class:`~openai_proxy.wire.channel.Channel`.

    A resource with a true attribute ``streams`` is rendered as soon as the head is there; it
    reads ``body`` and answers with ``begin``, ``send``, ``flush``, ``end`` or ``abort``. Every other
    resource is rendered with the whole (small) body in ``content``, and answers as on any
    other ``twisted.web`` Request.
    """

    # What most requests never change is an attribute of the class.
    defaultContentType = None
    body: RequestBody | None = None
    keep_alive = True
    expects_continue = False
    wants_upgrade = False
    is_readable = False
    """Whether its body may be JSON."""
    on_gone: Callable[[], None] | None = None
    """Called once if the client leaves before the answer's end; set by a relay."""
    producer: Any = None
    """Told to pause and resume as the client reads; set by a relay."""
    sent_bytes = 0
    """Bytes of the answer's body given to ``send``."""
    status = 0
    """Of the answer, once its head is made."""
    was_begun = False
    """Whether a resource has it."""
    was_rejected = False
    """Whether the channel answered it, for it broke HTTP or a limit."""
    _length: int | None = None
    _chunked = False
    _bodiless = False
    _ended = False
    _gone = False
    request_id: bytes
    """As the client is told it: its upstream's, or else ours, which is made when it is first asked for."""
    transport: Any
    channel: Any
    """A :class:`~openai_proxy.wire.channel.Channel`; the base class knows its own only."""

    def __init__(
        self, channel: Channel, method: bytes, uri: bytes, fields: list[Field], http11: bool
    ) -> None:
        # The base class's __init__ is not called: it makes two Headers and other objects that
        # a relayed request never looks at. What of them is asked for is made when it is.
        self.channel = channel
        self.transport = channel.transport
        self.method = method
        self.uri = uri
        self.path = uri.partition(b"?")[0]
        self.fields = fields
        self.clientproto = b"HTTP/1.1" if http11 else b"HTTP/1.0"
        self.http11 = http11
        self.began = channel.message_began
        """When its first byte came, on the reactor's clock."""
        self.notifications = []
        self._out: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        """The attributes that few requests are asked for, made then."""
        if name not in _MADE_WHEN_ASKED:
            raise AttributeError(name)
        value = self.__dict__[name] = _MADE_WHEN_ASKED[name](self)
        return value

    def __repr__(self) -> str:
        """Without the target, whose query can hold a key, and without fields."""
        return f"<Request {self.request_id.decode()} {self.method.decode('ascii', 'replace')}>"

    # The way in.

    def process(self) -> None:
        """Find the resource, and render it now or when the body is whole."""
        self.was_begun = True
        self.site = site = self.channel.site
        self.prepath = []
        self.postpath = self.path[1:].split(b"/")
        try:
            resource = site.getResourceFor(self)
            if getattr(resource, "streams", False):
                resource.render(self)
            else:
                self._render_whole(resource)
        except Exception:
            self.processingFailed(Failure())

    def _render_whole(self, resource: Any) -> None:
        self.responseHeaders.setRawHeaders(b"Server", [twisted_version])
        if self.body is None:
            self.content = io.BytesIO()
            self.render(resource)
            return

        def whole(content: bytes | None) -> None:
            if content is None:
                self.channel.reject(413, "The request body is too large for this resource.")
                return
            self.content = io.BytesIO(content)
            self.render(resource)

        holding = self.body.hold(SMALL_BODY_BYTES, self.channel.site.held_bodies)
        holding.addCallbacks(whole, self._not_whole)
        holding.addErrback(self.processingFailed)

    def _not_whole(self, failure: Failure) -> None:
        if failure.check(HeldBodiesFull) is not None:
            self.channel.reject(503, "The proxy holds too many request bodies.")
        elif failure.check(BodyLost) is None:
            self.processingFailed(failure)

    def processingFailed(self, reason: Failure) -> Failure:
        """A bug of ours: into the log, and an answer that says nothing of it."""
        self._log.failure("Unhandled error in {request}", failure=reason, request=repr(self))
        if self.status:
            self.abort()
        else:
            self.channel.reject(500, "The proxy failed to handle this request.")
        return reason

    def connectionLost(self, reason: Failure) -> None:
        """The client left before the end of its answer."""
        self._gone = True
        self._disconnected = True
        on_gone, self.on_gone = self.on_gone, None
        if on_gone is not None:
            on_gone()
        if self.body is not None:
            self.body.lost()
        notifications, self.notifications = self.notifications, []
        for notification in notifications:
            notification.errback(reason)

    # The way out: relays.

    def begin(self, status: int, phrase: bytes, fields: Sequence[Field]) -> None:
        """Make the head, which goes out with the next ``flush``, ``end`` or ``abort``.

        ``fields`` are end-to-end; the framing is chosen here.

        A Content-Length among them is kept, and then so many bytes must follow. An
        ``x-request-id`` is added if there is none; ``request_id`` is what the client is told, from then on.
        """
        self.status = status
        self._bodiless = self.method == b"HEAD" or status in _BODILESS
        lines = self._head_lines(status, phrase, fields)
        if self._length is None and not self._bodiless:
            if self.http11:
                self._chunked = True
                lines.append(b"Transfer-Encoding: chunked\r\n")
            else:
                self.keep_alive = False
        if not self.channel.may_persist(self):
            self.keep_alive = False
            lines.append(b"Connection: close\r\n")
        lines.append(b"\r\n")
        self._out = lines

    def begin_upgrade(self, fields: Sequence[Field]) -> None:
        """Send a 101; what follows is the other protocol's."""
        self.status = 101
        self.keep_alive = False
        lines = self._head_lines(101, b"Switching Protocols", fields)
        lines.append(b"\r\n")
        self._out = lines
        self.flush()

    def _head_lines(self, status: int, phrase: bytes, fields: Sequence[Field]) -> list[bytes]:
        lines = [b"HTTP/1.1 %d %b\r\n" % (status, phrase)]
        has_id = False
        for name, value in fields:
            if _LOOKED_AT[name]:
                lower = name.lower()
                if lower == _ID:
                    has_id = True
                    self.request_id = value
                elif lower == _OTHER_ID:
                    if not has_id:
                        self.request_id = value
                elif status == 204:
                    # RFC 9110 section 8.6: a 204 has no length, whatever its upstream says.
                    continue
                else:
                    self._length = int(value)
            lines += (name, b": ", value, b"\r\n")
        if not has_id:
            lines.append(b"x-request-id: %b\r\n" % self.request_id)
        return lines

    def flush(self) -> None:
        """Write out what ``begin`` and ``send`` gathered, in one piece."""
        out = self._out
        if out and not self._gone:
            data = b"".join(out)
            out.clear()
            write_now(self.transport, data)

    def send(self, data: bytes) -> None:
        """Send a piece of the body, as one chunk where the answer is chunked, with the next flush."""
        size = len(data)
        if self._bodiless or self._gone or not size:
            return
        self.sent_bytes += size
        if self._chunked:
            self._out.append(b"%x\r\n%b\r\n" % (size, data))
        elif self._length is not None and self.sent_bytes > self._length:
            self.abort()
        else:
            self._out.append(data)

    def end(self) -> bool:
        """End the answer. False, and an abort, if its Content-Length promised more."""
        if self._ended or self._gone:
            return False
        if self._length is not None and self.sent_bytes != self._length and not self._bodiless:
            self.abort()
            return False
        if self._chunked:
            self._out.append(b"0\r\n\r\n")
        self._ended = True
        self.flush()
        self._finish_notifications()
        self.channel.request_done(self)
        return True

    @property
    def is_whole(self) -> bool:
        """Whether every byte that its head promised was sent: none, where it can have no body."""
        return self._bodiless or (self._length is not None and self.sent_bytes == self._length)

    def abort(self) -> None:
        """Cut the connection, so that an answer that has no end does not seem to have one."""
        if not self._gone:
            self.flush()
            self.channel.abortConnection()

    def answer(self, status: int, phrase: bytes, fields: list[Field], body: bytes) -> None:
        """A whole answer at once."""
        if self._gone or self.status:
            return
        self.begin(status, phrase, [*fields, (b"Content-Length", b"%d" % len(body))])
        self.send(body)
        self.end()

    # The way out: stock resources.

    def write(self, data: bytes) -> None:
        if not self.status:
            self.startedWriting = 1
            phrase = self.code_message
            self.begin(self.code, phrase, raw_fields(self.responseHeaders))
        if not self._inFakeHead:
            self.send(data)
        self.flush()

    def finish(self) -> None:
        if self._gone or self._ended:
            return
        if not self.status:
            if not self.responseHeaders.hasHeader(b"content-length"):
                self.responseHeaders.setRawHeaders(b"Content-Length", [b"0"])
            self.write(b"")
        self.finished = 1
        self.end()

    def _finish_notifications(self) -> None:
        notifications, self.notifications = self.notifications, []
        for notification in notifications:
            notification.callback(None)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if not streaming:
            raise NotImplementedError("only push producers")
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None
