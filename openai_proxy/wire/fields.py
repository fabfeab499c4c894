"""Header fields as they came: order, case and duplicates kept."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

from twisted.web.http_headers import Headers

Field = tuple[bytes, bytes]

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""A field's name, or a method (RFC 9110 section 5.6.2)."""
NOT_CONTROL = bytes(byte for byte in range(256) if byte == 9 or (byte >= 0x20 and byte != 0x7F))
"""What a field's value may be made of; for ``translate``, which leaves the rest (RFC 9110 section 5.5)."""

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Fields that belong to one connection, not to the message (RFC 9110 section 7.6.1)."""


class NameSet(dict[bytes, bool]):
    """Whether a field's name, in whatever case, is one of some: ``names[name]``.

    Few names are ever sent, again and again, so what was found of each is remembered. Names come from
    clients: the memory of them is bounded.
    """

    __slots__ = ("_lower",)

    def __init__(self, lower: frozenset[bytes]) -> None:
        super().__init__()
        self._lower = lower

    def __missing__(self, name: bytes) -> bool:
        found = name.lower() in self._lower
        if len(self) >= _NAMES_KEPT:
            self.clear()
        if len(name) <= _NAME_BYTES_KEPT:
            self[name] = found
        return found


_NAMES_KEPT = 1024
_NAME_BYTES_KEPT = 64
_HOP_BY_HOP = NameSet(HOP_BY_HOP)


def tidy(fields: list[Field]) -> bool:
    """Take off the blanks behind values; False if a value has a control byte.

    llhttp leaves both: the blanks are no part of a value, control bytes are not allowed in one
    (RFC 9110 section 5.5).
    """
    joined = b"|".join([value for _, value in fields]) + b"|"
    if b" |" not in joined and joined.decode("latin-1").isprintable():
        # As nearly all are.
        return True
    joined = b"\n".join([value for _, value in fields]) + b"\n"
    if b" \n" in joined or b"\t\n" in joined:
        fields[:] = [(name, value.rstrip(b" \t")) for name, value in fields]
    return not fields or joined.translate(None, NOT_CONTROL) == b"\n" * len(fields)


def tokens(values: Iterable[bytes]) -> set[bytes]:
    """The lower-case members of comma-separated field values, such as those of Connection."""
    return {member.strip().lower() for value in values for member in value.split(b",")} - {b""}


def values_of(fields: Iterable[Field], name: bytes) -> list[bytes]:
    """Every value of ``name`` (lower case), in order."""
    size = len(name)
    return [value for key, value in fields if len(key) == size and key.lower() == name]


def first_of(fields: Iterable[Field], name: bytes) -> bytes | None:
    """The first value of ``name`` (lower case)."""
    size = len(name)
    for key, value in fields:
        if len(key) == size and key.lower() == name:
            return value
    return None


def end_to_end(fields: Sequence[Field], dropped: NameSet = _HOP_BY_HOP) -> list[Field]:
    """The fields to pass on: without ``dropped``, hop-by-hop ones among them, and what Connection names."""
    kept: list[Field] = []
    named: set[bytes] | None = None
    for field in fields:
        name = field[0]
        if not dropped[name]:
            kept.append(field)
        elif name.lower() == b"connection":
            named = (named or set()) | tokens((field[1],))
    if named and (named := named - _NOT_NAMEABLE):
        kept = [field for field in kept if field[0].lower() not in named]
    return kept


_NOT_NAMEABLE = frozenset({b"close", b"keep-alive", b"upgrade", b"te"})


class Fields(Headers):
    """A list of header fields that is also a :class:`Headers` to whoever asks for one.

    ``raw`` is the list itself; the methods of ``Headers`` read and change it.
    """

    __slots__ = ("raw",)

    def __init__(
        self,
        rawHeaders: Mapping[Any, Sequence[Any]] | None = None,
        raw: list[Field] | None = None,
    ) -> None:
        self.raw: list[Field] = [] if raw is None else raw
        if rawHeaders is not None:
            for name, values in rawHeaders.items():
                self.setRawHeaders(name, values)

    def __repr__(self) -> str:
        """Names only: values carry credentials, and a repr ends up in logs."""
        return f"Fields({[name for name, _ in self.raw]})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fields) and self.raw == other.raw

    __hash__ = None  # type: ignore[assignment]

    def copy(self) -> Fields:
        return Fields(raw=list(self.raw))

    def hasHeader(self, name: str | bytes) -> bool:
        return first_of(self.raw, _encoded(name).lower()) is not None

    def removeHeader(self, name: str | bytes) -> None:
        lower = _encoded(name).lower()
        self.raw[:] = [field for field in self.raw if field[0].lower() != lower]

    def setRawHeaders(self, name: str | bytes, values: Sequence[str | bytes]) -> None:
        self.removeHeader(name)
        self.raw.extend((_encoded(name), _encoded(value)) for value in values)

    def addRawHeader(self, name: str | bytes, value: str | bytes) -> None:
        self.raw.append((_encoded(name), _encoded(value)))

    @overload
    def getRawHeaders(self, name: Any) -> Sequence[Any] | None: ...
    @overload
    def getRawHeaders(self, name: Any, default: Any) -> Any: ...
    def getRawHeaders(self, name: Any, default: Any = None) -> Any:
        values = values_of(self.raw, _encoded(name).lower())
        if not values:
            return default
        return [value.decode("utf-8", "replace") for value in values] if isinstance(name, str) else values

    def getAllRawHeaders(self) -> Iterator[tuple[bytes, Sequence[bytes]]]:
        grouped: dict[bytes, tuple[bytes, list[bytes]]] = {}
        for name, value in self.raw:
            grouped.setdefault(name.lower(), (name, []))[1].append(value)
        return iter(grouped.values())


def _encoded(text: str | bytes) -> bytes:
    return text.encode("utf-8") if isinstance(text, str) else text


def raw_fields(headers: Headers | None) -> list[Field]:
    """The fields of any ``Headers`` as a list; that of a :class:`Fields` is not copied."""
    if headers is None:
        return []
    if isinstance(headers, Fields):
        return headers.raw
    return [(name, value) for name, values in headers.getAllRawHeaders() for value in values]
