"""``/inflight``: every exchange now, for people and programs; and the end of one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import parse_qs, unquote_to_bytes

import msgspec
from twisted.web.resource import Resource

from openai_proxy.process.operations import InFlight, Operations
from openai_proxy.web.gate import Gate
from openai_proxy.web.guarded import TEXT, Answer, Guarded, error, wants_json
from openai_proxy.web.pages import JSON, NotFound
from openai_proxy.wire.request import Request

USUAL_ROWS: Final = 1000
MOST_ROWS: Final = 100_000
SHOWN_ID_CHARACTERS: Final = 128
"""Of an id in the text: upstreams may make them as long as they like."""

_NOT_PLAIN: Final = re.compile(r"[^\x21-\x7e]")
"""Not shown in the text: an upstream's id could clear a terminal, or look like two columns."""

_COLUMNS: Final = (
    "id", "age", "idle", "phase", "stalled", "stream", "route", "provider", "model", "endpoint", "attempts",
    "received", "sent", "events", "worker",
)  # fmt: skip
_NUMBERS: Final = frozenset({"age", "idle", "attempts", "received", "sent", "events", "worker"})


class Listed(msgspec.Struct, frozen=True):
    """What is said in JSON."""

    total: int
    """In flight now."""
    shown: int
    """Of them, the oldest."""
    in_flight: Sequence[InFlight]


def plain(text: str, most: int = SHOWN_ID_CHARACTERS) -> str:
    """One visible word of ASCII."""
    shown = _NOT_PLAIN.sub("?", text[:most]) or "-"
    return shown + "..." if len(text) > most else shown


def table(rows: Sequence[InFlight]) -> list[str]:
    """Columns in lines, the first with their names; numbers to the right. Ages in seconds, sizes in bytes."""
    cells = [_COLUMNS, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(_aligned, _COLUMNS, line, widths)).rstrip() for line in cells]


def _aligned(name: str, cell: str, width: int) -> str:
    return cell.rjust(width) if name in _NUMBERS else cell.ljust(width)


def _cells(row: InFlight) -> tuple[str, ...]:
    return (
        plain(row.id),
        f"{row.age_seconds:.1f}",
        f"{row.idle_seconds:.1f}",
        plain(row.phase),
        "yes" if row.is_stalled else "no",
        "yes" if row.is_stream else "no",
        *map(plain, (row.route, row.provider, row.model, row.endpoint)),
        *map(str, (row.attempts, row.received_bytes, row.sent_bytes, row.output_events)),
        "-" if row.worker is None else str(row.worker),
    )


def _limit(request: Request) -> tuple[int, bool]:
    """How many rows are wanted at most, and whether as JSON. Raises ValueError."""
    query = parse_qs(request.uri.partition(b"?")[2].decode("latin-1"), max_num_fields=16)
    form = query.get("format", [""])[-1]
    if form not in ("", "json", "text"):
        raise ValueError("format is json or text.")
    said = query.get("limit", [str(USUAL_ROWS)])[-1]
    if not (said.isascii() and said.isdecimal() and len(said) < 10 and 0 < int(said) <= MOST_ROWS):
        raise ValueError(f"limit is a number from 1 to {MOST_ROWS}.")
    return int(said), form == "json" or (not form and wants_json(request))


class _List:
    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def __call__(self, request: Request) -> Answer:
        try:
            limit, as_json = _limit(request)
        except ValueError as problem:
            return error(400, str(problem), "invalid_value")
        every = await self._operations.in_flight()
        shown = every[:limit]
        if as_json:
            return Answer(200, JSON, msgspec.json.encode(Listed(len(every), len(shown), shown)) + b"\n")
        return Answer(200, TEXT, ("\n".join(_said(shown, len(every))) + "\n").encode())


def _said(shown: Sequence[InFlight], total: int) -> list[str]:
    if not total:
        return ["Nothing is in flight."]
    if len(shown) == total:
        return [*table(shown), "", f"{total} in flight."]
    more = f"the oldest {len(shown)} are shown; ?limit=N for more, to {MOST_ROWS}"
    return [*table(shown), "", f"{total} in flight, {more}."]


class _End:
    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def __call__(self, request: Request) -> Answer:
        # Of the path as it came: the tree's own segments would lose a slash that an upstream's id may have.
        wanted = unquote_to_bytes(request.path.removeprefix(b"/inflight").removeprefix(b"/"))
        # A character a byte, as ids are told: whatever bytes an upstream makes them of.
        if wanted and await self._operations.end(wanted.decode("latin-1")):
            return Answer(204, TEXT, b"")
        # The id is not repeated: what is in a path may be anything.
        return error(404, "Nothing with this id is in flight.", "not_in_flight")


def in_flight_resource(operations: Operations, gate: Gate, clock: Any, not_found: NotFound) -> Resource:
    """``GET /inflight`` and ``DELETE /inflight/<id>``."""
    root = Guarded(gate, clock, {b"GET": _List(operations)}, not_found)
    one = Guarded(gate, clock, {b"DELETE": _End(operations)}, not_found)
    return _Split(root, one)


class _Split(Resource):
    """The list itself, or what is below it."""

    isLeaf = True
    streams = True

    def __init__(self, root: Guarded, one: Guarded) -> None:
        super().__init__()
        self._root = root
        self._one = one

    def render(self, request: Request) -> int:
        return (self._one if request.path != b"/inflight" else self._root).render(request)
