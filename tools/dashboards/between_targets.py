"""What is done when a target fails or is slow, as a part of the providers' dashboard."""

from __future__ import annotations

from typing import Final

from tools.dashboards.board import Json
from tools.dashboards.colours import CHANGES, CIRCUITS, HEDGES
from tools.dashboards.panels import Query, Text, lines, states
from tools.dashboards.queries import JOB, PROVIDER, circuit, rate, select, total

FALLBACKS, HEDGED = "openai_proxy_fallbacks_total", "openai_proxy_hedges_total"
WASTED, RESTING = "openai_proxy_hedge_wasted_cost_usd_total", "openai_proxy_target_resting"
CHANGED, AGAIN = "openai_proxy_circuit_transitions_total", "openai_proxy_client_retries_total"
DROPPED = "openai_proxy_dropped_members_total"
_FROM: Final = f'{JOB},from_provider=~"$provider"'


def between_targets() -> list[Json]:
    """Breakers and fallbacks, then attempts beyond the first, then what requests lost on their way."""
    return [*_circuits(), *_attempts(), *_requests()]


def _circuits() -> list[Json]:
    return [
        states(
            Text(
                "Circuits",
                "The breaker of each target, at the worst of the instances. The model is a target's, or any; "
                "the one chosen above does not apply (openai_proxy_circuit_state).",
                "none",
            ),
            Query(circuit(), "{{provider}} {{model}}"),
            CIRCUITS,
        ),
        lines(
            Text(
                "Fallbacks",
                "Attempts at another target, from which provider to which, and why: how the first one ended, "
                "or that it was passed over, its circuit open or its rate limit used up. The model does "
                f"not apply ({FALLBACKS}).",
                "reqps",
            ),
            Query(
                f"{total(rate(FALLBACKS, _FROM), 'from_provider', 'to_provider', 'reason')} > 0",
                "{{from_provider}} to {{to_provider}}: {{reason}}",
            ),
            table=True,
        ),
        lines(
            Text("Circuit changes", f"Of breakers, by the state that they came to ({CHANGED}).", "ops"),
            Query(total(rate(CHANGED, PROVIDER), "provider", "to_state"), "{{provider}} {{to_state}}"),
            colours=CHANGES,
            width=8,
        ),
        lines(
            Text(
                "Resting targets",
                f"1: left alone until its rate limit is reset; the model is a target's, or any ({RESTING}).",
                "none",
            ),
            Query(f"max by (provider, model) ({select(RESTING, PROVIDER)})", "{{provider}} {{model}}"),
            top=1,
            width=8,
        ),
    ]


def _attempts() -> list[Json]:
    per_request = select("job:openai_proxy_attempts_per_request:ratio_rate5m", JOB)
    return [
        lines(
            Text(
                "Attempts per request",
                "Of the last five minutes; 1: none beyond the first. Above 1.3 it is a ticket. Provider and "
                "model do not apply (job:openai_proxy_attempts_per_request:ratio_rate5m).",
                "suffix:x",
            ),
            Query(f"max by (job) ({per_request})", "{{job}}"),
            marks=(("red", 1.3),),
            width=8,
        ),
        lines(
            Text(
                "Hedges",
                "Second attempts beside a slow first one, by the provider of the second: won if the client "
                f"had its answer. The model does not apply ({HEDGED}).",
                "reqps",
            ),
            Query(total(rate(HEDGED, PROVIDER), "provider", "result"), "{{provider}} {{result}}"),
            colours={f"/ {result}$/": colour for result, colour in HEDGES.items()},
            stacked=True,
            width=8,
        ),
        lines(
            Text(
                "Wasted by hedges",
                "Dollars per hour for the input of the attempts that were cancelled, by the price table and "
                f"the provider of the cancelled one ({WASTED}).",
                "currencyUSD",
            ),
            Query(f"{total(rate(WASTED, PROVIDER), 'provider')} * 3600", "{{provider}}"),
            stacked=True,
            width=8,
        ),
    ]


def _requests() -> list[Json]:
    return [
        lines(
            Text(
                "Clients' own retries",
                "Requests that their client's SDK says are a repetition; provider and model do not apply "
                f"({AGAIN}).",
                "reqps",
            ),
            Query(total(rate(AGAIN, JOB), "endpoint"), "{{endpoint}}"),
            stacked=True,
            width=8,
        ),
        lines(
            Text(
                "Members not sent",
                "Requests with a member that their target does not take, by the provider and the member; the "
                f"model does not apply ({DROPPED}).",
                "reqps",
            ),
            Query(f"{total(rate(DROPPED, PROVIDER), 'provider', 'member')} > 0", "{{provider}} {{member}}"),
            table=True,
            width=24,
        ),
    ]
