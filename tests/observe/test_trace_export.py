"""Spans as a collector has them, sent by OpenTelemetry's own exporter."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from openai_proxy import __version__
from openai_proxy.config.secret import Secret
from openai_proxy.config.tracing import Tracing
from openai_proxy.observe.outcome import Outcome
from openai_proxy.observe.record import Attempt, AttemptResult, Generation, Move, MoveKind, Record
from openai_proxy.observe.trace import AttemptSpan, Trace, Traces
from openai_proxy.observe.trace_export import OtlpExporter
from openai_proxy.observe.trace_sink import Ended
from openai_proxy.observe.usage import Usage
from openai_proxy.wire.response import Timings
from tests.support.collector import Collector, plain

PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


def traced(*fields: tuple[bytes, bytes]) -> Trace:
    trace = Traces(1, Random(1)).begin(fields, 10.0)
    assert trace is not None
    trace.asked_at, trace.ended_at, trace.model = 10.5, 14.0, "gpt-4o"
    return trace


def span(trace: Trace, **more: Any) -> AttemptSpan:
    usual = AttemptSpan(
        span_id=trace.new_span_id(),
        sent_at=11.0,
        answered_at=12.0,
        ended_at=13.5,
        status=200,
        seller="azure",
        base_url=b"https://eu.example.com/base",
        model="gpt-4o-eu",
        said_model="gpt-4o-2024-11-20",
    )
    return replace(usual, **more)


def recorded(trace: Trace, *attempts: Attempt, **more: Any) -> Record:
    usual: dict[str, Any] = {"status": 200, "outcome": Outcome.OK, "is_stream": True}
    return Record(
        provider="ours",
        endpoint="chat_completions",
        model="gpt-4o",
        route="/v1",
        method=b"POST",
        duration_seconds=4.0,
        received_bytes=100,
        sent_bytes=2000,
        request_id=b"req_1",
        overhead_seconds=0.25,
        attempts=attempts,
        generation=Generation(
            model="gpt-4o",
            usage=Usage(input_tokens=20, cached_input_tokens=5, output_tokens=7, reasoning_tokens=2),
            cost_picodollars=2_500_000_000_000,
            first_token_seconds=2.0,
        ),
        trace=trace,
        **{**usual, **more},
    )


def sent(collector: Collector, record: Record, tracing: Tracing | None = None) -> list[Span]:
    exporter = OtlpExporter(tracing or Tracing(endpoint=collector.url))
    assert exporter.export([Ended(record, 1_000_000.0)]) == ""
    exporter.close()
    return collector.spans


def test_an_exchange_and_its_attempts(collector: Collector) -> None:
    """The client's span is above the exchange's, that above each attempt's; each has its own times."""
    trace = traced((b"traceparent", PARENT), (b"tracestate", b"rojo=1"))
    failed = Attempt(
        "first",
        AttemptResult.HTTP_5XX,
        0.5,
        span=span(trace, sent_at=10.5, ended_at=11.0, status=503, said_model=None),
    )
    move = Move(MoveKind.FALLBACK, "first", "http_5xx")
    last = Attempt("ours", AttemptResult.OK, 2.5, Timings(reused=True), move=move, span=span(trace))
    server, one, two = sent(collector, recorded(trace, failed, last))
    assert (server.kind, one.kind, two.kind) == (Span.SPAN_KIND_SERVER, *[Span.SPAN_KIND_CLIENT] * 2)
    assert {one.trace_id.hex() for one in (server, one, two)} == {PARENT.decode()[3:35]}
    assert server.parent_span_id.hex() == PARENT.decode()[36:52]
    assert one.parent_span_id == two.parent_span_id == server.span_id
    assert {one.trace_state for one in (server, one, two)} == {"rojo=1"}
    times = [(one.start_time_unix_nano / 1e9, one.end_time_unix_nano / 1e9) for one in (server, one, two)]
    base = 1_000_000
    assert times == [(base + 10, base + 14), (base + 10.5, base + 11), (base + 11, base + 13.5)]
    assert [one.name for one in (server, one, two)] == ["chat gpt-4o", "chat gpt-4o-eu", "chat gpt-4o-eu"]
    codes = [one.status.code for one in (server, one, two)]
    assert codes == [Status.STATUS_CODE_UNSET, Status.STATUS_CODE_ERROR, Status.STATUS_CODE_UNSET]
    assert plain(server.attributes) == {
        "http.request.method": "POST",
        "http.route": "/v1",
        "http.response.status_code": 200,
        "http.request.body.size": 100,
        "http.response.body.size": 2000,
        "openai_proxy.endpoint": "chat_completions",
        "openai_proxy.provider": "ours",
        "openai_proxy.outcome": "ok",
        "openai_proxy.request_id": "req_1",
        "openai_proxy.attempts": 2,
        "openai_proxy.overhead_seconds": 0.25,
        "gen_ai.request.model": "gpt-4o",
    }
    usual = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "azure.ai.openai",
        "gen_ai.request.model": "gpt-4o-eu",
        "http.request.method": "POST",
        "server.address": "eu.example.com",
        "server.port": 443,
    }
    assert plain(one.attributes) == {
        **usual,
        "openai_proxy.provider": "first",
        "openai_proxy.result": "http_5xx",
        "http.response.status_code": 503,
        "error.type": "http_5xx",
    }
    assert plain(two.attributes) == {
        **usual,
        "openai_proxy.provider": "ours",
        "openai_proxy.result": "ok",
        "openai_proxy.move": "fallback",
        "openai_proxy.reason": "http_5xx",
        "openai_proxy.connection_reused": True,
        "http.response.status_code": 200,
        "gen_ai.response.model": "gpt-4o-2024-11-20",
        "gen_ai.request.stream": True,
        "gen_ai.response.time_to_first_chunk": 2.0,
        "gen_ai.usage.input_tokens": 20,
        "gen_ai.usage.output_tokens": 7,
        "gen_ai.usage.cache_read.input_tokens": 5,
        "gen_ai.usage.cache_creation.input_tokens": 0,
        "gen_ai.usage.reasoning.output_tokens": 2,
        "openai_proxy.cost_usd": 2.5,
    }
    (event,) = two.events
    assert (event.name, event.time_unix_nano / 1e9) == ("gen_ai.first_token", base + 12.5)


