"""A small OpenAI in threads: it answers as the API does, and keeps every request as it came."""

from __future__ import annotations

import base64
import json
import queue
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from tests.support.sockets import Message, Peer, Truncated

HEADERS = {
    "Date": "Mon, 23 Nov 2026 12:00:00 GMT",
    "x-request-id": "req_scripted",
    "openai-processing-ms": "17",
    "openai-organization": "org-test",
    "openai-version": "2020-10-01",
    "x-ratelimit-limit-requests": "500",
    "x-ratelimit-remaining-tokens": "149984",
    "x-ratelimit-reset-requests": "120ms",
}
"""Of every answer."""

SPEECH = bytes(range(256)) * 40
VECTOR = (0.25, -1.0, 3.5)
WORDS = ("Hello", " wörld", "!")

Answering = Callable[[Peer, Message], None]
"""Writes an answer; the connection is kept unless it raises ConnectionError."""


def answer(status: int, body: bytes, content_type: str = "application/json", **fields: str) -> Answering:
    """A whole answer. ``fields`` have underscores for hyphens."""
    more = {name.replace("_", "-"): value for name, value in fields.items()}

    def write(peer: Peer, request: Message) -> None:
        fields = {**HEADERS, "Content-Type": content_type, "Content-Length": str(len(body)), **more}
        peer.send(head(status, fields) + body)

    return write


def json_answer(content: object, status: int = 200, **fields: str) -> Answering:
    """An object as JSON."""
    return answer(status, json.dumps(content).encode(), **fields)


def error(status: int, code: str, **fields: str) -> Answering:
    """An error in OpenAI's form."""
    content = {"error": {"message": f"It is {code}.", "type": "test_error", "param": "p", "code": code}}
    return json_answer(content, status, **fields)


def stream(*events: bytes, then: Answering | None = None) -> Answering:
    """Server-sent events, one chunk each; ``then`` in the stead of the last chunk."""

    def write(peer: Peer, request: Message) -> None:
        fields = {**HEADERS, "Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}
        peer.send(head(200, fields))
        for event in events:
            peer.send_chunk(event)
        if then is None:
            peer.send_chunk(b"")
        else:
            then(peer, request)

    return write


def hang_up(peer: Peer, request: Message) -> None:
    """Cut the connection."""
    raise ConnectionError


class OpenAIUpstream:
    """Listens when it is made. ``requests`` are in order of arrival.

    Answers of its own are given by path; those put into ``planned`` come before them.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[Message] = []
        self.planned: deque[Answering] = deque()
        self.left: queue.Queue[str] = queue.Queue()
        """How the connections ended on which :meth:`wait_for_leave` was."""
        self.failures: list[BaseException] = []
        self._files: dict[str, bytes] = {}
        self._peers: set[Peer] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def wait_for_leave(self, peer: Peer, request: Message) -> None:
        """Send nothing more, until the other side ends the connection; say how in ``left``."""
        self.left.put(peer.wait_end())
        raise ConnectionError

    def forget(self) -> None:
        """Begin anew."""
        self.requests.clear()
        self.planned.clear()

    def close(self) -> None:
        """Close all; raise what went wrong in a thread."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in list(self._peers):
            _reset(peer.socket)
        for thread in self._threads:
            thread.join(20)
        for failure in self.failures:
            raise failure

    def __enter__(self) -> OpenAIUpstream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            peer = Peer(connection)
            self._peers.add(peer)
            thread = threading.Thread(target=self._serve, args=(peer,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, peer: Peer) -> None:
        try:
            while True:
                request = peer.read_request()
                self.requests.append(request)
                answering = self.planned.popleft() if self.planned else self.answering(request)
                answering(peer, request)
        except (OSError, Truncated):
            pass
        except BaseException as failure:
            self.failures.append(failure)
        finally:
            self._peers.discard(peer)
            peer.close()

    def answering(self, request: Message) -> Answering:
        """What is said to a request for which nothing is planned."""
        path = request.target.decode().partition("?")[0].removeprefix("/v1")
        if path.startswith("/files"):
            return self._file(path, request)
        if path == "/audio/speech":
            return answer(200, SPEECH, "audio/mpeg")
        if path == "/models":
            data = [{"id": "gpt-4o", "object": "model", "created": 1, "owned_by": "system"}]
            return json_answer({"object": "list", "data": data})
        asked = json.loads(request.body) if request.body else {}
        made = {"/chat/completions": chat, "/responses": responses, "/embeddings": embeddings}.get(path)
        return made(asked) if made is not None else error(404, "unknown_url")

    def _file(self, path: str, request: Message) -> Answering:
        if path == "/files":
            name = f"file-{len(self._files)}"
            self._files[name] = file_in(request)
            return json_answer(_file_object(name, len(self._files[name])))
        name, _, content = path.removeprefix("/files/").partition("/")
        if content:
            return answer(200, self._files[name], "application/octet-stream")
        return json_answer(_file_object(name, len(self._files[name])))


def chat(asked: dict[str, Any]) -> Answering:
    """A chat completion of :data:`WORDS`."""
    if asked.get("stream"):
        return stream(*chat_events())
    message = {"role": "assistant", "content": "".join(WORDS), "refusal": None}
    return json_answer(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": asked["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6},
            "a_member_of_next_year": {"kept": [1.0, 1e2]},
        }
    )


