"""For who is on call: is it well, and if not, is it us, the provider or the client."""

from __future__ import annotations

from tools.dashboards.board import Json, board
from tools.dashboards.colours import CIRCUITS, OUTCOMES, PHASES, SLOS, STATUSES, WHOSE
from tools.dashboards.panels import Query, Text, heatmap, lines, quantiles, stat, states, table
from tools.dashboards.queries import (
    JOB,
    MODEL,
    PROVIDER,
    circuit,
    increase,
    or_zero,
    quantile,
    rate,
    share,
    total,
)

REQUESTS = "http_requests_total"
DURATION, ATTEMPT = "http_request_duration_seconds", "openai_proxy_upstream_request_duration_seconds"
OVERHEAD = "openai_proxy_overhead_seconds"
FIRST_BYTE, FIRST = "openai_proxy_time_to_first_byte_seconds", "openai_proxy_time_to_first_token_seconds"
OUTPUT, COST = "openai_proxy_output_tokens_total", "openai_proxy_cost_usd_total"
MISSING, UNPRICED = "openai_proxy_usage_missing_total", "openai_proxy_unpriced_requests_total"
OURS, THEIRS = (
    'outcome=~"proxy_.+",outcome!="proxy_circuit_open"',
    'outcome=~"upstream_.+|proxy_circuit_open"',
)
FAILED, VALID = 'outcome=~"(upstream|proxy)_.+"', 'outcome!~"client_.+"'
BY_MODEL = ("provider", "model")
_GOOD_ABOVE = (("red", None), ("orange", 0.95), ("green", 0.995))
_BUDGET = (("red", None), ("orange", 0.0), ("green", 0.5))


def dashboard() -> Json:
    """The home of Grafana in docker-compose.yml: numbers, whose fault, since when, which model."""
    return board(
        "overview",
        "overview",
        "Is it well, and if not, is it the proxy, the provider or the client.",
        ("job", "provider", "model"),
        [*_numbers(), *_whose(), *_outcomes(), *_clocks(), *_models(), *_troubles()],
    )


def _numbers() -> list[Json]:
    failed, valid = or_zero(total(rate(REQUESTS, MODEL, FAILED))), total(rate(REQUESTS, MODEL, VALID))
    return [
        stat(
            Text("Requests/s", f"Exchanges that ended, of every outcome ({REQUESTS}).", "reqps"),
            total(rate(REQUESTS, MODEL)),
        ),
        stat(
            Text(
                "Success ratio",
                "Share of the exchanges that neither the proxy nor the upstream failed. Clients' own errors "
                f"and hang-ups count on neither side ({REQUESTS}).",
                "percentunit",
            ),
            f"1 - {share(failed, valid)}",
            steps=_GOOD_ABOVE,
            decimals=2,
        ),
        stat(
            Text(
                "Budget left, 30 d",
                "What is left of the end-to-end budget (99.5 %) of the last 30 days; below 0: overspent. "
                "Recorded by etc/prometheus/rules/recording.yml; provider and model do not apply "
                "(job:openai_proxy_slo_burn:rate30d).",
                "percentunit",
            ),
            f'1 - max(job:openai_proxy_slo_burn:rate30d{{{JOB},slo="end_to_end"}})',
            steps=_BUDGET,
            decimals=1,
        ),
        stat(
            Text(
                "First token p95",
                f"19 of 20 streams brought their first generated token in less ({FIRST}).",
                "s",
            ),
            quantile(0.95, FIRST, MODEL),
            steps=(("green", None), ("orange", 2), ("red", 5)),
        ),
        stat(
            Text(
                "Overhead p99",
                "What the proxy itself added to 99 of 100 requests was less; waiting for the upstream or for "
                f"a slow client is not in it. Provider and model do not apply ({OVERHEAD}).",
                "s",
            ),
            quantile(0.99, OVERHEAD, JOB),
            steps=(("green", None), ("orange", 0.01), ("red", 0.025)),
        ),
        stat(
            Text(
                "In flight",
                "Exchanges accepted and not ended; provider and model do not apply "
                "(http_requests_in_flight).",
                "none",
            ),
            f"sum(http_requests_in_flight{{{JOB}}})",
        ),
        stat(
            Text(
                "Streams open",
                "Streams that are being relayed; the model does not apply (openai_proxy_streams_open).",
                "none",
            ),
            f"sum(openai_proxy_streams_open{{{PROVIDER}}})",
        ),
        stat(
            Text(
                "Dollars per hour",
                f"By the price table, at the rate of this moment ({COST}).",
                "currencyUSD",
            ),
            f"{total(rate(COST, MODEL))} * 3600",
            decimals=2,
        ),
    ]


