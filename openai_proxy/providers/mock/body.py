"""The body of an answer before it is played back, and what a fault makes of it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import msgspec
from twisted.web.client import ResponseDone

from openai_proxy.providers.mock.knobs import Fault
from openai_proxy.wire.errors import Truncated, error_body

CREATED = 1_750_000_000
"""When everything was made, seconds since 1970: a fixed number, so that answers are repeatable."""

PIECE_BYTES = 65536
"""A body that is not streamed comes in pieces of this size, as from a socket."""

SERVER_ERROR = "The server had an error while processing your request. Sorry about that!"

_GZIP = 16 + zlib.MAX_WBITS
JSON = b"application/json"
_ERROR_EVENT = b"data: " + error_body(SERVER_ERROR, "server_error") + b"\n\n"


@dataclass(frozen=True, slots=True)
class Events:
    """A stream, made as it is taken: ``count`` events, of which the last one closes it."""

    pieces: Iterator[bytes]
    count: int
    error: bytes = _ERROR_EVENT
    """The event that says in the stream's own form that something went wrong."""


@dataclass(frozen=True, slots=True)
class Content:
    """What an endpoint answers: JSON, events or another ``media_type``, and the tokens that it used."""

    body: bytes | Events
    tokens: int
    media_type: bytes = JSON


def named_event(kind: str, **members: Any) -> bytes:
    """A server-sent event with the name ``kind``, whose data say their type as well."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode({"type": kind, **members}))


@dataclass(frozen=True, slots=True)
class Reel:
    """Pieces to deliver, then the end: an exception for connectionLost, or None for silence."""

    pieces: Iterator[bytes]
    end: Exception | None


def reel(body: bytes | Events, fault: Fault | None, gzip: bool = False) -> Reel:
    """``body`` with ``fault`` in it; a fault of streams leaves another body whole. ``gzip``: for events."""
    if isinstance(body, Events):
        plain = _faulty_events(body, fault) if fault else Reel(body.pieces, ResponseDone())
        return _compressed(plain) if gzip else plain
    if fault is Fault.TRUNCATE and body:
        return Reel(_pieces(body[: len(body) // 2]), Truncated("the body ended before its framing said so"))
    if fault is Fault.STALL and body:
        return Reel(iter(()), None)
    return Reel(_pieces(body), ResponseDone())


def _compressed(plain: Reel) -> Reel:
    """The same pieces in gzip (RFC 1952), each flushed; only a clean end has the trailer."""

    def pieces() -> Iterator[bytes]:
        packer = zlib.compressobj(wbits=_GZIP)
        ahead = next(plain.pieces, None)
        while ahead is not None:
            piece, ahead = ahead, next(plain.pieces, None)
            is_end = ahead is None and isinstance(plain.end, ResponseDone)
            yield packer.compress(piece) + packer.flush(zlib.Z_FINISH if is_end else zlib.Z_SYNC_FLUSH)

    return Reel(pieces(), plain.end)


def _pieces(body: bytes) -> Iterator[bytes]:
    if len(body) <= PIECE_BYTES:
        return iter((body,) if body else ())
    return (body[start : start + PIECE_BYTES] for start in range(0, len(body), PIECE_BYTES))


def _faulty_events(events: Events, fault: Fault) -> Reel:
    if fault is Fault.NO_DONE:
        return Reel(islice(events.pieces, events.count - 1), ResponseDone())
    half = islice(events.pieces, events.count // 2)
    if fault is Fault.ERROR_IN_STREAM:
        return Reel(chain(half, (events.error,)), ResponseDone())
    if fault is Fault.TRUNCATE:
        # In the midst of an event, where a reader of lines is hurt the most.
        cut = (event[: len(event) // 2] for event in islice(events.pieces, 1))
        return Reel(chain(half, cut), Truncated("the body ended before its framing said so"))
    return Reel(half, None)
