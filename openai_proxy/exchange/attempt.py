"""One attempt: a request to one upstream, until its answer has ended or nobody wants it any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer, IResponse

from openai_proxy.observe.record import AttemptResult, Move
from openai_proxy.observe.usage import UsageMissing
from openai_proxy.relay.download import Download, Reader, Unread
from openai_proxy.wire.errors import UpstreamError
from openai_proxy.wire.fields import Field, Fields, end_to_end, first_of, raw_fields
from openai_proxy.wire.request import Request
from openai_proxy.wire.response import Timings

if TYPE_CHECKING:
    from openai_proxy.config.secret import Secret
    from openai_proxy.config.settings import Timeouts
    from openai_proxy.exchange.reading import Reading
    from openai_proxy.exchange.target import Target
    from openai_proxy.observe.trace import Trace

_RESET = 205
_UNAUTHORIZED = 401

Sent = tuple[bytes, list[Field], IBodyProducer | None]
"""Where a request goes (an absolute URL), its fields, its body."""


class Owner(Protocol):
    """The exchange of an attempt. Each attempt ends by one call of ``failed`` or ``relayed``, unless
    it is cancelled by its owner, who then hears nothing more.
    """

    request: Request
    trace: Trace | None
    """None: it has no spans."""

    def prepared(self, attempt: Attempt, key: Secret | None) -> Sent:
        """What to send. ``key``: the provider's, if it is ours."""

    def seconds(self) -> float:
        """The time."""

    def answered(self, attempt: Attempt, response: IResponse) -> None:
        """The answer's head has come; the owner asks for its body."""

    def failed(self, attempt: Attempt, failure: Failure) -> None:
        """No answer came: an ``UpstreamError``, what the client's body failed with, or a bug of ours."""

    def relayed(self, attempt: Attempt, failure: Failure | None) -> None:
        """The answer's last byte came, or none will come any more."""


class Attempt:
    """See :class:`Owner`. Times are on the owner's clock, None for what did not happen."""

    # What most attempts never change is an attribute of the class.
    model = ""
    """What the provider is to call the model; empty: as the client does."""
    move: Move | None = None
    result: AttemptResult | None = None
    """Where it did not end with the answer that its status tells of."""
    sent_at: float | None = None
    answered_at: float | None = None
    received_at: float | None = None
    """When the answer's last byte came."""
    timings: Timings | None = None
    span_id = 0
    """Of one that has a span."""
    failed_again = False
    """Whether the request was sent a second time, and had no answer then either."""
    status = 0
    """Of its answer; 0: none."""
    phrase = b""
    fields: list[Field]
    """Of its answer, end to end."""
    reading: Reading | None = None
    usage_missing: UsageMissing | None = None
    """Why there is none in an answer that is not read."""
    timeouts: Timeouts | None = None
    """Its route's, if that has some of its own."""
    is_asked_for_usage = False
    """Whether we asked it, and not the client."""
    _reader: Reader | None = None
    _download: Download | None = None
    _waits_for: Deferred[Any] | None = None
    _is_dropped = False
    _key: Secret | None = None
    broken: UpstreamError | None = None
    """Why nothing could be made of the answer for the client."""

    def __init__(self, owner: Owner, target: Target, endpoint: str) -> None:
        """:param endpoint: whose form the answer has."""
        self.owner = owner
        self.target = target
        self.endpoint = endpoint

    @property
    def is_held(self) -> bool:
        """Whether the answer's beginning is held back until it is known to be one."""
        return False

    @property
    def has_ended(self) -> bool:
        """Whether the last event of the answer's stream has come: a client may leave then."""
        return self._reader is not None and self._reader.has_ended

    def begin(self) -> None:
        """Send the request, as soon as there is a key for it."""
        keys = self.target.keys
        key: Secret | Deferred[Secret] | None = None if keys is None else keys.current()
        if isinstance(key, Deferred):
            self._wait(key, self._send)
        else:
            self._send(key)

    def _wait(self, deferred: Deferred[Any], then: Any) -> None:
        self._waits_for = deferred
        deferred.addCallback(then)
        deferred.addErrback(self._failed)

    def _send(self, key: Secret | None) -> None:
        owner, target = self.owner, self.target
        if self._is_dropped:
            return
        self._key = key
        try:
            url, fields, body = owner.prepared(self, key)
            if owner.trace is not None:
                self.span_id = owner.trace.new_span_id()
                fields = owner.trace.fields(fields, self.span_id)
            response = target.client.request(
                owner.request.method, url, headers=Fields(raw=fields), data=body, timeouts=self.timeouts
            )
        except Exception:
            self._failed(Failure())
            return
        self.sent_at = owner.seconds()
        self._wait(response, self._answered)

    def _answered(self, response: IResponse) -> None:
        self._waits_for = None
        self.answered_at = self.owner.seconds()
        self.timings = getattr(response, "timings", None)
        self.status = response.code
        if response.code == _UNAUTHORIZED and self._key is not None and self.target.keys is not None:
            self.target.keys.expire(self._key)
        self.phrase = response.phrase
        fields = self.fields = end_to_end(raw_fields(response.headers))
        if response.code == _RESET and not first_of(fields, b"content-length"):
            # RFC 9110 section 15.3.6: no content, said in a way that every client understands.
            fields.append((b"Content-Length", b"0"))
        self.owner.answered(self, response)

    def _failed(self, failure: Failure) -> None:
        self._waits_for = None
        self.failed_again = getattr(failure.value, "repeated", False)
        if not self._is_dropped:
            self.owner.failed(self, failure)

    @property
    def heard_at(self) -> float | None:
        """When the last piece of its answer came, where that is known."""
        return None if self._download is None else self._download.heard_at

    def end(self, whole: bool) -> bytes:
        """No more of the answer will come: the rest of what the client is to have."""
        return b"" if self.reading is None else self.reading.end(whole)

    def download(self, response: IResponse, reader: Reader | None, request: Request | None) -> None:
        """Ask for the answer's body.

        :param reader: None: nobody reads it on its way.
        :param request: whose client gets it; None: nobody yet (see :meth:`give_to`).
        """
        self._reader = reader = reader or Unread()
        download = self._download = Download(request, reader, self._relayed)
        response.deliverBody(download)

    def give_to(self, request: Request, reader: Reader | None) -> None:
        """The answer is the client's from now on, read by ``reader``."""
        assert self._download is not None
        self._reader = reader = reader or Unread()
        self._download.give_to(request, reader)

    def _relayed(self, failure: Failure | None) -> None:
        if failure is None:
            self.received_at = self.owner.seconds()
        if self._is_dropped:
            return
        try:
            self.owner.relayed(self, failure)
        except Exception:
            # The connection would log it, and the client be told nothing.
            self.owner.failed(self, Failure())

    def cancel(self) -> None:
        """Wait no more for it: the owner is told of it by ``CancelledError``, if it was not over."""
        if self._waits_for is not None:
            self._waits_for.cancel()
        elif self._download is not None:
            self._download.cancel()

    def drop(self) -> None:
        """The same, and the owner is told nothing."""
        self._is_dropped = True
        self.cancel()


def is_cancelled(failure: Failure) -> bool:
    """Whether it was our own doing."""
    return isinstance(failure.value, CancelledError)
