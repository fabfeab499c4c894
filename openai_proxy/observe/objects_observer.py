"""Reads a JSON body that is one object, or an array of objects that comes element by element."""

from __future__ import annotations

from openai_proxy.observe.inflate import Inflate
from openai_proxy.observe.json_objects import ObjectSplitter
from openai_proxy.observe.observer import Observer
from openai_proxy.observe.said import SILENT
from openai_proxy.observe.stream_observer import Events


class ObjectsObserver(Observer):
    """Of objects that are the events of a stream without server-sent events.

    ``is_stream`` is known from the first byte on: an array is a stream, and has its clocks. An
    object alone is a whole answer: its JSON's end is its end.
    """

    def __init__(self, events: Events, inflate: Inflate | None, usage_expected: bool) -> None:
        super().__init__(events.said, inflate, usage_expected)
        self._splitter = ObjectSplitter()
        self._events = events
        self._objects = 0

    def _read(self, data: bytes, now: float) -> bool:
        count, highest = 0, SILENT
        for one in self._splitter.feed(data):
            self._objects += 1
            kind = self._events.read(b"", one)
            if kind:
                count += 1
                highest = max(highest, kind)
        if self._splitter.is_array:
            self.is_stream = True
            if count:
                self._tokens(count, highest, now)
        return False

    @property
    def lost_track(self) -> bool:
        return self._lost or self._splitter.oversized > 0

    def _finish(self, whole: bool) -> None:
        said, splitter = self.said, self._splitter
        if splitter.oversized or (whole and splitter.inside):
            said.unread = True
        if not self.is_stream:
            if self._objects:
                said.ended = not said.unread
                said.partial = False
            elif whole:
                said.unread = True
        self._forget()

    def _forget(self) -> None:
        self._lost |= self._splitter.oversized > 0
        self._splitter = ObjectSplitter()
