"""What a request's head says, checked: target, Host, framing, expectations (RFC 9112)."""

from __future__ import annotations

import re
from functools import lru_cache

from msgspec import Struct
from twisted.web.iweb import UNKNOWN_LENGTH

from openai_proxy.config.settings import Limits
from openai_proxy.wire.errors import error_body, reason_phrase
from openai_proxy.wire.fields import Field, NameSet, tidy, tokens

_IN_TARGET = bytes(range(0x21, 0x7F)).replace(b"#", b"")
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+;=%-]*)(:[0-9]*)?")
_DOT_SEGMENT = re.compile(rb"(?:^|/)(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)
_ABSOLUTE = re.compile(rb"https?://[^/?]*", re.IGNORECASE)
_NOT_FORWARDED = frozenset({b"CONNECT", b"TRACE"})
"""CONNECT is for proxies that make tunnels; TRACE gives credentials back (RFC 9110 9.3.8)."""


class Rejected(Exception):
    """A request that is answered here: status, and a message for the client."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.code = code

    @property
    def body(self) -> bytes:
        """Of the answer."""
        ours = self.status in (500, 503)
        return error_body(self.message, "server_error" if ours else "invalid_request_error", self.code)

    def answer(self, request_id: bytes) -> bytes:
        """The whole answer, after which the connection closes."""
        body = self.body
        return (
            b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
            b"x-request-id: %b\r\n%bConnection: close\r\n\r\n%b"
        ) % (
            self.status,
            reason_phrase(self.status),
            len(body),
            request_id,
            b"Retry-After: 1\r\n" if self.status == 503 else b"",
            body,
        )


class Head(Struct, frozen=True):
    """A valid head."""

    method: bytes
    target: bytes
    """Origin form: from the path on; or ``*``."""
    fields: list[Field]
    http11: bool
    length: int | object | None
    """The body's bytes, ``UNKNOWN_LENGTH`` if it is chunked, None if there is none."""
    expects_continue: bool
    upgrade: bool
    """A WebSocket handshake without a body (RFC 6455 section 4.1)."""
    readable: bool
    """A POST whose body may be JSON. (``curl -d`` calls its JSON a form.)"""

    @classmethod
    def read(cls, method: bytes, target: bytes, fields: list[Field], http11: bool, limits: Limits) -> Head:
        """Check what llhttp does not. Raises :class:`Rejected`."""
        target = (
            _usual_target(method, target) if len(target) <= _USUAL_BYTES else _origin_form(method, target)
        )
        known = _known(fields, limits)
        _check_host(known.get(b"host"), http11)
        return cls(
            method=method,
            target=target,
            fields=fields,
            http11=http11,
            length=_length(known, http11, limits),
            expects_continue=(http11 and b"expect" in known and b"100-continue" in tokens(known[b"expect"])),
            upgrade=(
                b"upgrade" in known
                and http11
                and method == b"GET"
                and b"content-length" not in known
                and b"transfer-encoding" not in known
                and b"websocket" in tokens(known[b"upgrade"])
                and b"upgrade" in tokens(known.get(b"connection", ()))
            ),
            readable=_is_readable(method, known),
        )


_KNOWN = NameSet(
    frozenset(
        {
            b"host",
            b"content-length",
            b"transfer-encoding",
            b"expect",
            b"upgrade",
            b"connection",
            b"content-type",
            b"content-encoding",
        }
    )
)
_READABLE = (b"application/json", b"application/x-www-form-urlencoded", b"text/")


def _known(fields: list[Field], limits: Limits) -> dict[bytes, list[bytes]]:
    if len(fields) > limits.header_count:
        raise Rejected(431, "The request has too many header fields.")
    if not tidy(fields):
        raise Rejected(400, "A header field has a control character (RFC 9110 section 5.5).")
    known: dict[bytes, list[bytes]] = {}
    size = 0
    for name, value in fields:
        size += len(name) + len(value)
        if _KNOWN[name]:
            known.setdefault(name.lower(), []).append(value)
    if size > limits.header_bytes:
        raise Rejected(431, "The request's header section is too large.")
    return known


def _is_readable(method: bytes, known: dict[bytes, list[bytes]]) -> bool:
    if method != b"POST" or b"content-encoding" in known:
        return False
    content_types = known.get(b"content-type")
    return content_types is None or content_types[0].lower().startswith(_READABLE)


def _origin_form(method: bytes, target: bytes) -> bytes:
    if method in _NOT_FORWARDED:
        raise Rejected(501, "The proxy does not forward this request method.")
    if not target or target.translate(None, _IN_TARGET):
        raise Rejected(400, "The request target has characters that a URI cannot have.")
    if not target.startswith(b"/"):
        if target == b"*" and method == b"OPTIONS":
            return target
        absolute = _ABSOLUTE.match(target)
        if absolute is None:
            raise Rejected(400, "The request target is not a path.")
        # The authority is dropped: it must never choose where a request goes.
        target = target[absolute.end() :]
        target = target if target.startswith(b"/") else b"/" + target
    path = target.partition(b"?")[0]
    if b"." in path or b"%" in path:
        if _DOT_SEGMENT.search(path):
            raise Rejected(400, "The path has dot segments.")
    return target


# Few targets and hosts are ever sent, again and again: those that are valid are remembered.
_USUAL_BYTES = 128
_usual_target = lru_cache(maxsize=1024)(_origin_form)


@lru_cache(maxsize=256)
def _is_usual_host(host: bytes) -> bool:
    return _HOST.fullmatch(host) is not None


def _is_host(host: bytes) -> bool:
    return _is_usual_host(host) if len(host) <= _USUAL_BYTES else _HOST.fullmatch(host) is not None


def _check_host(hosts: list[bytes] | None, http11: bool) -> None:
    if hosts is None:
        if http11:
            raise Rejected(400, "The Host header field is missing (RFC 9112 section 3.2).")
    elif len(hosts) != 1 or not _is_host(hosts[0]):
        raise Rejected(400, "The Host header field is not valid (RFC 9112 section 3.2).")


def _length(known: dict[bytes, list[bytes]], http11: bool, limits: Limits) -> int | object | None:
    codings = known.get(b"transfer-encoding")
    lengths = known.get(b"content-length")
    if codings is not None:
        if lengths is not None or not http11:
            raise Rejected(400, "The message has two framings (RFC 9112 section 6.1).")
        if len(codings) != 1 or codings[0].strip().lower() != b"chunked":
            raise Rejected(501, "The proxy knows the transfer coding chunked only.")
        return UNKNOWN_LENGTH
    if lengths is None:
        return None
    if len(lengths) != 1 or not lengths[0].isdigit() or len(lengths[0]) > 18:
        raise Rejected(400, "The Content-Length is not valid (RFC 9112 section 6.3).")
    length = int(lengths[0])
    if length > limits.body_bytes:
        raise Rejected(413, "The request body is too large.")
    return length
