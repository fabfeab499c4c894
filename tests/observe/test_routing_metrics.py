"""The families of moves between targets, of clients' own retries, and of members that were not sent."""

from __future__ import annotations

from itertools import product

import pytest

from openai_proxy.observe.metrics import MAIN_ENDPOINTS, Metrics, new_registry
from openai_proxy.observe.outcome import Outcome
from openai_proxy.observe.record import (
    CIRCUIT_OPEN,
    RESTING,
    SLOW,
    Attempt,
    AttemptResult,
    Move,
    MoveKind,
    Record,
)
from openai_proxy.observe.routing_metrics import (
    FALLBACK_REASONS,
    RETRY_REASONS,
    first_at_last_target,
)
from openai_proxy.providers.translate.dropped import NAMES

OK, FAILED, ABORTED = AttemptResult.OK, AttemptResult.HTTP_5XX, AttemptResult.ABORTED


class Rig:
    """The numbers of exchanges whose attempts are given."""

    def __init__(self) -> None:
        self.metrics = Metrics(new_registry())

    def ended(self, *attempts: Attempt, client_retry: int = 0, dropped: tuple[str, ...] = ()) -> None:
        self.metrics.exchange_began("responses")
        self.metrics.exchange_ended(
            Record(
                provider=attempts[-1].provider if attempts else "openai",
                endpoint="responses",
                model="gpt-5",
                status=200,
                outcome=Outcome.OK,
                duration_seconds=1.0,
                received_bytes=1,
                sent_bytes=1,
                first_byte_seconds=0.5 if attempts else None,
                attempts=attempts,
                client_retry=client_retry,
                dropped=dropped,
            )
        )

    def read(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"openai_proxy_{name}", labels)

    def total(self, name: str) -> float:
        families = self.metrics.registry.collect()
        return sum(one.value for family in families for one in family.samples if one.name == name)


def attempt(provider: str, result: AttemptResult = OK, wasted: int | None = None) -> Attempt:
    """The first of an exchange."""
    return Attempt(provider, result, 1.0, wasted_picodollars=wasted)


def moved(
    kind: MoveKind,
    before: str,
    provider: str,
    reason: str,
    result: AttemptResult = OK,
    wasted: int | None = None,
) -> Attempt:
    """One that follows on another at ``before``."""
    return Attempt(provider, result, 1.0, move=Move(kind, before, reason), wasted_picodollars=wasted)


@pytest.mark.parametrize("reason", sorted(RETRY_REASONS))
def test_a_retry_has_the_result_of_the_attempt_before(reason: str) -> None:
    """At the provider that is asked again."""
    rig = Rig()
    again = moved(MoveKind.RETRY, "openai", "openai", reason)
    rig.ended(attempt("openai", AttemptResult(reason)), again)
    assert rig.read("retries_total", provider="openai", reason=reason) == 1
    assert rig.read("retries_total", provider="openai", reason="stale_connection") == 0
    assert rig.total("openai_proxy_fallbacks_total") == rig.total("openai_proxy_hedges_total") == 0


@pytest.mark.parametrize("reason", sorted(FALLBACK_REASONS))
def test_a_fallback_has_both_its_ends(reason: str) -> None:
    """The target that failed, or was passed over, and the one that was asked in its stead."""
    rig = Rig()
    rig.ended(moved(MoveKind.FALLBACK, "openai", "azure", reason))
    labels = {"from_provider": "openai", "to_provider": "azure", "reason": reason}
    assert rig.read("fallbacks_total", **labels) == 1
    assert rig.total("openai_proxy_retries_total") == 0


def test_a_reason_that_is_none_is_other() -> None:
    """A label's value comes from a closed set."""
    rig = Rig()
    rig.ended(
        moved(MoveKind.RETRY, "openai", "openai", "ok", FAILED),
        moved(MoveKind.FALLBACK, "openai", "azure", "sk-CANARY"),
    )
    assert rig.read("retries_total", provider="openai", reason="other") == 1
    labels = {"from_provider": "openai", "to_provider": "azure", "reason": "other"}
    assert rig.read("fallbacks_total", **labels) == 1


