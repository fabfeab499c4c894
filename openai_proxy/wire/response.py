"""An upstream's answer: the head as it came, the body to whoever asks for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.interfaces import IProtocol
from twisted.web.iweb import UNKNOWN_LENGTH, IResponse
from zope.interface import implementer

from openai_proxy.wire.fields import Fields


@dataclass(frozen=True, slots=True)
class Timings:
    """How the answer's connection came about; seconds."""

    reused: bool = False
    repeated: bool = False
    """Whether the request was sent a second time: its first connection had been closed meanwhile."""
    pool_wait_seconds: float = 0.0
    lookup_seconds: float | None = None
    """Of the host's name; None where it was known, or is an address, or the connection ``reused``."""
    connect_seconds: float = 0.0
    """TCP alone; 0 where ``reused``."""
    tls_seconds: float | None = None
    """None without TLS, and where ``reused``."""


@implementer(IResponse)
class Response:
    """Status, fields and body of one answer.

    ``deliverBody`` may be called once. The protocol gets ``makeConnection`` with a transport
    that has ``pauseProducing``, ``resumeProducing``, ``stopProducing`` (aborts at once),
    then ``dataReceived`` for each piece (and, where the transport has a true ``flushes_reader``,
    ``flush`` after the last piece that one read brought) and ``connectionLost`` with ``ResponseDone``, with
    ``PotentialDataLoss`` (the end of the connection ended the body), or with an
    :class:`~openai_proxy.wire.errors.UpstreamError`. After a 101 the transport can ``write``,
    and the pieces are the other protocol's bytes.
    """

    def __init__(
        self,
        code: int,
        phrase: bytes,
        headers: Fields,
        deliver: Callable[[IProtocol], None],
        length: int | object = UNKNOWN_LENGTH,
        timings: Timings | None = None,
        version: tuple[bytes, int, int] = (b"HTTP", 1, 1),
    ) -> None:
        self.version = version
        self.code = code
        self.phrase = phrase
        self.headers = headers
        self.length = length
        """The body's length where a Content-Length told it, else ``UNKNOWN_LENGTH``.
        ``headers`` keeps the Content-Length field as it came."""
        self.timings = timings
        """None of an answer that came over no connection."""
        self.request = None
        self.previousResponse = None
        self._deliver = deliver

    def deliverBody(self, protocol: IProtocol) -> None:
        self._deliver(protocol)

    def setPreviousResponse(self, response: IResponse) -> None:
        self.previousResponse = response  # type: ignore[assignment]
