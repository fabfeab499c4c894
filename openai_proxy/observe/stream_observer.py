"""Reads a stream of server-sent events."""

from __future__ import annotations

from typing import Final, Protocol

from openai_proxy.observe.inflate import Inflate
from openai_proxy.observe.observer import Observer
from openai_proxy.observe.said import SILENT, Said
from openai_proxy.observe.sse import SseSplitter
from openai_proxy.observe.templates import Template

_PATIENCE: Final = 3
"""So many events in a row that fit no template: then the rest of what came together is not tried."""


class Events(Protocol):
    """A reader of one form of stream."""

    said: Said

    def read(self, name: bytes, data: bytes) -> int:
        """``SILENT``, ``TOKEN`` or ``VISIBLE``."""

    def template(self, block: bytes) -> Template | None:
        """The form of the event ``block``, if one like it says nothing new."""


class StreamObserver(Observer):
    """Of server-sent events."""

    is_stream = True

    def __init__(self, events: Events, inflate: Inflate | None, usage_expected: bool) -> None:
        super().__init__(events.said, inflate, usage_expected)
        self._splitter = SseSplitter()
        self._events = events
        self._template: Template | None = None
        self._unlike = 0
        """Events with tokens in a row that fitted no template."""

    def _read(self, data: bytes, now: float) -> bool:
        begin, patience = 0, _PATIENCE
        size = len(data)
        while begin < size:
            template = self._template
            if template is not None and self._splitter.between:
                events, end = template.fit(data, begin)
                if events:
                    self._unlike = 0
                    self._tokens(events, template.kind, now)
                    if end == size:
                        return begin == 0
                    begin, patience = end, _PATIENCE
            # One event that is unlike, then the template again; or else all that is left.
            end = data.find(b"\n\n", begin) + 2 if patience else 0
            if end < 2:
                end = size
            patience -= 1
            self._read_events(data[begin:end], now)
            begin = end
        return False

    def _read_events(self, data: bytes, now: float) -> None:
        events, highest = 0, SILENT
        for name, event in self._splitter.feed(data):
            kind = self._events.read(name, event)
            if kind:
                events += 1
                highest = max(highest, kind)
        if events:
            self._tokens(events, highest, now)
            self._unlike += 1
            # Ever more rarely, so that a stream without a form is not searched for one each time.
            if self._splitter.between and not self._unlike & (self._unlike - 1):
                block = data[:-2].rpartition(b"\n\n")[2] + data[-2:]
                self._template = self._events.template(block) or self._template

    @property
    def lost_track(self) -> bool:
        return self._lost or self._splitter.oversized > 0

    def _finish(self, whole: bool) -> None:
        self._template = None
        if whole:
            for name, event in self._splitter.finish():
                self._events.read(name, event)
        self._forget()

    def _forget(self) -> None:
        self._template = None
        # Of an event that was too long only the beginning was seen.
        self._lost |= self._splitter.oversized > 0
        self._splitter = SseSplitter()
