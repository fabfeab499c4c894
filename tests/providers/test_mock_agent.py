"""The mock provider's agent: what is delivered, when, and what is left behind."""

from __future__ import annotations

import json
import zlib
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock, Cooperator
from twisted.python.failure import Failure
from twisted.web.client import FileBodyProducer, ResponseDone, readBody
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IBodyProducer, IResponse
from zope.interface import implementer
from zope.interface.verify import verifyObject

from openai_proxy.providers.mock.agent import MockAgent
from openai_proxy.providers.mock.answers import MAX_BODY_BYTES
from openai_proxy.wire.errors import ConnectionClosed, Truncated
from openai_proxy.wire.fields import Fields

CHAT = b"mock://mock/v1/chat/completions?x=y"
RESPONSES = b"mock://mock/v1/responses"
ASKED = {"model": "gpt-4o-mini", "messages": [], "input": "Hello"}


@implementer(IBodyProducer)
class Bytes:
    """A body that is written when it is asked for, or when ``give`` is called."""

    def __init__(self, body: bytes, at_once: bool = True) -> None:
        self.length = len(body)
        self.stopped = False
        self._body = body
        self._at_once = at_once
        self._consumer: Any = None
        self._done: Deferred[None] = Deferred()

    def startProducing(self, consumer: Any) -> Deferred[None]:
        self._consumer = consumer
        if self._at_once:
            consumer.write(self._body)
            return succeed(None)
        return self._done

    def give(self) -> None:
        self._consumer.write(self._body)
        self._done.callback(None)

    def fail(self, error: Exception) -> None:
        self._done.errback(error)

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...

    def stopProducing(self) -> None:
        self.stopped = True


class Turns(Clock):
    """A Clock of which one turn runs what is due when it begins, as a reactor's does."""

    def turn(self) -> None:
        for call in [call for call in self.calls if call.getTime() <= self.seconds()]:
            self.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)


class Reader(Protocol):
    """Keeps the pieces and the reason of the end."""

    def __init__(self, pause_after: int | None = None, stop_after: int | None = None) -> None:
        self.pieces: list[bytes] = []
        self.ends: list[Failure] = []
        self._pause_after = pause_after
        self._stop_after = stop_after

    def connectionMade(self) -> None:
        self._obey()

    def dataReceived(self, data: bytes) -> None:
        self.pieces.append(data)
        self._obey()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ends.append(reason)

    def _obey(self) -> None:
        if self._pause_after == len(self.pieces):
            self.transport.pauseProducing()  # type: ignore[union-attr]
        if self._stop_after == len(self.pieces):
            self.transport.stopProducing()  # type: ignore[union-attr]

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def end(self) -> Exception:
        (end,) = self.ends
        assert isinstance(end.value, Exception)
        return end.value


def start(clock: Clock, uri: bytes = CHAT, stream: bool = False, **knobs: str) -> Deferred[IResponse]:
    fields = [(b"X-Mock-" + name.replace("_", "-").encode(), value.encode()) for name, value in knobs.items()]
    body = Bytes(json.dumps({**ASKED, "stream": stream}).encode())
    return MockAgent(clock).request(b"POST", uri, Fields(raw=fields), body)


def respond(clock: Clock, uri: bytes = CHAT, stream: bool = False, **knobs: str) -> Any:
    fired = start(clock, uri, stream, **knobs)
    clock.advance(0)
    return result_of(fired)


def file_body(body: bytes, **options: Any) -> Any:
    return FileBodyProducer(BytesIO(body), **options)


def result_of(fired: Deferred[Any]) -> Any:
    assert fired.called
    found: list[Any] = []
    fired.addBoth(found.append)
    return found[0]


def turns(clock: Clock, limit: int = 100_000) -> int:
    """Advance by nothing until nothing is due; how many turns that took."""
    for turn in range(limit):
        if not any(call.getTime() <= clock.seconds() for call in clock.getDelayedCalls()):
            return turn
        clock.advance(0)
    raise AssertionError("no end")


