"""For who is on call: is it well, and if not, is it us, the provider or the client."""

from __future__ import annotations

from tools.dashboards.board import Json, board
from tools.dashboards.colours import OUTCOMES, PHASES, SLOS, STATUSES
from tools.dashboards.panels import Query, Text, heatmap, lines, quantiles, stat, table
from tools.dashboards.queries import JOB, MODEL, PROVIDER, increase, or_zero, quantile, rate, share, total

REQUESTS = "http_requests_total"
_GOOD_ABOVE = (("red", None), ("orange", 0.95), ("green", 0.995))
_BUDGET = (("red", None), ("orange", 0.0), ("green", 0.5))


def dashboard() -> Json:
    """The home of Grafana in docker-compose.yml."""
    return board(
        "overview",
        "overview",
        "Is it well, and if not, is it the proxy, the provider or the client.",
        ("job", "provider", "model"),
        [*_numbers(), *_outcomes(), *_clocks(), *_troubles()],
    )


def _numbers() -> list[Json]:
    failed = or_zero(total(rate(REQUESTS, MODEL, 'outcome=~"(upstream|proxy)_.+"')))
    valid = total(rate(REQUESTS, MODEL, 'outcome!~"client_.+"'))
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
                "19 of 20 streams brought their first generated token in less "
                "(openai_proxy_time_to_first_token_seconds).",
                "s",
            ),
            quantile(0.95, "openai_proxy_time_to_first_token_seconds", MODEL),
            steps=(("green", None), ("orange", 2), ("red", 5)),
        ),
        stat(
            Text(
                "Overhead p99",
                "What the proxy itself added to 99 of 100 requests was less; waiting for the upstream or for "
                "a slow client is not in it. Provider and model do not apply "
                "(openai_proxy_overhead_seconds).",
                "s",
            ),
            quantile(0.99, "openai_proxy_overhead_seconds", JOB),
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
                "By the price table, at the rate of this moment (openai_proxy_cost_usd_total).",
                "currencyUSD",
            ),
            f"{total(rate('openai_proxy_cost_usd_total', MODEL))} * 3600",
            decimals=2,
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
                "(http_request_duration_seconds).",
                "s",
            ),
            total(increase("http_request_duration_seconds_bucket", MODEL, over="$__rate_interval"), "le"),
        ),
    ]


def _clocks() -> list[Json]:
    first = "openai_proxy_time_to_first_token_seconds"
    return [
        quantiles(
            Text(
                "Time to first token", f"Of streams: half, 19 of 20 and 99 of 100 were faster ({first}).", "s"
            ),
            first,
            MODEL,
            width=8,
        ),
        lines(
            Text("First token p95 by model", f"19 of 20 streams of each model were faster ({first}).", "s"),
            Query(quantile(0.95, first, MODEL, "model"), "{{model}}"),
            width=8,
        ),
        quantiles(
            Text(
                "Overhead",
                "Time that only the proxy is answerable for; provider and model do not apply "
                "(openai_proxy_overhead_seconds).",
                "s",
            ),
            "openai_proxy_overhead_seconds",
            JOB,
            width=8,
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
    ]
