"""Whatever clients, upstreams and the clock do: one record, nothing kept, and one upstream's answer."""

from __future__ import annotations

import json
import os
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from openai_proxy.config.routing import Breaker, Hedge, Retry
from openai_proxy.config.secret import Secret
from openai_proxy.config.settings import Limits
from openai_proxy.providers.token_fetch import TokenUnavailable
from openai_proxy.wire import errors
from openai_proxy.wire.fields import Field
from tests.support.routed import CHAT, DONE, ERROR, EVENTS, JSON, STREAM, TOKEN, Ask, RoutedRig, route
from tests.support.wire import HalfTransport

NAMES = ("one", "two", "three")
COMPLETION = b'{"id":"a","object":"chat.completion","choices":[{"index":0,"message":{"content":"x"}}]}'
ERRORS = (
    errors.ConnectFailed("x"),
    errors.ConnectTimedOut("x"),
    errors.TLSFailed("x"),
    errors.HeadTimedOut("x"),
    errors.ConnectionClosed("x"),
    errors.InvalidResponse("x"),
    errors.PoolExhausted("x"),
)
STATUSES = (200, 200, 200, 200, 204, 205, 304, 307, 400, 401, 408, 429, 500, 503, 529)
TYPES = (
    EVENTS,
    EVENTS,
    JSON,
    (b"content-type", b"text/plain"),
    (b"Content-Encoding", b"gzip"),
    (b"retry-after", b"3"),
    (b"x-ratelimit-remaining-requests", b"0"),
)
PIECES = (
    TOKEN,
    TOKEN,
    DONE,
    COMPLETION,
    TOKEN[:9],
    TOKEN[9:],
    b": ping\n\n",
    b'data: {"error":{"type":"server_error","message":"m"}}\n\n',
    b'{"error":{"type":"rate_limit_error","message":"m"}}',
    b'event: message_start\ndata: {"type":"message_start","message":{}}\n\n',
    bytes(70_000),
    b"\x1f\x8b garbage",
)
PLAYS: tuple[tuple[int, Field, tuple[bytes, ...], str], ...] = (
    (500, JSON, (ERROR,), "whole"),
    (429, (b"Retry-After", b"2"), (), "whole"),
    (200, JSON, (COMPLETION,), "whole"),
    (200, JSON, (COMPLETION[:9],), "cut"),
    (200, JSON, (COMPLETION[:9],), "none"),
    (200, JSON, (ERROR,), "whole"),
    (200, EVENTS, (TOKEN, DONE), "whole"),
    (200, EVENTS, (TOKEN,), "cut"),
    (200, EVENTS, (TOKEN,), "none"),
    (200, EVENTS, (), "cut"),
    (200, EVENTS, (), "none"),
    (200, EVENTS, (b"data: " + ERROR + b"\n\n",), "none"),
)
"""Of a status with a field: pieces, and how they end."""
REQUESTS = (
    STREAM,
    STREAM,
    STREAM,
    CHAT,
    CHAT,
    CHAT.replace(b"fast", b"two/x"),
    CHAT.replace(b"fast", b"nobody/x"),
    STREAM[:-1] + b',"logprobs":true,"n":3}',
    b"no json",
)


class Keys:
    """A source whose keys come when the script says so."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[Secret]] = []
        self.is_slow = False

    def current(self) -> Secret | Deferred[Secret]:
        if not self.is_slow:
            return Secret("k", "test")
        waiter: Deferred[Secret] = Deferred(self.waiting.remove)
        self.waiting.append(waiter)
        return waiter

    def expire(self, key: Secret) -> None:
        """Nothing."""

    def stop(self) -> None:
        """Nothing."""


class Seat:
    """One client's connection."""

    def __init__(self, rig: RoutedRig, body: bytes, first: int) -> None:
        self.channel: Any = rig.client.site.buildProtocol(None)
        self.transport = HalfTransport()
        self.channel.makeConnection(self.transport)
        self.is_gone = False
        self.asks_at_first_byte: int | None = None
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        self._rest = (head + body)[first:]
        self.channel.dataReceived((head + body)[:first])

    @property
    def received(self) -> bytes:
        return bytes(self.transport.value())

    def go_on(self) -> None:
        """The rest of the request comes."""
        rest, self._rest = self._rest, b""
        if rest and not self.is_gone:
            self.channel.dataReceived(rest)

    def leave(self) -> None:
        """Once."""
        if not self.is_gone:
            self.is_gone = True
            self.channel.connectionLost(Failure(ConnectionDone()))

    def body(self) -> bytes:
        """As far as it came, chunks put together."""
        head, _, rest = self.received.partition(b"\r\n\r\n")
        if b"Transfer-Encoding: chunked" not in head:
            return rest
        body = b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            body += rest[: int(size, 16)]
            rest = rest[int(size, 16) + 2 :]
        return body


