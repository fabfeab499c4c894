"""Our words for what goes wrong with an upstream, and the body that tells a client of it."""

import json
from http import HTTPStatus


class UpstreamError(Exception):
    """An upstream did not answer as it should. The message holds no address and no secret."""

    repeated = False
    """Whether the request had been sent before, on a connection that was closed meanwhile."""


class NoKey(UpstreamError):
    """There is no key to send: it could not be fetched."""


class ConnectFailed(UpstreamError):
    """No connection could be made: refused, unreachable, or its name unknown."""


class TLSFailed(ConnectFailed):
    """The connection was made, but TLS failed: certificate, name or protocol."""


class ConnectTimedOut(ConnectFailed):
    """No connection within ``Timeouts.connect_seconds``."""


class PoolExhausted(UpstreamError):
    """All connections are busy and the queue for one is full."""


class HeadTimedOut(UpstreamError):
    """The answer's head did not come within ``Timeouts.head_seconds``."""


class ConnectionClosed(UpstreamError):
    """The upstream closed or reset the connection before its answer's head was whole."""


class InvalidResponse(UpstreamError):
    """What the upstream sent is not a valid HTTP/1.1 answer (RFC 9112)."""


class Truncated(UpstreamError):
    """The answer's body ended before its framing said so (RFC 9112 section 8)."""


class IdleTimedOut(UpstreamError):
    """No piece of the answer's body came within ``Timeouts.idle_seconds``."""


def reason_phrase(status: int) -> bytes:
    """The phrase of a status that we make (RFC 9110 section 15); of one that is not registered, its class."""
    try:
        return HTTPStatus(status).phrase.encode("ascii")
    except ValueError:
        # Anthropic's 529, Cloudflare's 520.
        return b"Client Error" if status < 500 else b"Server Error"


def error_body(message: str, type_: str, code: str | None = None, param: str | None = None) -> bytes:
    """An error in OpenAI's form, UTF-8 JSON (the API reference, "Error codes")."""
    error = {"message": message, "type": type_, "param": param, "code": code}
    return json.dumps({"error": error}).encode()
