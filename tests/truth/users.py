"""The clients of a run, and what they ask of the mock; each request's truth goes into the ledger."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random
from typing import Any

from tests.truth.client import Connection, Enough, Seen, events_of, has_head
from tests.truth.ledger import Ended, Ledger, outcome_of, result_of
from tests.truth.questions import MARKED, USAGE_DUE, Question, token_events

STATUSES = (201, 400, 401, 402, 403, 404, 405, 408, 409, 413, 418, 422, 429, 500, 502, 503, 504, 520, 529)
_ERROR = re.compile(rb'"error": ?\{')
WAYS = ("FIN", "RST", "half")


def head_of(method: str, target: str, *fields: str) -> bytes:
    """The bytes of a request's head."""
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: truth", *fields, "", ""]).encode()


def request_of(method: str, target: str, body: bytes, *fields: str) -> bytes:
    """A whole request."""
    length = (f"Content-Length: {len(body)}",) if body or method == "POST" else ()
    return head_of(method, target, *fields, *length) + body


def error_in(seen: Seen) -> tuple[str, str | None, str | None]:
    """Of an upstream's answer: its type and code, as they stand in its JSON."""
    try:
        error = seen.object["error"]
    except (ValueError, KeyError, TypeError):
        return ("upstream", None, None)
    return ("upstream", error.get("type"), error.get("code"))


class User:
    """One client: a connection that is kept while it can be."""

    def __init__(self, port: int, ledger: Ledger, dice: Random) -> None:
        self.port = port
        self.ledger = ledger
        self.dice = dice
        self._kept: Connection | None = None

    async def connection(self) -> Connection:
        """The kept one, or another."""
        kept, self._kept = self._kept, None
        if kept is not None and not kept.ended and self.dice.random() < 0.9:
            return kept
        if kept is not None:
            kept.transport.abort()
        return await Connection.open(self.port)

    async def accepted(self) -> Connection:
        """A connection that the daemon has seen, so that no leaving comes before it."""
        connection = await self.connection()
        connection.transport.write(head_of("GET", "/healthz"))
        assert (await connection.answer("GET")).whole
        return connection

    async def ask(self, method: str, data: bytes, enough: Enough | None = None) -> Seen:
        """Send a request and see its answer."""
        connection = await self.connection()
        if len(data) > 2000 and self.dice.random() < 0.3:
            connection.transport.write(data[:1500])
            data = data[1500:]
        connection.transport.write(data)
        seen = await connection.answer(method, enough)
        if seen.whole and seen.fields.get("connection") != "close":
            self._kept = connection
        elif seen.whole or enough is None:
            await connection.end()
        else:
            connection.leave(self.dice.choice(WAYS))
            await connection.end()
        return seen

    def close(self) -> None:
        """Let go of the connection."""
        if self._kept is not None:
            self._kept.transport.abort()
            self._kept = None


