"""An exchange of the unified way: its model chooses the target, and another one takes over where it fails."""

from __future__ import annotations

import math
from typing import Final

from msgspec.structs import replace
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from twisted.web.iweb import IResponse

from openai_proxy.config.secret import Secret
from openai_proxy.exchange.account import attempt_record, result_of_status, wasted_picodollars
from openai_proxy.exchange.attempt import Attempt, Sent
from openai_proxy.exchange.course import Course, Leg
from openai_proxy.exchange.error_in_answer import status_of
from openai_proxy.exchange.exchange import Exchange, ExchangeContext
from openai_proxy.exchange.gateway import Gateway
from openai_proxy.exchange.opening import first_event, last_event
from openai_proxy.exchange.question import Question, client_retry, speaks_anthropic
from openai_proxy.exchange.routed_attempt import RoutedAttempt
from openai_proxy.observe.model import NONE
from openai_proxy.observe.outcome import Outcome, outcome_of_status
from openai_proxy.observe.record import RESTING, SLOW, AttemptResult, Error, ErrorSource, MoveKind
from openai_proxy.policy.retry import Decision, Step, left_seconds
from openai_proxy.policy.retry_fields import RetryFields, retry_fields_in
from openai_proxy.policy.routing import NoRoute, Plan
from openai_proxy.policy.stickiness import ids_in_answer, names_objects
from openai_proxy.providers.addressing import UnaddressableModel
from openai_proxy.providers.provider import Provider
from openai_proxy.providers.translate.untranslatable import Untranslatable
from openai_proxy.relay.download import Drain
from openai_proxy.relay.failures import CIRCUIT_IS_OPEN, RATE_LIMITED, ErrorAnswer, error_answer_for, refusing
from openai_proxy.wire.errors import HeadTimedOut, UpstreamError, reason_phrase
from openai_proxy.wire.fields import Field
from openai_proxy.wire.request import Request

NOBODY: Final = Provider(NONE, b"", names_models=False)
"""Whose exchange it is that was sent to nobody."""
_JSON: Final = (b"Content-Type", b"application/json")
_STOP: Final = (b"x-should-retry", b"false")
_OURS: Final = frozenset({b"x-openai-proxy-provider", b"x-openai-proxy-model", b"x-openai-proxy-attempts"})
_BODY_FIELDS: Final = frozenset({b"content-length", b"content-type", b"content-encoding"})


class Wait:
    """A delayed call that an exchange waits for."""

    def __init__(self, call: IDelayedCall) -> None:
        self._call = call

    def cancel(self) -> None:
        """The exchange has ended: it will not be called."""
        if self._call.active():
            self._call.cancel()


