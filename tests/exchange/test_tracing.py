"""Exchanges with traces: what upstreams are told, and what the record has for spans."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from twisted.web.client import ResponseDone

from openai_proxy.observe.trace import Traces
from tests.support.exchanges import Rig
from tests.support.routed import JSON, RoutedRig

TRACE = b"0af7651916cd43dd8448eb211c80319c"
PARENT = b"traceparent: 00-" + TRACE + b"-b7ad6b7169203331-01"
STATE = b"TraceState: rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"


def told(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [field for field in fields if field[0].lower().startswith(b"trace")]


def test_without_tracing_a_trace_goes_through_as_it_is() -> None:
    """Also one that is not as it should be."""
    rig = Rig()
    rig.post(PARENT, STATE, b"traceparent: nonsense")
    assert [b": ".join(field) for field in told(rig.agent.fields)] == [
        PARENT,
        STATE,
        b"traceparent: nonsense",
    ]
    rig.agent.respond(200, (b"Content-Length", b"0"))
    rig.agent.end(ResponseDone())
    assert rig.record().trace is None


def test_what_is_not_sampled_goes_through_as_it_is() -> None:
    """Who decided it for the trace has decided it for the upstream too."""
    rig = Rig()
    rig.traces = Traces(1, Random(1))
    rig.post(PARENT[:-2] + b"00", STATE)
    assert [b": ".join(field) for field in told(rig.agent.fields)] == [PARENT[:-2] + b"00", STATE]
    rig.agent.respond(200, (b"Content-Length", b"0"))
    rig.agent.end(ResponseDone())
    assert rig.record().trace is None


def test_an_exchange_is_a_part_of_its_clients_trace() -> None:
    """Between the client's span and the upstream's are the exchange's and the attempt's, with their times."""
    rig = Rig()
    rig.traces = Traces(0, Random(1))
    rig.clock.advance(10)
    rig.post(PARENT, STATE)
    rig.clock.advance(2)
    rig.agent.respond(200, (b"Content-Length", b"0"))
    rig.agent.end(ResponseDone())
    record = rig.record()
    (attempt,), trace = record.attempts, record.trace
    assert trace is not None and trace.parent is not None and attempt.span is not None
    assert b"%032x" % trace.trace_id == TRACE and trace.parent.span_id == 0xB7AD6B7169203331
    assert told(rig.agent.fields) == [
        tuple(STATE.split(b": ")),
        (b"traceparent", b"00-%b-%016x-01" % (TRACE, attempt.span.span_id)),
    ]
    assert len({trace.span_id, attempt.span.span_id, trace.parent.span_id}) == 3
    assert (trace.began_at, trace.asked_at, trace.ended_at, trace.model) == (10, 10, 12, "gpt-4o-mini")
    span = attempt.span
    assert (span.sent_at, span.answered_at, span.ended_at, span.status) == (10, 12, 12, 200)
    assert (span.base_url, span.seller, span.model) == (b"http://upstream", "openai", "gpt-4o-mini")


def test_each_attempt_has_a_span_of_its_own() -> None:
    """Each upstream is told of its own."""
    rig = RoutedRig()
    rig.context = replace(rig.context, traces=Traces(1, Random(1)))
    rig.ask()
    rig.one.last.give(503, b"{}", JSON)
    rig.two.last.give(200, b"{}", JSON)
    record = rig.record()
    assert record.trace is not None
    sent = [told(ask.fields)[0][1] for ask in (rig.one.last, rig.two.last)]
    spans = [attempt.span for attempt in record.attempts]
    assert sent == [
        b"00-%032x-%016x-03" % (record.trace.trace_id, span.span_id) for span in spans if span is not None
    ]
    assert len(set(sent)) == 2
