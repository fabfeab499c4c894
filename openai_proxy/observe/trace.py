"""Which trace an exchange is part of, and what its upstreams are told of it (W3C Trace Context)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random
from typing import Final

from msgspec import Struct

from openai_proxy.wire.fields import Field, NameSet, values_of

_PARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED: Final = 0x01
_KNOWN_FLAGS: Final = 0x03
"""Sampled, and that the trace's id is random; others are not ours to pass on."""
_TRACEPARENT: Final = NameSet(frozenset({b"traceparent"}))
_TRACE_FIELDS: Final = NameSet(frozenset({b"traceparent", b"tracestate"}))


class Parent(Struct, frozen=True, gc=False):
    """What a ``traceparent`` says."""

    trace_id: int
    span_id: int
    flags: int

    @property
    def is_sampled(self) -> bool:
        """Whether whoever is above has spans of this trace."""
        return bool(self.flags & _SAMPLED)


class AttemptSpan(Struct, frozen=True, gc=False, kw_only=True):
    """What a record's attempt does not say. Times are on the exchange's clock."""

    span_id: int
    sent_at: float
    answered_at: float | None
    ended_at: float
    status: int
    """Of its answer; 0: none."""
    seller: str
    """Whose API it is, by the catalogue's name."""
    base_url: bytes
    model: str
    """As the provider was asked for it: any text."""
    said_model: str | None = None
    """As its answer names it."""


class Trace(Struct, gc=False, kw_only=True):
    """Of one exchange that has spans."""

    trace_id: int
    span_id: int
    """The exchange's own; its attempts are below it."""
    parent: Parent | None
    flags: int
    state: tuple[bytes, ...]
    """The parent's ``tracestate``, line by line."""
    random: Random
    began_at: float
    """When the request's first byte came, on the exchange's clock."""
    asked_at: float = 0.0
    """When its last byte came."""
    ended_at: float = 0.0
    model: str = ""
    """The client's own text."""

    def new_span_id(self) -> int:
        """Of an attempt."""
        return self.random.getrandbits(64) or 1

    def fields(self, fields: Sequence[Field], span_id: int) -> list[Field]:
        """Those of a request to an upstream: its parent is the attempt's span, the trace's state is kept."""
        value = b"00-%032x-%016x-%02x" % (self.trace_id, span_id, self.flags)
        # Without a valid parent its state is nobody's (Trace Context, section 3.3).
        dropped = _TRACE_FIELDS if self.parent is None else _TRACEPARENT
        return [*(field for field in fields if not dropped[field[0]]), (b"traceparent", value)]


def parent_in(fields: Sequence[Field]) -> Parent | None:
    """The trace that a request is part of; None if it names none, or not as it should (Trace Context 3.2)."""
    values = values_of(fields, b"traceparent")
    found = _PARENT.fullmatch(values[0]) if len(values) == 1 else None
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == b"ff" or (version == b"00" and more is not None):
        return None
    parent = Parent(int(trace_id, 16), int(span_id, 16), int(flags, 16))
    return parent if parent.trace_id and parent.span_id else None


class Traces:
    """Decides which exchanges have spans: those whose client has, and of the others a part."""

    def __init__(self, sample_ratio: float, random: Random) -> None:
        """:param sample_ratio: of the exchanges that begin a trace, from 0 to 1."""
        self._ratio = sample_ratio
        self._random = random

    def begin(self, fields: Sequence[Field], began_at: float) -> Trace | None:
        """Of a request with these fields; None: it has no spans, and what it says of a trace goes on."""
        random = self._random
        parent = parent_in(fields)
        if parent is None:
            if random.random() >= self._ratio:
                return None
            trace_id, flags = random.getrandbits(128) or 1, _KNOWN_FLAGS
        elif not parent.is_sampled:
            return None
        else:
            trace_id, flags = parent.trace_id, parent.flags & _KNOWN_FLAGS
        state = () if parent is None else tuple(values_of(fields, b"tracestate"))
        return Trace(
            trace_id=trace_id,
            span_id=random.getrandbits(64) or 1,
            parent=parent,
            flags=flags,
            state=state,
            random=random,
            began_at=began_at,
        )
