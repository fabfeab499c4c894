"""The whole body of an answer, for who has to have all of it at once."""

from __future__ import annotations

from typing import Any

import treq
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure
from twisted.web.iweb import IResponse

from openai_proxy.wire.errors import UpstreamError


class BodyTooLong(UpstreamError):
    """More came than is read of it."""


class _Body:
    """What treq asks of an answer, and a way to let go of it: treq's own collecting cannot be cancelled."""

    def __init__(self, response: IResponse) -> None:
        self.length = response.length
        self._response = response
        self._reader: Any = None

    def deliverBody(self, protocol: IProtocol) -> None:
        self._reader = protocol
        self._response.deliverBody(protocol)

    def abort(self) -> None:
        transport = None if self._reader is None else self._reader.transport
        if transport is not None:
            transport.stopProducing()


def whole_body(response: IResponse, limit_bytes: int) -> Deferred[bytes]:
    """The body, as it came.

    Cancelling it aborts the upstream. Fails with :class:`BodyTooLong`, or with what ended the body.
    """
    body = _Body(response)
    pieces: list[bytes] = []
    left_bytes = limit_bytes

    def piece(data: bytes) -> None:
        nonlocal left_bytes
        left_bytes -= len(data)
        if left_bytes < 0:
            # treq closes the connection then.
            raise BodyTooLong(f"the body is longer than {limit_bytes} bytes")
        pieces.append(data)

    def let_go(failure: Failure) -> Failure:
        if failure.check(CancelledError):
            body.abort()
        return failure

    collected: Deferred[Any] = treq.collect(body, piece)  # type: ignore[arg-type]
    collected.addCallbacks(lambda _: b"".join(pieces), let_go)
    return collected