class MockUser(User):
    """Asks the mock, in every way, with every fault."""

    def __init__(self, port: int, ledger: Ledger, dice: Random, asked: list[Question]) -> None:
        super().__init__(port, ledger, dice)
        self.asked = asked
        self._ways: dict[str, tuple[int, Callable[[Question], Awaitable[None]]]] = {
            "good": (50, self.good),
            "status": (14, self.status),
            "reset": (4, self.reset),
            "truncate": (4, self.truncate),
            "stall": (5, self.stall),
            "error-in-stream": (4, self.error_in_stream),
            "no-done": (4, self.no_done),
            "leaves in the upload": (4, self.leaves_in_upload),
            "leaves before the head": (5, self.leaves_before_head),
            "leaves in the head": (1, self.leaves_in_head),
            "is refused": (4, self.is_refused),
            "breaks its body": (2, self.breaks_its_body),
        }

    async def turn(self) -> None:
        """One request of a random kind."""
        names = list(self._ways)
        (name,) = self.dice.choices(names, [self._ways[one][0] for one in names])
        await self._ways[name][1](self.dice.choice(self.asked))

    async def learn(self, question: Question) -> None:
        """Ask plainly: whole, then as a stream that says its usage."""
        seen = await self._send(question)
        question.learn(seen)
        self._add(question, seen, usage=question.usage, missing=self._none(question))
        for include in (True, False, None) if question.streams else ():
            seen = await self._send(question, True, include)
            question.streamed[include] = seen.events
            self._add_stream(question, seen, include)

    def _lost(self, question: Question) -> str | None:
        if question.endpoint == "audio_speech":
            return "not_in_api"
        return "disconnect" if question.endpoint in USAGE_DUE else None

    def _none(self, question: Question) -> str | None:
        if question.endpoint == "audio_speech":
            return "not_in_api"
        due = question.endpoint in USAGE_DUE and question.usage is None
        return "none_in_answer" if due else None

    def _choose(self, question: Question) -> tuple[bool, bool | None]:
        stream = question.streams and self.dice.random() < 0.6
        include = self.dice.choice((True, False, None)) if question.asks_for_usage else None
        return stream, include

    async def _send(
        self,
        question: Question,
        stream: bool = False,
        include: bool | None = None,
        *fields: str,
        enough: Enough | None = None,
    ) -> Seen:
        method = question.method
        body = question.body(stream, include) if method == "POST" else b""
        if method == "POST":
            fields = (*fields, f"Content-Type: {question.content_type}")
        if self.dice.random() < 0.3:
            fields = (*fields, "x-mock-gzip: 1", "Accept-Encoding: gzip, br")
        elif self.dice.random() < 0.2:
            method = "HEAD" if method == "GET" else method
        self._sent = len(body)
        return await self.ask(method, request_of(method, "/mock" + question.path, body, *fields), enough)

    def _ended(self, question: Question, seen: Seen, **more: Any) -> Ended:
        ended = Ended(
            "mock",
            question.endpoint,
            question.model,
            seen.status,
            outcome_of(seen.status),
            self._sent,
            len(seen.body),
            result_of(seen.status),
            priced_as=question.priced_as,
            tier=question.tier,
        )
        return replace(ended, **more)

    def _add(self, question: Question, seen: Seen, **more: Any) -> None:
        if question.endpoint == "messages" and seen.is_stream and more.get("missing") and question.usage:
            # Its first event said what came in, and one token.
            more |= {"usage": replace(question.usage, output=1), "missing": "disconnect"}
        elif "error" in more and seen.status == 200 and not more.get("token_events"):
            # Nothing was made, and nothing is due.
            more["missing"] = None
        self.ledger.add(self._ended(question, seen, **more))

    def _add_stream(self, question: Question, seen: Seen, include: bool | None, **more: Any) -> None:
        """Of one that came to its end."""
        assert seen.is_stream
        has_usage = question.usage is not None and not (question.asks_for_usage and include is False)
        due = question.endpoint in USAGE_DUE
        said: dict[str, Any] = {
            "usage": question.usage if has_usage else None,
            "missing": "stream_without_usage" if due and not has_usage else None,
            "token_events": token_events(question.endpoint, seen.events),
        }
        self._add(question, seen, **(said | more))

    async def good(self, question: Question) -> None:
        """Whole or streamed, zipped or not, the usage asked for, or not, or left open."""
        stream, include = self._choose(question)
        seen = await self._send(question, stream, include)
        assert seen.whole and seen.status == 200
        if not stream:
            self._add(question, seen, usage=question.usage, missing=self._none(question))
            return
        plain = bytes(seen.plain)
        if question.asks_for_usage:
            assert (b'"usage":{' in plain) is (include is True)
        self._add_stream(question, seen, include)

    async def status(self, question: Question) -> None:
        """An answer with a status of its own."""
        wanted = self.dice.choice(STATUSES)
        seen = await self._send(question, False, None, f"x-mock-status: {wanted}")
        assert seen.whole and seen.status == wanted
        if wanted < 400:
            self._add(question, seen, usage=question.usage, missing=self._none(question))
            return
        # Of an answer to HEAD nobody has the body.
        error = error_in(seen) if seen.body else ("upstream", None, None)
        self._add(question, seen, error=error)

    async def reset(self, question: Question) -> None:
        """The upstream is gone before its head."""
        seen = await self._send(question, *self._choose(question), "x-mock-fault: reset")
        assert seen.whole and seen.status == 502
        code = "upstream_connection_closed"
        self._add(
            question,
            seen,
            result="protocol_error",
            error=("proxy", "server_error", code),
            missing="no_answer" if question.endpoint in USAGE_DUE else None,
        )

    async def truncate(self, question: Question) -> None:
        """Half of the body, and an end that is none."""
        stream, include = self._choose(question)
        if question.asks_for_usage and include is None:
            # The mock cuts the stream that it was asked for in half, usage and all: not what we saw.
            include = True
        fields = ("x-mock-fault: truncate", *(("x-mock-gzip: 0",) if stream else ()))
        seen = await self._send(question, stream, include, *fields)
        if seen.whole:
            # An answer to HEAD: there is nothing to cut.
            self._add(question, seen)
            return
        # The client is cut off with a RST, and what its kernel did not have by then is lost: what
        # was written to it is known from what the mock had to say.
        if stream:
            sent, tokens = question.cut(include)
        else:
            sent, tokens = int(seen.fields["content-length"]) // 2, 0
        assert len(seen.body) <= sent
        self._add(
            question,
            seen,
            sent=sent,
            outcome="upstream_stream_error",
            result="stream_error",
            missing=self._lost(question),
            token_events=tokens,
        )

    async def stall(self, question: Question) -> None:
        """Half of the events and then silence: the client has enough of it."""
        stream, include = self._choose(question)
        enough = events_of(question.half(include)) if stream else has_head
        seen = await self._send(question, stream, include, "x-mock-fault: stall", enough=enough)
        if seen.whole:
            self._add(question, seen)
            return
        self._add(
            question,
            seen,
            outcome="client_disconnect",
            phase="mid_stream",
            result="aborted",
            missing=self._lost(question),
            token_events=token_events(question.endpoint, seen.events) if stream else 0,
        )

    async def error_in_stream(self, question: Question) -> None:
        """A clean end behind an error, with status 200; an answer that is no stream is left whole."""
        stream, include = self._choose(question)
        seen = await self._send(question, stream, include, "x-mock-fault: error-in-stream")
        assert seen.whole
        if not stream:
            self._add(question, seen, usage=question.usage, missing=self._none(question))
            return
        (event,) = [one for one in seen.events if _ERROR.search(one)]
        error = json.loads(event.partition(b"data: ")[2])["error"]
        self._add_stream(
            question,
            seen,
            include,
            outcome="upstream_stream_error",
            result="stream_error",
            error=("upstream", error.get("type"), error.get("code")),
            usage=None,
            missing="stream_without_usage" if question.endpoint in USAGE_DUE else None,
        )

    async def no_done(self, question: Question) -> None:
        """A clean end without the last event."""
        stream, include = self._choose(question)
        seen = await self._send(question, stream, include, "x-mock-fault: no-done")
        assert seen.whole
        if not stream:
            self._add(question, seen, usage=question.usage, missing=self._none(question))
        elif question.endpoint not in MARKED:
            self._add_stream(question, seen, include)
        elif question.asks_for_usage or question.endpoint == "messages":
            self._add_stream(question, seen, include, outcome="upstream_stream_error", result="stream_error")
        else:
            self._add_stream(
                question,
                seen,
                include,
                outcome="upstream_stream_error",
                result="stream_error",
                usage=None,
                missing="stream_without_usage",
            )

    async def leaves_in_head(self, question: Question) -> None:
        """Nothing was asked, so nothing is counted."""
        connection = await self.accepted()
        connection.transport.write(b"POST /mock/v1/chat/completions HTTP/1.1\r\nHost: tru")
        connection.leave(self.dice.choice(("FIN", "RST")))

    async def leaves_in_upload(self, question: Question) -> None:
        """A part of the body has come: of JSON nothing was sent on, of a form all that came."""
        body = question.body()
        if question.method != "POST":
            return
        connection = await self.accepted()
        # No more than one read takes: a RST overtakes what the daemon has not read yet.
        part = self.dice.randint(0, min(len(body), 30_000) - 1)
        fields = (f"Content-Type: {question.content_type}", f"Content-Length: {len(body)}")
        connection.transport.write(head_of("POST", "/mock" + question.path, *fields) + body[:part])
        await self._drained(connection)
        connection.leave(self.dice.choice(WAYS))
        await connection.end()
        is_held = question.object is not None
        self._sent = part
        # Of a form its model is known once all of that field has come.
        named = f'name="model"\r\n\r\n{question.model}\r\n--sep\r\n'.encode() in body[:part]
        self._add(
            question,
            Seen(499),
            model=question.model if named and not is_held else "none",
            outcome="client_disconnect",
            phase="before_upstream" if is_held else "before_first_byte",
            result=None if is_held else "aborted",
        )

    async def leaves_before_head(self, question: Question) -> None:
        """The whole request is there, and its answer is not."""
        connection = await self.accepted()
        body = question.body(*self._choose(question)) if question.method == "POST" else b""
        fields = ("x-mock-delay-ms: 600000", f"Content-Type: {question.content_type}")
        connection.transport.write(request_of(question.method, "/mock" + question.path, body, *fields))
        await self._drained(connection)
        connection.leave(self.dice.choice(WAYS))
        await connection.end()
        self._sent = len(body)
        self._add(
            question,
            Seen(499),
            outcome="client_disconnect",
            phase="before_first_byte",
            result="aborted",
            missing="disconnect" if question.endpoint in USAGE_DUE else None,
        )

    async def _drained(self, connection: Connection) -> None:
        """All is in the sockets: a RST throws away what is not."""
        while connection.transport.get_write_buffer_size():
            await connection.change()

    async def is_refused(self, question: Question) -> None:
        """Before there was a route for it."""
        data = self.dice.choice(
            (
                head_of("GET", "/nowhere"),
                head_of("DELETE", "/nowhere/at/all?key=1"),
                b"GET /v1/models HTTP/1.1\r\n\r\n",
                b"GET /v1/models HTTP/1.1\r\nHost : x\r\n\r\n",
                head_of("GET", "/v1/../models"),
                head_of("GET", "/v1/" + "a" * 20_000),
                head_of("GET", "/v1/models", *(f"x-{number}: 1" for number in range(300))),
                head_of("POST", "/mock/v1/chat/completions", "Content-Length: 99999999"),
                head_of("POST", "/mock/v1/chat/completions", "Transfer-Encoding: gzip"),
                b"GET /v1/models HTTP/3.0\r\nHost: x\r\n\r\n",
                head_of("TRACE", "/v1/models"),
            )
        )
        seen = await self.ask("GET", data)
        assert seen.whole and seen.status in (400, 404, 413, 414, 431, 501, 505), data[:40]
        error = ("client", "invalid_request_error", None)
        self.ledger.add(Ended("none", "other", "none", seen.status, "client_error", error=error))

    async def breaks_its_body(self, question: Question) -> None:
        """A chunk that is none, when the request has a route."""
        connection = await self.connection()
        fields = ("Transfer-Encoding: chunked", "Expect: 100-continue", "Content-Type: application/json")
        connection.transport.write(head_of("POST", "/mock/v1/chat/completions", *fields))
        while b"100 Continue\r\n\r\n" not in connection.data:
            await connection.change()
        connection.data.clear()
        connection.transport.write(b"5\r\nhello\r\nbroken\r\n")
        seen = await connection.answer("POST")
        connection.transport.abort()
        assert seen.whole and seen.status == 400
        self.ledger.add(
            Ended(
                "mock",
                "chat_completions",
                "none",
                400,
                "client_error",
                len(b"hello"),
                len(seen.body),
                error=("client", "invalid_request_error", None),
            )
        )