@pytest.mark.parametrize(
    ("outcome", "status", "is_error"),
    [
        (Outcome.CLIENT_ERROR, 400, False),
        (Outcome.CLIENT_DISCONNECT, 499, False),
        (Outcome.UPSTREAM_RATE_LIMITED, 429, True),
        (Outcome.UPSTREAM_STREAM_ERROR, 200, True),
        (Outcome.PROXY_ERROR, 500, True),
    ],
)
def test_an_error_is_the_servers_or_the_clients(
    collector: Collector, outcome: Outcome, status: int, is_error: bool
) -> None:
    """The type is the outcome, as in the metrics; what the client did wrong is no error of a server."""
    (server,) = sent(collector, recorded(traced(), status=status, outcome=outcome))
    assert (server.status.code == Status.STATUS_CODE_ERROR) is is_error
    assert plain(server.attributes)["error.type"] == outcome
    assert not server.parent_span_id


def test_a_key_in_a_models_place_is_not_told(collector: Collector) -> None:
    """Its label is; and a text without an end is none either."""
    trace = traced()
    trace.model = "sk-canary-1234567890"
    attempt = Attempt("ours", AttemptResult.OK, 1.0, span=span(trace, model="x" * 300))
    server, one = sent(collector, recorded(trace, attempt))
    assert [server.name, one.name] == ["chat gpt-4o"] * 2
    assert "canary" not in str(collector.requests) and "x" * 100 not in str(collector.requests)


def test_what_generates_nothing_is_named_by_its_route(collector: Collector) -> None:
    """And has no operation of a model."""
    record = replace(recorded(traced()), endpoint="files", generation=None, method=b"GET", model="none")
    (server,) = sent(collector, replace(record, method=b"BREW"))
    assert server.name == "_OTHER /v1"


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_what_the_collector_is_told_besides(collector: Collector, compression: Any) -> None:
    """Fields with secrets, who sends, and how it is packed."""
    headers = {"X-Key": Secret("canary", "env:KEY")}
    tracing = Tracing(
        endpoint=collector.url, headers=headers, compression=compression, service_name="gateway-eu"
    )
    sent(collector, recorded(traced()), tracing)
    (fields,) = collector.fields
    assert fields["x-key"] == "canary"
    assert fields.get("content-encoding", "none") == compression
    resource = collector.resource()
    assert (resource["service.name"], resource["service.version"]) == ("gateway-eu", __version__)


def test_the_environment_fills_what_is_not_given(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The names that every OpenTelemetry exporter knows."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.removesuffix("/v1/traces"))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=canary")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "named")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    sent(collector, recorded(traced()), Tracing())
    assert collector.fields[0]["x-key"] == "canary"
    resource = collector.resource()
    assert (resource["service.name"], resource["deployment.environment.name"]) == ("named", "test")


def test_without_a_name_it_is_ours(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not OpenTelemetry's word for none."""
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    sent(collector, recorded(traced()))
    assert collector.resource()["service.name"] == "openai_proxy"


def test_a_busy_collector_is_asked_again(collector: Collector) -> None:
    """What it took in the end is there once."""
    collector.refusals += [503, 429]
    assert len(sent(collector, recorded(traced()))) == 1
    assert len(collector.fields) == 3


def test_a_collector_that_refuses_is_not_asked_again(
    collector: Collector, capfd: pytest.CaptureFixture[str]
) -> None:
    """The problem is told to who logs it; nothing is written to stderr."""
    collector.refusals.append(400)
    exporter = OtlpExporter(Tracing(endpoint=collector.url))
    assert exporter.export([Ended(recorded(traced()), 0.0)]) == (
        "Failed to export spans batch code: 400, reason: Bad Request"
    )
    assert len(collector.fields) == 1
    assert exporter.export([Ended(recorded(traced()), 0.0)]) == ""
    exporter.close()
    assert exporter._problem not in logging.getLogger("opentelemetry.exporter.otlp").handlers
    assert capfd.readouterr() == ("", "")


def test_credentials_in_a_url_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable may hold some."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://u:canary@host:1/v1/traces")
    exporter = OtlpExporter(Tracing())
    assert exporter.endpoint == "http://host:1/v1/traces"
    exporter.close()
