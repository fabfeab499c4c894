"""Answers read on their way: what goes out, what comes through, what is known at the end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone

from openai_proxy.observe.outcome import Outcome
from openai_proxy.observe.record import AttemptResult, DisconnectPhase, Error, ErrorSource, Generation
from openai_proxy.observe.usage import UsageMissing
from openai_proxy.wire import errors
from tests.support.exchanges import PRICES, Rig

EVENTS = (b"Content-Type", b"text/event-stream; charset=utf-8")
JSON = (b"Content-Type", b"application/json")
STREAMED = b'{"model":"gpt-4o-mini","stream":true,"messages":[]}'
ASKING = b'{"stream_options":{"include_usage":true},' + STREAMED[1:]
DONE = b"data: [DONE]\n\n"


def chunk(delta: dict[str, Any] | None, usage: dict[str, Any] | None = None) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": None}]
    content = {"id": "c", "object": "chat.completion.chunk", "model": "gpt-4o-mini-2024-07-18"}
    return b"data: " + json.dumps({**content, "choices": choices, "usage": usage}).encode() + b"\n\n"


ROLE = chunk({"role": "assistant", "content": ""})
REASONING = chunk({"reasoning_content": "hm"})
WORD = chunk({"content": "word"})
USAGE = chunk(None, {"prompt_tokens": 1000, "completion_tokens": 3, "total_tokens": 1003})


def stream(rig: Rig, *pieces: bytes, body: bytes = STREAMED) -> bytes:
    """Ask for a stream, and have these pieces of it, a second apart; what the upstream was sent."""
    rig.ask(body)
    sent = rig.sent()
    rig.agent.respond(200, EVENTS)
    for piece in pieces:
        rig.clock.advance(1)
        rig.agent.reader.dataReceived(piece)
    return sent


def generation_of(rig: Rig) -> Generation:
    generation = rig.record().generation
    assert generation is not None
    return generation


def test_a_stream_is_asked_for_its_usage_and_the_client_does_not_see_it() -> None:
    """The upstream gets the option, the client the stream as it asked for it, the record the tokens."""
    rig = Rig()
    assert stream(rig, ROLE, WORD, WORD, USAGE, DONE) == ASKING
    rig.agent.end(ResponseDone())
    assert rig.body() == ROLE + WORD + WORD + DONE
    record = rig.record()
    assert (record.outcome, record.status, record.is_stream) == (Outcome.OK, 200, True)
    assert rig.sink.answers == [("openai", "gpt-4o-mini", True)]
    assert record.received_bytes == len(STREAMED)
    assert record.sent_bytes == len(ROLE + WORD + WORD + DONE)
    generation = record.generation
    assert generation is not None and generation.usage is not None
    assert (generation.model, generation.usage_missing) == ("gpt-4o-mini", None)
    assert (generation.usage.input_tokens, generation.usage.output_tokens) == (1000, 3)
    assert generation.cost_picodollars == 1000 * 150_000 + 3 * 600_000


@pytest.mark.parametrize("decided", [b"true", b"false"])
def test_a_client_that_decided_itself_has_its_way(decided: bytes) -> None:
    """Neither the request nor the stream is changed."""
    rig = Rig()
    body = b'{"stream_options":{"include_usage":' + decided + b"}," + STREAMED[1:]
    pieces = [ROLE, WORD, *([USAGE] if decided == b"true" else []), DONE]
    assert stream(rig, *pieces, body=body) == body
    rig.agent.end(ResponseDone())
    assert rig.body() == b"".join(pieces)
    missing = None if decided == b"true" else UsageMissing.STREAM_WITHOUT_USAGE
    assert generation_of(rig).usage_missing is missing


@pytest.mark.parametrize("unusual", [{"includes_usage": False}, {"observes": False}])
def test_a_request_is_left_alone_where_that_is_set(unusual: dict[str, Any]) -> None:
    """By provider: not asked for its usage, or not read at all."""
    rig = Rig(**unusual)
    assert stream(rig, ROLE, WORD, DONE) == STREAMED
    rig.agent.end(ResponseDone())
    assert rig.body() == ROLE + WORD + DONE
    record = rig.record()
    assert record.outcome is Outcome.OK
    assert (record.generation is not None) == unusual.get("observes", True)


def test_a_length_goes_where_an_event_may_go() -> None:
    """A stream with a Content-Length becomes shorter: it is sent in chunks."""
    rig = Rig()
    rig.ask(STREAMED)
    whole = ROLE + USAGE + DONE
    rig.agent.respond(200, EVENTS, (b"Content-Length", b"%d" % len(whole)))
    rig.agent.reader.dataReceived(whole)
    rig.agent.end(ResponseDone())
    [(_, fields, body)] = rig.client.answers()
    assert body == ROLE + DONE
    assert b"content-length" not in [name.lower() for name, _ in fields]
    assert rig.record().outcome is Outcome.OK


def test_what_was_held_back_goes_out_at_the_end() -> None:
    """A stream that stops inside of an event is passed on to its last byte."""
    rig = Rig()
    stream(rig, WORD, USAGE[:-2])
    rig.agent.end(ResponseDone())
    assert rig.body() == WORD + USAGE[:-2]
    assert rig.record().outcome is Outcome.UPSTREAM_STREAM_ERROR


def test_what_was_held_back_of_a_stream_that_is_cut_goes_out_too() -> None:
    """The client gets each byte that came, and no clean end."""
    rig = Rig()
    stream(rig, WORD, USAGE[:-20])
    assert rig.body() == WORD
    rig.agent.end(errors.Truncated("x"))
    assert rig.body() == WORD + USAGE[:-20]
    assert rig.client.transport.aborted
    record = rig.record()
    assert (record.outcome, record.sent_bytes) == (Outcome.UPSTREAM_STREAM_ERROR, len(WORD + USAGE[:-20]))


def test_the_clocks_of_a_stream() -> None:
    """Role and pings are no tokens, reasoning is one, the first word is the first that is seen."""
    rig = Rig()
    stream(rig, ROLE, b": ping\n\n", REASONING, WORD, WORD + USAGE, DONE)
    rig.agent.end(ResponseDone())
    record = rig.record()
    generation = record.generation
    assert generation is not None and generation.intervals is not None
    assert (record.first_byte_seconds, record.duration_seconds) == (0, 6)
    assert (generation.first_token_seconds, generation.first_visible_seconds) == (3, 4)
    assert generation.seconds_per_output_token == 1
    assert (sum(generation.intervals.counts), generation.intervals.total_seconds) == (2, 2)
    [attempt] = record.attempts
    assert (attempt.provider, attempt.result, attempt.duration_seconds) == ("openai", AttemptResult.OK, 6)
    assert record.overhead_seconds == 0


@pytest.mark.parametrize(("first", "seconds"), [(WORD, 2.0), (REASONING, 0.5)])
def test_hidden_reasoning_has_no_pace(first: bytes, seconds: float) -> None:
    """Tokens that were never sent are not among those between the first event and the last."""
    rig = Rig()
    usage = {"prompt_tokens": 1, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 3}}
    stream(rig, first, WORD, WORD, chunk(None, usage), DONE)
    rig.agent.end(ResponseDone())
    assert generation_of(rig).seconds_per_output_token == seconds


def test_the_pace_of_a_part_is_not_known() -> None:
    """Usage so far counts; it is not said which tokens it has."""
    rig = Rig()
    stream(rig, WORD, chunk({"content": "a"}, {"prompt_tokens": 1, "completion_tokens": 2}))
    rig.client.leave()
    rig.agent.end(CancelledError())
    generation = generation_of(rig)
    assert generation.usage is not None and generation.usage.output_tokens == 2
    assert generation.usage_missing is UsageMissing.DISCONNECT
    assert generation.seconds_per_output_token is None


def test_a_slow_client_is_not_the_upstreams_pace() -> None:
    """What it did not take in time is in no interval, no attempt and no overhead."""
    rig = Rig()
    stream(rig, WORD)
    rig.client.channel.pauseProducing()
    assert rig.agent.transport.calls == ["pause"]
    rig.clock.advance(30)
    rig.client.channel.resumeProducing()
    rig.agent.reader.dataReceived(WORD + USAGE + DONE)
    rig.client.channel.pauseProducing()
    rig.agent.end(ResponseDone())
    assert rig.sink.ended == []
    rig.clock.advance(5)
    rig.client.channel.resumeProducing()
    record = rig.record()
    generation = record.generation
    assert generation is not None
    assert record.duration_seconds == 36
    assert record.overhead_seconds == 0
    assert record.attempts[0].duration_seconds == 1
    assert generation.first_token_seconds == 1
    assert (generation.intervals, generation.seconds_per_output_token) == (None, None)


def test_overhead_is_what_we_waited_for_nobody() -> None:
    """A body that comes slowly is the client's time."""
    rig = Rig()
    rig.client.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{")
    rig.clock.advance(7)
    rig.client.send(b"}")
    rig.clock.advance(2)
    rig.agent.respond(200, JSON, (b"Content-Length", b"2"))
    rig.agent.reader.dataReceived(b"{}")
    rig.agent.end(ResponseDone())
    record = rig.record()
    assert (record.duration_seconds, record.overhead_seconds) == (9, 0)
    assert record.attempts[0].duration_seconds == 2


@pytest.mark.parametrize(
    ("path", "events", "error"),
    [
        (b"/v1/chat/completions", [WORD], None),
        (b"/v1/chat/completions", [WORD, b"data: hello\n\n"], None),
        (b"/v1/messages", [b'data: {"type":"message_start","message":{}}\n\n'], None),
        (
            b"/v1/chat/completions",
            [WORD, b'data: {"error":{"type":"a","code":"c"}}\n\n', DONE],
            "c",
        ),
        (b"/v1/responses", [b'event: response.created\ndata: {"type":"response.created"}\n\n'], None),
        (
            b"/v1/responses",
            [b'data: {"type":"response.failed","response":{"error":{"code":"server_error"}}}\n\n'],
            "server_error",
        ),
    ],
)
def test_streams_that_end_badly_are_the_upstreams_failure(
    path: bytes, events: list[bytes], error: str | None
) -> None:
    """No last event, or an error inside: the bytes pass, with a clean end, and are blamed."""
    rig = Rig()
    rig.ask(STREAMED, path)
    rig.agent.respond(200, EVENTS)
    rig.agent.reader.dataReceived(b"".join(events))
    rig.agent.end(ResponseDone())
    assert rig.body() == b"".join(events)
    record = rig.record()
    assert (record.status, record.outcome) == (200, Outcome.UPSTREAM_STREAM_ERROR)
    assert record.attempts[0].result is AttemptResult.STREAM_ERROR
    assert (record.error.code if record.error else None) == error


@pytest.mark.parametrize(
    ("path", "event"),
    [
        (b"/v1/responses", b'data: {"type":"response.completed","response":{"usage":null}}\n\n'),
        (b"/v1/responses", b'data: {"type":"response.incomplete","response":{"usage":null}}\n\n'),
        (b"/v1/whatever", b"data: 1\n\n"),
    ],
)
def test_streams_that_end_well(path: bytes, event: bytes) -> None:
    """An incomplete response is whole; of an unknown endpoint no last event is known."""
    rig = Rig()
    rig.ask(STREAMED, path)
    rig.agent.respond(200, EVENTS)
    rig.agent.reader.dataReceived(event)
    rig.agent.end(ResponseDone())
    assert rig.record().outcome is Outcome.OK


def test_an_error_with_status_200_is_an_upstreams_error() -> None:
    """Some send one in a whole JSON answer."""
    rig = Rig()
    rig.ask(b'{"model":"gpt-4o"}')
    body = b'{"error":{"type":"overloaded_error","code":529}}'
    rig.agent.respond(200, JSON, (b"Content-Length", b"%d" % len(body)))
    rig.agent.reader.dataReceived(body)
    rig.agent.end(ResponseDone())
    record = rig.record()
    assert (record.outcome, record.status) == (Outcome.UPSTREAM_ERROR, 200)
    assert record.error == Error(ErrorSource.UPSTREAM, "overloaded_error", "529")


def test_a_client_may_leave_behind_the_last_event() -> None:
    """It has all: the official SDK does so behind ``[DONE]``. The usage counts."""
    rig = Rig()
    stream(rig, WORD, USAGE, DONE)
    rig.client.leave()
    record = rig.record()
    assert (record.outcome, record.phase) == (Outcome.OK, None)
    assert record.attempts[0].result is AttemptResult.OK
    assert record.generation is not None and record.generation.usage is not None


def test_a_client_that_leaves_in_the_middle() -> None:
    """It is to blame, and the tokens are not known."""
    rig = Rig()
    stream(rig, WORD)
    rig.client.leave()
    rig.agent.end(CancelledError())
    record = rig.record()
    assert (record.outcome, record.phase) == (Outcome.CLIENT_DISCONNECT, DisconnectPhase.MID_STREAM)
    assert record.attempts[0].result is AttemptResult.ABORTED
    assert record.generation is not None
    assert record.generation.usage_missing is UsageMissing.DISCONNECT


def test_phases_of_leaving_before_there_is_an_answer() -> None:
    """While the body is awaited nothing was attempted; later it was."""
    rig = Rig()
    rig.client.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
    rig.client.leave()
    record = rig.record()
    assert (record.phase, record.attempts, record.generation) == (DisconnectPhase.BEFORE_UPSTREAM, (), None)
    rig = Rig()
    rig.ask(STREAMED)
    rig.client.leave()
    record = rig.record()
    assert record.phase is DisconnectPhase.BEFORE_FIRST_BYTE
    assert generation_of(rig).usage_missing is UsageMissing.DISCONNECT
    assert [attempt.result for attempt in record.attempts] == [AttemptResult.ABORTED]


def test_a_json_answer_is_counted_and_priced() -> None:
    """By its own model's name."""
    rig = Rig()
    rig.ask(b'{"model":"gpt-4o"}', b"/v1/embeddings")
    body = b'{"model":"text-embedding-3-small","usage":{"prompt_tokens":5,"total_tokens":5}}'
    rig.agent.respond(200, JSON, (b"Content-Length", b"%d" % len(body)))
    rig.agent.reader.dataReceived(body[:7])
    rig.agent.reader.dataReceived(body[7:])
    rig.agent.end(ResponseDone())
    assert rig.body() == body
    record = rig.record()
    assert record.model == "gpt-4o"
    generation = record.generation
    assert generation is not None and generation.usage is not None
    assert (generation.model, generation.usage.input_tokens) == ("text-embedding-3-small", 5)
    assert generation.cost_picodollars == 5 * 20_000


@pytest.mark.parametrize(
    "line",
    [
        b"GET /v1/responses/r",
        b"POST /v1/responses/r/cancel",
        b"POST /v1/chat/completions/c",
        b"POST /v1/threads/t/runs/r",
        b"POST /v1/responses/input_tokens",
        b"POST /v1/messages/count_tokens",
    ],
)
def test_a_stored_answer_is_not_counted_again(line: bytes) -> None:
    """Whatever only repeats it gives the usage of the POST that made it."""
    rig = Rig()
    rig.client.send(line + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    rig.agent.respond(200, JSON)
    rig.agent.reader.dataReceived(b'{"usage":{"input_tokens":5,"output_tokens":5}}')
    rig.agent.end(ResponseDone())
    assert rig.record().generation is None


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (errors.ConnectFailed("x"), AttemptResult.CONNECT_ERROR),
        (errors.TLSFailed("x"), AttemptResult.TLS_ERROR),
        (errors.ConnectTimedOut("x"), AttemptResult.TIMEOUT),
        (errors.HeadTimedOut("x"), AttemptResult.TIMEOUT),
        (errors.ConnectionClosed("x"), AttemptResult.PROTOCOL_ERROR),
        (errors.InvalidResponse("x"), AttemptResult.PROTOCOL_ERROR),
    ],
)
def test_attempts_that_bring_no_answer(error: Exception, result: AttemptResult) -> None:
    """Each has its result, and the client's error is ours."""
    rig = Rig()
    rig.ask(STREAMED)
    rig.agent.answer.errback(Failure(error))
    record = rig.record()
    assert [attempt.result for attempt in record.attempts] == [result]
    assert record.error is not None and record.error.source is ErrorSource.PROXY
    was_sent = type(error) in (errors.HeadTimedOut, errors.ConnectionClosed, errors.InvalidResponse)
    missing = None if record.generation is None else record.generation.usage_missing
    assert missing is (UsageMissing.NO_ANSWER if was_sent else None)
    assert record.request_id.startswith(b"req_")


