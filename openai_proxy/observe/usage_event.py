"""The usage event that we asked for and the client did not, taken out of its stream."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from msgspec import Raw

from openai_proxy.observe.members import decoded, is_said
from openai_proxy.observe.sse import SseSplitter
from openai_proxy.observe.templates import data_of

MAX_USAGE_EVENT_BYTES: Final = 16 * 1024
"""A longer event is not the one, and is not held."""

# Atomic, (?>...): a CR LF is one end of a line, and never two.
_BLANK_LINE: Final = re.compile(rb"(?>\r\n|\n|\r){2}")
_LINE_ENDS: Final = re.compile(rb"[\r\n]*+")
_USAGE: Final = b'"usage"'
_WITH_CHOICES: Final = b'"choices":[{'
"""A quote inside a string has a backslash before it: this is a member, and not empty."""
_BARE: Final = frozenset(
    (
        "id",
        "object",
        "created",
        "model",
        "choices",
        "usage",
        "service_tier",
        "system_fingerprint",
        "obfuscation",
    )
)
"""What the event may say. One with more than that (Azure's prompt filter) is for the client."""

_members = msgspec.json.Decoder(dict[str, Raw])
_choices = msgspec.json.Decoder(list[Any])


class UsageEventStripper:
    """Pieces of a plain (not compressed) stream in, what goes to the client out.

    All but the event is given on at once, in the same objects where nothing is taken out of
    them. Only the beginning of an event that may be the one waits for its end, and no client
    could use it before. A result may be empty: nothing to send, not an end.
    """

    __slots__ = ("_after_cr", "_context", "_held", "_keep_lf", "inside", "stripped")

    def __init__(self) -> None:
        self.stripped = 0
        """Events taken out."""
        self._held = bytearray()
        """The beginning of an event that may be the one."""
        self._context: bytes | None = None
        """The line ends that came last of an event that is given on; None between two events."""
        self._after_cr = False
        """The last event ended with a CR: a LF now belongs to it."""
        self._keep_lf = True
        self.inside = False
        """Whether the next byte may be a part of what came before. If not, whole events that are not
        the one need not be fed."""

    def feed(self, data: bytes) -> bytes:
        """What to give on of ``data`` and of what waited."""
        if not self.inside and data.endswith(b"\n\n") and not _may_hold_usage(data):
            return data
        given = self._feed(data)
        self.inside = self._after_cr or self._context is not None or len(self._held) > 0
        return given

    def end(self) -> bytes:
        """What still waited: the stream ended inside an event."""
        held, self._held = bytes(self._held), bytearray()
        return held

    def _feed(self, data: bytes) -> bytes:
        parts: list[bytes] = []
        place = self._line_feed(data, parts)
        while place < len(data):
            if self._context is not None:
                place = self._pass(data, place, parts)
                continue
            if not self._held:
                place = self._whole(data, place, parts)
                # Empty lines between two events belong to neither.
                begin, place = place, _line_ends(data, place)
                parts.append(data[begin:place])
            if place < len(data):
                place = self._hold(data, place, parts)
        whole = b"".join(parts)
        return data if whole == data else whole

    def _line_feed(self, data: bytes, parts: list[bytes]) -> int:
        if not self._after_cr or not data:
            return 0
        self._after_cr = False
        if not data.startswith(b"\n"):
            return 0
        if self._keep_lf:
            parts.append(b"\n")
        return 1

    def _whole(self, data: bytes, place: int, parts: list[bytes]) -> int:
        """Give on the whole events from ``place`` on, but the one; none where CRs end lines.

        One by one they would cost more than all else that is read of a stream.
        """
        end = data.rfind(b"\n\n", place) + 2
        if end < place + 2 or b"\r" in data:
            return place
        found = _named_usage(data, place, end)
        while found >= 0:
            blank = data.rfind(b"\n\n", place, found)
            begin = _line_ends(data, place if blank < 0 else blank + 2)
            event_end = data.index(b"\n\n", found) + 2
            if is_usage_event(data[begin:event_end]):
                self.stripped += 1
                parts.append(data[place:begin])
                place = event_end
            found = _named_usage(data, event_end, end)
        parts.append(data[place:end])
        return end

    def _pass(self, data: bytes, place: int, parts: list[bytes]) -> int:
        """Give on what is left of an event that is not the one."""
        context = self._context or b""
        joined = context + data[place:]
        blank_end = _blank_end(joined, 0)
        if blank_end < 0:
            parts.append(data[place:])
            self._context = joined[len(joined.rstrip(b"\r\n")) :]
            return len(data)
        end = place + blank_end - len(context)
        parts.append(data[place:end])
        self._ended(data, end, kept=True)
        return end

    def _hold(self, data: bytes, place: int, parts: list[bytes]) -> int:
        held = self._held
        before = len(held)
        held += data[place:]
        blank_end = _blank_end(held, max(0, before - 3))
        end = len(held) if blank_end < 0 else blank_end
        event = bytes(held[:end])
        may_be = _may_be_usage_event(event)
        if blank_end < 0 and may_be:
            return len(data)
        self._held = bytearray()
        if blank_end < 0:
            parts.append(event)
            self._context = event[len(event.rstrip(b"\r\n")) :]
            return len(data)
        strip = is_usage_event(event)
        if strip:
            self.stripped += 1
        else:
            parts.append(event)
        place += end - before
        self._ended(data, place, kept=not strip)
        return place

    def _ended(self, data: bytes, end: int, kept: bool) -> None:
        self._context = None
        self._after_cr = end == len(data) and data.endswith(b"\r")
        self._keep_lf = kept


def _may_be_usage_event(event: bytes) -> bool:
    return len(event) <= MAX_USAGE_EVENT_BYTES and _WITH_CHOICES not in event


def is_usage_event(event: bytes) -> bool:
    """Whether a whole event has no choices, has usage, and says nothing else."""
    if _USAGE not in event or not _may_be_usage_event(event):
        return False
    data = data_of(event)
    if data is None:
        found = SseSplitter().feed(event)
        if len(found) != 1:
            return False
        data = found[0][1]
    said = decoded(_members, data)
    if said is None or "choices" not in said or "usage" not in said:
        return False
    if decoded(_choices, said["choices"]) != [] or not bytes(said["usage"]).startswith(b"{"):
        return False
    return all(name in _BARE or not is_said(value) for name, value in said.items())


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


def _blank_end(data: bytes | bytearray, begin: int) -> int:
    """Where the first blank line from ``begin`` on ends, with the line before it; -1 if there is none."""
    if data.find(b"\r", begin) < 0:
        # Nearly always, and a search for one of three line ends at each byte takes far longer.
        found = data.find(b"\n\n", begin)
        return found if found < 0 else found + 2
    blank = _BLANK_LINE.search(data, begin)
    return blank.end() if blank is not None else -1


def _line_ends(data: bytes, place: int) -> int:
    match = _LINE_ENDS.match(data, place)
    return match.end() if match is not None else place
