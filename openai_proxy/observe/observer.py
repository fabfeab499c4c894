"""Reads an answer on the side: clocks, usage, errors and the end, without touching a byte."""

from __future__ import annotations

from enum import Enum, auto
from functools import lru_cache
from typing import Final, Protocol

import msgspec
from twisted.logger import Logger

from openai_proxy.observe.answer import ANSWERS, AnyAnswer
from openai_proxy.observe.chat_events import ChatEvents
from openai_proxy.observe.inflate import Inflate, InflateError
from openai_proxy.observe.intervals import IntervalCounts
from openai_proxy.observe.members import ErrorName, Named, decoded, error_in_body
from openai_proxy.observe.message_events import MessageEvents, SaidByMessage
from openai_proxy.observe.said import SILENT, VISIBLE, Said
from openai_proxy.observe.sse import SseSplitter
from openai_proxy.observe.templates import Template
from openai_proxy.observe.typed_events import TypedEvents
from openai_proxy.observe.usage import (
    EXPECTED,
    FORMS,
    NO_QUIRKS,
    Quirks,
    Usage,
    UsageMissing,
)

MAX_JSON_BYTES: Final = 16 * 1024 * 1024
"""What is kept of a JSON answer to be decoded at its end; of a longer one nothing is known."""

ANTHROPIC: Final = "anthropic"
_PATIENCE: Final = 3
"""So many events in a row that fit no template: then the rest of what came together is not tried."""
_CHUNKED: Final = frozenset({"chat_completions", "completions"})
_GZIP: Final = (b"gzip", b"x-gzip")
_named = msgspec.json.Decoder(Named)


class Observer:
    """Of one answer. ``piece`` and ``end`` never raise, and memory is bounded.

    All is 0 or None until it is seen; ``usage`` is there after :meth:`end`. Times are those
    given to ``piece``.
    """

    _log = Logger()
    is_stream = False

    def __init__(self, said: Said, inflate: Inflate | None, usage_expected: bool) -> None:
        self.usage: Usage | None = None
        self.first_token_at: float | None = None
        """Of any kind: reasoning and tool arguments too."""
        self.first_visible_at: float | None = None
        self.last_token_at: float | None = None
        self.token_events = 0
        """Events with tokens; how many tokens are in one is the provider's choice."""
        self.intervals: IntervalCounts | None = None
        """Given, it counts the seconds between two events with tokens: 0 if they came together."""
        self._said = said
        self._inflate = inflate
        self._usage_expected = usage_expected
        self._whole = False
        self._over = False

    def piece(self, data: bytes, now: float) -> bool:
        """Some bytes of the body as they were received, at ``now`` seconds.

        True if they are whole events with a token in each: of these none is the usage event.
        """
        if self._over:
            return False
        try:
            if self._inflate is None:
                return self._read(data, now)
            self._read(self._inflate.feed(data), now)
        except InflateError:
            self._stop()
        except Exception:
            # The relay goes on whatever an answer does to its reader.
            self._log.failure("An observer failed")
            self._stop()
        return False

    def end(self, whole: bool = True) -> None:
        """No more will come. ``whole``: the body came to the end of its framing."""
        if self._over:
            return
        self._whole = whole
        try:
            self._finish(whole)
            self.usage = self._said.usage()
        except Exception:
            self._log.failure("An observer failed")
            self._said.unread = True
        self._over = True

    def _stop(self) -> None:
        self._over = True
        self._said.unread = True
        self._forget()

    def _read(self, data: bytes, now: float) -> bool:
        raise NotImplementedError

    def _finish(self, whole: bool) -> None:
        raise NotImplementedError

    def _forget(self) -> None:
        """Free what is held."""

    @property
    def error(self) -> ErrorName | None:
        """What went wrong, in the provider's words: an error body, or an error inside a stream."""
        return self._said.error

    @property
    def lost_track(self) -> bool:
        """Whether something could not be read: what did not come may have been there."""
        return self._said.unread

    @property
    def ended(self) -> bool:
        """Whether the answer came to the end that its form prescribes.

        ``[DONE]``, the last event of a response or message, or a JSON body that is one.
        """
        return self._said.ended

    @property
    def model(self) -> str | None:
        """The answer's own name of its model: any text, not a label."""
        return self._said.model

    @property
    def service_tier(self) -> str | None:
        """The tier that was given."""
        return self._said.service_tier

    @property
    def answer_id(self) -> str | None:
        """A stored response is answered again when it is asked for: its usage counts once."""
        return self._said.answer_id

    @property
    def usage_missing(self) -> UsageMissing | None:
        """Why there is no usage, after the end; None if there is, or if none was due."""
        if self.usage is not None or not self._usage_expected:
            return None
        if self._said.unread:
            return UsageMissing.UNPARSABLE
        if not self._whole and not self.ended:
            return UsageMissing.DISCONNECT
        return UsageMissing.STREAM_WITHOUT_USAGE if self.is_stream else UsageMissing.NONE_IN_ANSWER


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

    def _tokens(self, events: int, kind: int, now: float) -> None:
        """So many events with tokens have come; ``kind`` is the highest among them."""
        last = self.last_token_at
        self.last_token_at = now
        self.token_events += events
        if last is None:
            self.first_token_at = now
        if kind == VISIBLE and self.first_visible_at is None:
            self.first_visible_at = now
        intervals = self.intervals
        if intervals is not None:
            if last is not None:
                intervals.add(now - last)
            if events > 1:
                intervals.add_zeros(events - 1)

    def _finish(self, whole: bool) -> None:
        self._template = None
        if whole:
            for name, event in self._splitter.finish():
                self._events.read(name, event)
        self._forget()

    def _forget(self) -> None:
        self._template = None
        self._splitter = SseSplitter()


