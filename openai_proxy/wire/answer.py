"""An answer's head: what llhttp lets pass, and must not be passed on."""

from __future__ import annotations

from typing import Any

from openai_proxy.wire.fields import NOT_CONTROL, Field, tidy, tokens, values_of

MAX_FIELDS = 200
MAX_HEAD_BYTES = 64 * 1024
"""Of a head, and of what a chunked body may have between two pieces of data (trailers too)."""
MAX_INTERIM = 16
"""100, 102, 103 before one final answer."""

_SIZES = frozenset({len(b"keep-alive"), len(b"content-length"), len(b"transfer-encoding")})
_VERSION = (b"HTTP", 1, 1)
_OLD_VERSION = (b"HTTP", 1, 0)


class Head:
    """A final answer's head, or a 101's; ``fault`` says what is wrong with it.

    llhttp has refused control bytes in fields, obs-fold, differing or invalid Content-Length
    and Content-Length with Transfer-Encoding.
    """

    __slots__ = (
        "awaited",
        "code",
        "fault",
        "fields",
        "hint",
        "keep",
        "length",
        "phrase",
        "to_close",
        "version",
    )

    def __init__(self, code: int, phrase: bytes, fields: list[Field], parser: Any, headless: bool) -> None:
        self.code = code
        self.phrase = phrase
        self.fields = fields
        self.fault: str | None = None
        self.hint: bytes | None = None
        """The value of Keep-Alive."""
        self.version = _VERSION
        self.keep = False
        """Another request may follow on this connection."""
        if not tidy(fields):
            self.fault = "control bytes in a field"
        self.length, chunked = self._read_fields()
        """Of the body; None where chunks or the close end it."""
        self.to_close = self.length is None and not chunked
        self._check(parser.get_http_version())
        bodiless = headless or code == 204 or code == 304
        if bodiless:
            self.to_close = False
        if self.version is _VERSION:
            # A 204 that announces a body may well send one: it would be the next answer.
            if code == 204:
                self.keep = parser.should_keep_alive() and not self.length and not chunked
            elif headless:
                self.keep = b"close" not in tokens(values_of(fields, b"connection"))
            else:
                self.keep = parser.should_keep_alive()
        self.awaited = code != 204 and code != 304 and self.length != 0
        """llhttp waits for a body, if only because it does not know of a HEAD."""
        if bodiless:
            self.length = 0

    def _read_fields(self) -> tuple[int | None, bool]:
        length = None
        chunked = False
        for name, value in self.fields:
            size = len(name)
            if size not in _SIZES:
                continue
            lower = name.lower()
            if lower == b"content-length":
                length = int(value)
            elif lower == b"keep-alive":
                self.hint = value
            elif lower == b"transfer-encoding":
                if chunked or value.strip().lower() != b"chunked":
                    self.fault = "a Transfer-Encoding other than chunked"
                chunked = True
        return length, chunked

    def _check(self, version: str) -> None:
        if version != "1.1":
            if version != "1.0":
                self.fault = "an HTTP version other than 1.0 and 1.1"
            self.version = _OLD_VERSION
        if self.code != 101 and not 200 <= self.code <= 599:
            self.fault = "a status outside 200-599"
        elif len(self.fields) > MAX_FIELDS:
            self.fault = "too many header fields"
        elif self.phrase.translate(None, NOT_CONTROL):
            self.fault = "control bytes in the status line"


def head_bytes(fields: list[Field]) -> int:
    """The size of a header section."""
    return sum(len(name) + len(value) + 4 for name, value in fields)


def reuse_seconds(head: Head, most: float) -> float:
    """How long its connection may lie idle; 0: not at all.

    A server that says ``Keep-Alive: timeout=N`` closes after N seconds: we stop a second
    before that (half of N, where N is below 2), as a request may be on its way.
    """
    if not head.keep:
        return 0.0
    if head.hint is None:
        return most
    for part in head.hint.split(b","):
        name, _, value = part.strip().partition(b"=")
        value = value.strip(b' "')
        if name.strip().lower() == b"timeout" and value.isdigit() and len(value) < 10:
            seconds = int(value)
            return min(most, max(seconds - 1.0, seconds / 2))
    return most
