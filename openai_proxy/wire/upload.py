"""A request's body on its way to the upstream: framed, counted, held back by the socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web._newclient import WrongBodyLength
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from openai_proxy.wire.writing import write_now

_log = Logger()


@implementer(IConsumer, IPushProducer)
class Upload:
    """The consumer of a body producer, and the producer of the connection's transport.

    What is written before ``startProducing`` returns leaves with the head in one write.
    ``failed`` is called at most once, when the producer fails or breaks its length
    (``WrongBodyLength``).
    """

    __slots__ = ("_corked", "_failed", "_left", "_moved", "_producer", "_registered", "_transport", "ended")

    def __init__(self, transport: Any, producer: IBodyProducer, failed: Callable[[Failure], None]) -> None:
        self._transport = transport
        self._producer = producer
        self._failed = failed
        self._left: int | None = None if producer.length is UNKNOWN_LENGTH else int(producer.length)
        self._corked: list[bytes] | None = None
        self._registered = False
        self._moved = False
        self.ended = False

    def start(self, head: bytes) -> None:
        """Write the head and what there is of the body."""
        corked = self._corked = [head]
        try:
            produced = self._producer.startProducing(self)
        except Exception:
            self._fail(Failure())
            return
        if produced.called and getattr(produced, "result", produced) is None:
            # As it mostly is: the whole body was there.
            self._produced(None)
        else:
            produced.addCallbacks(self._produced, self._fail)
        self._corked = None
        if not self.ended:
            self._registered = True
            self._transport.registerProducer(self, True)
        if corked:
            write_now(self._transport, b"".join(corked))

    def write(self, data: bytes) -> None:
        """A piece of the body."""
        # An empty chunk is the end of the body: what follows would be the next request.
        if self.ended or not data:
            return
        self._moved = True
        if self._left is None:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        else:
            self._left -= len(data)
            if self._left < 0:
                self._fail(Failure(WrongBodyLength("the body is longer than its length")))
                return
        if self._corked is not None:
            self._corked.append(data)
        else:
            write_now(self._transport, data)

    def has_moved(self) -> bool:
        """Whether a piece went out since this was asked for the last time, or the end came."""
        moved, self._moved = self._moved, False
        return moved

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Refused: the body's producer is the one that is paused and resumed."""
        raise RuntimeError("the body producer is the producer")

    def unregisterProducer(self) -> None:
        """Refused, as ``registerProducer`` is."""
        raise RuntimeError("the body producer is the producer")

    def pauseProducing(self) -> None:
        if not self.ended:
            self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        if not self.ended:
            self._producer.resumeProducing()

    def stopProducing(self) -> None:
        """Stop the producer, if it is not done; the connection is gone or not worth it."""
        if self.ended:
            return
        if self._corked is not None:
            self._corked.clear()
        self._leave()
        try:
            self._producer.stopProducing()
        except Exception:
            _log.failure("a body producer failed when it was stopped")

    def _produced(self, _: object) -> None:
        if self.ended:
            return
        if self._left:
            self._fail(Failure(WrongBodyLength("the body is shorter than its length")))
            return
        if self._left is None:
            if self._corked is not None:
                self._corked.append(b"0\r\n\r\n")
            else:
                write_now(self._transport, b"0\r\n\r\n")
        self._leave()

    def _fail(self, failure: Failure) -> None:
        if self.ended:
            return
        if self._corked is not None:
            self._corked.clear()
        overlong = failure.check(WrongBodyLength) is not None and self._left is not None and self._left < 0
        if overlong:
            self.stopProducing()
        else:
            self._leave()
        self._failed(failure)

    def _leave(self) -> None:
        self.ended = True
        if self._registered:
            self._registered = False
            self._transport.unregisterProducer()