def read(clock: Clock, uri: bytes = CHAT, stream: bool = False, **knobs: str) -> Reader:
    reader = Reader()
    respond(clock, uri, stream, **knobs).deliverBody(reader)
    turns(clock)
    assert clock.getDelayedCalls() == []
    return reader


def test_is_an_agent() -> None:
    """MockAgent is an IAgent."""
    assert verifyObject(IAgent, MockAgent(Clock()))


def test_whole() -> None:
    """JSON comes with its length, in one piece, and ends well."""
    clock, reader = Clock(), Reader()
    response = respond(clock)
    assert (response.code, response.phrase) == (200, b"OK")
    response.deliverBody(reader)
    turns(clock)
    assert response.length == len(reader.body)
    assert json.loads(reader.body)["object"] == "chat.completion"
    assert isinstance(reader.end, ResponseDone)
    assert clock.getDelayedCalls() == []


async def test_with_the_real_reactor_and_producer() -> None:
    """Stock FileBodyProducer and readBody get on with it, and with headers that are no Fields."""
    from twisted.internet import reactor

    agent = MockAgent(reactor)
    producer = file_body(json.dumps({**ASKED, "stream": True}).encode())
    headers = Headers({b"X-Mock-Chunks": [b"50"], b"X-Mock-Chunk-Ms": [b"0.1"]})
    response: IResponse = await agent.request(b"POST", CHAT, headers, producer)
    body = await readBody(response)
    assert body.count(b"data: ") == 53
    assert body.endswith(b"data: [DONE]\n\n")


def test_no_body_no_headers() -> None:
    """A request without body and headers is answered."""
    clock, reader = Clock(), Reader()
    fired = MockAgent(clock).request(b"GET", b"mock://mock/v1/models")
    clock.advance(0)
    result_of(fired).deliverBody(reader)
    turns(clock)
    assert json.loads(reader.body)["object"] == "list"


def test_large_answer_comes_in_pieces() -> None:
    """An answer larger than a socket's read comes in several pieces, whole."""
    reader = read(Clock(), chunks="50000")
    assert [len(piece) for piece in reader.pieces[:-1]] == [65536] * 3
    assert len(json.loads(reader.body)["choices"][0]["message"]["content"]) == 200_000


def test_one_piece_a_turn() -> None:
    """Without a gap each event comes in a turn of its own, and the end in another."""
    clock, reader = Turns(), Reader()
    response = respond(clock, stream=True, chunks="5")
    assert response.length is UNKNOWN_LENGTH
    response.deliverBody(reader)
    for place in range(8):
        assert len(reader.pieces) == place
        assert len(clock.getDelayedCalls()) == 1
        clock.turn()
    assert reader.ends == []
    clock.turn()
    assert isinstance(reader.end, ResponseDone)


def test_delay() -> None:
    """x-mock-delay-ms is waited before the head, and told."""
    clock = Clock()
    fired = start(clock, delay_ms="1500")
    clock.advance(1.4)
    assert not fired.called
    clock.advance(0.1)
    assert result_of(fired).headers.getRawHeaders("openai-processing-ms") == ["1500"]


def test_gap() -> None:
    """x-mock-chunk-ms is waited between events, not before the first nor after the last."""
    clock, reader = Clock(), Reader()
    respond(clock, stream=True, chunks="2", chunk_ms="100").deliverBody(reader)
    turns(clock)
    assert len(reader.pieces) == 1
    for count in range(2, 6):
        clock.advance(0.0625)
        assert len(reader.pieces) == count - 1
        clock.advance(0.0625)
        assert len(reader.pieces) == count
    turns(clock)
    assert isinstance(reader.end, ResponseDone)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", ["delay_ms", "chunk_ms", "chunks", "status", "fault", "gzip"])
def test_bad_knob(name: str, stream: bool) -> None:
    """A knob with a bad value is a 400 that names the header."""
    clock, reader = Clock(), Reader()
    response = respond(clock, CHAT, stream, **{name: "bad"})
    response.deliverBody(reader)
    turns(clock)
    assert response.code == 400
    error = json.loads(reader.body)["error"]
    assert error["param"] == "x-mock-" + name.replace("_", "-")
    assert error["param"] in error["message"]


