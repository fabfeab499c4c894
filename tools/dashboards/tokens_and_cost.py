"""What was used and what it cost, by model, and how much of it is not known."""

from __future__ import annotations

from tools.dashboards.board import Json, board
from tools.dashboards.panels import Query, Text, lines, row, stat, table
from tools.dashboards.queries import MODEL, PROVIDER, increase, or_zero, rate, select, share, total

COST = "openai_proxy_cost_usd_total"
INPUT, OUTPUT = "openai_proxy_input_tokens_total", "openai_proxy_output_tokens_total"
CACHED, WRITTEN = "openai_proxy_input_cached_tokens_total", "openai_proxy_input_cache_write_tokens_total"
AUDIO = "openai_proxy_audio_seconds_total"
REASONING = "openai_proxy_output_reasoning_tokens_total"
MISSING, UNPRICED = "openai_proxy_usage_missing_total", "openai_proxy_unpriced_requests_total"
RECORDED = "job_provider_model:openai_proxy_cost_usd:rate6h"
BY_MODEL = ("provider", "model")
PER_SECOND = "suffix:tok/s"
_NONE_IS_GOOD = (("green", None), ("orange", 0.5))


def dashboard() -> Json:
    """Totals of the time shown, then rates, then what is missing from them."""
    return board(
        "tokens-and-cost",
        "tokens and cost",
        "What was used and what it cost, and how much of that is not known.",
        ("job", *BY_MODEL),
        [
            *_totals(),
            row("Cost"),
            *_cost(),
            row("Tokens"),
            *_tokens(),
            row("What is not known"),
            *_unknown(),
        ],
    )


def _totals() -> list[Json]:
    cached = or_zero(total(increase(CACHED, MODEL)))
    return [
        stat(
            Text("Dollars", f"In the time shown, by the price table ({COST}).", "currencyUSD"),
            total(increase(COST, MODEL)),
            decimals=2,
            instant=True,
        ),
        stat(
            Text("Dollars per hour", f"At the rate of this moment ({COST}).", "currencyUSD"),
            f"{total(rate(COST, MODEL))} * 3600",
            decimals=2,
        ),
        stat(
            Text(
                "Forecast, 30 days",
                f"If it goes on as in the last six hours; a recorded rule ({RECORDED}).",
                "currencyUSD",
            ),
            f"sum({select(RECORDED, MODEL)}) * 86400 * 30",
            decimals=0,
        ),
        stat(
            Text("Input tokens", f"In the time shown, cached ones included ({INPUT}).", "short"),
            total(increase(INPUT, MODEL)),
            instant=True,
        ),
        stat(
            Text("Output tokens", f"In the time shown, reasoning included ({OUTPUT}).", "short"),
            total(increase(OUTPUT, MODEL)),
            instant=True,
        ),
        stat(
            Text(
                "Cached input",
                f"Share of the input tokens of the time shown that came from a cache ({CACHED}, {INPUT}).",
                "percentunit",
            ),
            share(cached, total(increase(INPUT, MODEL))),
            instant=True,
        ),
        stat(
            Text(
                "Unpriced requests",
                f"In the time shown; what they cost is in no number ({UNPRICED}).",
                "short",
            ),
            or_zero(total(increase(UNPRICED, MODEL))),
            steps=_NONE_IS_GOOD,
            decimals=0,
            instant=True,
        ),
        stat(
            Text(
                "Usage missing",
                f"Answers of the time shown that said no usage; the model does not apply ({MISSING}).",
                "short",
            ),
            or_zero(total(increase(MISSING, PROVIDER))),
            steps=_NONE_IS_GOOD,
            decimals=0,
            instant=True,
        ),
    ]