def _whose() -> list[Json]:
    """Is it us, is it the provider, what was lost, what is not known."""
    valid = total(rate(REQUESTS, MODEL, VALID))
    unknown = " + ".join(
        or_zero(total(increase(name, scope))) for name, scope in ((MISSING, PROVIDER), (UNPRICED, MODEL))
    )
    return [
        stat(
            Text(
                "Proxy failed",
                "Share of the requests that ended in an outcome proxy_* but proxy_circuit_open: a fault or a "
                f"limit of ours ({REQUESTS}).",
                "percentunit",
            ),
            share(or_zero(total(rate(REQUESTS, MODEL, OURS))), valid),
            steps=(("green", None), ("orange", 0.0005), ("red", 0.005)),
            decimals=2,
        ),
        stat(
            Text(
                "Provider failed",
                "Share of the requests that ended in an outcome upstream_*, or that an open circuit ended "
                f"({REQUESTS}).",
                "percentunit",
            ),
            share(or_zero(total(rate(REQUESTS, MODEL, THEIRS))), valid),
            steps=(("green", None), ("orange", 0.005), ("red", 0.05)),
            decimals=2,
        ),
        stat(
            Text(
                "Answers cut off",
                "In the time shown: begun, then cut off by the upstream, silent, without their end mark, or "
                f"with an error in them ({REQUESTS}).",
                "short",
            ),
            or_zero(total(increase(REQUESTS, MODEL, 'outcome="upstream_stream_error"'))),
            steps=(("green", None), ("orange", 0.5)),
            decimals=0,
            instant=True,
        ),
        stat(
            Text(
                "Given up by clients",
                f"In the time shown: clients that left before they had their whole answer ({REQUESTS}).",
                "short",
            ),
            or_zero(total(increase(REQUESTS, MODEL, 'outcome="client_disconnect"'))),
            decimals=0,
            instant=True,
        ),
        stat(
            Text(
                "First byte p95",
                "The head of 19 of 20 answers came in less, streamed or not; the model does not apply "
                f"({FIRST_BYTE}).",
                "s",
            ),
            quantile(0.95, FIRST_BYTE, PROVIDER),
        ),
        stat(
            Text("Output tokens/s", f"Generated tokens, reasoning included ({OUTPUT}).", "suffix:tok/s"),
            total(rate(OUTPUT, MODEL)),
            decimals=0,
        ),
        stat(
            Text("Dollars", f"In the time shown, by the price table ({COST}).", "currencyUSD"),
            total(increase(COST, MODEL)),
            decimals=2,
            instant=True,
        ),
        stat(
            Text(
                "Cost not known",
                "Answers of the time shown without usage or without a price: what they cost is in no number "
                f"({MISSING}, {UNPRICED}).",
                "short",
            ),
            unknown,
            steps=(("green", None), ("orange", 0.5)),
            decimals=0,
            instant=True,
        ),
    ]


def _outcomes() -> list[Json]:
    return [
        lines(
            Text(
                "Requests by outcome",
                "How exchanges ended; the prefix says who is to blame: client_, upstream_, proxy_ "
                f"({REQUESTS}).",
                "reqps",
            ),
            Query(total(rate(REQUESTS, MODEL), "outcome"), "{{outcome}}"),
            colours=OUTCOMES,
            stacked=True,
        ),
        heatmap(
            Text(
                "Duration",
                "How many exchanges took how long, from the request's first byte to the answer's last "
                f"({DURATION}).",
                "s",
            ),
            total(increase(f"{DURATION}_bucket", MODEL, over="$__rate_interval"), "le"),
        ),
    ]


