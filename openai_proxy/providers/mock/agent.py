"""An agent that never opens a socket: it answers itself, as OpenAI would."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.internet.task import deferLater
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from openai_proxy.providers.mock.answers import MAX_BODY_BYTES, Answer, answer, phrase_of, refusal
from openai_proxy.providers.mock.ask import Refused
from openai_proxy.providers.mock.body import Events, reel
from openai_proxy.providers.mock.knobs import BadKnob, Fault, Knobs, read_knobs
from openai_proxy.providers.mock.playback import Playback
from openai_proxy.wire.errors import ConnectionClosed
from openai_proxy.wire.fields import Fields, raw_fields
from openai_proxy.wire.response import Response


@implementer(IConsumer)
class _Body:
    """A request's body: the first ``MAX_BODY_BYTES`` are kept, the rest is counted only."""

    def __init__(self) -> None:
        self.size = 0
        self._kept = 0
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.size += len(data)
        room = MAX_BODY_BYTES - self._kept
        if room > 0:
            kept = data[:room]
            self._kept += len(kept)
            self._pieces.append(kept)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Nothing is ever too much, so a producer is never paused."""

    def unregisterProducer(self) -> None:
        """See :meth:`registerProducer`."""

    def kept(self) -> bytes:
        return b"".join(self._pieces)


@implementer(IAgent)
class MockAgent:
    """Answers requests for ``mock://mock/v1/...``; scheme and authority are not looked at.

    The ``x-mock-*`` request headers set what happens, see :mod:`.knobs`. All waiting is on
    ``reactor``. The Deferred fires with a :class:`~openai_proxy.wire.response.Response` in a
    later turn, or fails with :class:`~openai_proxy.wire.errors.ConnectionClosed` (the fault
    ``reset``) or with what the body producer failed with. Cancelling it stops the producer.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self._clock = reactor

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        return Deferred.fromCoroutine(self._respond(method, uri, headers, bodyProducer))

    async def _respond(
        self, method: bytes, uri: bytes, headers: Headers | None, producer: IBodyProducer | None
    ) -> IResponse:
        body = _Body()
        if producer is not None:
            await _read(producer, body)
        knobs, bad = Knobs(), None
        try:
            knobs = read_knobs(raw_fields(headers))
        except BadKnob as error:
            bad = Refused(400, str(error), "invalid_value", error.name)
        await deferLater(self._clock, knobs.delay_seconds)
        if knobs.fault is Fault.RESET:
            raise ConnectionClosed("the connection was closed before the answer's head")
        if bad is not None:
            return self._response(refusal(bad, method, uri, body.kept(), knobs), knobs)
        return self._response(answer(method, uri, body.kept(), knobs, body.size), knobs)

    def _response(self, answered: Answer, knobs: Knobs) -> Response:
        body = answered.body
        playback = Playback(self._clock, reel(body, knobs.fault, knobs.gzip), knobs.gap_seconds)
        return Response(
            answered.status,
            phrase_of(answered.status),
            Fields(raw=answered.fields),
            deliver=playback.deliver,
            length=UNKNOWN_LENGTH if isinstance(body, Events) else len(body),
        )


def _read(producer: IBodyProducer, body: _Body) -> Deferred[None]:
    """Fires when ``producer`` has written all to ``body``; cancelling it stops the producer."""
    # A Deferred of our own: that of a stopped producer never fires (IBodyProducer.startProducing).
    read: Deferred[None] = Deferred(lambda _: producer.stopProducing())

    def ended(result: Any) -> None:
        if not read.called:
            read.callback(result)

    maybeDeferred(producer.startProducing, body).addBoth(ended)
    return read
