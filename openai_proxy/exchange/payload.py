"""A body of our own making."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from openai_proxy.wire.body import HIGH_WATER_BYTES


@implementer(IBodyProducer)
class Payload:
    """Bytes that are all here, and can be sent as often as needed."""

    restartable = True

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def forget(self) -> None:
        """It is not needed again: only its length is known from now on."""
        self._body = b""

    def whole(self) -> bytes | None:
        """All of it, if it is short: it leaves with the head."""
        return self._body if self.length <= HIGH_WATER_BYTES else None

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        if self._body:
            consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """It has been given already."""

    def resumeProducing(self) -> None:
        """It has been given already."""

    def stopProducing(self) -> None:
        """It has been given already."""
