"""The unified way: what becomes of an answer, held back until it is known to be one."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from twisted.web.http import PotentialDataLoss

from openai_proxy.config.provider import Quirks
from openai_proxy.wire import errors
from tests.support.exchanges import Transport
from tests.support.memory import UPGRADE
from tests.support.routed import CHAT, DONE, ERROR, EVENTS, JSON, ONCE, STREAM, TOKEN, RoutedRig, route

LONG = b'{"a":"' + b"x" * 1_100_000 + b'"}'
FAILED = b"data: " + ERROR + b"\n\n"


def test_a_stream_begins_with_its_first_event() -> None:
    """What comes before is held; what comes after goes on at once."""
    rig = RoutedRig()
    rig.ask(STREAM)
    ask = rig.one.last
    ask.respond(200, EVENTS)
    ask.piece(b": ping\n\n")
    assert not rig.client.received
    ask.piece(TOKEN)
    assert TOKEN in rig.client.received
    ask.piece(DONE)
    ask.end()
    assert rig.answer()[2] == b": ping\n\n" + TOKEN + DONE
    assert rig.record().outcome == "ok"


def test_a_stream_that_begins_with_an_error_is_followed_by_another() -> None:
    """Nothing of it has gone to the client; its upstream is not read to its end."""
    rig = RoutedRig()
    rig.ask(STREAM)
    rig.one.last.respond(200, EVENTS)
    rig.one.last.piece(FAILED)
    assert rig.one.last.was_cancelled
    rig.two.last.stream(TOKEN, DONE)
    assert rig.answer()[2] == TOKEN + DONE
    assert rig.results() == [("one", "http_5xx"), ("two", "ok")]


@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize("is_zipped", [True, False])
def test_an_error_in_a_stream_is_answered_as_one(is_whole: bool, is_zipped: bool) -> None:
    """The error alone, with the status that it should have had; plain, though it came zipped."""
    rig = RoutedRig(retry=ONCE)
    rig.ask(STREAM, b"Accept-Encoding: gzip")
    said = FAILED[: None if is_whole else -1]
    encoding = [(b"Content-Encoding", b"gzip")] if is_zipped else []
    rig.one.last.respond(200, EVENTS, (b"x-request-id", b"theirs"), *encoding)
    rig.one.last.piece(gzip.compress(said) if is_zipped else said)
    rig.one.last.end()
    status, fields, body = rig.answer()
    assert (status, body) == (500, ERROR)
    assert fields[b"content-type"] == b"application/json"
    assert fields[b"x-request-id"] == b"theirs"
    assert b"content-encoding" not in fields
    record = rig.record()
    assert (record.status, record.outcome, record.request_id) == (500, "upstream_error", b"theirs")


@pytest.mark.parametrize("asked", [CHAT, STREAM])
def test_an_error_in_a_list_is_taken_out_of_it(asked: bytes) -> None:
    """Where the provider is known for such."""
    rig = RoutedRig(retry=ONCE, one={"quirks": Quirks(fix_error_list=True)})
    rig.ask(asked)
    rig.one.last.give(400, b"[" + ERROR + b"]")
    status, fields, body = rig.answer()
    assert (status, body) == (400, ERROR)
    assert fields[b"content-type"] == b"application/json"
    assert rig.results() == [("one", "http_4xx")]


@pytest.mark.parametrize("quirks", [Quirks(fix_tool_index=True), Quirks(fix_error_list=True)])
def test_what_no_quirk_is_about_stays(quirks: Quirks) -> None:
    """With its own length."""
    rig = RoutedRig(retry=ONCE, one={"quirks": quirks})
    said = ERROR if quirks.fix_error_list else b"[" + ERROR + b"]"
    rig.ask()
    rig.one.last.give(400, said)
    assert rig.answer()[2] == said
    rig.record()


@pytest.mark.parametrize("is_zipped", [True, False])
def test_an_error_in_json_is_answered_as_one(is_zipped: bool) -> None:
    """HTTP 200 with an error body is no success."""
    rig = RoutedRig(retry=ONCE)
    rig.ask()
    error = ERROR.replace(b"server_error", b"rate_limit_error")
    encoding = [(b"Content-Encoding", b"gzip")] if is_zipped else []
    rig.one.last.give(200, gzip.compress(error) if is_zipped else error, *encoding)
    status, fields, body = rig.answer()
    assert (status, body) == (429, error)
    assert b"content-encoding" not in fields
    record = rig.record()
    assert record.outcome == "upstream_rate_limited"
    assert record.error is not None and record.error.type == "rate_limit_error"


def test_a_stream_that_is_cut_before_it_began_is_followed_by_another() -> None:
    """As is one that ends without a word."""
    rig = RoutedRig("one", "two", "three")
    rig.ask(STREAM)
    rig.one.last.respond(200, EVENTS)
    rig.one.last.end(errors.Truncated("x"))
    rig.two.last.respond(200, EVENTS)
    rig.two.last.end(PotentialDataLoss())
    rig.three.last.stream(TOKEN, DONE)
    assert rig.answer()[2] == TOKEN + DONE
    assert rig.results() == [("one", "stream_error"), ("two", "stream_error"), ("three", "ok")]


def test_a_stream_that_is_cut_behind_its_beginning_is_cut_for_the_client() -> None:
    """Another one's answer cannot be its rest."""
    rig = RoutedRig()
    rig.ask(STREAM)
    rig.one.last.respond(200, EVENTS)
    rig.one.last.piece(TOKEN)
    rig.one.last.end(errors.Truncated("x"))
    assert rig.client.transport.aborted
    assert not rig.two.asks
    assert rig.record().outcome == "upstream_stream_error"