def test_a_hedge_wins_if_its_answer_is_the_clients() -> None:
    """That is, if it ended last; what the other one's input cost is its provider's."""
    rig = Rig()
    rig.ended(attempt("openai", ABORTED, 1_500_000), moved(MoveKind.HEDGE, "openai", "azure", SLOW))
    assert rig.read("hedges_total", provider="azure", result="won") == 1
    assert rig.read("hedge_wasted_cost_usd_total", provider="openai") == 1.5e-6
    assert rig.total("openai_proxy_hedges_total") == 1


def test_a_hedge_loses_if_the_first_one_was_faster() -> None:
    """Then what was wasted is its own."""
    rig = Rig()
    rig.ended(moved(MoveKind.HEDGE, "openai", "azure", SLOW, ABORTED, wasted=2_000_000), attempt("openai"))
    assert rig.read("hedges_total", provider="azure", result="lost") == 1
    assert rig.read("hedges_total", provider="azure", result="won") is None
    assert rig.read("hedge_wasted_cost_usd_total", provider="azure") == 2e-6


def test_each_attempt_counts_at_its_own_provider() -> None:
    """With the record's endpoint; the clock of the first byte is of the answer that the client had."""
    rig = Rig()
    rig.ended(
        attempt("openai", AttemptResult.TIMEOUT),
        moved(MoveKind.FALLBACK, "openai", "azure", "timeout", FAILED),
        moved(MoveKind.RETRY, "azure", "azure", "http_5xx"),
    )
    at = {"endpoint": "responses"}
    assert rig.read("upstream_attempts_total", provider="openai", result="timeout", **at) == 1
    assert rig.read("upstream_attempts_total", provider="azure", result="http_5xx", **at) == 1
    assert rig.read("upstream_attempts_total", provider="azure", result="ok", **at) == 1
    assert rig.total("openai_proxy_upstream_attempts_total") == 3
    assert rig.read("time_to_first_byte_seconds_count", provider="azure", **at) == 1
    assert rig.read("time_to_first_byte_seconds_count", provider="openai", **at) is None


def test_an_attempt_elsewhere_has_no_model_of_the_last_one() -> None:
    """The model is called otherwise there: with this name it would be one that the provider has not."""
    rig = Rig()
    rig.ended(
        attempt("openai", FAILED),
        moved(MoveKind.FALLBACK, "openai", "azure", "http_5xx", FAILED),
        moved(MoveKind.RETRY, "azure", "azure", "http_5xx"),
    )
    counts = {
        (provider, model): rig.read(
            "upstream_request_duration_seconds_count", provider=provider, model=model, endpoint="responses"
        )
        for provider, model in product(("openai", "azure"), ("gpt-5", "other"))
    }
    assert counts == {
        ("openai", "gpt-5"): None,
        ("openai", "other"): 1,
        ("azure", "gpt-5"): 2,
        ("azure", "other"): None,
    }


@pytest.mark.parametrize(
    ("attempts", "first"),
    [
        ((), -1),
        ((attempt("a"),), 0),
        ((attempt("a"), moved(MoveKind.RETRY, "a", "a", "timeout")), 0),
        # Another target of the same provider.
        ((attempt("a"), moved(MoveKind.FALLBACK, "a", "a", "timeout")), 1),
        ((moved(MoveKind.HEDGE, "a", "b", SLOW), moved(MoveKind.RETRY, "a", "a", "timeout")), 1),
        ((attempt("a"), moved(MoveKind.HEDGE, "a", "b", SLOW)), 1),
    ],
)
def test_which_attempts_were_at_the_last_ones_target(attempts: tuple[Attempt, ...], first: int) -> None:
    """Only retries stay where they were."""
    assert first_at_last_target(attempts) == first


