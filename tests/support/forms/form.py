"""An upstream that holds each request against a provider's documented form, and answers in it."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from tests.support.openai_upstream import Answering, OpenAIUpstream, head
from tests.support.sockets import Message, Peer

KEY_FIELDS = ("authorization", "api-key", "x-api-key", "x-goog-api-key")
KEY_PARAMETERS = ("key", "api-key", "api_key", "access_token")
FOREIGN = "sk-of-the-client"
"""The client's own key: no upstream whose key is configured may see it, wherever it stands."""


class Broken(Exception):
    """A request that breaks the form: it is answered 400, and fails the test."""


class NotThere(Exception):
    """What the provider does not have: it is answered 404, as there."""


@dataclass(frozen=True)
class Failing:
    """How the next request is answered, in the provider's own form for errors."""

    status: int
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """A request, taken apart."""

    message: Message

    @property
    def method(self) -> str:
        return self.message.start.split(b" ")[0].decode()

    @property
    def path(self) -> str:
        return self.message.target.decode().partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.message.target.decode().partition("?")[2], keep_blank_values=True))

    def json(self) -> dict[str, Any]:
        """The body; :class:`Broken` if it is no object in JSON."""
        kind = (self.message.get("content-type") or b"").partition(b";")[0].strip()
        if kind != b"application/json":
            raise Broken(f"the content type is {kind!r}")
        body = json.loads(self.message.body)
        if not isinstance(body, dict):
            raise Broken("the body is no object")
        return body

    def form(self) -> dict[str, bytes]:
        """The parts of multipart/form-data, by name; of a file its content."""
        kind, _, boundary = (self.message.get("content-type") or b"").partition(b"boundary=")
        if not kind.startswith(b"multipart/form-data") or not boundary:
            raise Broken(f"the content type is {kind!r}")
        first, *parts, last = (b"\r\n" + self.message.body).split(b"\r\n--" + boundary.strip(b'"'))
        if first or last not in (b"--", b"--\r\n"):
            raise Broken("the multipart body does not begin or end with its boundary")
        found = {}
        for part in parts:
            fields, _, content = part.partition(b"\r\n\r\n")
            name = fields.partition(b' name="')[2].partition(b'"')[0].decode()
            if not name or name in found:
                raise Broken(f"a part with the name {name!r}")
            found[name] = content
        return found


def need(holds: object, what: str) -> None:
    """Raise :class:`Broken` if it does not hold."""
    if not holds:
        raise Broken(what)


def none_of(problems: Iterable[str]) -> None:
    """Raise :class:`Broken` with the problems, if there are any."""
    found = list(problems)
    need(not found, "; ".join(found))


class FormUpstream(OpenAIUpstream):
    """``violations`` has what was wrong; ``failing`` what the next requests are answered with.

    :param key: the one that every request must bring.
    :param is_ours: whether that key is configured: then nothing of the client's own account may come.
    """

    key_field = "authorization"
    key_prefix = "Bearer "
    refuses_account = False
    """Whether the fields of another account at OpenAI are an error."""
    takes_bearer = False
    """Whether the key may stand in Authorization too, as an SDK of others sends it."""
    fields: ClassVar[Mapping[str, str]] = {}
    """Of every answer."""

    def __init__(self, key: str, is_ours: bool = True) -> None:
        self.key = key
        self.is_ours = is_ours
        self.violations: list[str] = []
        self.failing: deque[Failing] = deque()
        super().__init__()

    def forget(self) -> None:
        super().forget()
        self.violations.clear()
        self.failing.clear()

    def answering(self, request: Message) -> Answering:
        try:
            self._check_head(Asked(request))
            answering = self.answer_to(Asked(request))
        except Broken as broken:
            self.violations.append(f"{request.start.decode()}: {broken}")
            return self.failure(Failing(400), str(broken))
        except NotThere as missing:
            return self.failure(Failing(404), str(missing))
        return self.failure(self.failing.popleft()) if self.failing else answering

    def answer_to(self, asked: Asked) -> Answering:
        """Check the rest, and answer. Raises :class:`Broken` and :class:`NotThere`."""
        raise NotImplementedError

    def error_body(self, status: int, message: str) -> object:
        """In the provider's form."""
        raise NotImplementedError

    def failure(self, failing: Failing, message: str | None = None) -> Answering:
        """An error in the provider's form."""
        text = f"Scripted {failing.status}." if message is None else message
        return self.whole(self.error_body(failing.status, text), failing.status, failing.fields)

    def whole(self, content: object, status: int = 200, more: Mapping[str, str] | None = None) -> Answering:
        """JSON, with ``Content-Length``."""
        return self.raw(json.dumps(content).encode(), "application/json", status, more)

    def raw(
        self, body: bytes, content_type: str, status: int = 200, more: Mapping[str, str] | None = None
    ) -> Answering:
        """Any bytes."""
        length = {"Content-Type": content_type, "Content-Length": str(len(body))}
        begin = head(status, {**self.fields, **length, **(more or {})})
        return lambda peer, _: peer.send(begin + body)

    def events(self, events: Iterable[bytes]) -> Answering:
        """Server-sent events, a chunk each."""
        kind = {"Content-Type": "text/event-stream; charset=utf-8", "Transfer-Encoding": "chunked"}
        begin = head(200, {**self.fields, **kind})

        def write(peer: Peer, request: Message) -> None:
            peer.send(begin)
            for event in (*events, b""):
                peer.send_chunk(event)

        return write

    def _check_head(self, asked: Asked) -> None:
        message = asked.message
        keys = [(name, value) for name in KEY_FIELDS for value in message.all(name)]
        wanted = [[(self.key_field, (self.key_prefix + self.key).encode())]]
        if self.takes_bearer:
            wanted.append([("authorization", f"Bearer {self.key}".encode())])
        need(keys in wanted, f"the keys are in {[name for name, _ in keys]}, or another is there")
        need(not asked.query.keys() & set(KEY_PARAMETERS), "there is a key in the query")
        ours = [name for name in message.lower_names() if name.startswith(b"x-openai-proxy")]
        need(not ours, f"{ours} is not for the upstream")
        if self.is_ours:
            need(
                FOREIGN.encode() not in message.target + b"".join(v for _, v in message.fields),
                "a key leaked",
            )
            if not self.refuses_account:
                return
            account = message.all("openai-organization") + message.all("openai-project")
            need(not account, "the client's own account is named")