def test_json_is_held_until_it_is_whole() -> None:
    """JSON that is cut is another target's chance."""
    rig = RoutedRig()
    rig.ask()
    rig.one.last.respond(200, JSON, (b"Content-Length", b"20"))
    rig.one.last.piece(b'{"a":')
    assert not rig.client.received
    rig.one.last.end(errors.Truncated("x"))
    rig.two.last.give(200, b"{}")
    assert rig.answer()[0] == 200
    assert rig.results() == [("one", "stream_error"), ("two", "ok")]


@pytest.mark.parametrize("more", [{}, {"one": {"quirks": Quirks(fix_finish_reason=True)}}])
def test_long_json_is_not_held(more: dict[str, Any]) -> None:
    """Past a megabyte it goes on as it comes, byte for byte, with or without repairs."""
    rig = RoutedRig(**more)
    rig.ask()
    rig.one.last.respond(200, JSON, (b"Content-Length", b"%d" % len(LONG)))
    rig.one.last.piece(LONG[:1_050_000])
    assert len(rig.client.received) > 1_000_000
    rig.one.last.piece(LONG[1_050_000:])
    rig.one.last.end()
    assert rig.answer()[2] == LONG
    assert rig.record().outcome == "ok"


@pytest.mark.parametrize(
    ("method", "status", "fields"),
    [
        (b"HEAD", 200, [JSON, (b"Content-Length", b"5")]),
        (b"GET", 204, []),
        (b"GET", 205, []),
        (b"GET", 304, [(b"ETag", b'"a"')]),
        (b"GET", 307, [(b"Location", b"http://elsewhere/"), (b"Content-Length", b"0")]),
    ],
)
def test_answers_without_content_go_on(method: bytes, status: int, fields: list[tuple[bytes, bytes]]) -> None:
    """With their fields, and no byte more."""
    rig = RoutedRig()
    rig.get(b"/v1/models", method)
    rig.one.last.respond(status, *fields)
    rig.one.last.end()
    [(got, told, body)] = rig.client.answers(method)
    assert (got, body) == (status, b"")
    assert {name.lower() for name, _ in fields} <= {name.lower() for name, _ in told}
    assert rig.record().status == status


@pytest.mark.parametrize("status", [200, 204, 205])
def test_an_empty_answer_to_a_question_is_an_answer(status: int) -> None:
    """JSON of no bytes is not ours to judge."""
    rig = RoutedRig()
    rig.ask()
    rig.one.last.respond(status, JSON)
    rig.one.last.end()
    got, _, body = rig.answer()
    assert (got, body) == (status, b"")
    assert not rig.two.asks
    rig.record()