class JsonObserver(Observer):
    """Of one JSON body, decoded once when it is whole."""

    def __init__(
        self,
        said: Said,
        inflate: Inflate | None,
        usage_expected: bool,
        is_error: bool,
        answers: msgspec.json.Decoder[AnyAnswer] | None = None,
    ) -> None:
        """:param answers: of the form that is expected; what has another is read with more care"""
        super().__init__(said, inflate, usage_expected)
        self._is_error = is_error
        self._answers = answers
        self._pieces: list[bytes] = []
        self._size = 0

    def _read(self, data: bytes, now: float) -> bool:
        self._size += len(data)
        if self._size > MAX_JSON_BYTES:
            self._stop()
        else:
            self._pieces.append(data)
        return False

    def _finish(self, whole: bool) -> None:
        body = b"".join(self._pieces)
        self._forget()
        said = self._said
        answer = decoded(self._answers, body) if self._answers is not None else None
        if answer is not None:
            said.ended = True
            said.take_answer(answer)
        else:
            self._read_named(body, whole)
        if self._is_error and said.error is None:
            said.error = error_in_body(body)

    def _read_named(self, body: bytes, whole: bool) -> None:
        said = self._said
        named = decoded(_named, body)
        if named is not None:
            said.ended = True
            said.take(named)
            if isinstance(said, SaidByMessage):
                said.overwrite(named.usage)
        elif whole:
            said.unread = True

    def _forget(self) -> None:
        self._pieces = []


def observer_for(
    endpoint: str,
    status: int,
    content_type: bytes | None,
    content_encoding: bytes | None,
    dialect: str = "openai",
    quirks: Quirks = NO_QUIRKS,
) -> Observer | None:
    """Who reads this answer; None if it says nothing that is read (see :func:`usage_unobserved`).

    It is chosen by what the answer is, never by what was asked for. Only the answer to a request
    that costs something should be given: a GET of a stored response repeats its usage.
    """
    media, is_zipped = _media_of(content_type, content_encoding)
    if media is _Media.OTHER:
        return None
    inflate = Inflate() if is_zipped else None
    expected = _is_usage_expected(endpoint, status, dialect)
    if media is _Media.EVENTS:
        return StreamObserver(_events(endpoint, dialect, quirks), inflate, expected)
    if dialect == ANTHROPIC:
        return JsonObserver(SaidByMessage(quirks), inflate, expected, status >= 400)
    if status < 400 and endpoint not in FORMS:
        return None
    said = Said(FORMS.get(endpoint), quirks)
    return JsonObserver(said, inflate, expected, status >= 400, ANSWERS.get(endpoint))


class _Media(Enum):
    EVENTS = auto()
    JSON = auto()
    OTHER = auto()


@lru_cache(maxsize=64)
def _media_of(content_type: bytes | None, content_encoding: bytes | None) -> tuple[_Media, bool]:
    """What there is to read, and whether it is zipped. Few fields are ever said, again and again."""
    encoding = (content_encoding or b"identity").strip().lower()
    is_zipped = encoding in _GZIP
    if encoding != b"identity" and not is_zipped:
        return _Media.OTHER, False
    media_type = (content_type or b"").partition(b";")[0].strip().lower()
    if media_type == b"text/event-stream":
        return _Media.EVENTS, is_zipped
    if media_type == b"application/json" or media_type.endswith(b"+json"):
        return _Media.JSON, is_zipped
    return _Media.OTHER, is_zipped


def usage_unobserved(endpoint: str, status: int, content_encoding: bytes | None) -> UsageMissing | None:
    """Why there is no usage of an answer that nobody reads; None if none was due."""
    if not _is_usage_expected(endpoint, status, "openai"):
        return None
    encoding = (content_encoding or b"identity").strip().lower()
    return UsageMissing.NONE_IN_ANSWER if encoding in (b"identity", *_GZIP) else UsageMissing.UNPARSABLE


def _is_usage_expected(endpoint: str, status: int, dialect: str) -> bool:
    return 200 <= status < 300 and (endpoint in EXPECTED or dialect == ANTHROPIC)


def _events(endpoint: str, dialect: str, quirks: Quirks) -> Events:
    if dialect == ANTHROPIC:
        return MessageEvents(quirks)
    if endpoint in _CHUNKED:
        return ChatEvents(FORMS[endpoint], quirks)
    return TypedEvents(FORMS.get(endpoint, FORMS["responses"]), quirks)
