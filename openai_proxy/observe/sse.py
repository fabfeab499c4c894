"""Server-sent events out of a byte stream (WHATWG HTML section 9.2.6), however it is cut."""

from __future__ import annotations

from typing import Final

Event = tuple[bytes, bytes]
"""``(name, data)``; the name is empty if the stream gave none. A tuple, for there are many."""

MAX_EVENT_BYTES: Final = 16 * 1024 * 1024
"""A whole response with its images in base64 fits; what is longer is not worth its memory."""
HEAD_BYTES: Final = 256
"""What is kept of an event that is too long: enough to see its type."""

_BOM: Final = b"\xef\xbb\xbf"
_LONGEST_PREFIX: Final = len(b"\xef\xbb\xbfevent: ")


class SseSplitter:
    """Pieces go in by :meth:`feed`, whole events come out; the bytes are only read.

    Of an event with more than ``max_event_bytes`` of data the first ``HEAD_BYTES`` come out, and
    it is counted in ``oversized``. Memory stays below about twice ``max_event_bytes``.
    """

    __slots__ = (
        "_after_cr",
        "_data",
        "_max",
        "_name",
        "_oversized",
        "_partial",
        "_partial_bytes",
        "_size",
        "_started",
        "between",
        "oversized",
    )

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self.oversized = 0
        self._max = max(max_event_bytes, HEAD_BYTES)
        self._started = False
        self._after_cr = False
        self._partial: list[bytes] = []
        self._partial_bytes = 0
        self.between = False
        """Whether an event may begin with the next byte, and nothing of one is held."""
        self._new_event()

    def _new_event(self) -> None:
        self._name = b""
        self._data: list[bytes] = []
        self._size = 0
        self._oversized = False

    def feed(self, data: bytes) -> list[Event]:
        """The events that end in ``data``, in order."""
        if self.between and data.endswith(b"\n\n") and b"\r" not in data:
            # One event in one line, as nearly all pieces are: no work by the line.
            if data.startswith(b"data: ") and data.find(b"\n") == len(data) - 2 and len(data) <= self._max:
                return [(b"", data[6:-2])]
            return self._blocks(data)
        return self._cut(data) if data else []

    def finish(self) -> list[Event]:
        """What the stream's end cut off, if it is an event but for its blank line.

        The standard throws it away; a ``[DONE]`` without a blank line is meant nevertheless.
        """
        return self._lines(b"\n\n")

    def _cut(self, data: bytes) -> list[Event]:
        """Whole events in the middle go by blocks, and only what is left by lines."""
        if b"\r" in data:
            return self._lines(data)
        begin = 0
        events: list[Event] = []
        if not self.between:
            begin = data.find(b"\n\n") + 2
            if begin < 2:
                return self._lines(data)
            events = self._lines(data[:begin])
        end = data.rfind(b"\n\n", begin) + 2
        if end >= begin + 2:
            events += self._blocks(data[begin:end])
            begin = end
        if begin < len(data):
            events += self._lines(data[begin:])
        return events

    def _blocks(self, data: bytes) -> list[Event]:
        """``data`` begins between two events, ends with an empty line, and has no CR."""
        events: list[Event] = []
        for block in data[:-2].split(b"\n\n"):
            if len(block) <= self._max:
                if block.startswith(b"data: ") and b"\n" not in block:
                    events.append((b"", block[6:]))
                    continue
                if block.startswith(b"event: "):
                    name, found, rest = block.partition(b"\ndata: ")
                    if found and b"\n" not in rest and b"\n" not in name and len(name) <= HEAD_BYTES:
                        events.append((name[7:], rest))
                        continue
                if not block.startswith(b"data") and b"\n" not in block:
                    # A comment, or a field alone, is no event: thousands may come in one read.
                    continue
            events += self._lines(block + b"\n\n")
        return events

    def _lines(self, data: bytes) -> list[Event]:
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
        self._after_cr = data.endswith(b"\r")
        lines = data.splitlines()
        rest = lines.pop() if data and not data.endswith((b"\n", b"\r")) else b""
        events: list[Event] = []
        for line in lines:
            if self._partial:
                line = self._joined(line)
            if not self._started:
                self._started = True
                line = line.removeprefix(_BOM)
            if line:
                self._field(line)
            else:
                self._dispatch(events)
        if rest:
            self._hold(rest)
        self.between = not (self._partial or self._after_cr or self._name or self._data or self._oversized)
        return events

    def _hold(self, rest: bytes) -> None:
        """Keep the beginning of a line; of one that is too long in any case, only its head."""
        self._partial_bytes += len(rest)
        if self._partial_bytes <= self._max + _LONGEST_PREFIX:
            self._partial.append(rest)
        elif len(self._partial) != 1 or len(self._partial[0]) != HEAD_BYTES + _LONGEST_PREFIX:
            head = b"".join(self._partial) + rest
            self._partial = [head[: HEAD_BYTES + _LONGEST_PREFIX]]

    def _joined(self, line: bytes) -> bytes:
        self._hold(line)
        line = b"".join(self._partial)
        if self._partial_bytes > self._max + _LONGEST_PREFIX:
            begun = line if self._started else line.removeprefix(_BOM)
            self._oversized |= begun.startswith(b"data:")
        self._partial = []
        self._partial_bytes = 0
        return line

    def _field(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        if field == b"data":
            if value.startswith(b" "):
                value = value[1:]
            self._add(value)
        elif field == b"event":
            self._name = value.removeprefix(b" ")[:HEAD_BYTES]

    def _add(self, value: bytes) -> None:
        self._size += len(value) + 1
        if self._size - 1 > self._max:
            self._oversized = True
        if not self._oversized:
            self._data.append(value)
        elif len(self._data) != 1 or len(self._data[0]) < HEAD_BYTES:
            self._data = [b"\n".join([*self._data, value])[:HEAD_BYTES]]

    def _dispatch(self, events: list[Event]) -> None:
        if self._data:
            data = b"\n".join(self._data)
            if self._oversized:
                self.oversized += 1
                data = data[:HEAD_BYTES]
            events.append((self._name, data))
        self._new_event()
