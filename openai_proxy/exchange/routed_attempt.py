"""One attempt of the unified way: the request made fit for its target, the answer for its client."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer

from openai_proxy.config.secret import Secret
from openai_proxy.exchange.asking import has_usage_event, is_read, narrow_encodings
from openai_proxy.exchange.attempt import Attempt, Sent
from openai_proxy.exchange.fixed import FixedStream, FixedWhole
from openai_proxy.exchange.opening import Opening
from openai_proxy.exchange.payload import Payload
from openai_proxy.exchange.reading import Converter, Converting, Reading, Unchanged, read_on
from openai_proxy.observe.include_usage import splice_include_usage
from openai_proxy.observe.model_member import splice_model
from openai_proxy.observe.multipart_model import splice_form_model
from openai_proxy.providers.credentials import query_of_keys
from openai_proxy.providers.listed_error import first_error
from openai_proxy.providers.stream_fixes import fixed_completion
from openai_proxy.providers.translate.translation import (
    DEFAULT_OPTIONS,
    Translation,
    error_converter,
    translation_for,
)
from openai_proxy.providers.translate.untranslatable import Untranslatable
from openai_proxy.wire.fields import Field, first_of

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall
    from twisted.web.iweb import IResponse

    from openai_proxy.config.provider import Quirks
    from openai_proxy.exchange.course import Leg
    from openai_proxy.exchange.question import Question
    from openai_proxy.exchange.routed import RoutedExchange
    from openai_proxy.exchange.target import Target

_CHAT = "chat_completions"


class RoutedAttempt(Attempt):
    """See :class:`~openai_proxy.exchange.attempt.Attempt`."""

    owner: RoutedExchange
    opening: Opening | None = None
    """Holds the answer's beginning, until it is the client's."""
    timer: IDelayedCall | None = None
    """Ends it, if its answer has not begun by then."""
    converting: Converting | None = None
    """Of an answer that is translated and not read."""
    dropped: tuple[str, ...] = ()
    whole_bytes: int | None = None
    """How long its body is for the client, if that is known before its head goes out."""
    _payload: Payload | None = None
    _is_fixed = False
    """Whether its body may change its length."""

    def __init__(self, owner: RoutedExchange, target: Target, leg: Leg, question: Question) -> None:
        super().__init__(owner, target, owner.endpoint)
        self.leg = leg
        self.move = leg.move
        self.model = leg.candidate.model or question.model
        self.question = question
        if question.is_unread and question.boundary is not None and self.model != question.model:
            raise Untranslatable("The form is too long for its model to be given another name.", "model")
        self.translation = self._translation()
        if self.translation is not None:
            self.endpoint = self.translation.endpoint

    # The request.

    def _translation(self) -> Translation | None:
        """Raises :class:`Untranslatable`."""
        question, target = self.question, self.target
        dialect = self.owner.client_dialect
        kind = translation_for(dialect, target.provider.dialect, self.owner.request.method, question.path)
        if kind is None:
            return None
        if question.body is None:
            raise Untranslatable("The request's body is too long, or no JSON, and has to be translated.")
        return kind.request(question.body, self.model, target.translation or DEFAULT_OPTIONS)

    def made(self, fields: list[Field], key: Secret | None) -> Sent:
        """The request as its target is to have it. Raises :class:`UnaddressableModel`."""
        question, target, provider = self.question, self.target, self.target.provider
        path = question.target_for(self.model)
        body = self._body()
        if self.translation is None:
            if question.names_objects:
                # What it made is looked for in it.
                narrow_encodings(fields, plain=True)
            elif is_read(provider, self.owner.generates, self.endpoint):
                narrow_encodings(fields, plain=self.is_asked_for_usage or target.fixes is not None)
        else:
            # The other dialect's parameters (Anthropic's `beta`) are nothing to its target.
            keys = query_of_keys(question.query) if question.query else b""
            path = b"%b?%b" % (self.translation.path, keys) if keys else self.translation.path
        assert target.addressing is not None
        fields, url = target.addressing.unified(fields, path, self.leg.candidate.model, key)
        if self.translation is not None:
            fields = self.translation.request_fields(fields)
        return url, fields, body

    def _body(self) -> IBodyProducer | None:
        question, request, target = self.question, self.owner.request, self.target
        if question.body is None:
            return request.body
        if self.translation is not None:
            body = self.translation.body
            self.dropped = self.translation.dropped
        elif question.boundary is not None:
            renamed = None
            if self.model != question.model:
                renamed = splice_form_model(question.body, question.boundary, self.model)
            body = renamed or question.body
        else:
            body = self._spliced(question.body)
        if target.rules is not None and question.boundary is None:
            body, names = target.rules.applied(body)
            self.dropped += names
        if body is question.body:
            return request.body
        payload = self._payload = Payload(body)
        return payload

    def _spliced(self, body: bytes) -> bytes:
        question, owner = self.question, self.owner
        if self.model != question.model:
            body = splice_model(body, self.model) or body
        if question.asked.is_stream and has_usage_event(self.target.provider, owner.generates, self.endpoint):
            # The splices before have moved what it looks at, and changed none of it.
            asking = splice_include_usage(body, question.asked)
            if asking is not None:
                self.is_asked_for_usage = True
                return asking
        return body

    # The answer.

    def read(self) -> None:
        """Make what reads and changes the answer, whose head has come."""
        read_on(self.owner, self, converter := self._converter())
        if self.reading is not None:
            return
        if converter is None and self.question.names_objects and self._is_json and self.status < 300:
            # It is held for what it names.
            converter = Unchanged()
        if converter is not None:
            self.converting = Converting(converter, self._is_stream)

    @property
    def _is_json(self) -> bool:
        content_type = first_of(self.fields, b"content-type") or b""
        return content_type[:16].lower() == b"application/json"

    @property
    def _is_stream(self) -> bool:
        content_type = first_of(self.fields, b"content-type") or b""
        return content_type[:17].lower() == b"text/event-stream"

    def _converter(self) -> Converter | None:
        is_stream = self._is_stream
        if self.translation is not None:
            return self.translation.body_converter(self.status, is_stream, self.owner.context.unix_seconds())
        fixes = self.target.fixes
        is_error = self.status >= 400
        if (fixes is None and not is_error) or first_of(self.fields, b"content-encoding") is not None:
            return None
        converter: Converter | None = None
        if is_error:
            converter = self._error_converter(fixes) if self._is_json else None
        elif fixes is not None and self.endpoint == _CHAT and self.owner.generates:
            converter = _fixed(fixes, is_stream)
        self._is_fixed = converter is not None
        return converter

    def _error_converter(self, fixes: Quirks | None) -> Converter | None:
        dialect = self.owner.client_dialect
        if dialect != self.target.provider.dialect:
            return error_converter(dialect, self.status)
        return FixedWhole(first_error) if fixes is not None and fixes.fix_error_list else None

    @property
    def reader(self) -> Reading | Converting | None:
        """What the answer goes through on its way to the client."""
        return self.reading or self.converting

    @property
    def is_held(self) -> bool:
        """Whether its beginning has to be looked at: a stream of events, or JSON, may be an error."""
        return self.reader is not None and self.status < 300

    def open(self, response: IResponse, waits_for_token: bool) -> None:
        """Ask for the body, and hold its beginning back."""
        reader = self.reader
        assert reader is not None
        # What is not read has no tokens that could be seen.
        waits_for_token = waits_for_token and self.reading is not None
        self.opening = Opening(
            reader, waits_for_token, self.translation is not None, self, self.owner.seconds
        )
        self.download(response, self.opening, None)

    def end(self, whole: bool) -> bytes:
        """See :class:`Attempt`."""
        reader = self.reader
        if reader is None:
            return b""
        rest = reader.end(whole)
        self.broken = reader.broken
        return rest

    def opened(self) -> None:
        """See :class:`~openai_proxy.exchange.opening.Opened`."""
        self._guarded(self.owner.opened)

    def refused(self) -> None:
        """See :class:`~openai_proxy.exchange.opening.Opened`."""
        self._guarded(self.owner.refused)

    def _guarded(self, tell: Callable[[RoutedAttempt], None]) -> None:
        try:
            tell(self)
        except Exception:
            # It would cost the connection, and the client be told nothing of why.
            self.owner.failed(self, Failure())

    def error_body(self, status: int) -> bytes:
        """Of an answer that says inside that it is an error: the error alone, for the client."""
        assert self.opening is not None
        said = self.opening.ending()
        if self.translation is None:
            return said
        converter = self.translation.body_converter(status, False, self.owner.context.unix_seconds())
        return converter.feed(said) + converter.end(whole=True)

    def forget_question(self) -> None:
        """Its answer is the client's: nothing is sent again."""
        self.question.forget()
        if self.translation is not None:
            self.translation.body = b""
        if self._payload is not None:
            self._payload.forget()

    def close(self) -> None:
        """It is over: nothing of it is held or waited for."""
        self.stop_timer()
        if self.received_at is None:
            self.end(whole=False)
        if self.opening is not None:
            self.opening.close()

    def given_fields(self, status: int) -> list[Field]:
        """Those of the answer, for the client. ``status``: as the client is told it."""
        if self.translation is not None:
            fields = self.translation.answer_fields(status, self.fields, self.owner.context.unix_seconds())
        elif self._is_fixed:
            fields = [field for field in self.fields if field[0].lower() != b"content-length"]
        else:
            return self.fields
        if self.whole_bytes is not None:
            fields.append((b"Content-Length", b"%d" % self.whole_bytes))
        return fields

    def stop_timer(self) -> None:
        """Its answer has begun, or it has ended."""
        timer, self.timer = self.timer, None
        if timer is not None and timer.active():
            timer.cancel()


def _fixed(fixes: Quirks, is_stream: bool) -> Converter | None:
    """What puts a chat completion right; None if nothing is wrong with such."""
    if is_stream:
        return FixedStream(fixes) if fixes.fix_tool_index or fixes.fix_finish_reason else None
    return FixedWhole(partial(fixed_completion, quirks=fixes)) if fixes.fix_finish_reason else None