@pytest.mark.parametrize(
    ("status", "result"),
    [(200, "ok"), (404, "http_4xx"), (429, "http_429"), (500, "http_5xx"), (503, "http_5xx")],
)
def test_attempts_by_status(status: int, result: str) -> None:
    """An error without a body in a known form is an upstream's error without a name."""
    rig = Rig()
    rig.ask(b"{}")
    rig.agent.respond(status, (b"Content-Length", b"0"), (b"x-request-id", b"theirs"))
    rig.agent.end(ResponseDone())
    record = rig.record()
    assert [attempt.result for attempt in record.attempts] == [result]
    assert record.error == (None if status == 200 else Error(ErrorSource.UPSTREAM))
    assert record.request_id == b"theirs"
    assert len(rig.sink.answers) == (status in (200, 429))


@pytest.mark.parametrize(
    ("path", "status", "said", "label"),
    [
        (b"chat/completions", 200, b"{}", "my-model:7b"),
        (b"chat/completions", 200, b'{"model":"my-model:7b"}', "my-model:7b"),
        (b"chat/completions", 200, b'{"model":"my-model:7b-2026-01-31"}', "my-model:7b"),
        # It took another for what it does not have.
        (b"chat/completions", 200, b'{"model":"its-only-one"}', "other"),
        (b"chat/completions", 200, b'{"error":{"code":"x"}}', "other"),
        (b"chat/completions", 404, b"{}", "other"),
        # The name is only stored, or an argument.
        (b"vector_stores", 200, b"{}", "other"),
        (b"assistants", 200, b'{"model":"my-model:7b"}', "other"),
    ],
)
def test_a_model_that_was_answered_for_has_a_name(path: bytes, status: int, said: bytes, label: str) -> None:
    """A server of your own shows its models; what it refuses or does not know stays ``other``."""
    rig = Rig()
    rig.ask(b'{"model":"my-model:7b"}', b"/v1/" + path)
    rig.agent.respond(status, JSON, (b"Content-Length", b"%d" % len(said)))
    rig.agent.reader.dataReceived(said)
    rig.agent.end(ResponseDone())
    assert rig.record().model == label