def test_status() -> None:
    """x-mock-status is the answer's status, with a phrase where there is one."""
    clock = Clock()
    limited = respond(clock, status="429")
    assert (limited.code, limited.phrase) == (429, b"Too Many Requests")
    assert limited.headers.getRawHeaders("retry-after") == ["1"]
    assert respond(clock, status="529").phrase == b""


@pytest.mark.parametrize("stream", [False, True])
def test_reset(stream: bool) -> None:
    """reset: no head, the connection is lost, after the delay."""
    clock = Clock()
    fired = start(clock, stream=stream, fault="reset", delay_ms="10")
    clock.advance(0.01)
    assert isinstance(result_of(fired).value, ConnectionClosed)
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize("uri", [CHAT, RESPONSES])
@pytest.mark.parametrize("stream", [False, True])
def test_truncate(uri: bytes, stream: bool) -> None:
    """truncate: a true part of the body, cut inside an event, then Truncated."""
    whole, cut = (read(Clock(), uri, stream, **knobs) for knobs in ({}, {"fault": "truncate"}))
    assert 0 < len(cut.body) < len(whole.body)
    assert whole.body.startswith(cut.body)
    assert not cut.body.endswith(b"\n\n")
    assert isinstance(cut.end, Truncated)


@pytest.mark.parametrize("stream", [False, True])
def test_stall(stream: bool) -> None:
    """stall: half of the events, of JSON nothing; then silence with nothing pending."""
    clock = Clock()
    whole, stalled = read(clock, stream=stream), read(clock, stream=stream, fault="stall")
    clock.advance(1000)
    assert stalled.ends == []
    assert stalled.pieces == (whole.pieces[: len(whole.pieces) // 2] if stream else [])
    stalled.transport.stopProducing()  # type: ignore[union-attr]
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize("uri", [CHAT, RESPONSES])
def test_error_in_stream(uri: bytes) -> None:
    """error-in-stream: half of the events, an error in OpenAI's form, a clean end."""
    whole, faulty = (read(Clock(), uri, True, **knobs) for knobs in ({}, {"fault": "error-in-stream"}))
    *half, error = faulty.pieces
    assert half == whole.pieces[: len(whole.pieces) // 2]
    assert error.endswith(b"\n\n")
    assert json.loads(error.removeprefix(b"data: "))["error"]["type"] == "server_error"
    assert isinstance(faulty.end, ResponseDone)


@pytest.mark.parametrize(
    ("uri", "closing"), [(CHAT, b"data: [DONE]"), (RESPONSES, b"event: response.completed")]
)
def test_no_done(uri: bytes, closing: bytes) -> None:
    """no-done: all but the closing event, a clean end."""
    whole, open_ended = (read(Clock(), uri, True, **knobs) for knobs in ({}, {"fault": "no-done"}))
    assert open_ended.pieces == whole.pieces[:-1]
    assert whole.pieces[-1].startswith(closing)
    assert isinstance(open_ended.end, ResponseDone)


@pytest.mark.parametrize("fault", ["error-in-stream", "no-done"])
def test_faults_of_streams_only(fault: str) -> None:
    """A fault that only a stream can have leaves JSON as it is."""
    assert read(Clock(), fault=fault).body == read(Clock()).body


def unpacked(pieces: list[bytes]) -> tuple[list[bytes], bool]:
    """What each piece is once it is there, and whether the end came."""
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    return [unpacker.decompress(piece) for piece in pieces], unpacker.eof


def packed(stream: bool, **knobs: str) -> tuple[Any, Reader]:
    """The answer in gzip."""
    clock, reader = Clock(), Reader()
    names = {"gzip": "1", **knobs}
    fields = [(b"x-mock-" + name.encode(), value.encode()) for name, value in names.items()]
    body = Bytes(json.dumps({**ASKED, "stream": stream}).encode())
    fired = MockAgent(clock).request(
        b"POST", CHAT, Fields(raw=[(b"Accept-Encoding", b"gzip"), *fields]), body
    )
    clock.advance(0)
    response = result_of(fired)
    response.deliverBody(reader)
    turns(clock)
    assert response.headers.getRawHeaders("content-encoding") == ["gzip"]
    return response, reader


def test_gzip() -> None:
    """x-mock-gzip: the same JSON in gzip, an error's too, as long as the head says."""
    response, reader = packed(False)
    assert unpacked(reader.pieces) == (read(Clock()).pieces, True)
    assert response.length == len(reader.body)
    assert response.headers.getRawHeaders("content-length") == [str(len(reader.body))]
    response, reader = packed(False, status="429")
    assert unpacked(reader.pieces) == (read(Clock(), status="429").pieces, True)


def test_gzip_stream() -> None:
    """Each event can be read when it is there, and the last brings the end."""
    response, reader = packed(True)
    assert response.length is UNKNOWN_LENGTH
    assert unpacked(reader.pieces) == (read(Clock(), stream=True).pieces, True)


@pytest.mark.parametrize(
    ("fault", "ended"), [("truncate", False), ("stall", False), ("error-in-stream", True), ("no-done", True)]
)
def test_gzip_with_a_fault(fault: str, ended: bool) -> None:
    """A fault is that of the plain stream; where the end is clean, that of gzip is too."""
    _, reader = packed(True, fault=fault)
    plain = read(Clock(), stream=True, fault=fault)
    assert unpacked(reader.pieces) == (plain.pieces, ended)
    assert [end.type for end in reader.ends] == [end.type for end in plain.ends]


def test_gzip_that_is_not_accepted() -> None:
    """Without Accept-Encoding the answer is the plain one, to the byte."""
    for stream in (False, True):
        assert read(Clock(), stream=stream, gzip="1").pieces == read(Clock(), stream=stream).pieces


def test_nothing_while_paused() -> None:
    """Paused, nothing comes, not even the end; resumed, the rest comes."""
    clock, reader = Clock(), Reader(pause_after=3)
    whole = read(clock, stream=True, chunks="4")
    respond(clock, stream=True, chunks="4").deliverBody(reader)
    turns(clock)
    assert len(reader.pieces) == 3
    assert clock.getDelayedCalls() == []
    transport: Any = reader.transport
    transport.resumeProducing()
    turns(clock)
    assert reader.pieces == whole.pieces
    assert isinstance(reader.end, ResponseDone)


def test_paused_at_the_end() -> None:
    """A pause in the last piece holds back the end; a pause in connectionMade, everything."""
    clock = Clock()
    for pause_after in (0, 1):
        reader = Reader(pause_after=pause_after)
        respond(clock).deliverBody(reader)
        turns(clock)
        assert (len(reader.pieces), reader.ends) == (pause_after, [])
        transport: Any = reader.transport
        transport.resumeProducing()
        turns(clock)
        assert isinstance(reader.end, ResponseDone)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["pause", "resume", "turn"]), max_size=60))
