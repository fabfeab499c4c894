"""Reads a JSON body that is one answer, or an array of events that comes element by element."""

from __future__ import annotations

from typing import Final

from openai_proxy.observe.inflate import Inflate
from openai_proxy.observe.json_elements import ElementSplitter
from openai_proxy.observe.json_observer import MAX_JSON_BYTES
from openai_proxy.observe.observer import Observer
from openai_proxy.observe.said import SILENT
from openai_proxy.observe.stream_observer import Events

_SPACE: Final = b" \t\r\n"


class ElementsObserver(Observer):
    """Of objects that are the events of a stream without server-sent events, or of one alone.

    Which it is its first byte says: an array is a stream (``is_stream``), and has its clocks. What
    is none is a whole answer, and its JSON's end is its end.
    """

    def __init__(self, events: Events, inflate: Inflate | None, usage_expected: bool) -> None:
        super().__init__(events.said, inflate, usage_expected)
        self._events = events
        self._splitter = ElementSplitter()
        self._pieces: list[bytes] = []
        """Of an answer alone."""
        self._size = 0

    def _read(self, data: bytes, now: float) -> bool:
        if not self.is_stream and not self._size:
            data = data.lstrip(_SPACE)
            self.is_stream = data.startswith(b"[")
        if self.is_stream:
            self._elements(data, now)
        else:
            self._size += len(data)
            self._pieces.append(data)
            if self._size > MAX_JSON_BYTES:
                self._stop()
        return False

    def _elements(self, data: bytes, now: float) -> None:
        count, highest = 0, SILENT
        for element in self._splitter.feed(data):
            kind = self._events.read(b"", element)
            if kind:
                count += 1
                highest = max(highest, kind)
        if count:
            self._tokens(count, highest, now)
        if self._splitter.is_lost:
            self._stop()

    @property
    def lost_track(self) -> bool:
        return self._lost or self._splitter.oversized > 0

    def _finish(self, whole: bool) -> None:
        splitter, body = self._splitter, b"".join(self._pieces)
        self._forget()
        said = self.said
        if self.is_stream:
            said.unread |= splitter.oversized > 0 or (whole and splitter.inside)
            return
        self._events.read(b"", body)
        said.ended = not said.unread
        said.partial = False
        # What was cut off is no answer of an odd form.
        said.unread &= whole

    def _forget(self) -> None:
        self._lost |= self._splitter.oversized > 0
        self._splitter = ElementSplitter()
        self._pieces = []
