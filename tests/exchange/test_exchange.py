"""An exchange over an agent that the test holds: every end has one record with one outcome."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss

from openai_proxy.config.settings import Limits
from openai_proxy.observe.errors import error_of_refusal
from openai_proxy.observe.outcome import Outcome
from openai_proxy.wire import errors
from tests.support.exchanges import BODY, POST, Rig


def test_an_exchange_is_relayed_and_recorded() -> None:
    """The request goes out as it came, the answer comes back as it came, and one record says so."""
    rig = Rig()
    rig.client.clock.advance(1)
    rig.post(
        b"X-OdD: 1", b"Connection: close, x-mine", b"X-Mine: 2", b"TE: trailers", b"Authorization: Bearer k"
    )
    agent = rig.agent
    assert (agent.method, agent.uri) == (b"POST", b"http://upstream/v1/chat/completions?a=%2F")
    assert agent.fields == [(b"X-OdD", b"1"), (b"Authorization", b"Bearer k")]
    rig.client.clock.advance(2)
    agent.respond(200, (b"X-A", b"1"), (b"x-a", b"2"), (b"Keep-Alive", b"x"), (b"x-request-id", b"theirs"))
    agent.reader.dataReceived(b"one")
    agent.reader.dataReceived(b"two")
    agent.end(ResponseDone())
    [(status, fields, body)] = rig.client.answers()
    assert (status, body) == (200, b"onetwo")
    assert fields[:3] == [(b"X-A", b"1"), (b"x-a", b"2"), (b"x-request-id", b"theirs")]
    record = rig.record()
    assert record.outcome is Outcome.OK
    assert (record.provider, record.endpoint, record.model) == ("openai", "chat_completions", "gpt-4o-mini")
    assert (record.status, record.received_bytes, record.sent_bytes) == (200, len(BODY), 6)
    assert record.duration_seconds == 2


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "ok"),
        (404, "client_error"),
        (401, "client_auth"),
        (429, "upstream_rate_limited"),
        (503, "upstream_error"),
    ],
)
def test_statuses_pass_and_are_blamed(status: int, outcome: str) -> None:
    """An upstream's own errors reach the client, and the record says whose they are."""
    rig = Rig()
    rig.post()
    rig.agent.respond(status, (b"Content-Length", b"2"))
    rig.agent.reader.dataReceived(b"{}")
    rig.agent.end(ResponseDone())
    assert rig.client.answers()[0][0] == status
    assert rig.record().outcome == outcome


def test_close_delimited_answers_end_well() -> None:
    """An answer that the end of its connection ends is passed on in chunks."""
    rig = Rig()
    rig.post()
    rig.agent.respond(200)
    rig.agent.reader.dataReceived(b"all")
    rig.agent.end(PotentialDataLoss())
    assert rig.client.answers()[0][2] == b"all"
    assert rig.record().outcome is Outcome.OK


@pytest.mark.parametrize(
    ("error", "status", "outcome"),
    [
        (errors.ConnectFailed("x"), 502, "upstream_connect_error"),
        (errors.HeadTimedOut("x"), 504, "upstream_timeout"),
        (errors.PoolExhausted("x"), 503, "proxy_overload"),
    ],
)
def test_failures_before_the_head_are_answers(error: Exception, status: int, outcome: str) -> None:
    """OpenAI's error form, a JSON content type, an id of ours."""
    rig = Rig()
    rig.post()
    rig.agent.answer.errback(Failure(error))
    [(got, fields, body)] = rig.client.answers()
    assert got == status
    assert (b"Content-Type", b"application/json") in fields
    assert any(name == b"x-request-id" for name, _ in fields)
    assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}
    record = rig.record()
    assert (record.status, record.outcome) == (status, outcome)


def test_bugs_are_ours(nothing_left: list[object]) -> None:
    """An exception that nobody expected is a 500, ``proxy_error``, and in the log once."""
    rig = Rig()
    rig.post()
    rig.agent.answer.errback(Failure(RuntimeError("inner")))
    [(status, _, body)] = rig.client.answers()
    assert status == 500 and b"inner" not in body
    assert rig.record().outcome is Outcome.PROXY_ERROR
    assert len(nothing_left) == 1
    nothing_left.clear()