def chat_events() -> list[bytes]:
    """The same as a stream."""
    deltas: list[tuple[dict[str, str], str | None]] = [({"content": word}, None) for word in WORDS]
    events = []
    for delta, reason in [*deltas, ({}, "stop")]:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        chunk = {
            "id": "c",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "choices": [choice],
        }
        events.append(b"data: %b\n\n" % json.dumps(chunk, ensure_ascii=False).encode())
    return [*events, b"data: [DONE]\n\n"]


def responses(asked: dict[str, Any]) -> Answering:
    """A response of :data:`WORDS`."""
    text = "".join(WORDS)
    content = [{"type": "output_text", "text": text, "annotations": []}]
    output = [
        {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": content}
    ]
    made = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "output": output}
    if not asked.get("stream"):
        return json_answer(made)
    where = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    events: list[dict[str, Any]] = [{"type": "response.created", "response": {**made, "output": []}}]
    events += [{"type": "response.output_text.delta", "delta": word, **where} for word in WORDS]
    events += [{"type": "response.completed", "response": made}]
    return stream(
        *(
            b"event: %b\ndata: %b\n\n"
            % (event["type"].encode(), json.dumps({**event, "sequence_number": number}).encode())
            for number, event in enumerate(events)
        )
    )


def embeddings(asked: dict[str, Any]) -> Answering:
    """:data:`VECTOR`, in base64 where that is asked for, as the SDK does."""
    vector: object = list(VECTOR)
    if asked.get("encoding_format") == "base64":
        vector = base64.b64encode(struct.pack("<3f", *VECTOR)).decode()
    data = [{"object": "embedding", "index": 0, "embedding": vector}]
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    return json_answer({"object": "list", "data": data, "model": asked["model"], "usage": usage})


def file_in(request: Message) -> bytes:
    """The part named ``file`` of a multipart/form-data body."""
    content_type = request.get("content-type") or b""
    boundary = b"--" + content_type.partition(b"boundary=")[2]
    for part in request.body.split(boundary):
        head, _, content = part.partition(b"\r\n\r\n")
        if b'name="file"' in head:
            return content.removesuffix(b"\r\n")
    raise AssertionError("no file in the body")


def _file_object(name: str, size: int) -> dict[str, object]:
    return {
        "id": name,
        "object": "file",
        "bytes": size,
        "created_at": 1,
        "filename": "f",
        "purpose": "batch",
        "status": "processed",
    }


def head(status: int, fields: Mapping[str, str]) -> bytes:
    """A status line and fields, with the empty line."""
    lines = [f"HTTP/1.1 {status} Scripted", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def _reset(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
