"""The usage event that we asked for and the client did not, taken out of its stream."""

from __future__ import annotations

import re
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw, Struct

from openai_proxy.observe.members import decoded

MAX_USAGE_EVENT_BYTES: Final = 16 * 1024
"""A longer line is not the one, and is not held."""

_PREFIXES: Final = (b"data: {", b"data:{")
_CR: Final = 0x0D
_LF: Final = 0x0A
_ENDS: Final = b"\r\n"
_PAIRS: Final = (b"\n\n", b"\n\r", b"\r\r")
"""Two ends of lines, whatever they are, have one of these in them; CR LF is one end."""
_BLANKS: Final = (*_PAIRS, b"\n\r\n", b"\r\r\n")
"""What comes last before the first byte of an event."""
# Atomic, (?>...): a CR LF is one end of a line, and never two.
_TWO_ENDS: Final = re.compile(rb"(?>\r\n|\n|\r){2}")
_LINE: Final = re.compile(rb"[^\r\n]*+")
_LINE_ENDS: Final = re.compile(rb"[\r\n]*+")
_USAGE: Final = b'"usage"'
# A quote inside a string has a backslash before it: this is a member, and not empty.
_WITH_CHOICES: Final = re.compile(rb'"choices" ?: ?\[ ?[^\] ]')
_OVERLAP: Final = len(b'"choices" : [ ')
_EMPTY: Final = frozenset((b"null", b'""', b"[]", b"{}"))


class _XGroq(Struct, forbid_unknown_fields=True):
    usage: dict[str, Raw] | None = None
    id: str | None = None
    seed: int | None = None


class _UsageEvent(Struct):
    """What the event may say; of one with more (Azure's prompt filter) the client has a use."""

    usage: dict[str, Raw]
    # Groq leaves them out, others send null.
    choices: Annotated[list[Raw], Meta(max_length=0)] | None = None
    id: str | None = None
    object: str | None = None
    created: float | None = None
    model: str | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None
    obfuscation: str | None = None
    provider: str | None = None
    """OpenRouter."""
    time_info: dict[str, float | None] | None = None
    """Cerebras."""
    timings: dict[str, float | None] | None = None
    """llama.cpp."""
    x_groq: _XGroq | None = None


_MEMBERS: Final = frozenset(_UsageEvent.__struct_fields__)
_members = msgspec.json.Decoder(dict[str, Raw])
_usage_event = msgspec.json.Decoder(_UsageEvent)


class UsageEventStripper:
    """Pieces of a plain (not compressed) stream in, what goes to the client out.

    All but the event is given on at once, in the same objects where nothing is taken out of
    them. Only the first line of an event waits, while it may become the one, and no client
    could use it before. A result may be empty: nothing to send, not an end. Each byte is looked
    at a bounded number of times, however many events are in a piece.
    """

    __slots__ = ("_held", "_passed", "_skip_lf", "inside", "stripped")

    def __init__(self) -> None:
        self.stripped = 0
        """Events taken out."""
        self._held = bytearray()
        """The first line of an event that may be the one; whole, its end is with it."""
        self._passed = b""
        """The last byte of an event that is given on before its end; empty if there is none."""
        self._skip_lf = False
        """The event taken out ended with a CR: a LF now belongs to it."""
        self.inside = False
        """Whether the next byte may be a part of what came before. If not, whole events that are not
        the one need not be fed."""

    def feed(self, data: bytes) -> bytes:
        """What to give on of ``data`` and of what waited."""
        if not self.inside and data.endswith(b"\n\n") and not _may_hold_usage(data):
            return data
        given = self._feed(data) if data else data
        self.inside = len(self._held) > 0 or len(self._passed) > 0 or self._skip_lf
        return given

    def end(self) -> bytes:
        """What still waited: the stream ended inside an event."""
        held, self._held = bytes(self._held), bytearray()
        return held

    def _feed(self, data: bytes) -> bytes:
        parts: list[bytes] = []
        place = int(self._skip_lf and data.startswith(b"\n"))
        self._skip_lf = False
        if self._held:
            place = self._hold(data, place, parts)
        if self._passed:
            place = self._pass(data, place, parts)
        if place < len(data):
            place = self._whole(data, place, parts)
        if place < len(data) and data[place] in _ENDS:
            # Empty lines between two events belong to neither.
            begin, place = place, _matched(_LINE_ENDS, data, place)
            parts.append(data[begin:place])
        if place < len(data):
            place = self._hold(data, place, parts)
            if self._passed:
                self._pass(data, place, parts)
        whole = b"".join(parts)
        return data if whole == data else whole

    def _whole(self, data: bytes, place: int, parts: list[bytes]) -> int:
        """Give on the whole events from ``place`` on, but the one; where the last of them ends.

        One by one they would cost more than all else that is read of a stream: only the lines
        that name usage are looked at.
        """
        has_cr = b"\r" in data
        end = _last_blank(data, place, has_cr)
        seen = place
        while (found := _named_usage(data, seen, end)) >= 0:
            begin = max(seen, data.rfind(b"\n", seen, found) + 1)
            if has_cr:
                begin = max(begin, data.rfind(b"\r", begin, found) + 1)
            seen = _matched(_LINE, data, found) if has_cr else data.find(b"\n", found)
            if seen - begin > MAX_USAGE_EVENT_BYTES or not _is_first(data, place, begin):
                continue
            blank = _TWO_ENDS.match(data, seen)
            if blank is None or not is_usage_line(data[begin:seen]):
                continue
            self.stripped += 1
            parts.append(data[place:begin])
            place = seen = blank.end()
            self._skip_lf = place == len(data) and data.endswith(b"\r")
        end = max(place, end)
        if place < end:
            parts.append(data[place:end])
        return end

    def _pass(self, data: bytes, place: int, parts: list[bytes]) -> int:
        """Give on what is left of an event that is not the one."""
        if self._passed + data[place : place + 1] in _PAIRS:
            end = place + 1
        else:
            end = _first_blank(data, place)
        if end < 0:
            parts.append(data[place:])
            self._passed = data[-1:] if place < len(data) else self._passed
            return len(data)
        parts.append(data[place:end])
        self._passed = b""
        return end

    def _hold(self, data: bytes, place: int, parts: list[bytes]) -> int:
        """Keep what may become the one. What may not is given on, and the rest of it left to ``_pass``."""
        held = self._held
        if not (held and held[-1] in _ENDS):
            begin, before = place, len(held)
            place = _line_end(data, begin, begin + MAX_USAGE_EVENT_BYTES - before)
            held += data[begin:place]
            if place == len(data):
                return place if _may_become(held, before) else self._release(place, parts)
            if data[place] not in _ENDS or not is_usage_line(bytes(held)):
                return self._release(place, parts)
            held.append(data[place])
            place += 1
        if held[-1] == _CR and data.startswith(b"\n", place):
            held.append(_LF)
            place += 1
        if place == len(data):
            return place
        return self._drop(data, place) if data[place] in _ENDS else self._release(place, parts)

    def _release(self, place: int, parts: list[bytes]) -> int:
        parts.append(bytes(self._held))
        self._passed = parts[-1][-1:]
        self._held = bytearray()
        return place

    def _drop(self, data: bytes, place: int) -> int:
        """Take out what is held and the empty line at ``place``, which proves it whole."""
        self._held = bytearray()
        self.stripped += 1
        if data.startswith(b"\r\n", place):
            return place + 2
        self._skip_lf = data.endswith(b"\r", place) and place + 1 == len(data)
        return place + 1