@pytest.mark.parametrize(
    "error", [errors.Truncated("x"), errors.IdleTimedOut("x"), errors.InvalidResponse("x")]
)
def test_a_cut_answer_is_never_ended_cleanly(error: Exception) -> None:
    """A failure behind the head aborts the client's connection; the status stays what it was."""
    rig = Rig()
    rig.post()
    rig.agent.respond(200)
    rig.agent.reader.dataReceived(b"half")
    rig.agent.end(error)
    assert rig.client.transport.aborted
    assert not rig.client.received.endswith(b"\r\n0\r\n\r\n")
    record = rig.record()
    assert (record.status, record.outcome) == (200, Outcome.UPSTREAM_STREAM_ERROR)


@pytest.mark.parametrize("sent", [1, 3])
def test_a_length_that_is_not_kept_is_a_cut_answer(sent: int) -> None:
    """Too few or too many bytes for the Content-Length: aborted."""
    rig = Rig()
    rig.post()
    rig.agent.respond(200, (b"Content-Length", b"2"))
    rig.agent.reader.dataReceived(b"x" * sent)
    rig.agent.end(ResponseDone())
    assert rig.client.transport.aborted
    assert rig.record().outcome is Outcome.UPSTREAM_STREAM_ERROR


def leave_in_upload(rig: Rig) -> None:
    rig.client.send(POST + b"\r\n" + BODY[:5])
    rig.client.leave()


def leave_before_the_head(rig: Rig) -> None:
    rig.post()
    rig.client.leave()
    assert rig.agent.cancelled


def leave_in_the_body(rig: Rig) -> None:
    rig.post()
    rig.agent.respond(200)
    rig.agent.reader.dataReceived(b"piece")
    rig.client.leave()
    assert rig.agent.transport.calls == ["stop"]
    rig.agent.end(CancelledError())


@pytest.mark.parametrize(
    ("leave", "status"), [(leave_in_upload, 499), (leave_before_the_head, 499), (leave_in_the_body, 200)]
)
def test_a_client_that_leaves_ends_its_upstream(leave: Callable[[Rig], None], status: int) -> None:
    """In each phase the upstream is cancelled at once, and the client is to blame."""
    rig = Rig()
    leave(rig)
    record = rig.record()
    assert (record.status, record.outcome) == (status, Outcome.CLIENT_DISCONNECT)


def test_leaving_behind_the_end_of_a_stream_is_ok() -> None:
    """openai-python closes at ``[DONE]``, before the last chunk: it has all it wanted."""
    rig = Rig()
    rig.post()
    rig.agent.respond(200, (b"content-type", b"text/event-stream"))
    rig.agent.reader.dataReceived(b'data: {"a":1}\n\n')
    rig.agent.reader.dataReceived(b"data: [DONE]\n\n")
    rig.client.leave()
    assert rig.record().outcome is Outcome.OK


def test_backpressure_goes_through() -> None:
    """A client that does not read pauses the upstream, and reading resumes it."""
    rig = Rig()
    rig.post()
    rig.agent.respond(200)
    rig.client.channel.pauseProducing()
    rig.client.channel.resumeProducing()
    assert rig.agent.transport.calls == ["pause", "resume"]
    rig.agent.reader.dataReceived(b"x")
    rig.client.channel.pauseProducing()
    rig.agent.end(ResponseDone())
    assert not rig.sink.ended, "the last byte is not out while the client does not take it"
    rig.client.channel.resumeProducing()
    assert rig.record().outcome is Outcome.OK


def test_too_many_held_bodies_are_refused_for_now() -> None:
    """503 with Retry-After when the memory for held bodies is used up."""
    rig = Rig(Limits(held_total_bytes=10))
    rig.client.send(POST + b"\r\n")
    [(status, fields, _)] = rig.client.answers()
    assert status == 503
    assert (b"Retry-After", b"1") in fields
    assert rig.record().outcome is Outcome.PROXY_OVERLOAD


