"""Request headers that set what the mock provider does, read into one frozen value."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from openai_proxy.wire.fields import Field, values_of

MAX_DELAY_MS = 600_000
MAX_CHUNKS = 100_000

_PREFIX = b"x-mock-"
_NUMBER = re.compile(rb"[0-9]{1,6}(?:\.[0-9]{1,6})?")
_REFUSED = re.compile(rb"q=0(?:\.0*)?")
_WHOLE = re.compile(rb"[0-9]{1,6}")


class Fault(Enum):
    """What goes wrong with an answer, by the value of ``x-mock-fault``."""

    RESET = b"reset"
    """The connection is lost before the head."""
    TRUNCATE = b"truncate"
    """Half of the body, then the connection is lost."""
    STALL = b"stall"
    """Half of the events (of a body that is not streamed: nothing), then silence."""
    ERROR_IN_STREAM = b"error-in-stream"
    """Half of the events, an error in OpenAI's form, a clean end."""
    NO_DONE = b"no-done"
    """A clean end without the closing event."""


class BadKnob(Exception):
    """A header holds no value that it can have; ``name`` is the header, the text says what fits."""

    def __init__(self, name: str, expected: str) -> None:
        super().__init__(f"Invalid value for header '{name}': expected {expected}.")
        self.name = name


@dataclass(frozen=True, slots=True)
class Knobs:
    """What one request asked for; the defaults are an answer at once and without fault."""

    delay_seconds: float = 0.0
    """Before the head."""
    gap_seconds: float = 0.0
    """Between two pieces of the body."""
    chunks: int | None = None
    """Content deltas of each choice; None leaves it to the text."""
    status: int | None = None
    fault: Fault | None = None
    gzip: bool = False
    """Compress JSON and streams: asked for, and something that the request's Accept-Encoding allows."""


_DEFAULT = Knobs()


def read_knobs(fields: Sequence[Field]) -> Knobs:
    """The knobs among ``fields``, in any case; of several the first counts. Raises :class:`BadKnob`."""
    found: dict[bytes, bytes] = {}
    for name, value in fields:
        lower = name.lower()
        if lower.startswith(_PREFIX):
            found.setdefault(lower, value.strip())
    if not found:
        return _DEFAULT
    return Knobs(
        delay_seconds=_seconds(found, "x-mock-delay-ms"),
        gap_seconds=_seconds(found, "x-mock-chunk-ms"),
        chunks=_whole(found, "x-mock-chunks", 0, MAX_CHUNKS),
        status=_whole(found, "x-mock-status", 200, 599),
        fault=_fault(found),
        gzip=_whole(found, "x-mock-gzip", 0, 1) == 1 and _is_gzip_allowed(fields),
    )


def _is_gzip_allowed(fields: Sequence[Field]) -> bool:
    """Whether Accept-Encoding names gzip, or else ``*``, without a weight of 0 (RFC 9110 section 12.5.3)."""
    weights: dict[bytes, bytes] = {}
    for member in b",".join(values_of(fields, b"accept-encoding")).lower().split(b","):
        coding, _, weight = member.partition(b";")
        weights[coding.strip()] = weight.replace(b" ", b"")
    weight = weights.get(b"gzip", weights.get(b"*", b"q=0"))
    return not _REFUSED.fullmatch(weight)


def _seconds(found: dict[bytes, bytes], name: str) -> float:
    text = found.get(name.encode())
    if text is None:
        return 0.0
    if not _NUMBER.fullmatch(text) or float(text) > MAX_DELAY_MS:
        raise BadKnob(name, f"a number of milliseconds from 0 to {MAX_DELAY_MS}")
    return float(text) / 1000


def _whole(found: dict[bytes, bytes], name: str, low: int, high: int) -> int | None:
    text = found.get(name.encode())
    if text is None:
        return None
    if not _WHOLE.fullmatch(text) or not low <= int(text) <= high:
        raise BadKnob(name, f"a whole number from {low} to {high}")
    return int(text)


def _fault(found: dict[bytes, bytes]) -> Fault | None:
    text = found.get(b"x-mock-fault")
    if text is None:
        return None
    try:
        return Fault(text.lower())
    except ValueError:
        words = ", ".join(fault.value.decode() for fault in Fault)
        raise BadKnob("x-mock-fault", f"one of {words}") from None
