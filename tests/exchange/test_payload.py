"""A body of our own making: sent as often as needed, and forgotten when it is not."""

from __future__ import annotations

import pytest
from twisted.internet.testing import StringTransport
from twisted.web.iweb import IBodyProducer
from zope.interface.verify import verifyObject

from openai_proxy.exchange.payload import Payload
from openai_proxy.wire.body import HIGH_WATER_BYTES


@pytest.mark.parametrize("size", [0, 5, HIGH_WATER_BYTES, HIGH_WATER_BYTES + 1])
def test_it_is_sent_as_often_as_needed(size: int) -> None:
    """All of it each time; a short one leaves with the head."""
    payload = Payload(b"x" * size)
    verifyObject(IBodyProducer, payload)
    assert payload.length == size
    assert payload.restartable
    for _ in range(2):
        sent = StringTransport()
        assert payload.startProducing(sent).called
        assert sent.value() == b"x" * size
    payload.pauseProducing()
    payload.resumeProducing()
    payload.stopProducing()
    assert payload.whole() == (b"x" * size if size <= HIGH_WATER_BYTES else None)


def test_what_is_answered_is_forgotten() -> None:
    """Its length is known still: it was told."""
    payload = Payload(b"abc")
    payload.forget()
    assert (payload.whole(), payload.length) == (b"", 3)