def test_a_body_refused_by_the_channel_is_the_clients_error() -> None:
    """A body that breaks its framing midway is 400 for the client, and cancelled upstream."""
    rig = Rig(Limits(held_body_bytes=1))
    rig.client.send(b"POST /v1/files HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    assert rig.agent.producer is not None
    rig.client.send(b"zzz\r\n")
    [(status, _, body)] = rig.client.answers()
    assert status == 400
    assert rig.agent.cancelled
    record = rig.record()
    assert (record.status, record.outcome, record.model) == (400, Outcome.CLIENT_ERROR, "other")
    assert (record.received_bytes, record.sent_bytes) == (len(b"abc"), len(body))
    assert record.error == error_of_refusal(400)


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304)])
def test_a_client_that_has_the_head_of_an_answer_without_a_body_has_it_all(
    method: bytes, status: int
) -> None:
    """It may leave before the upstream's end is known here."""
    rig = Rig()
    rig.client.send(b"%b /v1/models HTTP/1.1\r\nHost: x\r\n\r\n" % method)
    rig.agent.respond(status)
    rig.client.leave()
    record = rig.record()
    assert (record.status, record.outcome, record.phase) == (status, Outcome.OK, None)


@pytest.mark.parametrize("again", [True, False])
def test_a_request_that_failed_twice_was_sent_again(again: bool) -> None:
    """Its attempt says so, though there is no answer that could."""
    rig = Rig()
    rig.post()
    error = errors.ConnectionClosed("closed")
    error.repeated = again
    rig.agent.answer.errback(Failure(error))
    [attempt] = rig.record().attempts
    assert attempt.repeated is again


@pytest.mark.parametrize(
    ("content_type", "held"),
    [
        (b"application/json", True),
        (b"application/json; charset=utf-8", True),
        (b"application/x-www-form-urlencoded", True),
        (b"multipart/form-data; boundary=x", False),
        (b"application/octet-stream", False),
    ],
)
def test_only_bodies_that_can_name_a_model_are_held(content_type: bytes, held: bool) -> None:
    """Uploads go on as they come; JSON is read first."""
    rig = Rig()
    rig.client.send(POST + b"Content-Type: " + content_type + b"\r\n\r\n" + BODY[:5])
    assert hasattr(rig.agent, "producer") is not held
    rig.client.send(BODY[5:])
    rig.agent.respond(200)
    rig.agent.end(ResponseDone())
    assert rig.record().model == ("gpt-4o-mini" if held else "none")


def test_a_held_body_gives_its_room_back_with_the_answers_head() -> None:
    """A stream of minutes does not keep the memory of its question."""
    rig = Rig()
    rig.post()
    held = rig.client.site.held_bodies
    assert held.held_bytes == len(BODY)
    rig.agent.respond(200)
    assert held.held_bytes == 0
    rig.agent.end(ResponseDone())
    assert rig.record().received_bytes == len(BODY)


def test_a_path_names_the_model_of_a_body_that_is_too_long() -> None:
    """Azure's deployments are known though nobody reads the question."""
    rig = Rig(Limits(held_body_bytes=1))
    rig.ask(BODY, b"/openai/deployments/gpt-4o/chat/completions")
    rig.agent.respond(200, (b"Content-Length", b"0"))
    rig.agent.end(ResponseDone())
    assert rig.record().model == "gpt-4o"


def test_a_bug_behind_the_answer_costs_no_connection(
    nothing_left: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is logged; the client has its answer, and may have begun its next request."""
    rig = Rig()
    monkeypatch.setattr(rig.sink, "exchange_ended", None)
    rig.post()
    rig.agent.respond(200, (b"Content-Length", b"2"))
    rig.agent.reader.dataReceived(b"{}")
    rig.agent.end(ResponseDone())
    assert rig.client.answers()[0][2] == b"{}"
    assert rig.client.is_open()
    assert len(nothing_left) == 1
    nothing_left.clear()
    rig.client.done()


@pytest.mark.parametrize("cut", [0, 30, 90, 100])
def test_the_model_of_a_form_is_read_as_the_form_comes(cut: int) -> None:
    """It is sent on as it comes; what its first bytes name is known when the answer begins."""
    form = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n--x\r\n' + b"a" * 5000
    head = (
        b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: proxy\r\nContent-Length: %d\r\n"
        b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    ) % len(form)
    rig = Rig()
    rig.client.send(head + form[:cut])
    sent = StringTransport()
    rig.agent.producer.startProducing(sent)  # type: ignore[union-attr]
    rig.client.send(form[cut:])
    assert sent.value() == form
    rig.agent.respond(200, (b"Content-Length", b"2"))
    rig.agent.reader.dataReceived(b"ok")
    rig.agent.end(ResponseDone())
    assert rig.record().model == "whisper-1"