def test_any_pauses(steps: list[str]) -> None:
    """Whatever the pauses: nothing while paused, never two calls, and in the end the same body."""
    clock, reader = Turns(), Reader()
    whole = read(clock, stream=True, chunks="10")
    respond(clock, stream=True, chunks="10").deliverBody(reader)
    transport: Any = reader.transport
    paused = False
    for step in steps:
        before = len(reader.pieces) + len(reader.ends)
        if step == "turn":
            clock.turn()
            assert len(reader.pieces) + len(reader.ends) - before <= (0 if paused else 1)
        else:
            paused = step == "pause"
            (transport.pauseProducing if paused else transport.resumeProducing)()
        assert len(clock.getDelayedCalls()) <= 1
    transport.resumeProducing()
    turns(clock)
    assert reader.pieces == whole.pieces
    assert isinstance(reader.end, ResponseDone)


@pytest.mark.parametrize("after", [0, 1, 4, 7])
def test_stop(after: int) -> None:
    """After stopProducing, wherever it is called, nothing comes and nothing is pending."""
    clock, reader = Clock(), Reader(stop_after=after)
    respond(clock, stream=True, chunks="4", chunk_ms="1").deliverBody(reader)
    clock.pump([0.0] + [0.002] * 20)
    assert (len(reader.pieces), reader.ends) == (after, [])
    assert clock.getDelayedCalls() == []
    transport: Any = reader.transport
    transport.resumeProducing()
    transport.abortConnection()
    assert clock.getDelayedCalls() == []