def test_a_target_that_was_the_second_choice_is_still_the_records() -> None:
    """One attempt, because the first target was passed over."""
    rig = Rig()
    rig.ended(moved(MoveKind.FALLBACK, "openai", "azure", CIRCUIT_OPEN))
    rig.ended(moved(MoveKind.FALLBACK, "openai", "azure", RESTING))
    labels = {"provider": "azure", "endpoint": "responses", "model": "gpt-5"}
    assert rig.read("upstream_request_duration_seconds_count", **labels) == 2


def test_an_exchange_without_an_attempt_counts_none() -> None:
    """All targets were open: nothing was sent, and no series of connections was made."""
    rig = Rig()
    rig.ended()
    assert rig.total("openai_proxy_upstream_attempts_total") == 0
    assert rig.read("retries_total", provider="openai", reason="stale_connection") is None


def test_clients_that_say_that_they_ask_again() -> None:
    """Once for each request, whichever repetition it is."""
    rig = Rig()
    for number in (0, 1, 2):
        rig.ended(attempt("openai"), client_retry=number)
    assert rig.read("client_retries_total", endpoint="responses") == 2


def test_members_that_were_not_sent_are_known_names_or_other() -> None:
    """Names of a client's own, which are without end, are no labels."""
    rig = Rig()
    rig.metrics.know_members(NAMES)
    rig.metrics.know_members(["store_this"])
    rig.ended(attempt("anthropic"), dropped=("temperature", "store_this"))
    rig.ended(attempt("anthropic"), dropped=("temperature", "sk-CANARY", "more"))
    counted = {
        member: rig.read("dropped_members_total", provider="anthropic", member=member)
        for member in ("temperature", "store_this", "other", "sk-CANARY", "top_k")
    }
    assert counted == {"temperature": 2, "store_this": 1, "other": 1, "sk-CANARY": None, "top_k": None}


def test_what_is_expected_is_there_before_it_happens() -> None:
    """Retries of each provider; fallbacks and hedges of each route, forwards only."""
    rig = Rig()
    rig.metrics.expect("openai")
    for reason in (*RETRY_REASONS, "stale_connection"):
        assert rig.read("retries_total", provider="openai", reason=str(reason)) == 0
    for endpoint in MAIN_ENDPOINTS:
        assert rig.read("client_retries_total", endpoint=endpoint) == 0
    rig.metrics.expect_route(["openai", "azure", "groq"])
    pairs = {("openai", "azure"), ("openai", "groq"), ("azure", "groq")}
    for before, provider in product(("openai", "azure", "groq"), repeat=2):
        for reason in FALLBACK_REASONS:
            labels = {"from_provider": before, "to_provider": provider, "reason": str(reason)}
            assert rig.read("fallbacks_total", **labels) == (0 if (before, provider) in pairs else None)
    for provider, result in product(("openai", "azure", "groq"), ("won", "lost")):
        assert rig.read("hedges_total", provider=provider, result=result) == 0
        assert rig.read("hedge_wasted_cost_usd_total", provider=provider) == 0


def test_a_route_with_one_target_has_nothing_to_expect() -> None:
    """There is nowhere to go."""
    rig = Rig()
    rig.metrics.expect_route(["openai"])
    assert rig.read("hedges_total", provider="openai", result="won") is None


def test_routes_without_end_leave_places_for_what_happens() -> None:
    """Else their 0s would make real fallbacks ``other``."""
    rig = Rig()
    for number in range(100):
        rig.metrics.expect_route([f"a{number}", f"b{number}", f"c{number}"])
    rig.ended(moved(MoveKind.FALLBACK, "b99", "c99", "timeout"))
    labels = {"from_provider": "b99", "to_provider": "c99", "reason": "timeout"}
    assert rig.read("fallbacks_total", **labels) == 1
    assert rig.read("metric_label_overflow_total", metric="openai_proxy_fallbacks_total") is None
