"""Reads an answer on the side: clocks, usage, errors and the end, without touching a byte."""

from __future__ import annotations

from twisted.logger import Logger

from openai_proxy.observe.inflate import Inflate, InflateError
from openai_proxy.observe.intervals import IntervalCounts
from openai_proxy.observe.members import ErrorName
from openai_proxy.observe.said import UNFINISHED, UNMADE, VISIBLE, Said
from openai_proxy.observe.usage import Usage, UsageMissing


class Observer:
    """Of one answer. ``piece`` and ``end`` never raise, and memory is bounded.

    All is 0 or None until it is seen; ``usage`` is there after :meth:`end`. Times are those
    given to ``piece``.
    """

    _log = Logger()
    is_stream = False

    # What one answer in many does not set is an attribute of the class.
    usage: Usage | None = None
    first_token_at: float | None = None
    """Of any kind: reasoning and tool arguments too."""
    first_visible_at: float | None = None
    last_token_at: float | None = None
    token_events = 0
    """Events with tokens; how many tokens are in one is the provider's choice."""
    intervals: IntervalCounts | None = None
    """Given, it counts the seconds between two events with tokens: 0 if they came together."""
    _whole = False
    _over = False

    def __init__(self, said: Said, inflate: Inflate | None, usage_expected: bool) -> None:
        self.said = said
        self._inflate = inflate
        self._usage_expected = usage_expected
        self._lost = False

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
            usage = self.said.usage()
            self.usage = None if self._is_unfinished else usage
        except Exception:
            self._log.failure("An observer failed")
            self._lost = self.said.unread = True
        self._over = True

    def give_up(self) -> None:
        """Read no more, and forget what is held."""
        if not self._over:
            self._stop()

    def _stop(self) -> None:
        self._over = True
        self._lost = True
        self.said.unread = True
        self._forget()

    def _read(self, data: bytes, now: float) -> bool:
        raise NotImplementedError

    def _finish(self, whole: bool) -> None:
        raise NotImplementedError

    def _forget(self) -> None:
        """Free what is held."""

    def _tokens(self, events: int, kind: int, now: float) -> None:
        """So many events with tokens have come; ``kind`` is the highest among them."""
        last = self.last_token_at
        self.last_token_at = now
        self.token_events += events
        if self.first_visible_at is None and kind == VISIBLE:
            self.first_visible_at = now
        intervals = self.intervals
        if last is None:
            self.first_token_at = now
        elif intervals is not None:
            # The clock may have been set back.
            intervals.add(now - last if now > last else 0.0)
        if events > 1 and intervals is not None:
            intervals.add_zeros(events - 1)

    @property
    def error(self) -> ErrorName | None:
        """What went wrong, in the provider's words: an error body, or an error inside a stream."""
        return self.said.error

    @property
    def lost_track(self) -> bool:
        """Whether a part was not read at all: the end mark that did not come may have been there."""
        return self._lost

    @property
    def has_reasoned(self) -> bool:
        """Whether tokens of reasoning came: if not, those that usage counts were never sent."""
        return self.said.reasoned

    @property
    def ended(self) -> bool:
        """Whether the answer came to the end that its form prescribes.

        ``[DONE]``, the last event of a response or message, or a JSON body that is one.
        """
        return self.said.ended

    @property
    def model(self) -> str | None:
        """The answer's own name of its model: any text, not a label."""
        return self.said.model

    @property
    def service_tier(self) -> str | None:
        """The tier that was given."""
        return self.said.service_tier

    @property
    def answer_id(self) -> str | None:
        """A stored response is answered again when it is asked for: its usage counts once."""
        return self.said.answer_id

    @property
    def usage_missing(self) -> UsageMissing | None:
        """Why there is no usage, or not all of it, after the end; None if there is, or if none was due."""
        if not self._usage_expected:
            return None
        cut = not self._whole and not self.ended
        if self.usage is not None:
            return UsageMissing.DISCONNECT if self.said.partial and not self.ended else None
        if self.said.unread:
            return UsageMissing.UNPARSABLE
        return UsageMissing.DISCONNECT if cut else self._missing_at_end()

    @property
    def _is_unfinished(self) -> bool:
        """Whether it is made in the background. A stream says so of its beginning."""
        return not self.is_stream and self.said.status in UNFINISHED

    def _missing_at_end(self) -> UsageMissing | None:
        """Of an answer that is whole."""
        has_failed = self.error is not None and not self.token_events
        if has_failed or self.said.status in UNMADE:
            # Nothing was made, and nothing is billed.
            return None
        if self._is_unfinished:
            return UsageMissing.BACKGROUND
        return UsageMissing.STREAM_WITHOUT_USAGE if self.is_stream else UsageMissing.NONE_IN_ANSWER
