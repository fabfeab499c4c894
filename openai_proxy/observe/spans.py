"""Spans of a record, as OpenTelemetry's conventions for HTTP and for generative AI have them.

No text of a prompt or an answer, no header field and no query is in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from openai_proxy import __version__
from openai_proxy.observe.key_like import is_key_like
from openai_proxy.observe.outcome import Outcome
from openai_proxy.observe.record import Attempt, AttemptResult, Generation, Record
from openai_proxy.observe.trace import AttemptSpan, Trace

Value = str | int | float | bool

OPERATIONS: Final = {
    "chat_completions": "chat",
    "responses": "chat",
    "messages": "chat",
    "completions": "text_completion",
    "embeddings": "embeddings",
    "generate_content": "generate_content",
}
"""The endpoint's name for the convention; one that it does not know has its own."""
PROVIDERS: Final = {
    "azure": "azure.ai.openai",
    "azure-deployments": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex": "gcp.vertex_ai",
    "xai": "x_ai",
}
"""The catalogue's name for the convention; one that it does not know has its own."""
FIRST_TOKEN: Final = "gen_ai.first_token"  # noqa: S105
_METHODS: Final = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}
)
_NO_ERRORS: Final = frozenset({AttemptResult.OK, AttemptResult.ABORTED})
"""What we gave up ourselves did not fail."""
_LONGEST_MODEL: Final = 256
_PICODOLLARS: Final = 10**12


class SpanMaker:
    """Makes them, all of one resource."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource
        self._scope = InstrumentationScope("openai_proxy", __version__)

    def spans(self, record: Record, unix_seconds: float) -> Iterator[ReadableSpan]:
        """The exchange's (SERVER), then one for each attempt (CLIENT).

        :param unix_seconds: what the record's clock has to be moved by, to be unix time.
        """
        trace = record.trace
        assert trace is not None
        state = TraceState.from_header([line.decode("latin-1") for line in trace.state])
        own = _context(trace, trace.span_id, state, is_remote=False)
        parent = trace.parent
        yield self._span(
            _name(record, trace.model),
            own,
            None if parent is None else _context(trace, parent.span_id, state, is_remote=True),
            SpanKind.SERVER,
            _of_exchange(record, trace),
            (trace.began_at + unix_seconds, trace.ended_at + unix_seconds),
            # What its client did wrong is no error of a server (semantic conventions, HTTP spans).
            record.outcome is not Outcome.OK and not record.outcome.startswith("client_"),
        )
        for number, attempt in enumerate(record.attempts):
            span = attempt.span
            if span is not None:
                is_last = number == len(record.attempts) - 1
                yield self._span(
                    _name(record, span.model),
                    _context(trace, span.span_id, state, is_remote=False),
                    own,
                    SpanKind.CLIENT,
                    _of_attempt(record, attempt, span, record.generation if is_last else None),
                    (span.sent_at + unix_seconds, span.ended_at + unix_seconds),
                    attempt.result not in _NO_ERRORS,
                    _events(record.generation, trace, unix_seconds) if is_last else (),
                )

    def _span(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        attributes: Mapping[str, Value],
        times: tuple[float, float],
        is_error: bool,
        events: tuple[Event, ...] = (),
    ) -> ReadableSpan:
        start, end = times
        return ReadableSpan(
            name,
            context=context,
            parent=parent,
            resource=self._resource,
            attributes=attributes,
            events=events,
            kind=kind,
            status=Status(StatusCode.ERROR) if is_error else Status(StatusCode.UNSET),
            start_time=_nanoseconds(start),
            # The clock may have been set back.
            end_time=_nanoseconds(max(start, end)),
            instrumentation_scope=self._scope,
        )


def _context(trace: Trace, span_id: int, state: TraceState, is_remote: bool) -> SpanContext:
    return SpanContext(trace.trace_id, span_id, is_remote, TraceFlags(trace.flags), state)


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)


def _name(record: Record, model: str) -> str:
    if record.endpoint not in OPERATIONS and record.generation is None:
        return f"{_method(record)} {record.route}".strip()
    return f"{_operation(record)} {_shown(model, record.model)}"


def _method(record: Record) -> str:
    method = record.method.decode("latin-1")
    return method if method in _METHODS else "_OTHER"


def _operation(record: Record) -> str:
    return OPERATIONS.get(record.endpoint, record.endpoint)


def _shown(model: str, label: str) -> str:
    """A client's own text, unless it may be a key that stands in the wrong place, or is far too long."""
    return model if model and len(model) <= _LONGEST_MODEL and not is_key_like(model) else label


