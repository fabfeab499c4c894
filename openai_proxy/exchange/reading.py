"""One answer, read on its way to the client."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from openai_proxy.observe.buckets import ITL
from openai_proxy.observe.choice import is_message, observer_for, usage_unobserved
from openai_proxy.observe.intervals import IntervalCounts
from openai_proxy.observe.members import ErrorName
from openai_proxy.observe.observer import Observer
from openai_proxy.observe.record import Generation
from openai_proxy.observe.usage_event import UsageEventStripper
from openai_proxy.wire.body import HeldBodies
from openai_proxy.wire.errors import UpstreamError
from openai_proxy.wire.fields import Field, NameSet

if TYPE_CHECKING:
    from openai_proxy.exchange.attempt import Attempt
    from openai_proxy.exchange.exchange import Exchange

MARKED: Final = frozenset(
    {
        "chat_completions",
        "completions",
        "responses",
        "messages",
        "images",
        "audio_speech",
        "audio_transcriptions",
        "generate_content",
    }
)
"""Endpoints whose streams have a last event: one that ends without it was cut short."""
_CONTENT: Final = NameSet(frozenset({b"content-type", b"content-encoding"}))


class Converter(Protocol):
    """Makes an answer of another form out of an upstream's."""

    failed: bool
    """Whether it cannot be made of what came; the client was told so."""

    def feed(self, data: bytes) -> bytes:
        """What is to be sent of ``data``, and of what came before."""

    def end(self, whole: bool) -> bytes:
        """What is to be sent when nothing more comes."""


class Conversion:
    """A converter that does not raise."""

    __slots__ = ("_converter", "broken", "has_failed")

    def __init__(self, converter: Converter) -> None:
        self._converter: Converter | None = converter
        self.broken: UpstreamError | None = None
        """Why nothing could be made of the answer for the client."""
        self.has_failed = False
        """Whether what was made of it is an error."""

    def feed(self, data: bytes) -> bytes:
        """See :class:`Converter`."""
        converter = self._converter
        try:
            return b"" if converter is None else converter.feed(data)
        except UpstreamError as error:
            self._break(error)
            return b""

    def end(self, whole: bool) -> bytes:
        """See :class:`Converter`; a second time gives nothing."""
        converter, self._converter = self._converter, None
        try:
            out = b"" if converter is None else converter.end(whole)
        except UpstreamError as error:
            self._break(error)
            return b""
        self.has_failed = self.has_failed or (converter is not None and converter.failed)
        return out

    def _break(self, error: UpstreamError) -> None:
        self.broken = error
        self.has_failed = True
        self._converter = None


class Unchanged:
    """Gives on what comes: for answers that are held only until all of them is there."""

    failed = False

    def feed(self, data: bytes) -> bytes:
        """See :class:`Converter`."""
        return data

    def end(self, whole: bool) -> bytes:
        """See :class:`Converter`."""
        return b""


class Converting:
    """Only converts: for answers that nobody reads."""

    __slots__ = ("_conversion", "is_stream")

    error: ErrorName | None = None
    has_ended = has_tokens = False

    def __init__(self, converter: Converter, is_stream: bool) -> None:
        self._conversion = Conversion(converter)
        self.is_stream = is_stream

    @property
    def broken(self) -> UpstreamError | None:
        """See :class:`Conversion`."""
        return self._conversion.broken

    @property
    def has_failed(self) -> bool:
        """See :class:`Conversion`."""
        return self._conversion.has_failed

    def piece(self, data: bytes) -> bytes:
        """See :class:`~openai_proxy.relay.download.Reader`."""
        return self._conversion.feed(data)

    def end(self, whole: bool) -> bytes:
        """No more will come."""
        return self._conversion.end(whole)