def test_stop_while_it_waits() -> None:
    """stopProducing between two pieces, paused or not, takes the pending call back."""
    for pause in (False, True):
        clock, reader = Clock(), Reader()
        respond(clock, stream=True, chunk_ms="600000").deliverBody(reader)
        turns(clock)
        transport: Any = reader.transport
        if pause:
            transport.pauseProducing()
        assert len(clock.getDelayedCalls()) == 1
        transport.stopProducing()
        assert clock.getDelayedCalls() == []


def test_delivered_once() -> None:
    """A second deliverBody is an error of the caller."""
    clock = Clock()
    response = respond(clock)
    response.deliverBody(Reader())
    with pytest.raises(RuntimeError):
        response.deliverBody(Reader())


def test_an_answer_not_read_leaves_nothing() -> None:
    """Without deliverBody nothing is pending."""
    clock = Clock()
    respond(clock, stream=True)
    assert clock.getDelayedCalls() == []


def test_cancel_in_the_delay() -> None:
    """Cancelling before the head takes the pending call back."""
    clock = Clock()
    fired = start(clock, delay_ms="1000")
    fired.cancel()
    assert isinstance(result_of(fired).value, CancelledError)
    assert clock.getDelayedCalls() == []


def test_cancel_in_the_body() -> None:
    """Cancelling while the request's body is read stops its producer."""
    clock, body = Clock(), Bytes(b"{}", at_once=False)
    fired = MockAgent(clock).request(b"POST", CHAT, None, body)
    fired.cancel()
    assert isinstance(result_of(fired).value, CancelledError)
    assert body.stopped
    assert clock.getDelayedCalls() == []


def test_cancel_with_a_file() -> None:
    """Cancelling gets on with the stock producer."""
    clock = Clock()
    cooperator = Cooperator(scheduler=lambda call: clock.callLater(0, call))
    producer = file_body(b"{}", cooperator=cooperator)
    fired = MockAgent(clock).request(b"POST", CHAT, None, producer)
    fired.cancel()
    assert isinstance(result_of(fired).value, CancelledError)


def test_body_that_comes_late_or_fails() -> None:
    """The head waits for the request's end, and a producer's failure is the request's."""
    clock = Clock()
    late = Bytes(json.dumps(ASKED).encode(), at_once=False)
    fired = MockAgent(clock).request(b"POST", CHAT, None, late)
    clock.advance(100)
    assert not fired.called
    late.give()
    clock.advance(0)
    assert result_of(fired).code == 200
    broken = Bytes(b"", at_once=False)
    fired = MockAgent(clock).request(b"POST", CHAT, None, broken)
    broken.fail(ValueError("gone"))
    assert isinstance(result_of(fired).value, ValueError)


def test_large_request_is_not_kept() -> None:
    """What is over the limit is counted, thrown away and refused."""
    clock = Clock()
    body = Bytes(b" " * (MAX_BODY_BYTES + 1))
    fired = MockAgent(clock).request(b"POST", CHAT, None, body)
    clock.advance(0)
    assert result_of(fired).code == 413


def test_streams_are_made_as_they_are_taken() -> None:
    """A stream of 100,000 events costs nothing before it is read, and can be left at any time."""
    clock, reader = Clock(), Reader(stop_after=10)
    respond(clock, stream=True, chunks="100000").deliverBody(reader)
    turns(clock)
    assert len(reader.pieces) == 10
