"""Requests out of bytes: llhttp, the limits of a head, and our own words for what is wrong."""

from __future__ import annotations

import re
from typing import Protocol

from httptools import (
    HttpParserCallbackError,
    HttpParserError,
    HttpParserInvalidMethodError,
    HttpParserUpgrade,
    HttpRequestParser,
)

from openai_proxy.config.settings import Limits
from openai_proxy.wire.fields import TOKEN, Field
from openai_proxy.wire.heads import Head, Rejected


class Handler(Protocol):
    """Who is told what was parsed."""

    def head_began(self) -> None:
        """The first byte of a request came."""

    def head_complete(self, head: Head, keep_alive: bool) -> None:
        """A valid head came; ``keep_alive`` as its version and Connection field say."""

    def body_piece(self, data: bytes) -> None:
        """Some bytes of the body came. May raise :class:`Rejected`."""

    def message_complete(self) -> None:
        """The request's last byte came."""


_USUAL = frozenset({b"GET /", b"POST ", b"HEAD "})
_METHOD_BYTES = 64
"""What is waited for before the first blank: an endless first word is no method."""
_METHOD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}) ")


def _rejected(error: HttpParserError, data: bytes) -> BaseException:
    """What llhttp's error means: our own refusal from within a callback, or one of these."""
    if isinstance(error, HttpParserCallbackError):
        return error.__context__ or error
    if isinstance(error, HttpParserInvalidMethodError) and data[:1].isalpha():
        return Rejected(501, "The proxy does not know this request method.")
    return Rejected(400, "The request is not valid HTTP/1.1.")


class RequestParser:
    """Tells its handler what it finds, within one ``feed``."""

    def __init__(self, handler: Handler, limits: Limits) -> None:
        self.in_head = False
        self._handler = handler
        self._limits = limits
        self._target = b""
        self._fields: list[Field] = []
        self._unproductive_bytes = 0
        self._method_so_far = b""
        self._strange_method = b""
        self._muted = False
        """Whether llhttp is being told something that no client sent."""
        self._length_behind_upgrade: int | object | None = None
        self._body_piece = handler.body_piece
        self._parser = HttpRequestParser(self)

    def feed(self, data: bytes, between_requests: bool) -> bytes | None:
        """Parse. Raises :class:`Rejected` if it is not valid; nothing may be fed after that.

        Where llhttp stops behind a head with an Upgrade field, the bytes behind it are
        returned: what they are is the handler's to know. Else None.
        """
        if between_requests and (not self.in_head or self._method_so_far):
            if not self.in_head:
                # Empty lines before a request are no request (RFC 9112 section 2.2).
                data = data.lstrip(b"\r\n")
                if not data:
                    return None
                # Not at llhttp's own beginning of a message, which a strange method has not yet.
                self._begin_head()
            if self._method_so_far or data[:5] not in _USUAL:
                data = self._known_method(self._method_so_far + data)
        self._unproductive_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            return self._behind_upgrade(data[upgrade.args[0] :])
        except HttpParserError as error:
            raise _rejected(error, data) from error.__context__
        if self._is_endless():
            raise Rejected(431, "The request's header section is too large.")
        return None

    def _is_endless(self) -> bool:
        """llhttp gathers an endless head, trailer or chunk extension without a word."""
        most = self._limits.header_bytes + self._limits.request_target_bytes
        return self._unproductive_bytes > most or len(self._fields) > self._limits.header_count

    def _known_method(self, data: bytes) -> bytes:
        """``data`` with a method that llhttp knows; a method is any token (RFC 9110 section 9.1).

        llhttp takes those on its list only. All but CONNECT are framed alike, so another one
        stands in for a strange one, which is kept aside. (Behind a pipelined request there is
        no telling where the next begins: there a strange method is refused.)
        """
        self._method_so_far = b""
        match = _METHOD.match(data)
        if match is None:
            if len(data) <= _METHOD_BYTES and TOKEN.fullmatch(data):
                self._method_so_far = data
                return b""
            return data
        method = match[1]
        if method == b"CONNECT":
            return data
        self._strange_method = method
        return b"POST" + data[match.end(1) :]

    def _behind_upgrade(self, rest: bytes) -> bytes | None:
        """Go on with the body, if there is one, behind a head with an Upgrade field.

        llhttp takes it for the other protocol's bytes, and would then take it for the next
        request: a parser that is told the same framing without the Upgrade field does not.
        """
        length, self._length_behind_upgrade = self._length_behind_upgrade, None
        if length is None:
            return rest
        self._parser = HttpRequestParser(self)
        framing = b"Content-Length: %d" % length if isinstance(length, int) else b"Transfer-Encoding: chunked"
        self._muted = True
        self._parser.feed_data(b"POST / HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n" % framing)
        self._muted = False
        return self.feed(rest, between_requests=False) if rest else None

    def _begin_head(self) -> None:
        self.in_head = True
        self._unproductive_bytes = 0
        self._handler.head_began()

    # llhttp's callbacks: no exception but Rejected may leave them.

    def on_message_begin(self) -> None:
        self._target = b""
        self._fields = []
        if not self.in_head and not self._muted:
            self._begin_head()

    def on_url(self, piece: bytes) -> None:
        self._target += piece
        if len(self._target) > self._limits.request_target_bytes:
            raise Rejected(414, "The request target is too long.")

    def on_header(self, name: bytes, value: bytes) -> None:
        # Behind the head these are trailers, which are dropped (RFC 9112 section 7.1.2).
        if self.in_head:
            self._fields.append((name, value))

    def on_body(self, piece: bytes) -> None:
        self._unproductive_bytes = 0
        self._body_piece(piece)

    def on_headers_complete(self) -> None:
        if self._muted:
            return
        parser = self._parser
        http_version = parser.get_http_version()
        if http_version not in ("1.1", "1.0"):
            raise Rejected(505, "The proxy speaks HTTP/1.1.")
        http11 = http_version == "1.1"
        self._unproductive_bytes = 0
        method, self._strange_method = self._strange_method or parser.get_method(), b""
        fields, self._fields = self._fields, []
        head = Head.read(method, self._target, fields, http11, self._limits)
        self.in_head = False
        if head.length and parser.should_upgrade():
            self._length_behind_upgrade = head.length
        # RFC 9112 section 9.3: a proxy does not persist with an HTTP/1.0 client.
        self._handler.head_complete(head, http11 and parser.should_keep_alive())

    def on_message_complete(self) -> None:
        if not self._muted and self._length_behind_upgrade is None:
            self._handler.message_complete()