def test_a_refusal_in_events_is_no_stream() -> None:
    """The gauge of open streams goes up and down for the same exchanges."""
    rig = Rig()
    rig.ask(STREAMED)
    rig.agent.respond(429, EVENTS)
    rig.agent.reader.dataReceived(b'data: {"error":{"code":"rate_limit_exceeded"}}\n\n')
    rig.agent.end(ResponseDone())
    record = rig.record()
    assert rig.sink.answers == [("openai", "other", False)]
    assert (record.is_stream, record.outcome) == (False, Outcome.UPSTREAM_RATE_LIMITED)
    assert record.error == Error(ErrorSource.UPSTREAM, None, "rate_limit_exceeded")


def test_a_price_that_fails_costs_no_record(
    monkeypatch: pytest.MonkeyPatch, nothing_left: list[object]
) -> None:
    """The exchange is counted all the same, and the bug is in the log once."""
    rig = Rig()
    monkeypatch.setattr("openai_proxy.exchange.account.cost_picodollars", lambda *_: 1 // 0)
    stream(rig, WORD, USAGE, DONE)
    rig.agent.end(ResponseDone())
    record = rig.record()
    assert record.outcome is Outcome.OK
    assert record.generation == Generation(model="gpt-4o-mini", usage_missing=UsageMissing.UNPARSABLE)
    assert len(nothing_left) == 1
    nothing_left.clear()


def test_numbers_that_nobody_means_are_no_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are counted as unparsable, and fill no log (a failure in it would fail this test)."""
    rig = Rig()
    monkeypatch.setattr("openai_proxy.exchange.account.cost_picodollars", lambda *_: int(float("inf")))
    stream(rig, WORD, USAGE, DONE)
    rig.agent.end(ResponseDone())
    assert generation_of(rig).usage_missing is UsageMissing.UNPARSABLE


def test_an_answer_that_our_stop_cuts_off_is_our_doing() -> None:
    """A client that the daemon leaves has not left."""
    for answered, status in ((False, 503), (True, 200)):
        rig = Rig()
        rig.ask(STREAMED)
        if answered:
            rig.agent.respond(200, EVENTS)
            rig.agent.reader.dataReceived(WORD)
        rig.client.channel.cut()
        rig.client.leave()
        record = rig.record()
        assert (record.outcome, record.status, record.phase) == (Outcome.PROXY_ERROR, status, None)


def test_a_slow_upload_is_not_the_upstreams_time() -> None:
    """A body that is not held is sent on as it comes: the upstream waits for the client."""
    rig = Rig()
    fields = b"Content-Type: multipart/form-data\r\nContent-Length: 2\r\n\r\n"
    rig.client.send(b"POST /v1/files HTTP/1.1\r\nHost: x\r\n" + fields)
    rig.clock.advance(5)
    rig.client.send(b"ab")
    rig.clock.advance(1)
    rig.agent.respond(200, JSON, (b"Content-Length", b"2"))
    rig.agent.reader.dataReceived(b"{}")
    rig.agent.end(ResponseDone())
    record = rig.record()
    assert (record.duration_seconds, record.first_byte_seconds) == (6, 1)
    assert [attempt.duration_seconds for attempt in record.attempts] == [1]


def test_a_pipelined_request_is_asked_when_it_is_its_turn() -> None:
    """What it waited behind another is in its duration, and in no clock of the upstream's."""
    rig = Rig()
    rig.client.send(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
    for _ in range(2):
        rig.clock.advance(3)
        rig.agent.respond(200, (b"Content-Length", b"0"))
        rig.agent.end(ResponseDone())
        rig.client.settle()
    rig.client.done()
    first, second = rig.sink.ended
    assert (first.duration_seconds, second.duration_seconds) == (3, 6)
    assert (second.first_byte_seconds, second.attempts[0].duration_seconds) == (3, 3)


HEARD = {"prompt_tokens": 90, "completion_tokens": 30, "prompt_tokens_details": {"audio_tokens": 70}}
SPOKEN = {**HEARD, "completion_tokens_details": {"audio_tokens": 25}}
TEXT = {"prompt_tokens": 90, "completion_tokens": 30}
IMAGE = {"input_tokens": 50, "input_tokens_details": {"text_tokens": 10, "image_tokens": 40}}


@pytest.mark.parametrize(
    ("path", "asked", "answer", "picodollars"),
    [
        # Audio and images at their own rates.
        (
            "chat/completions",
            "gpt-audio",
            {"usage": SPOKEN},
            20 * 2_500_000 + 70 * 32_000_000 + 5 * 10_000_000 + 25 * 64_000_000,
        ),
        (
            "audio/transcriptions",
            "gpt-4o-transcribe",
            {"usage": {"input_tokens": 14, "output_tokens": 45, "input_token_details": {"audio_tokens": 14}}},
            14 * 6_000_000 + 45 * 10_000_000,
        ),
        (
            "audio/transcriptions",
            "whisper-1",
            {"usage": {"type": "duration", "seconds": 3}},
            300_000_000,
        ),
        (
            "images/generations",
            "gpt-image-1",
            {"usage": {**IMAGE, "output_tokens": 1056}},
            10 * 5_000_000 + 40 * 10_000_000 + 1056 * 40_000_000,
        ),
        (
            "images/generations",
            "chatgpt-image-latest",
            {"usage": {**IMAGE, "output_tokens": 1056}},
            10 * 5_000_000 + 40 * 8_000_000 + 1056 * 32_000_000,
        ),
        ("embeddings", "text-embedding-3-small", {"usage": {"prompt_tokens": 7, "total_tokens": 7}}, 140_000),
        ("images/generations", "dall-e-3", {"usage": {"input_tokens": 1, "output_tokens": 1}}, None),
        ("chat/completions", "whisper-1", {"usage": TEXT}, None),
    ],
)
def test_what_an_answer_costs(path: str, asked: str, answer: dict[str, Any], picodollars: int | None) -> None:
    """Each kind of token at its rate; what has no price has no cost, which is not 0."""
    rig = Rig()
    rig.ask(json.dumps({"model": asked}).encode(), b"/v1/" + path.encode())
    rig.agent.respond(200, JSON)
    rig.agent.reader.dataReceived(json.dumps(answer).encode())
    rig.agent.end(ResponseDone())
    generation = generation_of(rig)
    assert generation.usage is not None
    assert generation.cost_picodollars == picodollars


@pytest.mark.parametrize("given", [None, "default", "standard", "flex", "priority", "batch"])
@pytest.mark.parametrize("is_stream", [False, True])
def test_the_tier_that_was_given_is_paid(given: str | None, is_stream: bool) -> None:
    """It may not be the one that was asked for."""
    price = PRICES.price_of("openai", "gpt-5.6-sol", given, 0.0)
    standard = PRICES.price_of("openai", "gpt-5.6-sol", None, 0.0)
    assert price is not None and price.input is not None and price.output is not None
    assert (price == standard) == (given in (None, "default", "standard"))
    rig = Rig()
    asked = {"model": "gpt-5.6-sol", "service_tier": "auto", "stream": is_stream}
    rig.ask(json.dumps(asked).encode())
    answer: dict[str, Any] = {
        "id": "c",
        "model": "gpt-5.6-sol",
        "service_tier": given,
        "choices": [],
        "usage": TEXT,
    }
    body = json.dumps(answer).encode()
    rig.agent.respond(200, EVENTS if is_stream else JSON)
    rig.agent.reader.dataReceived(b"data: " + body + b"\n\n" + DONE if is_stream else body)
    rig.agent.end(ResponseDone())
    assert generation_of(rig).cost_picodollars == 90 * price.input + 30 * price.output


@pytest.mark.parametrize("path", [b"/v1/audio/speech", b"/v1/audio/translations"])
def test_what_never_says_its_usage_is_counted_as_missing(path: bytes) -> None:
    """Its cost is not known, and that is said."""
    rig = Rig()
    rig.ask(b'{"model":"tts-1"}', path)
    rig.agent.respond(200, (b"Content-Type", b"audio/mpeg"))
    rig.agent.end(ResponseDone())
    assert generation_of(rig) == Generation(model="tts-1", usage_missing=UsageMissing.NOT_IN_API)


@pytest.mark.parametrize("megabytes", [0.5, 2])
def test_answers_that_are_kept_to_be_read_have_a_bound(megabytes: float) -> None:
    """One for which there is no room is passed on all the same; its usage is not known."""
    rig = Rig()
    body = b'{"usage":{"prompt_tokens":5,"total_tokens":5},"data":"%b"}' % (b"x" * int(megabytes * 2**20))
    rig.ask(b"{}", b"/v1/embeddings")
    rig.agent.respond(200, JSON)
    for place in range(0, len(body), 2**18):
        rig.agent.reader.dataReceived(body[place : place + 2**18])
        assert rig.held_answers.held_bytes <= 2**20
    assert (rig.held_answers.held_bytes > 0) == (megabytes < 1)
    rig.agent.end(ResponseDone())
    assert rig.body() == body
    generation = generation_of(rig)
    assert generation.usage_missing is (None if megabytes < 1 else UsageMissing.UNPARSABLE)
    assert rig.held_answers.held_bytes == 0