def _cost() -> list[Json]:
    ok = total(rate("http_requests_total", MODEL, 'outcome="ok"'), *BY_MODEL)
    return [
        lines(
            Text("Dollars per hour by model", f"By the price table ({COST}).", "currencyUSD"),
            Query(f"{total(rate(COST, MODEL), *BY_MODEL)} * 3600", "{{provider}} {{model}}"),
            stacked=True,
            table=True,
        ),
        lines(
            Text(
                "Dollars per 1000 requests",
                f"That ended well, by model ({COST}, http_requests_total).",
                "currencyUSD",
            ),
            Query(f"1000 * {share(total(rate(COST, MODEL), *BY_MODEL), ok)}", "{{provider}} {{model}}"),
            table=True,
        ),
        table(
            Text(
                "By model",
                "Requests, tokens and dollars of the time shown "
                f"(http_requests_total, {INPUT}, {OUTPUT}, {COST}).",
                "short",
            ),
            Query(total(increase(COST, MODEL), *BY_MODEL), "dollars"),
            Query(total(increase("http_requests_total", MODEL), *BY_MODEL), "requests"),
            Query(total(increase(INPUT, MODEL), *BY_MODEL), "input tokens"),
            Query(total(increase(OUTPUT, MODEL), *BY_MODEL), "output tokens"),
            labels=BY_MODEL,
            units={"dollars": "currencyUSD"},
            width=24,
        ),
    ]


def _tokens() -> list[Json]:
    ok = total(rate("http_requests_total", MODEL, 'outcome="ok"'))
    cached = total(rate(CACHED, MODEL), "model")
    return [
        lines(
            Text("Input and output", f"Billed tokens per second ({INPUT}, {OUTPUT}).", PER_SECOND),
            Query(total(rate(INPUT, MODEL)), "input"),
            Query(total(rate(OUTPUT, MODEL)), "output"),
            colours={"input": "blue", "output": "green"},
        ),
        lines(
            Text(
                "Parts of them",
                f"Cached and cache-write tokens are parts of the input, reasoning of the output ({CACHED}, "
                f"{WRITTEN}, {REASONING}).",
                PER_SECOND,
            ),
            Query(total(rate(CACHED, MODEL)), "cached input"),
            Query(total(rate(WRITTEN, MODEL)), "cache writes"),
            Query(total(rate(REASONING, MODEL)), "reasoning"),
            colours={"cached input": "light-blue", "cache writes": "dark-blue", "reasoning": "light-green"},
        ),
        lines(
            Text("Output by model", f"Tokens per second ({OUTPUT}).", PER_SECOND),
            Query(total(rate(OUTPUT, MODEL), "model"), "{{model}}"),
            stacked=True,
            width=6,
        ),
        lines(
            Text("Cached share by model", f"Of the input tokens ({CACHED}, {INPUT}).", "percentunit"),
            Query(share(cached, total(rate(INPUT, MODEL), "model")), "{{model}}"),
            top=1,
            width=6,
        ),
        lines(
            Text(
                "Tokens per request",
                f"Mean of the requests that ended well ({INPUT}, {OUTPUT}, http_requests_total).",
                "short",
            ),
            Query(share(total(rate(INPUT, MODEL)), ok), "input"),
            Query(share(total(rate(OUTPUT, MODEL)), ok), "output"),
            colours={"input": "blue", "output": "green"},
            width=6,
        ),
        lines(
            Text(
                "Audio by model",
                f"Seconds of audio per second, of answers that are billed by its length ({AUDIO}).",
                "suffix:s/s",
            ),
            Query(total(rate(AUDIO, MODEL), "model"), "{{model}}"),
            stacked=True,
            width=6,
        ),
    ]


def _unknown() -> list[Json]:
    return [
        lines(
            Text(
                "Unpriced by model",
                'Answers with usage and without a price; "other" are names the proxy does not know '
                f"({UNPRICED}).",
                "reqps",
            ),
            Query(total(rate(UNPRICED, MODEL), *BY_MODEL), "{{provider}} {{model}}"),
            stacked=True,
        ),
        lines(
            Text(
                "Usage missing by reason",
                f"Tokens and dollars are too low by these answers; the model does not apply ({MISSING}).",
                "reqps",
            ),
            Query(total(rate(MISSING, PROVIDER), "endpoint", "reason"), "{{endpoint}} {{reason}}"),
            stacked=True,
        ),
    ]