class RoutedExchange(Exchange):
    """Until a byte of an answer has gone to the client, a failed attempt may be followed by another."""

    attempt: RoutedAttempt | None
    _beside: RoutedAttempt | None = None
    """A second one on its way, where the first was slow."""
    _course: Course
    _losers: tuple[RoutedAttempt, ...] = ()
    _hedge: IDelayedCall | None = None
    _ends_retries = False
    """Whether the client's SDK is told not to try again: we have."""
    _error_body: bytes | None = None
    _last_provider = NOBODY
    """Of the attempt before, while there is none."""

    def __init__(self, request: Request, gateway: Gateway, context: ExchangeContext, route: str) -> None:
        super().__init__(request, gateway.default, request.uri, context, route, b"/v1")
        self._gateway = gateway
        self._question = Question(request)
        self.client_dialect = "anthropic" if speaks_anthropic(request) else "openai"
        self.client_retry = client_retry(request)

    @property
    def provider(self) -> Provider:
        return self._last_provider if self.attempt is None else self.attempt.target.provider

    # Where to.

    @property
    def is_held(self) -> bool:
        return self.request.is_readable or self._question.boundary is not None

    def _read(self, held: bytes | None) -> None:
        body, question = self.request.body, self._question
        assert body is not None
        question.read(held, b"" if held is not None else body.beginning)
        self._requested()

    def _requested(self) -> None:
        self.ready_at = self.request.channel.heard_at
        self.asked_model = self._question.model
        now = self.seconds()
        self._gateway.budget.request(now)
        try:
            plan = self._planned(now)
        except NoRoute as error:
            self._refuse(404, str(error), error.code, error.param)
            return
        self._course = Course(self._gateway, plan)
        leg = self._course.next(now, MoveKind.FALLBACK)
        if leg is None:
            self._tell_closed(now)
            return
        attempt = self._go(leg)
        if attempt is not None and self._question.asked.is_stream and not self._is_settled:
            self._await_token(attempt, now)

    def _planned(self, now: float) -> Plan:
        """Raises NoRoute."""
        question, gateway = self._question, self._gateway
        if question.provider:
            plan = gateway.router.plan_at(question.provider, question.model)
        else:
            plan = gateway.router.plan(question.model, gateway.random)
        if question.ids and not question.provider:
            first = plan.candidates[0]
            made_by = gateway.stickiness.provider_of(question.ids, now) or first.provider
            plan = plan.stuck_to(made_by, question.model.removeprefix(made_by + "/"))
        return plan

    def _go(self, leg: Leg) -> RoutedAttempt | None:
        """Begin an attempt; None if there is none: the client has been answered."""
        try:
            attempt = self._made(leg)
        except Untranslatable as error:
            leg.end(AttemptResult.ABORTED, self.seconds())
            self._refuse(error.status, error.message, "untranslatable_request", error.param)
            return None
        translation = attempt.translation
        if translation is not None and translation.answer is not None:
            leg.end(AttemptResult.ABORTED, self.seconds())
            self.attempt = attempt
            self._answer_whole(200, translation.answer, Outcome.OK)
            return None
        self._arm(attempt)
        self._try(attempt)
        return attempt

    def _try(self, attempt: Attempt) -> None:
        try:
            super()._try(attempt)
        except UnaddressableModel:
            self.failed(attempt, Failure())

    def _made(self, leg: Leg) -> RoutedAttempt:
        """Raises Untranslatable."""
        return RoutedAttempt(self, self._gateway.targets[leg.candidate.provider], leg, self._question)

    def prepared(self, attempt: Attempt, key: Secret | None) -> Sent:
        assert isinstance(attempt, RoutedAttempt)
        sent = attempt.made(self._fields_to_send(), key)
        if self.first_sent_at is None:
            self.first_sent_at = self.seconds()
        return sent

    # How long.

    def _arm(self, attempt: RoutedAttempt) -> None:
        """Its route may have less patience than the daemon."""
        timeouts = self._course.plan.timeouts
        head, first = timeouts.head_seconds, timeouts.first_token_seconds
        if first is not None and self._question.asked.is_stream:
            head = first if head is None else min(head, first)
        seconds = min(math.inf if head is None else head, self._left_seconds())
        if seconds < math.inf:
            clock = self.context.clock
            attempt.timer = clock.callLater(seconds, self._timed_out, attempt, HeadTimedOut())

    def _left_seconds(self) -> float:
        return left_seconds(self._course.plan.timeouts, self.seconds() - self.request.began)

    def _rearm(self, attempt: RoutedAttempt) -> None:
        """The head has come: what is left is for the first token."""
        if attempt.timer is None or attempt.sent_at is None:
            return
        attempt.stop_timer()
        first = self._course.plan.timeouts.first_token_seconds
        seconds = self._left_seconds()
        if first is not None and self._question.asked.is_stream:
            seconds = min(seconds, attempt.sent_at + first - self.seconds())
        if seconds < math.inf:
            clock = self.context.clock
            attempt.timer = clock.callLater(max(0.0, seconds), self._timed_out, attempt, HeadTimedOut())

    def _timed_out(self, attempt: RoutedAttempt, error: UpstreamError) -> None:
        attempt.timer = None
        attempt.drop()
        self._ended_badly(attempt, AttemptResult.TIMEOUT, error_answer_for(error))

    def _await_token(self, attempt: RoutedAttempt, now: float) -> None:
        plan, hedging = self._course.plan, self._gateway.hedging
        seconds = hedging.after_seconds(plan.route, plan.hedge, self._course.has_next(now), now)
        if seconds is not None and self.attempt is attempt:
            self._hedge = self.context.clock.callLater(seconds, self._begin_beside, attempt)

    def _begin_beside(self, attempt: RoutedAttempt) -> None:
        """The first token is late: a second target is asked, and the first of both is taken."""
        self._hedge = None
        now = self.seconds()
        if not self._gateway.hedging.may_start(now):
            return
        provider = attempt.target.provider.name
        leg = self._course.next(now, MoveKind.HEDGE, SLOW, provider)
        if leg is None:
            return
        try:
            beside = self._made(leg)
        except Untranslatable:
            leg.end(AttemptResult.ABORTED, now)
            return
        self._beside = attempt
        self._arm(beside)
        self._try(beside)

    # What comes.

    def answered(self, attempt: Attempt, response: IResponse) -> None:
        assert isinstance(attempt, RoutedAttempt)
        if attempt.status == 101:
            attempt.stop_timer()
            attempt.leg.answered()
            self._upgraded(attempt, response)
        elif attempt.status >= 400:
            self._answered_badly(attempt, response)
        else:
            self._rearm(attempt)
            attempt.read()
            if attempt.is_held:
                attempt.open(response, self._waits_for_token)
            else:
                self._take(attempt)
                attempt.download(response, attempt.reader, self.request)

    @property
    def _waits_for_token(self) -> bool:
        plan = self._course.plan
        is_hedged = self._gateway.hedges if plan.hedge is None else plan.hedge
        return is_hedged or plan.timeouts.first_token_seconds is not None

    def opened(self, attempt: RoutedAttempt) -> None:
        """Its beginning is that of an answer: it is the client's from now on."""
        if attempt.sent_at is not None and attempt.reading is not None and attempt.reading.has_tokens:
            self._gateway.hedging.first_token(self._course.plan.route, self.seconds() - attempt.sent_at)
        self._take(attempt)
        assert attempt.opening is not None
        self._remember(attempt, attempt.opening.raw)
        attempt.give_to(self.request, attempt.reader)

    def _take(self, attempt: RoutedAttempt) -> None:
        """This one's answer is the client's; nobody waits for another."""
        self._alone(attempt)
        attempt.stop_timer()
        attempt.leg.answered()
        self._begin(attempt)

    def _alone(self, attempt: RoutedAttempt) -> None:
        if self._hedge is not None and self._hedge.active():
            self._hedge.cancel()
        self._hedge = None
        other = self._beside if self.attempt is attempt else self.attempt
        self._beside = None
        self.attempt = self._waits_for = attempt
        if other is not None and other is not attempt:
            other.drop()
            other.result = AttemptResult.ABORTED
            self._record(other)
            self._losers += (other,)

    def relayed(self, attempt: Attempt, failure: Failure | None) -> None:
        assert isinstance(attempt, RoutedAttempt)
        if self.request.status:
            super().relayed(attempt, failure)
        elif failure is not None:
            self.failed(attempt, failure)
        else:
            self._whole(attempt)

    def _whole(self, attempt: RoutedAttempt) -> None:
        """All of an answer came while its beginning was still held."""
        reader, opening = attempt.reader, attempt.opening
        assert reader is not None
        assert opening is not None
        raw = opening.raw
        rest = attempt.end(whole=True)
        if attempt.broken is not None:
            self._ended_badly(attempt, AttemptResult.STREAM_ERROR, error_answer_for(attempt.broken))
        elif reader.has_failed:
            self._refused(attempt, raw)
        else:
            body = opening.held() + rest
            attempt.whole_bytes = len(body)
            self._take(attempt)
            self._remember(attempt, raw)
            self.request.send(body)
            self.blocked_at_end = self.request.channel.watch.blocked_seconds
            self._given(attempt)

    def failed(self, attempt: Attempt, failure: Failure) -> None:
        assert isinstance(attempt, RoutedAttempt)
        error = failure.value
        if isinstance(error, UpstreamError) and not self.request.status:
            told = error_answer_for(error)
            self._ended_badly(attempt, told.result, told)
        elif isinstance(error, UnaddressableModel):
            attempt.leg.end(AttemptResult.ABORTED, self.seconds())
            if not self._waits_for_other(attempt):
                self._refuse(400, "The model's name cannot stand in a path.", "invalid_model", "model")
        else:
            super().failed(attempt, failure)

    # What follows on a failure.

    def _answered_badly(self, attempt: RoutedAttempt, response: IResponse) -> None:
        fields = retry_fields_in(attempt.fields, self.seconds())
        if attempt.status == 429 and attempt.target.has_own_key and fields.rest_seconds:
            attempt.leg.breaker.rest(fields.rest_seconds, self.seconds())
        attempt.result = result_of_status(attempt.status)
        if self._follows(attempt, attempt.result, fields):
            response.deliverBody(Drain())
            return
        self._alone(attempt)
        attempt.stop_timer()
        attempt.read()
        self._begin(attempt)
        attempt.download(response, attempt.reader, self.request)

    def refused(self, attempt: RoutedAttempt) -> None:
        """A stream says that it is an error, before anything else."""
        attempt.drop()
        assert attempt.opening is not None
        self._refused(attempt, last_event(attempt.opening.raw))

    def _refused(self, attempt: RoutedAttempt, body: bytes) -> None:
        """HTTP 200, and in it an error: it is answered as the error that it is."""
        reader = attempt.reader
        assert reader is not None
        if reader.error is None:
            self._ended_badly(attempt, AttemptResult.STREAM_ERROR, error_answer_for(UpstreamError()))
            return
        status = status_of(reader.error)
        attempt.result = result_of_status(status)
        if self._follows(attempt, attempt.result, RetryFields(), status):
            return
        self._alone(attempt)
        attempt.stop_timer()
        self.error = Error(ErrorSource.UPSTREAM, *reader.error)
        if attempt.translation is not None:
            converter = attempt.translation.body_converter(status, False, self.seconds())
            body = converter.feed(body) + converter.end(whole=True)
        self._answer_whole(status, body, outcome_of_status(status))

    def _ended_badly(self, attempt: RoutedAttempt, result: AttemptResult, told: ErrorAnswer) -> None:
        """It had no answer that could be given on."""
        attempt.result = result
        if not self._follows(attempt, result, RetryFields()):
            self._alone(attempt)
            self._tell(told)
            self._settle()

    def _follows(
        self, attempt: RoutedAttempt, result: AttemptResult, fields: RetryFields, status: int = 0
    ) -> bool:
        """Whether another attempt is on its way, or follows."""
        attempt.stop_timer()
        now = self.seconds()
        attempt.leg.end(result, now)
        if self._waits_for_other(attempt):
            return True
        body = self.request.body
        decision = self._course.decide(
            attempt.leg,
            result,
            status or attempt.status,
            fields,
            now - self.request.began,
            body is None or body.restartable,
            now,
        )
        if decision.step is Step.GIVE_UP:
            self._ends_retries = decision.ends_retries
            return False
        return self._follow(attempt, decision, now)

    def _waits_for_other(self, attempt: RoutedAttempt) -> bool:
        """Whether another one is on its way beside one that has failed: it may still succeed."""
        if self._beside is None:
            return False
        other = self._beside if self.attempt is attempt else self.attempt
        self._record(attempt)
        self.attempt, self._beside = other, None
        self._waits_for = other
        return True

    def _follow(self, attempt: RoutedAttempt, decision: Decision, now: float) -> bool:
        assert attempt.result is not None
        reason = attempt.result.value
        if decision.step is Step.NEXT:
            provider = attempt.target.provider.name
            leg = self._course.next(now, MoveKind.FALLBACK, reason, provider)
            if leg is None:
                return False
            self._record(attempt)
            self._go(leg)
            return True
        self._record(attempt)
        wait = self.context.clock.callLater(decision.wait_seconds, self._again, attempt.leg, reason)
        self._waits_for = Wait(wait)
        return True

    def _again(self, leg: Leg, reason: str) -> None:
        now = self.seconds()
        following = self._course.again(leg, reason, now)
        if following is None:
            provider = leg.candidate.provider
            following = self._course.next(now, MoveKind.FALLBACK, reason, provider)
        try:
            if following is None:
                self._tell_closed(now)
            else:
                self._go(following)
        except Exception:
            self._failed(Failure())

    def _record(self, attempt: RoutedAttempt) -> None:
        """It is over, and not the last one."""
        attempt.stop_timer()
        now = self.seconds()
        attempt.leg.end(attempt.result or AttemptResult.ABORTED, now)
        if attempt.received_at is None:
            # What was kept of its answer would be kept for ever.
            attempt.end(whole=False)
        if attempt.sent_at is not None:
            self.earlier += (attempt_record(self, attempt, now, 0.0),)
        if self.attempt is attempt:
            # Whatever ends the exchange before the next one must not count it again.
            self.attempt = None
            self._last_provider = attempt.target.provider

    # What the client is told.

    def _head_fields(self, attempt: Attempt) -> list[Field]:
        assert isinstance(attempt, RoutedAttempt)
        return [*self._without_ours(attempt.given_fields()), *self._own_fields()]

    def _without_ours(self, fields: list[Field], more: frozenset[bytes] = frozenset()) -> list[Field]:
        """Those of an answer that we say nothing of."""
        # Of trying again the provider has the word, until we have tried in the client's stead.
        dropped = _OURS | more | ({_STOP[0]} if self._ends_retries else frozenset())
        return [field for field in fields if field[0].lower() not in dropped]

    def _own_fields(self) -> list[Field]:
        attempt = self.attempt
        attempts = len(self.earlier) + (attempt is not None and attempt.sent_at is not None)
        fields = [(b"x-openai-proxy-attempts", b"%d" % attempts)]
        if self.provider is not NOBODY:
            fields.append((b"x-openai-proxy-provider", self.provider.name.encode("ascii")))
        if attempt is not None:
            model = attempt.model
            if model and model.isascii() and model.isprintable() and len(model) <= 256:
                fields.append((b"x-openai-proxy-model", model.encode("ascii")))
        if self._ends_retries:
            fields.append(_STOP)
        return fields

    def _refuse(self, status: int, message: str, code: str, param: str | None) -> None:
        """The request itself is wrong."""
        self._tell(refusing(status, message, code, param))
        self._settle()

    def _tell_closed(self, now: float) -> None:
        """No target lets an attempt in."""
        why, seconds = self._course.wait_seconds(now)
        seconds_up = max(1, math.ceil(seconds))
        told = RATE_LIMITED if why == RESTING else CIRCUIT_IS_OPEN
        self._tell(told.after(seconds_up))
        self._settle()

    def _answer_whole(self, status: int, body: bytes, outcome: Outcome) -> None:
        """An answer that is whole, and no upstream's own."""
        self.status = status
        attempt = self.attempt
        kept: list[Field] = []
        if attempt is not None and attempt.answered_at is not None:
            kept = self._without_ours(attempt.fields, _BODY_FIELDS)
        fields = [*kept, _JSON, *self._own_fields()]
        self.request.answer(status, reason_phrase(status), fields, body)
        self._end(outcome)

    # What it leaves behind.

    def _remember(self, attempt: RoutedAttempt, raw: bytes) -> None:
        """The ids in an answer are of objects that this provider has."""
        method, path, now = self.request.method, self._question.path, self.seconds()
        reader = attempt.reader
        if attempt.status >= 300 or reader is None or not names_objects(method, path):
            return
        body = first_event(raw) if reader.is_stream else raw
        provider = attempt.target.provider.name
        self._gateway.stickiness.remember(ids_in_answer(body), provider, now)

    def _client_gone(self) -> None:
        beside, self._beside = self._beside, None
        if beside is not None:
            beside.drop()
            beside.result = AttemptResult.ABORTED
            self._record(beside)
        super()._client_gone()
        # A wait is not told that it was cancelled.
        self._settle()

    def _settle(self) -> None:
        attempt = self.attempt
        if self._hedge is not None and self._hedge.active():
            self._hedge.cancel()
        self._hedge = None
        if attempt is not None and not self._is_settled:
            attempt.stop_timer()
            attempt.leg.end(attempt.result or result_of_status(attempt.status or 599), self.seconds())
            self.dropped = attempt.dropped
            self._price_losers(attempt)
        self._losers = ()
        super()._settle()

    def _price_losers(self, winner: RoutedAttempt) -> None:
        """Whoever was slower has read the same question: its input was paid, as far as can be told."""
        for loser in self._losers:
            wasted = wasted_picodollars(self, winner, loser)
            self.earlier = tuple(
                replace(one, wasted_picodollars=wasted)
                if one.provider == loser.target.provider.name and one.result is AttemptResult.ABORTED
                else one
                for one in self.earlier
            )
