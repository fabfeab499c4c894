"""What a scripted upstream is asked: the answers, and the ends, that the mock cannot have."""

from __future__ import annotations

import gzip
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import count
from random import Random
from typing import Any

from tests.truth.client import Connection, Seen, events_of
from tests.truth.ledger import Ended, Ledger, Tokens, outcome_of, result_of, tokens_of
from tests.truth.upstream import Play, Upstream
from tests.truth.users import WAYS, User, error_in, head_of, request_of

OWN_MODEL = "acme-large-1"
"""A model that no table knows, learned from a good answer; it has no price."""
STATUSES = (400, 401, 402, 403, 404, 409, 413, 422, 429, 500, 502, 503, 504, 520, 529)
SNAPSHOTS = {
    "gpt-4o-mini": ("gpt-4o-mini", "gpt-4o-mini-2024-07-18"),
    "gpt-4o": ("gpt-4o", "gpt-4o-2024-11-20"),
    "gpt-5-mini": ("gpt-5-mini", "gpt-5-mini-2025-08-07"),
    OWN_MODEL: (OWN_MODEL,),
}
"""By label: the names that an answer gives."""
CHAT = "/v1/chat/completions"
_numbers = count(1)


def said(body: bytes, *fields: str, status: int = 200, media: str = "application/json") -> bytes:
    """A whole answer with a length."""
    lines = [f"HTTP/1.1 {status} Fine", f"Content-Type: {media}", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join([*lines, "", ""]).encode() + body


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """Of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(data: Any) -> bytes:
    """A server-sent event, with the name that a typed one has."""
    name = f"event: {data['type']}\n" if "type" in data else ""
    return f"{name}data: {json.dumps(data)}\n\n".encode()


DONE = b"data: [DONE]\n\n"


class PlayUser(User):
    """Asks what is behind ``/v1`` and ``/openai``, and says what that answers."""

    def __init__(self, port: int, ledger: Ledger, dice: Random, upstream: Upstream) -> None:
        super().__init__(port, ledger, dice)
        self.upstream = upstream
        self._ways: dict[str, tuple[int, Callable[[], Awaitable[None]]]] = {
            "whole": (20, self.whole),
            "stream": (25, self.stream),
            "responses": (12, self.responses),
            "without usage": (4, self.without_usage),
            "status": (8, self.status),
            "error in a 200": (3, self.error_in_200),
            "audio": (4, self.audio),
            "cut": (4, self.cut),
            "closes": (3, self.closes),
            "garbage": (3, self.garbage),
            "encoded": (2, self.encoded),
            "bodiless": (3, self.bodiless),
            "upload": (3, self.upload),
            "tunnel": (3, self.tunnel),
            "leaves in the stream": (4, self.leaves_in_stream),
            "leaves behind the end": (4, self.leaves_behind_end),
            "leaves before the head": (4, self.leaves_before_head),
        }

    async def turn(self) -> None:
        """One request of a random kind."""
        names = list(self._ways)
        (name,) = self.dice.choices(names, [self._ways[one][0] for one in names])
        await self._ways[name][1]()

    async def learn(self) -> None:
        """Have the daemon see a good answer of each model: then its name is its label.

        Until then it is ``other``.
        """
        for model in SNAPSHOTS:
            await self.whole(model)

    # What every play needs.

    def _play(self, play: Play) -> str:
        number = str(next(_numbers))
        self.upstream.plays[number] = play
        return f"x-play: {number}"

    def _target(self, path: str) -> str:
        return self.dice.choice(("", "/openai")) + path

    def _chat(self, model: str, stream: bool = False) -> tuple[dict[str, Any], bool | None]:
        asked: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
        include = None
        if stream:
            asked["stream"] = True
            include = self.dice.choice((True, False, None))
            if include is not None:
                asked["stream_options"] = {"include_usage": include}
        return asked, include

    async def _post(self, play: Play, asked: Any, path: str = CHAT, **more: Any) -> Seen:
        body = json.dumps(asked).encode()
        self._sent = len(body)
        data = request_of("POST", self._target(path), body, self._play(play), "Accept-Encoding: gzip")
        return await self.ask("POST", data, **more)

    def _usage(self) -> dict[str, Any]:
        dice = self.dice
        prompt, completion = dice.randint(1, 5000), dice.randint(0, 2000)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": dice.randint(0, prompt)},
            "completion_tokens_details": {"reasoning_tokens": dice.randint(0, completion)},
        }

    def _add(self, model: str, seen: Seen, **more: Any) -> None:
        ended = Ended(
            "openai",
            "chat_completions",
            model,
            seen.status,
            outcome_of(seen.status),
            self._sent,
            len(seen.body),
            result_of(seen.status),
        )
        self.ledger.add(replace(ended, **more))

    def _model(self) -> str:
        return self.dice.choice(list(SNAPSHOTS))

    # Good answers.

    async def whole(self, model: str | None = None) -> None:
        """Tokens from a cache, reasoning, a dated name, a tier: all as the answer says."""
        asked_model, answers = model or self._model(), model or self._model()
        name = self.dice.choice(SNAPSHOTS[answers])
        usage = self._usage()
        tier = self.dice.choice((None, "default", "flex", "priority"))
        answer: dict[str, Any] = {"id": "chatcmpl-1", "model": name, "choices": []}
        answer |= {"usage": usage, "service_tier": tier}
        body = json.dumps(answer).encode()
        zipped = self.dice.random() < 0.3
        fields = ("Content-Encoding: gzip",) if zipped else ()
        data = said(gzip.compress(body) if zipped else body, *fields)
        cut = self.dice.randint(1, len(data))
        asked, _ = self._chat(asked_model)
        seen = await self._post(Play(lambda _: [data[:cut], data[cut:]]), asked)
        assert seen.object == answer
        self._add(asked_model, seen, usage=tokens_of(usage), answer_model=answers, priced_as=name, tier=tier)

    def _chunks(self, name: str, texts: int, usage: Any, everywhere: bool) -> list[bytes]:
        """The events of a stream, but for its ``[DONE]``."""
        base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": name}
        deltas = [
            {"role": "assistant", "content": ""},
            *({"content": f"w{number}"} for number in range(texts)),
        ]
        events = []
        for place, delta in enumerate(deltas):
            one: dict[str, Any] = {**base, "choices": [{"index": 0, "delta": delta}]}
            if everywhere and usage is not None:
                # What is said before the last event is less, and never counts.
                one["usage"] = {**usage, "completion_tokens": place}
            events.append(event(one))
        if usage is not None:
            events.append(event({**base, "choices": [], "usage": usage}))
        return events

    async def stream(self) -> None:
        """Split at any byte; the usage comes if it was asked for, by the client or by the proxy."""
        asked_model, answers = self._model(), self._model()
        name, texts, usage = self.dice.choice(SNAPSHOTS[answers]), self.dice.randint(0, 20), self._usage()
        everywhere, zipped = self.dice.random() < 0.15, self.dice.random() < 0.2
        asked, include = self._chat(asked_model, True)
        dice = Random(self.dice.random())

        def answer(body: bytes) -> list[bytes]:
            wanted = bool(json.loads(body).get("stream_options", {}).get("include_usage"))
            assert wanted is (include is not False)
            data = b"".join(self._chunks(name, texts, usage if wanted else None, everywhere)) + DONE
            head = STREAM
            if zipped and include is not None:
                data = gzip.compress(data)
                head = STREAM.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
            pieces = [head]
            while data:
                size = dice.randint(1, 400)
                pieces.append(chunk(data[:size]))
                data = data[size:]
            return [*pieces, LAST]

        seen = await self._post(Play(answer), asked)
        assert seen.whole and seen.events[-1] + b"\n\n" == DONE
        has_event = any(b'"choices": []' in one for one in seen.events)
        assert has_event is (include is True)
        self._add(
            asked_model,
            seen,
            usage=None if include is False else tokens_of(usage),
            missing="stream_without_usage" if include is False else None,
            answer_model=answers,
            priced_as=name,
            token_events=texts,
        )

    async def responses(self) -> None:
        """Completed, incomplete and failed ones, whole and streamed."""
        model, state = self._model(), self.dice.choice(("completed", "completed", "incomplete", "failed"))
        name, tier = self.dice.choice(SNAPSHOTS[model]), self.dice.choice(("default", "priority"))
        into, out = self.dice.randint(1, 3000), self.dice.randint(1, 900)
        usage = {
            "input_tokens": into,
            "input_tokens_details": {"cached_tokens": into // 2},
            "output_tokens": out,
            "output_tokens_details": {"reasoning_tokens": out // 3},
        }
        error = {"code": "server_error", "message": "no"} if state == "failed" else None
        response = {"id": "resp_1", "status": state, "error": error, "model": name, "service_tier": tier}
        begun, ended = {**response, "error": None, "usage": None}, {**response, "usage": usage}
        stream, texts = self.dice.random() < 0.6, self.dice.randint(1, 9)
        asked = {"model": model, "input": "hi", "stream": stream}
        if stream:
            events = [event({"type": "response.created", "response": begun})]
            events += [event({"type": "response.output_text.delta", "delta": "w"})] * texts
            events += [event({"type": f"response.{state}", "response": ended})]
            play = Play(lambda _: [STREAM, *map(chunk, events), LAST])
        else:
            play = Play(lambda _: [said(json.dumps(ended).encode())])
        seen = await self._post(play, asked, "/v1/responses")
        assert seen.whole
        failed: dict[str, Any] = {}
        if error is not None:
            outcome = "upstream_stream_error" if stream else "upstream_error"
            failed = {
                "outcome": outcome,
                "result": "stream_error",
                "error": ("upstream", None, error["code"]),
            }
        self._add(
            model,
            seen,
            endpoint="responses",
            usage=tokens_of(usage),
            priced_as=name,
            tier=tier,
            token_events=texts if stream else 0,
            **failed,
        )

    async def audio(self) -> None:
        """Seconds of audio, paid by their length where the model is known."""
        seconds = self.dice.randint(1, 8000) / 8
        usage = {"type": "duration", "seconds": seconds}
        answer = said(json.dumps({"text": "hi", "usage": usage}).encode())
        asked = {"model": "whisper-1", "file": "none, which is no matter here"}
        seen = await self._post(Play(lambda _: [answer]), asked, "/v1/audio/transcriptions")
        self._add(
            "whisper-1",
            seen,
            endpoint="audio_transcriptions",
            usage=Tokens(seconds=seconds),
            priced_as="whisper-1",
        )

    # Answers that do not say what they should.

    async def without_usage(self) -> None:
        """Nothing about it, no JSON at all, or a number that is none."""
        model = self._model()
        body, reason = self.dice.choice(
            (
                (b'{"id":"chatcmpl-1","choices":[]}', "none_in_answer"),
                (b"<html>fine</html>", "unparsable"),
                (b'{"id":"chatcmpl-1","usage":{"prompt_tokens":-5,"completion_tokens":1}}', "unparsable"),
                (b'{"id":"chatcmpl-1","usage":null}', "none_in_answer"),
            )
        )
        seen = await self._post(Play(lambda _: [said(body)]), self._chat(model)[0])
        assert seen.body == body
        self._add(model, seen, missing=reason)

    async def encoded(self) -> None:
        """A coding that nobody asked for, and that is not read."""
        model = self._model()
        answer = said(b"\x0b\x02\x80hi\x03", "Content-Encoding: br")
        seen = await self._post(Play(lambda _: [answer]), self._chat(model)[0])
        self._add(model, seen, missing="unparsable")

    async def status(self) -> None:
        """Errors in JSON of several forms, or in none."""
        model, status = self._model(), self.dice.choice(STATUSES)
        error = {
            "message": "no",
            "type": self.dice.choice(("tokens", "rate_limit_error", "weird", None)),
            "code": self.dice.choice(("context_length_exceeded", "invalid_api_key", "odd-1", None)),
        }
        body, media = self.dice.choice(
            (
                (json.dumps({"error": error}).encode(), "application/json"),
                (json.dumps({"error": error}).encode(), "application/problem+json; charset=utf-8"),
                (b"<html>no</html>", "text/html"),
                (b"{", "application/json"),
            )
        )
        answer = said(body, "Retry-After: 1", status=status, media=media)
        seen = await self._post(Play(lambda _: [answer]), self._chat(model)[0])
        assert seen.status == status
        self._add(model, seen, error=error_in(seen))

    async def error_in_200(self) -> None:
        """An error where an answer should be."""
        model = self._model()
        error = {"message": "no", "type": "server_error", "code": "server_error"}
        stream = self.dice.random() < 0.5
        if stream:
            pieces = [
                STREAM,
                chunk(self._chunks(model, 1, None, False)[0]),
                chunk(event({"error": error})),
                LAST,
            ]
        else:
            pieces = [said(json.dumps({"error": error}).encode())]
        seen = await self._post(Play(lambda _: pieces), self._chat(model)[0])
        assert seen.whole and seen.status == 200
        self._add(
            model,
            seen,
            outcome="upstream_stream_error" if stream else "upstream_error",
            result="stream_error",
            error=("upstream", "server_error", "server_error"),
        )

    # Ends that are none.

    async def cut(self) -> None:
        """The upstream closes in the midst of its body."""
        model = self._model()
        stream = self.dice.random() < 0.5
        half = b'{"id":"chatcmpl-1","choices":['
        if stream:
            events = self._chunks(model, 4, None, False)
            pieces = [STREAM, *map(chunk, events)]
            sent, tokens = sum(map(len, events)), 4
        else:
            pieces = [said(half + b" " * 50)[:-50]]
            sent, tokens = len(half), 0
        seen = await self._post(Play(lambda _: pieces, "close"), self._chat(model)[0])
        assert not seen.whole and len(seen.body) <= sent
        self._add(
            model,
            seen,
            sent=sent,
            outcome="upstream_stream_error",
            result="stream_error",
            missing="disconnect",
            token_events=tokens,
        )

    async def closes(self) -> None:
        """The upstream closes, or begins a head and closes, in an answer's stead."""
        model = self._model()
        pieces = self.dice.choice(([], [b"HTTP/1.1 200 OK\r\nContent-"]))
        seen = await self._post(Play(lambda _: pieces, "close"), self._chat(model)[0])
        self._failed(model, seen, "upstream_connection_closed")

    async def garbage(self) -> None:
        """What is no HTTP."""
        model = self._model()
        pieces = [self.dice.choice((b"\0" * 50, b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 2x0 OK\r\n\r\n"))]
        seen = await self._post(Play(lambda _: pieces, "wait"), self._chat(model)[0])
        self._failed(model, seen, "upstream_invalid_response")

    def _failed(self, model: str, seen: Seen, code: str) -> None:
        assert seen.whole and seen.status == 502
        assert seen.object["error"]["code"] == code
        self._add(
            model, seen, result="protocol_error", error=("proxy", "server_error", code), missing="no_answer"
        )

    # Other ways than a POST of JSON.

    async def bodiless(self) -> None:
        """HEAD, 204, 304, and a redirect."""
        method = self.dice.choice(("HEAD", "GET", "DELETE"))
        status = 200 if method == "HEAD" else self.dice.choice((204, 304, 302))
        length = "" if status == 204 else "Content-Length: 0\r\n"
        answer = f"HTTP/1.1 {status} Fine\r\n{length}\r\n".encode()
        line = self._play(Play(lambda _: [answer]))
        self._sent = 0
        seen = await self.ask(method, head_of(method, self._target("/v1/files/file-1"), line))
        assert seen.whole and seen.status == status
        self._add("none", seen, endpoint="files")

    async def upload(self) -> None:
        """A file, chunked: it is sent on as it comes, and nobody reads it."""
        pieces = [bytes(self.dice.randint(1, 5000)) for _ in range(self.dice.randint(0, 9))]
        whole = b"".join(pieces)
        play = Play(lambda body: [said(b'{"id":"file-1"}')])
        fields = ("Content-Type: application/octet-stream", "Transfer-Encoding: chunked", self._play(play))
        data = head_of("POST", self._target("/v1/files"), *fields) + b"".join(map(chunk, pieces)) + LAST
        seen = await self.ask("POST", data)
        assert seen.whole and play.body == whole
        self._sent = len(whole)
        self._add("none", seen, endpoint="files")

    async def tunnel(self) -> None:
        """A WebSocket: bytes both ways, as many as the two ends say."""
        answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        fields = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
        connection = await Connection.open(self.port)
        play = self._play(Play(lambda _: [answer]))
        connection.transport.write(head_of("GET", self._target("/v1/realtime?model=x"), *fields, play))
        seen = await connection.answer("GET")
        assert seen.status == 101
        for _ in range(self.dice.randint(0, 3)):
            data = bytes(self.dice.randint(1, 3000))
            connection.transport.write(data)
            while len(connection.data) < len(data):
                await connection.change()
            seen.body += connection.data
            connection.data.clear()
        connection.transport.write_eof()
        await connection.end()
        self._sent = len(seen.body)
        self._add("none", seen, endpoint="realtime")

    # Clients that leave.

    async def leaves_in_stream(self) -> None:
        """Some events have come, and no more will."""
        model, texts = self._model(), self.dice.randint(0, 9)
        asked, _ = self._chat(model, True)
        events = self._chunks(model, texts, None, False)
        play = Play(lambda _: [STREAM, *map(chunk, events)], "wait")
        seen = await self._post(play, asked, enough=events_of(len(events)))
        self._left(model, seen, phase="mid_stream", missing="disconnect", token_events=texts)

    async def leaves_behind_end(self) -> None:
        """It has its ``[DONE]``, and does not wait for the last chunk."""
        model, texts, usage = self._model(), self.dice.randint(0, 9), self._usage()
        asked, include = self._chat(model, True)

        def answer(body: bytes) -> list[bytes]:
            wanted = b'"include_usage":true' in body.replace(b" ", b"")
            return [
                STREAM,
                *map(chunk, self._chunks(model, texts, usage if wanted else None, False)),
                chunk(DONE),
            ]

        def enough(seen: Seen) -> bool:
            return seen.plain.endswith(DONE)

        seen = await self._post(Play(answer, "wait"), asked, enough=enough)
        self._add(
            model,
            seen,
            usage=None if include is False else tokens_of(usage),
            missing="stream_without_usage" if include is False else None,
            priced_as=model,
            token_events=texts,
        )

    async def leaves_before_head(self) -> None:
        """The upstream has the request, and does not answer."""
        model = self._model()
        play = Play(lambda _: [], "wait")
        body = json.dumps(self._chat(model)[0]).encode()
        connection = await self.connection()
        connection.transport.write(request_of("POST", self._target(CHAT), body, self._play(play)))
        await play.came.wait()
        connection.leave(self.dice.choice(WAYS))
        await connection.end()
        self._sent = len(body)
        self._left(model, Seen(499), phase="before_first_byte", missing="disconnect")

    def _left(self, model: str, seen: Seen, **more: Any) -> None:
        self._add(model, seen, outcome="client_disconnect", result="aborted", **more)