class World:
    """One gateway, its clients one after the other, and its upstreams."""

    def __init__(self, targets: int, is_hedged: bool, is_translated: bool, has_deadlines: bool) -> None:
        names = NAMES[:targets]
        deadlines: dict[str, Any] = (
            {"first_token_seconds": 2.0, "total_seconds": 5.0} if has_deadlines else {}
        )
        self.keys = Keys()
        more: dict[str, Any] = {names[-1]: {"dialect": "anthropic"}} if is_translated else {}
        more["one"] = {**more.get("one", {}), "api_key": Secret("k", "test")}
        self.rig = RoutedRig(
            *names,
            models={"fast": route(*names, **deadlines)},
            retry=Retry(attempts=4, attempts_per_target=2),
            breaker=Breaker(min_attempts=3, open_seconds=4.0),
            hedge=Hedge(enabled=is_hedged, min_samples=1, max_ratio=1.0, min_seconds=0.5),
            limits=Limits(held_total_bytes=20_000),
            keys={"one": self.keys},
            **more,
        )
        if is_hedged:
            self.rig.gateway.hedging.first_token("fast", 0.1)
        self.is_translated = is_translated
        self.said: dict[int, bytes] = {}
        """All that an ask's answer said, by the ask's id."""
        self.seat: Seat | None = None
        self.seats: list[Seat] = []

    # What can happen.

    def ask(self, which: int, what: int) -> None:
        """A client comes, with a whole request or the beginning of one."""
        body = REQUESTS[what % len(REQUESTS)]
        self.seats.append(Seat(self.rig, body, 5000 if which % 4 else 90))

    def go_on(self, which: int, what: int) -> None:
        for seat in self.seats:
            seat.go_on()

    def head(self, which: int, what: int) -> None:
        ask = self._ask(which, is_answered=False)
        if ask is not None:
            ask.respond(STATUSES[what % len(STATUSES)], TYPES[what // 7 % len(TYPES)])

    def well(self, which: int, what: int) -> None:
        ask = self._ask(which, is_answered=False)
        if ask is not None:
            ask.respond(200, TYPES[what % 3])

    def play(self, which: int, what: int) -> None:
        """An answer, from its head to some end or to none."""
        ask = self._ask(which, is_answered=False)
        if ask is not None:
            status, field, pieces, end = PLAYS[what % len(PLAYS)]
            ask.respond(status, field)
            for data in pieces:
                self._give(ask, data)
            if end != "none":
                ask.end(errors.Truncated("x") if end == "cut" else None)

    def _give(self, ask: Ask, data: bytes) -> None:
        self.said[id(ask)] = self.said.get(id(ask), b"") + data
        ask.piece(data)

    def fail(self, which: int, what: int) -> None:
        ask = self._ask(which, is_answered=False)
        if ask is not None:
            ask.fail(ERRORS[what % len(ERRORS)])

    def piece(self, which: int, what: int) -> None:
        ask = self._ask(which, is_answered=True)
        if ask is not None:
            self._give(ask, PIECES[what % len(PIECES)])

    def end(self, which: int, what: int) -> None:
        ask = self._ask(which, is_answered=True)
        if ask is not None:
            ask.end(None if what % 3 else errors.Truncated("x"))

    def wait(self, which: int, what: int) -> None:
        self.rig.clock.advance((0.1, 0.5, 1.0, 2.0, 2.0, 5.0)[what % 6])

    def leave(self, which: int, what: int) -> None:
        if self.seats:
            self.seats[which % len(self.seats)].leave()

    def block(self, which: int, what: int) -> None:
        """A client does not read, or reads again."""
        if self.seats:
            seat = self.seats[which % len(self.seats)]
            producer = seat.transport.producer
            if producer is not None and not seat.is_gone:
                (producer.resumeProducing, producer.pauseProducing)[what % 2]()

    def key(self, which: int, what: int) -> None:
        """Keys are slow from now on, or those that are waited for come, or do not."""
        self.keys.is_slow = what % 2 == 0
        waiting, self.keys.waiting = self.keys.waiting, []
        for waiter in waiting:
            if which % 2:
                waiter.callback(Secret("k", "test"))
            else:
                waiter.errback(TokenUnavailable("x"))

    # What follows.

    @property
    def asks(self) -> list[Ask]:
        return [ask for upstream in self.rig.upstreams.values() for ask in upstream.asks]

    def _ask(self, which: int, is_answered: bool) -> Ask | None:
        asks = [ask for ask in self.asks if not ask.is_over and ask.is_answered is is_answered]
        return asks[which % len(asks)] if asks else None

    def act(self, kind: str, which: int, what: int) -> None:
        """One thing happens; then the law holds."""
        getattr(self, kind)(which, what)
        self.rig.client.settle()
        for seat in self.seats:
            if seat.transport.aborted or seat.transport.disconnecting:
                seat.leave()
        began, ended = len(self.rig.sink.began), len(self.rig.sink.ended)
        assert began >= ended
        self._check_asks()

    def _check_asks(self) -> None:
        """No attempt follows on the first byte: there is one client at a time with anything under way."""
        if len(self.seats) != 1:
            return
        seat = self.seats[0]
        if seat.asks_at_first_byte is not None:
            assert len(self.asks) == seat.asks_at_first_byte
        elif seat.received:
            seat.asks_at_first_byte = len(self.asks)

    def close(self) -> None:
        """All leave; nothing is left."""
        if not self.is_translated:
            for seat in self.seats:
                self._check_body(seat)
        for seat in self.seats:
            seat.leave()
        self.rig.client.done()
        for ask in self.asks:
            # What is drained is nobody's: it is not waited for.
            if not ask.is_over and ask.is_answered:
                ask.end()
        rig = self.rig
        assert len(rig.sink.began) == len(rig.sink.ended)
        rig.check_given_back()
        assert sum(len(record.attempts) for record in rig.sink.ended) == len(self.asks)
        assert not self.keys.waiting

    def _check_body(self, seat: Seat) -> None:
        """What a client has is one upstream's answer or its beginning, the error in it, or our error."""
        body = seat.body()
        said = list(self.said.values())
        if not body or any(one.startswith(body) for one in said):
            return
        # Those of the upstreams say no more than "m".
        is_ours = json.loads(body)["error"]["message"] != "m"
        assert is_ours or any(body in one for one in said)


KINDS = (
    "ask",
    "head",
    "well",
    "well",
    "piece",
    "piece",
    "end",
    "play",
    "play",
    "play",
    "play",
    "fail",
    "wait",
    "wait",
)
acts = st.tuples(
    st.sampled_from((*KINDS, "leave", "block", "key", "go_on")), st.integers(0, 5), st.integers(0, 200)
)


@settings(max_examples=int(os.environ.get("INVARIANT_EXAMPLES", "300")), deadline=None)
@given(
    st.integers(1, 3),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(0, 8),
    st.lists(acts, min_size=3, max_size=40),
)
def test_every_exchange_ends_once_and_keeps_nothing(
    targets: int,
    is_hedged: bool,
    is_translated: bool,
    has_deadlines: bool,
    request: int,
    story: list[tuple[str, int, int]],
) -> None:
    """One record each, with as many attempts as were sent; no memory, trial, timer or upstream is kept."""
    world = World(targets, is_hedged, is_translated, has_deadlines)
    world.act("ask", 1, request)
    for kind, which, what in story:
        world.act(kind, which, what)
    world.close()