class Reading:
    """Takes each piece of the body, and gives what the client is to have of it.

    That is all of it, but for the usage event that we asked for and the client did not.
    """

    __slots__ = (
        "_conversion",
        "_held_bytes",
        "_is_marked",
        "_observe",
        "_room",
        "_seconds",
        "_stripper",
        "intervals",
        "is_stream",
        "observer",
    )

    def __init__(
        self,
        observer: Observer,
        stripper: UsageEventStripper | None,
        is_marked: bool,
        seconds: Callable[[], float],
        held_answers: HeldBodies,
        converter: Converter | None = None,
    ) -> None:
        """:param is_marked: whether its stream, if it is one, has a last event.
        :param converter: makes of what the upstream said what the client is to have.
        :param held_answers: the room for all that is kept until it is whole.
        """
        self.observer = observer
        self._observe = observer.piece
        self._stripper = stripper
        self._conversion = None if converter is None else Conversion(converter)
        self._is_marked = is_marked
        self._seconds = seconds
        self.is_stream = observer.is_stream
        """Whether it is a stream of events."""
        self._room = None if observer.is_stream else held_answers
        self._held_bytes = 0
        self.intervals: IntervalCounts | None = None
        if observer.is_stream:
            self.intervals = IntervalCounts(ITL)
            observer.intervals = self.intervals

    @property
    def has_ended(self) -> bool:
        """Whether the last event of the stream has come: a client may leave then."""
        return self.is_stream and self.observer.said.ended

    @property
    def has_tokens(self) -> bool:
        """Whether a token of any kind has come, in a stream."""
        return self.observer.token_events > 0

    @property
    def error(self) -> ErrorName | None:
        """What went wrong, in the provider's words."""
        return self.observer.said.error

    @property
    def has_failed(self) -> bool:
        """Whether an answer that seemed well holds an error, or stopped without its last event."""
        observer = self.observer
        if observer.said.error is not None:
            return True
        if self._conversion is not None and self._conversion.has_failed:
            return True
        return self.is_stream and self._is_marked and not (observer.said.ended or observer.lost_track)

    def piece(self, data: bytes) -> bytes:
        """Read some bytes of the body; what of them (and of what was held back) goes on."""
        if self._room is not None:
            self._hold(self._room, len(data))
        has_tokens_alone = self._observe(data, self._seconds())
        stripper = self._stripper
        if stripper is not None and not (has_tokens_alone and not stripper.inside):
            data = stripper.feed(data)
        return data if self._conversion is None else self._conversion.feed(data)

    def end(self, whole: bool) -> bytes:
        """No more will come; what was held back goes on now."""
        self.observer.end(whole)
        self._let_go()
        rest = b"" if self._stripper is None else self._stripper.end()
        conversion = self._conversion
        return rest if conversion is None else conversion.feed(rest) + conversion.end(whole)

    @property
    def broken(self) -> UpstreamError | None:
        """Why nothing could be made of it for the client."""
        return None if self._conversion is None else self._conversion.broken

    def _hold(self, room: HeldBodies, size: int) -> None:
        """Keep so much more of an answer; where there is no room for it, nothing of it is read."""
        if room.take(size):
            self._held_bytes += size
        else:
            self.observer.give_up()
            self._let_go()

    def _let_go(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            room.release(self._held_bytes)

    def generation(
        self, asked_at: float, model: str, cost_picodollars: int | None, keeps_pace: bool
    ) -> Generation | None:
        """What there is to count, after the end; None if there is nothing.

        ``keeps_pace``: the client took all as it came. Where it did not, the upstream was paused,
        and the times between its events are the client's.
        """
        observer = self.observer
        usage, missing = observer.usage, observer.usage_missing
        first = observer.first_token_at
        if first is None:
            if usage is None and missing is None:
                return None
            return Generation(
                model=model, usage=usage, usage_missing=missing, cost_picodollars=cost_picodollars
            )
        return Generation(
            model=model,
            usage=usage,
            usage_missing=missing,
            cost_picodollars=cost_picodollars,
            first_token_seconds=max(0.0, first - asked_at),
            first_visible_seconds=(
                None if observer.first_visible_at is None else max(0.0, observer.first_visible_at - asked_at)
            ),
            seconds_per_output_token=self._pace() if keeps_pace else None,
            intervals=self.intervals if keeps_pace else None,
        )

    def _pace(self) -> float | None:
        """From the first token to the last, for each but the first, of those that were sent."""
        observer = self.observer
        usage = observer.usage
        if usage is None or observer.usage_missing is not None:
            # What is known of a part are not the tokens between the clocks.
            return None
        tokens = usage.output_tokens or 0
        if not observer.has_reasoned:
            # Made before the first that came, and never sent.
            tokens -= usage.reasoning_tokens
        if tokens < 2 or observer.token_events < 2:
            return None
        assert observer.last_token_at is not None and observer.first_token_at is not None
        return max(0.0, observer.last_token_at - observer.first_token_at) / (tokens - 1)


def read_on(exchange: Exchange, attempt: Attempt, converter: Converter | None = None) -> None:
    """Put what reads the answer that has begun at the attempt; or else why its usage will be missing.

    Its Content-Length is taken out of its fields if the body may become shorter on its way.

    :param converter: what the answer has to go through; what is not read goes nowhere.
    """
    provider, status, endpoint, fields = (
        attempt.target.provider,
        attempt.status,
        attempt.endpoint,
        attempt.fields,
    )
    if not provider.observes or exchange.request.method == b"HEAD":
        return
    content_type, encoding = _content_of(fields)
    counts = exchange.generates
    if not counts and status < 400 and not _is_events(content_type):
        return
    observer = observer_for(endpoint, status, content_type, encoding, provider.dialect, provider.quirks)
    if observer is None:
        attempt.usage_missing = usage_unobserved(endpoint, status, encoding) if counts else None
        return
    stripper = None
    if attempt.is_asked_for_usage and observer.is_stream and (encoding or b"identity").lower() == b"identity":
        stripper = UsageEventStripper()
        fields[:] = [field for field in fields if field[0].lower() != b"content-length"]
    is_marked = status < 400 and (endpoint in MARKED or is_message(endpoint, provider.dialect))
    held_answers = exchange.context.held_answers
    attempt.reading = Reading(observer, stripper, is_marked, exchange.seconds, held_answers, converter)


def _content_of(fields: list[Field]) -> tuple[bytes | None, bytes | None]:
    """The first Content-Type and the first Content-Encoding."""
    content_type = encoding = None
    for name, value in fields:
        if _CONTENT[name]:
            if name.lower() == b"content-type":
                content_type = content_type or value
            else:
                encoding = encoding or value
    return content_type, encoding


def is_event_stream(fields: list[Field]) -> bool:
    """Whether an answer of these fields is a stream of events that another event can be put behind."""
    content_type, encoding = _content_of(fields)
    return _is_events(content_type) and (encoding or b"identity").lower() == b"identity"


def _is_events(content_type: bytes | None) -> bool:
    return content_type is not None and content_type[:17].lower() == b"text/event-stream"