def _clocks() -> list[Json]:
    return [
        lines(
            Text(
                "Whose time, p95",
                "19 of 20 were faster: whole requests, the provider's part of them (one attempt), and the "
                f"proxy's own, to which provider and model do not apply ({DURATION}, {ATTEMPT}, {OVERHEAD}).",
                "s",
            ),
            Query(quantile(0.95, DURATION, MODEL), "request", exemplar=True),
            Query(quantile(0.95, ATTEMPT, MODEL), "provider"),
            Query(quantile(0.95, OVERHEAD, JOB), "proxy"),
            colours=WHOSE,
            width=6,
        ),
        quantiles(
            Text(
                "Time to first token", f"Of streams: half, 19 of 20 and 99 of 100 were faster ({FIRST}).", "s"
            ),
            FIRST,
            MODEL,
            width=6,
        ),
        lines(
            Text("First token p95 by model", f"19 of 20 streams of each model were faster ({FIRST}).", "s"),
            Query(quantile(0.95, FIRST, MODEL, "model"), "{{model}}"),
            width=6,
        ),
        quantiles(
            Text(
                "Overhead",
                f"Time that only the proxy is answerable for; provider and model do not apply ({OVERHEAD}).",
                "s",
            ),
            OVERHEAD,
            JOB,
            width=6,
        ),
    ]


def _models() -> list[Json]:
    failed = total(increase(REQUESTS, MODEL, FAILED), *BY_MODEL)
    first = total(increase(f"{FIRST}_bucket", MODEL), "le", *BY_MODEL)
    return [
        table(
            Text(
                "Models",
                "Of the time shown: which model is asked, fails, is slow, costs. Time to first token is the "
                f"95th percentile of streams ({REQUESTS}, {FIRST}, {OUTPUT}, {COST}).",
                "short",
            ),
            Query(total(increase(REQUESTS, MODEL), *BY_MODEL), "requests"),
            Query(share(failed, total(increase(REQUESTS, MODEL, VALID), *BY_MODEL)), "failed"),
            Query(f"histogram_quantile(0.95, {first})", "first token"),
            Query(total(increase(OUTPUT, MODEL), *BY_MODEL), "output tokens"),
            Query(total(increase(COST, MODEL), *BY_MODEL), "dollars"),
            labels=BY_MODEL,
            units={"failed": "percentunit", "first token": "s", "dollars": "currencyUSD"},
            width=24,
        ),
    ]


def _troubles() -> list[Json]:
    errors = increase("openai_proxy_errors_total", PROVIDER)
    burn = f"job:openai_proxy_slo_burn:rate{{}}{{{{{JOB}}}}}"
    return [
        table(
            Text(
                "Errors",
                "Errors told to clients in the time shown, by whose they are, type and code; the model does "
                "not apply (openai_proxy_errors_total).",
                "short",
            ),
            Query(f"{total(errors, 'provider', 'source', 'type', 'code')} > 0", "errors"),
            labels=("provider", "source", "type", "code"),
        ),
        lines(
            Text(
                "Error budget burn",
                "How many times faster than allowed the 30-day budget is spent, over an hour and over six; "
                "it pages at 14.4 and 6. Recorded rules; provider and model do not apply "
                "(job:openai_proxy_slo_burn:rate1h, :rate6h).",
                "suffix:x",
            ),
            Query(f"max by (slo) ({burn.format('1h')})", "{{slo}} 1 h"),
            Query(f"max by (slo) ({burn.format('6h')})", "{{slo}} 6 h"),
            colours={f"/^{slo} /": colour for slo, colour in SLOS.items()},
            marks=(("orange", 6), ("red", 14.4)),
        ),
        lines(
            Text(
                "Requests by status",
                f"What the client was sent; 499 is a client that left before there was one ({REQUESTS}).",
                "reqps",
            ),
            Query(total(rate(REQUESTS, MODEL), "status"), "{{status}}"),
            colours=STATUSES,
            stacked=True,
            width=8,
        ),
        lines(
            Text(
                "Clients that left",
                "Before their answer was whole, by how far it was; provider and model do not apply "
                "(openai_proxy_client_disconnects_total).",
                "reqps",
            ),
            Query(total(rate("openai_proxy_client_disconnects_total", JOB), "phase"), "{{phase}}"),
            colours=PHASES,
            stacked=True,
            width=8,
        ),
        table(
            Text(
                "Alerts",
                "Pending or firing now; no line is good news. docs/alerts.md says what to do (ALERTS).",
                "short",
            ),
            Query(
                f'sum by (severity, alertstate, alertname) (ALERTS{{{JOB},alertname=~"OpenAIProxy.+"}})',
                "series",
            ),
            labels=("severity", "alertstate", "alertname"),
            width=8,
        ),
        states(
            Text(
                "Circuits",
                "The breaker of each target, at the worst of the instances; open: requests go elsewhere or "
                "fail at once. The model is a target's, or any (openai_proxy_circuit_state).",
                "none",
            ),
            Query(circuit(), "{{provider}} {{model}}"),
            CIRCUITS,
            width=24,
        ),
    ]
