"""A resource for operators: who asks is looked at first, and what is asked may take a while."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from msgspec import Struct
from twisted.internet.defer import Deferred, TimeoutError
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET

from openai_proxy.web.gate import Gate, Refusal, Wish
from openai_proxy.web.pages import JSON, Childless, Exposition, NotFound
from openai_proxy.wire.errors import error_body, reason_phrase
from openai_proxy.wire.fields import Field, values_of
from openai_proxy.wire.request import Request

OPERATION_SECONDS: Final = 60.0
"""Whoever knows the answer has so long: it may be another process."""

TEXT: Final[Field] = (b"Content-Type", b"text/plain; charset=utf-8")
CLOSED_POLICY: Final = b"default-src 'none'; frame-ancestors 'none'"

_WISHES: Final = {b"GET": Wish.LOOK, b"HEAD": Wish.LOOK}


def safe_fields(policy: bytes = CLOSED_POLICY) -> list[Field]:
    """What a browser has to know of an answer that is the operator's own.

    :param policy: CSP level 3: what a page may load and run.
    """
    return [
        (b"Cache-Control", b"no-store"),
        (b"Content-Security-Policy", policy),
        (b"Cross-Origin-Resource-Policy", b"same-origin"),
        (b"Referrer-Policy", b"no-referrer"),
        (b"X-Content-Type-Options", b"nosniff"),
    ]


_SAFE: Final = safe_fields()


class Answer(Struct, frozen=True, gc=False):
    """What is answered."""

    status: int
    type: Field
    body: bytes
    fields: tuple[Field, ...] = ()


Handler = Callable[[Request], Answer | Awaitable[Answer] | None]
"""None: it has answered by itself."""


def error(status: int, message: str, code: str, *fields: Field) -> Answer:
    """An error in OpenAI's form, as everywhere."""
    type_ = "invalid_request_error" if status < 500 else "server_error"
    return Answer(status, JSON, error_body(message, type_, code) + b"\n", fields)


def wants_json(request: Request) -> bool:
    """Whether ``Accept`` names JSON, and not only as one of everything."""
    return b"application/json" in _accepted(request)


def wants_html(request: Request) -> bool:
    """Whether a browser asks for a page."""
    return b"text/html" in _accepted(request) and not wants_json(request)


def _accepted(request: Request) -> set[bytes]:
    members = b",".join(values_of(request.fields, b"accept")).split(b",")
    return {member.partition(b";")[0].strip().lower() for member in members}


def send(request: Request, answer: Answer) -> None:
    """Answer, if its client is still there."""
    fields = [answer.type, *answer.fields, *_SAFE]
    request.answer(answer.status, reason_phrase(answer.status), fields, answer.body)


def refuse(request: Request, refusal: Refusal) -> None:
    """Say why not."""
    send(request, error(refusal.status, refusal.message, refusal.code, *refusal.fields))


class Guarded(Childless):
    """Asks the gate, then the handler of the method."""

    streams = True
    _log = Logger()

    def __init__(
        self,
        gate: Gate,
        clock: Any,
        handlers: Mapping[bytes, Handler],
        not_found: NotFound,
    ) -> None:
        """:param handlers: by method; that of GET stands for HEAD too."""
        super().__init__(not_found)
        self._gate = gate
        self._clock = clock
        self._handlers = dict(handlers)
        if b"GET" in self._handlers:
            self._handlers[b"HEAD"] = self._handlers[b"GET"]
        self._allow: Field = (b"Allow", b", ".join(sorted(self._handlers)))

    def render(self, request: Request) -> int:
        refusal = self._gate.refusal(request, _WISHES.get(request.method, Wish.CHANGE))
        handler = self._handlers.get(request.method)
        if refusal is not None:
            refuse(request, refusal)
        elif handler is None:
            allowed = self._allow[1].decode()
            send(request, error(405, f"Only {allowed} is allowed here.", "method_not_allowed", self._allow))
        else:
            asked = Deferred.fromCoroutine(self._handled(handler, request))
            asked.addTimeout(OPERATION_SECONDS, self._clock)
            asked.addErrback(self._failed, request)
        return NOT_DONE_YET

    async def _handled(self, handler: Handler, request: Request) -> None:
        answer = handler(request)
        if isinstance(answer, Awaitable):
            answer = await answer
        if answer is not None:
            send(request, answer)

    def _failed(self, failure: Failure, request: Request) -> None:
        if failure.check(TimeoutError) is not None:
            send(request, error(504, "The daemon did not say in time.", "timeout"))
            return
        self._log.failure("What an operator asked failed: {request}", failure=failure, request=repr(request))
        send(request, error(500, "The proxy failed to handle this request.", "proxy_error"))


class GuardedExposition(Exposition):
    """The exporter, for whom the gate lets see metrics."""

    def __init__(self, exporter: IResource, gate: Gate, not_found: NotFound) -> None:
        super().__init__(exporter, not_found)
        self._gate = gate

    def render(self, request: Request) -> Any:
        refusal = self._gate.refusal(request, Wish.METRICS)
        if refusal is None:
            return super().render(request)
        refuse(request, refusal)
        return NOT_DONE_YET
