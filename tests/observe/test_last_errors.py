"""The last exchanges that ended badly, in labels only."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.observe.errors import CODES, TYPES
from openai_proxy.observe.last_errors import KEPT, LastErrors
from openai_proxy.observe.outcome import Outcome
from openai_proxy.observe.record import DisconnectPhase, Error, ErrorSource
from openai_proxy.process.operations import ErrorSeen
from tests.support.operator_page import record


def test_what_is_kept_of_a_failure() -> None:
    """Who, when and how."""
    errors = LastErrors(lambda: 1_767_225_599.5)
    told = Error(ErrorSource.UPSTREAM, "rate_limit_error", "rate_limit_exceeded")
    errors.exchange_began("chat_completions")
    errors.answer_began("openai", "gpt-4o", [(b"Set-Cookie", b"secret")], False)
    errors.exchange_ended(
        record(
            Outcome.UPSTREAM_RATE_LIMITED, status=429, request_id=b"req_1", error=told, duration_seconds=0.25
        )
    )
    assert errors.latest() == [
        ErrorSeen(
            at_seconds=1_767_225_599.5,
            id="req_1",
            provider="openai",
            endpoint="chat_completions",
            model="gpt-4o",
            status=429,
            outcome="upstream_rate_limited",
            error_type="rate_limit_error",
            error_code="rate_limit_exceeded",
            duration_seconds=0.25,
        )
    ]


def test_good_ones_are_not_kept() -> None:
    """Nor what was refused before it had a provider."""
    errors = LastErrors(lambda: 0.0)
    errors.exchange_ended(record())
    errors.request_refused(404, 0.1)
    assert errors.latest() == [] and not errors.wants_ids


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.OK])
def test_every_other_outcome_is(outcome: Outcome) -> None:
    """A client that left too, by that name."""
    errors = LastErrors(lambda: 0.0)
    errors.exchange_ended(record(outcome, phase=DisconnectPhase.MID_STREAM))
    assert [(seen.outcome, seen.error_type, seen.id) for seen in errors.latest()] == [
        (outcome.value, "none", "none")
    ]


def test_the_last_fifty_the_latest_first() -> None:
    """However many there are."""
    times = count()
    errors = LastErrors(lambda: float(next(times)))
    for _ in range(KEPT + 7):
        errors.exchange_ended(record(Outcome.PROXY_ERROR))
    assert [seen.at_seconds for seen in errors.latest()] == [float(n) for n in range(KEPT + 6, 6, -1)]


@given(st.text(), st.text(), st.binary(), st.integers(0, 2000))
def test_no_text_of_others_is_kept(kind: str, code: str, request_id: bytes, status: int) -> None:
    """What upstreams write is known, or ``other``; an id is a word, and no key."""
    errors = LastErrors(lambda: 0.0)
    error = Error(ErrorSource.UPSTREAM, kind, code)
    ended = record(Outcome.UPSTREAM_ERROR, error=error, request_id=request_id, status=status)
    errors.exchange_ended(ended)
    (seen,) = errors.latest()
    assert seen.error_type in {*TYPES, "other", "none"} and seen.error_code in {*CODES, "other", "none"}
    assert seen.id.isascii() and len(seen.id) <= 128 and "<" not in seen.id
    assert seen.status == 0 or 100 <= seen.status < 600


def test_an_id_that_looks_like_a_key() -> None:
    """An upstream may give what it was sent as its id."""
    errors = LastErrors(lambda: 0.0)
    errors.exchange_ended(record(Outcome.UPSTREAM_ERROR, request_id=b"sk-proj-CANARY"))
    assert errors.latest()[0].id == "other"
