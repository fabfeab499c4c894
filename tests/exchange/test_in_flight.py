"""What is in flight is told as it is, and ended when the daemon will not go on with it."""

from __future__ import annotations

import json

import pytest
from twisted.web.client import ResponseDone

from openai_proxy.exchange.exchange import Exchange, ExchangeContext
from openai_proxy.exchange.in_flight import Exchanges, told_of
from openai_proxy.exchange.target import Target
from openai_proxy.observe.outcome import Outcome
from openai_proxy.observe.record import AttemptResult
from openai_proxy.providers.provider import Provider
from openai_proxy.relay.client import TransparentClient
from openai_proxy.relay.failures import ENDED_BY_OPERATOR, SHUTTING_DOWN
from openai_proxy.wire.request import Request
from tests.support.exchanges import BODY, POST, Agent, KeptRecords, Rig, context
from tests.support.wire import Client

STREAM = ((b"Content-Type", b"text/event-stream"),)
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"one"}}]}\n\n'


class Shared(Rig):
    """A rig whose context the test has."""

    def __init__(self, dialect: str = "openai") -> None:
        self.agent = Agent()
        self.sink = KeptRecords()
        self.contexts: list[ExchangeContext] = []

        def handle(request: Request) -> None:
            shared = context(self.client.clock, self.sink, request.channel.site.held_bodies)
            self.contexts.append(shared)
            provider = Provider("openai", b"http://upstream", dialect=dialect)
            target = Target(provider, TransparentClient(self.agent))
            Exchange(request, target, request.uri, shared, "/v1").start()

        self.client = Client(handle)

    @property
    def exchange(self) -> Exchange:
        """The only one in flight."""
        (exchange,) = self.contexts[0].in_flight
        return exchange


def test_each_phase_is_told() -> None:
    """From the first bytes of a request until its client has its answer."""
    rig = Shared()
    rig.client.send(POST + b"\r\n" + BODY[:5])
    assert told_of(rig.exchange).phase == "request"
    rig.client.clock.advance(1)
    rig.client.send(BODY[5:])
    told = told_of(rig.exchange)
    assert (told.phase, told.attempts, told.is_stream, told.age_seconds) == ("sent", 1, False, 1)
    assert (told.route, told.endpoint, told.provider) == ("/v1", "chat_completions", "openai")
    # A name is a label when its provider has answered for it.
    assert (told.model, told.received_bytes, told.sent_bytes) == ("other", len(BODY), 0)
    rig.agent.respond(200, *STREAM)
    rig.client.clock.advance(2)
    rig.agent.reader.dataReceived(EVENT)
    told = told_of(rig.exchange)
    assert (told.phase, told.is_stream, told.output_events) == ("answer", True, 1)
    assert told.sent_bytes == len(EVENT)
    assert not told.is_stalled
    rig.agent.reader.dataReceived(b"data: [DONE]\n\n")
    rig.agent.end(ResponseDone())
    assert len(rig.contexts[0].in_flight) == 0
    assert rig.record().outcome is Outcome.OK


def test_a_client_that_does_not_read_is_stalled() -> None:
    """And the phase says that only the client is waited for, when all has come."""
    rig = Shared()
    rig.post()
    rig.agent.respond(200, (b"Content-Length", b"3"))
    rig.client.channel.pauseProducing()
    rig.agent.reader.dataReceived(b"all")
    assert told_of(rig.exchange).is_stalled
    rig.agent.end(ResponseDone())
    assert told_of(rig.exchange).phase == "client"
    rig.client.channel.resumeProducing()
    assert rig.record().outcome is Outcome.OK


@pytest.mark.parametrize("is_sent", [False, True])
def test_one_that_has_no_answer_yet_is_answered_with_an_error(is_sent: bool) -> None:
    """The client's SDK is told whether to try again, and the upstream is let go of."""
    rig = Shared()
    if is_sent:
        rig.post()
    else:
        rig.client.send(POST + b"\r\n" + BODY[:5])
    rig.exchange.stop(ENDED_BY_OPERATOR)
    [(status, fields, body)] = rig.client.answers()
    assert status == 503
    assert (b"x-should-retry", b"false") in fields
    assert json.loads(body)["error"]["code"] == "ended_by_operator"
    assert len(rig.contexts[0].in_flight) == 0
    record = rig.sink.ended[0]
    assert record.outcome is Outcome.PROXY_ERROR
    assert record.error is not None and record.error.code == "ended_by_operator"
    if is_sent:
        assert rig.agent.cancelled
        assert record.attempts[0].result is AttemptResult.ABORTED


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
def test_a_stream_has_a_last_event_and_no_end(dialect: str) -> None:
    """Behind an event that was cut in its middle, too; a parser of events sees an error, and then a cut."""
    rig = Shared()
    rig.post(*([b"anthropic-version: 2023-06-01"] if dialect == "anthropic" else []))
    rig.agent.respond(200, *STREAM)
    rig.agent.reader.dataReceived(EVENT + b'data: {"cho')
    rig.exchange.stop(SHUTTING_DOWN)
    body = rig.body()
    event = body[len(EVENT) :].split(b"\n\n")[1]
    data = json.loads(event.rpartition(b"data: ")[2])
    assert "being stopped" in data["error"]["message"]
    assert event.startswith(b"event: error\n") == (dialect == "anthropic")
    assert not rig.client.received.endswith(b"0\r\n\r\n")
    assert rig.client.transport.aborted
    assert rig.agent.transport.calls[-1] == "stop"
    record = rig.record()
    assert (record.outcome, record.status) == (Outcome.PROXY_ERROR, 200)


def test_what_is_no_stream_of_plain_events_is_only_cut() -> None:
    """Nothing can be said inside of a body of another form."""
    rig = Shared()
    rig.post()
    rig.agent.respond(200, *STREAM, (b"Content-Encoding", b"gzip"))
    rig.agent.reader.dataReceived(b"\x1f\x8b")
    rig.exchange.stop(SHUTTING_DOWN)
    assert rig.body() == b"\x1f\x8b"
    assert rig.client.transport.aborted


def test_whoever_waits_for_the_last_one_is_called_once() -> None:
    """Or at once, where there is none."""
    exchanges, calls = Exchanges(), list[int]()
    exchanges.when_empty(lambda: calls.append(1))
    assert calls == [1]
    rig = Shared()
    rig.post()
    in_flight = rig.contexts[0].in_flight
    in_flight.when_empty(lambda: calls.append(2))
    assert calls == [1]
    rig.exchange.stop(SHUTTING_DOWN)
    assert calls == [1, 2]


def test_a_second_stop_does_nothing() -> None:
    """It has ended."""
    rig = Shared()
    rig.post()
    exchange = rig.exchange
    exchange.stop(SHUTTING_DOWN)
    exchange.stop(SHUTTING_DOWN)
    assert len(rig.sink.ended) == 1


def test_a_transport_says_when_it_was_heard() -> None:
    """The idle time is since the last byte, where that is known."""
    rig = Shared()
    rig.post()
    rig.agent.respond(200, *STREAM)
    rig.client.clock.advance(5)
    rig.agent.transport.heard_at = 3.0  # type: ignore[attr-defined]
    assert told_of(rig.exchange).idle_seconds == 2
    rig.exchange.stop(SHUTTING_DOWN)
