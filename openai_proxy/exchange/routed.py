"""An exchange of the unified way: its model chooses the target, and another one takes over where it fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from twisted.web.iweb import IResponse

from openai_proxy.config.secret import Secret
from openai_proxy.exchange.account import attempt_record, result_of_status, with_waste
from openai_proxy.exchange.attempt import Attempt, Sent
from openai_proxy.exchange.course import Course, Leg
from openai_proxy.exchange.error_in_answer import status_of
from openai_proxy.exchange.exchange import RATE_LIMITED, ExchangeContext
from openai_proxy.exchange.gateway import Gateway
from openai_proxy.exchange.patience import Patience
from openai_proxy.exchange.question import Question, Wrong
from openai_proxy.exchange.race import Race
from openai_proxy.exchange.routed_attempt import RoutedAttempt
from openai_proxy.exchange.told import ToldExchange
from openai_proxy.observe.json_spans import TangledJson
from openai_proxy.observe.record import SLOW, AttemptResult, MoveKind
from openai_proxy.policy.retry import Step
from openai_proxy.policy.retry_fields import RetryFields, retry_fields_in
from openai_proxy.policy.routing import NoRoute
from openai_proxy.policy.stickiness import ids_in_answer
from openai_proxy.providers.addressing import UnaddressableModel
from openai_proxy.providers.translate.untranslatable import Untranslatable
from openai_proxy.relay.download import Drain
from openai_proxy.relay.failures import ErrorAnswer, error_answer_for, refusing
from openai_proxy.wire.body import FIRST_BYTES
from openai_proxy.wire.errors import HeadTimedOut, UpstreamError
from openai_proxy.wire.request import Request

_NOTHING_SAID: Final = RetryFields()
_TANGLED: Final = "The request's body has too many brackets and members to be changed for its target."


class Wait:
    """A delayed call that an exchange waits for."""

    def __init__(self, call: IDelayedCall) -> None:
        self._call = call

    def cancel(self) -> None:
        """The exchange has ended: it will not be called."""
        if self._call.active():
            self._call.cancel()


class RoutedExchange(ToldExchange):
    """Until a byte of an answer has gone to the client, a failed attempt may be followed by another.

    Its way: ``_requested`` chooses the targets; ``_go`` sends an attempt to one; what comes back
    calls ``answered``, ``opened``, ``refused``, ``failed`` or ``relayed``. Each of them takes the answer
    (``_take``), or asks ``_follows`` whether another attempt comes in its stead, and else tells the client.
    """

    _course: Course
    _patience: Patience
    _refusal: ErrorAnswer | None = None
    """Why the request has no form for a target."""

    def __init__(self, request: Request, gateway: Gateway, context: ExchangeContext, route: str) -> None:
        super().__init__(request, gateway, context, route)
        self._question = Question(request)
        self._race = Race()
        self.client_dialect = self._question.client_dialect
        self.client_retry = self._question.client_retry
        if self._question.boundary is not None:
            # A form names its model before its files: it is routed by that, however long they are.
            self.first_bytes = FIRST_BYTES

    # Where to.

    @property
    def is_held(self) -> bool:
        return self.request.is_readable or self._question.boundary is not None

    def _read(self, held: bytes | None) -> None:
        body = self.request.body
        assert body is not None
        self._question.read(held, b"" if held is not None else body.beginning)
        self._requested()

    def _requested(self) -> None:
        question, now = self._question, self.seconds()
        self.ready_at = self.request.channel.heard_at
        self.asked_model = question.model
        self._gateway.budget.request(now)
        wrong = self._wrong()
        if wrong is not None:
            message, code, param = wrong
            self._refuse(refusing(400, message, code, param))
            return
        try:
            plan = self._gateway.plan(question, now)
        except NoRoute as error:
            self._refuse(refusing(404, error.message, error.code, error.param))
            return
        self._course = Course(self._gateway, plan)
        # From when its client has said all: a slow upload is no slow answer.
        self._patience = Patience(plan.timeouts, question.asked.is_stream, self.ready_at)
        attempt = self._next(MoveKind.FALLBACK)
        if attempt is not None:
            self._go(attempt)
            if question.asked.is_stream:
                self._await_token(attempt, now)
        else:
            told = self._refusal if self._course.is_unfit else None
            self._refuse(told or self._course.closed(now))

    def _wrong(self) -> Wrong | None:
        """What keeps it from being anybody's."""
        question = self._question
        if not self.generates or question.provider or len(self._gateway.targets) == 1:
            # There is no doubt whose it is: that one may take it, or say what is wrong.
            return None
        if self.request.body is None:
            question.body = b""
        return question.wrong(self.endpoint)

    def _next(self, kind: MoveKind, reason: str = "", from_provider: str = "") -> RoutedAttempt | None:
        """At the next target that lets it in, and that can be asked this; None: there is none."""
        now = self.seconds()
        while (leg := self._course.next(now, kind, reason, from_provider)) is not None:
            try:
                return self._made(leg)
            except Untranslatable as error:
                self._course.pass_over(leg, now)
                if self._refusal is None:
                    self._refusal = refusing(
                        error.status, error.message, "untranslatable_request", error.param
                    )
        return None

    def _made(self, leg: Leg) -> RoutedAttempt:
        """Raises Untranslatable."""
        try:
            attempt = RoutedAttempt(self, self._gateway.targets[leg.candidate.provider], leg, self._question)
        except BaseException:
            # A trial that is not given back would keep its target's circuit as it is for ever.
            leg.end(AttemptResult.ABORTED, self.seconds())
            raise
        attempt.timeouts = self._gateway.timeouts_of(self._course.plan)
        return attempt

    def _go(self, attempt: RoutedAttempt) -> None:
        translation = attempt.translation
        self._leg = attempt.leg
        if translation is not None and translation.answer is not None:
            attempt.leg.end(AttemptResult.ABORTED, self.seconds())
            self.attempt = attempt
            self._answer_whole(200, translation.answer)
            return
        self._wait_for(attempt, self._patience.for_head(self.seconds()))
        self._race.enter(attempt)
        self._try(attempt)

    def prepared(self, attempt: Attempt, key: Secret | None) -> Sent:
        assert isinstance(attempt, RoutedAttempt)
        sent = attempt.made(self._fields_to_send(), key)
        if self.first_sent_at is None:
            self.first_sent_at = self.seconds()
        return sent

    # How long.

    def _later(self, seconds: float, then: Callable[..., None], *arguments: Any) -> IDelayedCall:
        return self.context.clock.callLater(seconds, self._now, then, *arguments)

    def _now(self, then: Callable[..., None], *arguments: Any) -> None:
        try:
            then(*arguments)
        except Exception:
            # Nobody else would tell the client.
            self._failed(Failure())

    def _wait_for(self, attempt: RoutedAttempt, seconds: float | None) -> None:
        attempt.stop_timer()
        if seconds is not None:
            attempt.timer = self._later(seconds, self._timed_out, attempt)

    def _timed_out(self, attempt: RoutedAttempt) -> None:
        attempt.timer = None
        attempt.drop()
        self._ended_badly(attempt, error_answer_for(HeadTimedOut()))

    @property
    def _waits_for_token(self) -> bool:
        hedge = self._course.plan.hedge
        return self._patience.awaits_token or (self._gateway.hedges if hedge is None else hedge)

    def _await_token(self, attempt: RoutedAttempt, now: float) -> None:
        plan, hedging = self._course.plan, self._gateway.hedging
        seconds = hedging.after_seconds(plan.route, plan.hedge, self._course.has_next(now), now)
        if seconds is not None and self.attempt is attempt and not self.request.status:
            self._race.hedge_at(self._later(seconds, self._begin_beside, attempt))

    def _begin_beside(self, attempt: RoutedAttempt) -> None:
        """The first token is late: a second target is asked, and the first of both is taken."""
        now = self.seconds()
        if self._course.has_next(now) and self._gateway.hedging.may_start(now):
            beside = self._next(MoveKind.HEDGE, SLOW, attempt.target.provider.name)
            if beside is not None:
                self._go(beside)

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
            self._answered_well(attempt, response)

    def _answered_well(self, attempt: RoutedAttempt, response: IResponse) -> None:
        attempt.read()
        if attempt.is_held:
            assert attempt.sent_at is not None
            self._wait_for(attempt, self._patience.for_beginning(attempt.sent_at, self.seconds()))
            attempt.open(response, self._waits_for_token)
        else:
            self._take(attempt)
            attempt.download(response, attempt.reader, self.request)

    def opened(self, attempt: RoutedAttempt) -> None:
        """Its beginning is that of an answer: it is the client's from now on."""
        if attempt.sent_at is not None and attempt.reading is not None and attempt.reading.has_tokens:
            self._gateway.hedging.first_token(self._course.plan.route, self.seconds() - attempt.sent_at)
        self._take(attempt)
        self._remember(attempt)
        attempt.give_to(self.request, attempt.reader)

    def _take(self, attempt: RoutedAttempt) -> None:
        """This one's answer is the client's; nobody waits for another."""
        for loser in self._race.win(attempt):
            self._drop(loser)
        self.attempt = self._waits_for = attempt
        attempt.stop_timer()
        attempt.leg.answered()
        self._begin(attempt)

    def _begin(self, attempt: Attempt) -> None:
        assert isinstance(attempt, RoutedAttempt)
        attempt.forget_question()
        super()._begin(attempt)

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
        rest = attempt.end(whole=True)
        if attempt.broken is not None:
            self._ended_badly(attempt, error_answer_for(attempt.broken))
        elif reader.has_failed:
            self.refused(attempt)
        else:
            self._remember(attempt)
            body = opening.held() + rest
            attempt.whole_bytes = len(body)
            self._take(attempt)
            self.request.send(body)
            self.blocked_at_end = self.request.channel.watch.blocked_seconds
            self._given(attempt)

    def failed(self, attempt: Attempt, failure: Failure) -> None:
        assert isinstance(attempt, RoutedAttempt)
        error = failure.value
        if isinstance(error, UpstreamError) and not self.request.status:
            self._ended_badly(attempt, error_answer_for(error))
        elif isinstance(error, UnaddressableModel):
            if not self._leaves(attempt, AttemptResult.ABORTED):
                self._refuse(
                    refusing(400, "The model's name cannot stand in a path.", "invalid_model", "model")
                )
        elif isinstance(error, TangledJson):
            if not self._leaves(attempt, AttemptResult.ABORTED):
                self._refuse(refusing(400, _TANGLED, "invalid_json", None))
        else:
            super().failed(attempt, failure)

    # What follows on a failure.

    def _answered_badly(self, attempt: RoutedAttempt, response: IResponse) -> None:
        now = self.seconds()
        fields = retry_fields_in(attempt.fields, self.context.unix_seconds())
        if attempt.status == 429 and attempt.target.has_own_key and fields.rest_seconds:
            attempt.leg.breaker.rest(fields.rest_seconds, now)
        if self._follows(attempt, result_of_status(attempt.status), attempt.status, fields):
            if attempt.status == RATE_LIMITED:
                # It says what is left of the limits, though its client hears of another's.
                provider = attempt.target.provider
                label = self.context.models.label(provider, attempt.model)
                self.context.sink.answer_began(provider.name, label, attempt.fields, False)
            response.deliverBody(Drain())
            return
        attempt.read()
        self._begin(attempt)
        attempt.download(response, attempt.reader, self.request)

    def refused(self, attempt: RoutedAttempt) -> None:
        """HTTP 200, and in it an error before anything else: it is answered as the error that it is."""
        attempt.drop()
        reader = attempt.reader
        assert reader is not None
        if reader.error is None:
            self._ended_badly(attempt, error_answer_for(UpstreamError()))
            return
        status = status_of(reader.error)
        if self._follows(attempt, result_of_status(status), status):
            return
        body = attempt.error_body(status)
        if body:
            self._answer_whole(status, body)
        else:
            self._refuse(error_answer_for(UpstreamError()))

    def _ended_badly(self, attempt: RoutedAttempt, told: ErrorAnswer) -> None:
        """It had no answer that could be given on."""
        if not self._follows(attempt, told.result, attempt.status):
            self._refuse(told)

    def _follows(
        self, attempt: RoutedAttempt, result: AttemptResult, status: int, fields: RetryFields = _NOTHING_SAID
    ) -> bool:
        """Whether another attempt is under way, or follows."""
        if self._leaves(attempt, result):
            return True
        now = self.seconds()
        elapsed_seconds = self._patience.elapsed_seconds(now)
        decision = self._course.decide(
            attempt.leg, result, status, fields, elapsed_seconds, self._is_repeatable(attempt), now
        )
        if decision.step is Step.NEXT:
            return self._follow_next(attempt, result)
        if decision.step is Step.AGAIN:
            self._follow_again(attempt, result, decision.wait_seconds)
            return True
        self._ends_retries = decision.ends_retries
        return False

    def _leaves(self, attempt: RoutedAttempt, result: AttemptResult) -> bool:
        """It has failed; whether the one beside it is under way still."""
        attempt.result = result
        attempt.stop_timer()
        attempt.leg.end(result, self.seconds())
        other = self._race.leave(attempt)
        if other is None:
            return False
        self._record(attempt)
        self.attempt = self._waits_for = other
        return True

    def _is_repeatable(self, attempt: RoutedAttempt) -> bool:
        body = self.request.body
        if body is None:
            return True
        # An upload that an answer has overtaken is stopped with that answer's end, which may come later.
        return body.restartable and (body.is_complete or not attempt.status)

    def _follow_next(self, attempt: RoutedAttempt, result: AttemptResult) -> bool:
        following = self._next(MoveKind.FALLBACK, result.value, attempt.target.provider.name)
        if following is None:
            return False
        self._record(attempt)
        self.attempt = None
        self._go(following)
        return True

    def _follow_again(self, attempt: RoutedAttempt, result: AttemptResult, wait_seconds: float) -> None:
        self._record(attempt)
        self.attempt = None
        self._waits_for = Wait(self._later(wait_seconds, self._again, attempt.leg, result.value))

    def _again(self, leg: Leg, reason: str) -> None:
        again = self._course.again(leg, reason, self.seconds())
        if again is not None:
            following: RoutedAttempt | None = self._made(again)
        else:
            following = self._next(MoveKind.FALLBACK, reason, leg.candidate.provider)
        if following is None:
            self._refuse(self._course.closed(self.seconds()))
        else:
            self._go(following)

    def _drop(self, attempt: RoutedAttempt) -> None:
        """Nobody waits for it any more."""
        attempt.drop()
        attempt.result = AttemptResult.ABORTED
        self._record(attempt)

    def _record(self, attempt: RoutedAttempt) -> None:
        """It is over, and not the last one."""
        now = self.seconds()
        attempt.close()
        attempt.leg.end(attempt.result or AttemptResult.ABORTED, now)
        if attempt.sent_at is not None:
            self.earlier += (attempt_record(self, attempt, now, 0.0),)

    # What it leaves behind.

    def _remember(self, attempt: RoutedAttempt) -> None:
        """The objects that an answer names are this provider's."""
        if self._question.names_objects and attempt.opening is not None:
            said = attempt.opening.beginning()
            provider = attempt.target.provider.name
            self._gateway.stickiness.remember(ids_in_answer(said), provider, self.seconds())

    def _client_gone(self) -> None:
        super()._client_gone()
        # A wait is not told that it was cancelled.
        self._settle()

    def _settle(self) -> None:
        if self._is_settled:
            return
        attempt = self.attempt
        for other in self._race.end(attempt):
            self._drop(other)
        if attempt is not None:
            if attempt.received_at is None:
                attempt.drop()
            attempt.close()
            answered = result_of_status(attempt.status) if attempt.status else AttemptResult.ABORTED
            attempt.leg.end(attempt.result or answered, self.seconds())
            self.dropped = attempt.dropped
            self.earlier = with_waste(self, attempt, self._race.losers)
            self._race.losers = []
        super()._settle()