def test_a_client_that_does_not_read_pauses_its_upstream_from_the_beginning() -> None:
    """Though the beginning was held when it stopped reading."""
    rig = RoutedRig()
    rig.ask(STREAM)
    rig.one.last.respond(200, EVENTS)
    rig.client.channel.pauseProducing()
    rig.one.last.piece(TOKEN)
    assert rig.one.last.transport.calls == ["pause"]
    rig.client.channel.resumeProducing()
    assert rig.one.last.transport.calls == ["pause", "resume"]
    rig.one.last.piece(DONE)
    rig.one.last.end()
    assert rig.record().outcome == "ok"


def test_a_realtime_session_is_routed_by_its_query() -> None:
    """The name in it is the target's; then bytes go both ways."""
    rig = RoutedRig()
    rig.client.send(UPGRADE.replace(b"/v1/realtime", b"/v1/realtime?a=1&model=fast"))
    [ask] = rig.one.asks
    assert ask.url == b"http://one/v1/realtime?a=1&model=one-model"
    ask.fail(errors.ConnectFailed("x"))
    assert rig.two.last.url == b"http://two/v1/realtime?a=1&model=two-model"
    rig.two.last.give(403, ERROR)
    assert rig.answer()[0] == 403
    rig.record()


def test_what_is_created_is_known_by_its_provider() -> None:
    """A file goes where its model says, and whoever asks for it goes there too, fallback or not."""
    rig = RoutedRig(models={"fast": route("two", "one")})
    rig.ask(b"{}", path=b"/v1/files?provider=two")
    rig.two.last.give(200, b'{"id":"file-1","object":"file"}')
    rig.get(b"/v1/files/file-1")
    assert not rig.one.asks
    rig.two.last.give(404, ERROR)
    assert [answer[0] for answer in rig.client.answers()] == [200, 404]
    rig.client.done()
    rig.check_given_back()


def test_a_response_is_known_by_its_first_event() -> None:
    """And what goes on from it goes where it is."""
    rig = RoutedRig(models={"fast": route("two"), "slow": route("one")})
    rig.ask(b'{"model":"fast","input":"a","stream":true}', path=b"/v1/responses")
    created = b'event: response.created\ndata: {"type":"response.created","response":{"id":"resp_1"}}\n\n'
    ended = b'data: {"type":"response.completed","response":{"id":"resp_1"}}\n\n'
    rig.two.last.stream(created, ended)
    rig.ask(b'{"model":"slow","input":"b","previous_response_id":"resp_1"}', path=b"/v1/responses")
    assert not rig.one.asks
    rig.two.last.give(200, b'{"id":"resp_2"}')
    rig.client.done()
    rig.check_given_back()


def test_a_question_is_forgotten_when_its_answer_begins() -> None:
    """A stream of minutes keeps no memory for it."""
    rig = RoutedRig()
    rig.ask(STREAM)
    assert rig.context.held_bodies.held_bytes == len(STREAM)
    rig.one.last.respond(200, EVENTS)
    rig.one.last.piece(TOKEN)
    assert rig.context.held_bodies.held_bytes == 0
    producer = rig.one.last.producer
    assert producer is not None and getattr(producer, "_body", None) == b""
    rig.one.last.piece(DONE)
    rig.one.last.end()
    rig.record()


class Tunnelled(Transport):
    """What is behind a 101."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Never paused."""

    def unregisterProducer(self) -> None:
        """Never paused."""

    def loseConnection(self) -> None:
        self.calls.append("lose")


def test_a_session_that_is_accepted_is_a_tunnel() -> None:
    """Bytes go both ways, and no deadline of its route cuts it."""
    rig = RoutedRig(models={"fast": route("one", "two", total_seconds=5)})
    rig.client.send(UPGRADE.replace(b"/v1/realtime", b"/v1/realtime?model=fast"))
    ask = rig.one.last
    ask.transport = tunnelled = Tunnelled()
    ask.respond(101, (b"Upgrade", b"websocket"))
    rig.clock.advance(9)
    ask.piece(b"down")
    rig.client.send(b"up")
    assert tunnelled.written == [b"up"]
    assert rig.client.received.endswith(b"\r\n\r\ndown")
    rig.client.leave()
    assert tunnelled.calls == ["lose"]
    ask.end()
    record = rig.record()
    assert (record.status, record.outcome, record.received_bytes) == (101, "ok", 2)
    assert [one.result for one in record.attempts] == ["ok"]