def is_usage_line(line: bytes) -> bool:
    """Whether a line, without its end, is usage without choices, and says nothing else to anybody."""
    if _USAGE not in line or not line.startswith(_PREFIXES) or _WITH_CHOICES.search(line) is not None:
        return False
    data = line[len(b"data:") :]
    if decoded(_usage_event, data) is None:
        return False
    said: dict[str, Raw] = _members.decode(data)
    return all(name in _MEMBERS or bytes(said[name]) in _EMPTY for name in said)


def _may_become(held: bytearray, before: int) -> bool:
    """Whether the beginning of a line, of which ``before`` bytes have been seen, may be that of the one."""
    if not held.startswith(_PREFIXES) and not any(prefix.startswith(bytes(held[:8])) for prefix in _PREFIXES):
        return False
    return _WITH_CHOICES.search(held, max(0, before - _OVERLAP)) is None


def _may_hold_usage(data: bytes) -> bool:
    # Asked for, usage is a null in every chunk but the one.
    named = data.count(_USAGE)
    return named > 0 and named != data.count(b'"usage":null')


def _named_usage(data: bytes, begin: int, end: int) -> int:
    """Where the next usage that is not null is named; -1 if there is none."""
    found = data.find(_USAGE, begin, end)
    while found >= 0 and data.startswith(b":null", found + len(_USAGE)):
        found = data.find(_USAGE, found + len(_USAGE), end)
    return found


def _is_first(data: bytes, place: int, begin: int) -> bool:
    """Whether the line at ``begin`` is its event's first; between two events at ``place``."""
    if begin == place or data.endswith(_BLANKS, place, begin):
        return True
    return begin - place <= 2 and not data[place:begin].strip(_ENDS)


def _first_blank(data: bytes, place: int) -> int:
    """Where the first empty line from ``place`` on ends, but for a LF after its CR; -1 if there is none."""
    if data.find(b"\r", place) < 0:
        # Nearly always.
        found = data.find(b"\n\n", place)
        return found if found < 0 else found + 2
    return min((found + 2 for pair in _PAIRS if (found := data.find(pair, place)) >= 0), default=-1)


def _last_blank(data: bytes, place: int, has_cr: bool) -> int:
    """Where the last empty line ends; ``place`` if there is none from there on."""
    if not has_cr:
        found = data.rfind(b"\n\n", place)
        return place if found < 0 else found + 2
    return max((found + 2 for pair in _PAIRS if (found := data.rfind(pair, place)) >= 0), default=place)


def _line_end(data: bytes, begin: int, stop: int) -> int:
    """Where the line that goes on at ``begin`` ends; or ``stop``, or the end of ``data``."""
    stop = min(stop, len(data))
    found = data.find(b"\n", begin, stop)
    stop = found if found >= 0 else stop
    found = data.find(b"\r", begin, stop)
    return found if found >= 0 else stop


def _matched(pattern: re.Pattern[bytes], data: bytes, place: int) -> int:
    match = pattern.match(data, place)
    return match.end() if match is not None else place