def _of_exchange(record: Record, trace: Trace) -> dict[str, Value]:
    attributes: dict[str, Value] = {
        "http.request.method": _method(record),
        "http.route": record.route,
        "http.response.status_code": record.status,
        "http.request.body.size": record.received_bytes,
        "http.response.body.size": record.sent_bytes,
        "openai_proxy.endpoint": record.endpoint,
        "openai_proxy.provider": record.provider,
        "openai_proxy.outcome": record.outcome.value,
        "openai_proxy.request_id": record.request_id.decode("latin-1"),
        "openai_proxy.attempts": len(record.attempts),
    }
    if trace.model:
        attributes["gen_ai.request.model"] = _shown(trace.model, record.model)
    if record.outcome is not Outcome.OK:
        attributes["error.type"] = record.outcome.value
    if record.overhead_seconds is not None:
        attributes["openai_proxy.overhead_seconds"] = record.overhead_seconds
    return attributes


def _of_attempt(
    record: Record, attempt: Attempt, span: AttemptSpan, generation: Generation | None
) -> dict[str, Value]:
    url = urlsplit(span.base_url.decode("latin-1"))
    attributes: dict[str, Value] = {
        "gen_ai.operation.name": _operation(record),
        "gen_ai.provider.name": PROVIDERS.get(span.seller, span.seller),
        "http.request.method": _method(record),
        "server.address": url.hostname or "",
        "server.port": url.port or (443 if url.scheme == "https" else 80),
        "openai_proxy.provider": attempt.provider,
        "openai_proxy.result": attempt.result.value,
    }
    if span.model:
        attributes["gen_ai.request.model"] = _shown(span.model, record.model)
    if span.said_model:
        attributes["gen_ai.response.model"] = _shown(span.said_model, record.model)
    if span.status:
        attributes["http.response.status_code"] = span.status
    if attempt.result not in _NO_ERRORS:
        attributes["error.type"] = attempt.result.value
    if attempt.move is not None:
        attributes["openai_proxy.move"] = attempt.move.kind.value
        attributes["openai_proxy.reason"] = attempt.move.reason
    if attempt.timings is not None:
        attributes["openai_proxy.connection_reused"] = attempt.timings.reused
    if generation is not None:
        attributes.update(_of_generation(record, generation))
    return attributes


def _of_generation(record: Record, generation: Generation) -> Iterator[tuple[str, Value]]:
    """Of the attempt whose answer it was alone: sums over spans count nothing twice."""
    yield "gen_ai.request.stream", record.is_stream
    if generation.first_token_seconds is not None:
        yield "gen_ai.response.time_to_first_chunk", generation.first_token_seconds
    if generation.cost_picodollars is not None:
        yield "openai_proxy.cost_usd", generation.cost_picodollars / _PICODOLLARS
    usage = generation.usage
    if usage is None:
        return
    if usage.input_tokens is not None:
        yield "gen_ai.usage.input_tokens", usage.input_tokens
    if usage.output_tokens is not None:
        yield "gen_ai.usage.output_tokens", usage.output_tokens
    yield "gen_ai.usage.cache_read.input_tokens", usage.cached_input_tokens
    yield "gen_ai.usage.cache_creation.input_tokens", usage.cache_write_tokens
    yield "gen_ai.usage.reasoning.output_tokens", usage.reasoning_tokens


def _events(generation: Generation | None, trace: Trace, unix_seconds: float) -> tuple[Event, ...]:
    if generation is None or generation.first_token_seconds is None:
        return ()
    at = trace.asked_at + generation.first_token_seconds + unix_seconds
    return (Event(FIRST_TOKEN, timestamp=_nanoseconds(at)),)
