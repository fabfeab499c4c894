"""Which provider and which model is slow or failing, and why; one section for each provider."""

from __future__ import annotations

from tools.dashboards.between_targets import between_targets
from tools.dashboards.board import Json, board
from tools.dashboards.colours import CONNECTING, RESULTS
from tools.dashboards.panels import Query, Text, lines, quantiles, row, table
from tools.dashboards.queries import MODEL, PROVIDER, mean, or_zero, quantile, rate, select, share, total

ATTEMPTS = "openai_proxy_upstream_attempts_total"
DURATION = "openai_proxy_upstream_request_duration_seconds"
FIRST = "openai_proxy_time_to_first_token_seconds"
FIRST_BYTE = "openai_proxy_time_to_first_byte_seconds"
VISIBLE = "openai_proxy_time_to_first_visible_token_seconds"
REUSE = "openai_proxy_upstream_connection_requests_total"
LIMIT = "openai_proxy_upstream_ratelimit"
LIMITED = ("provider", "model", "resource")


def dashboard() -> Json:
    """All providers side by side, then each by itself."""
    return board(
        "providers",
        "providers and models",
        "Which provider and which model is slow or failing, and why.",
        ("job", "provider", "model"),
        [
            row("All providers"),
            *_compared(),
            *_rate_limits(),
            row("Between targets"),
            *between_targets(),
            row("$provider", repeat="provider"),
            *_attempts(),
            *_tokens(),
            *_connections(),
        ],
    )


def _compared() -> list[Json]:
    failing = select("job_provider:openai_proxy_upstream_failures:ratio_rate5m", PROVIDER)
    return [
        lines(
            Text(
                "Requests by provider and model",
                'A model that the proxy does not know is "other"; a request that names none is "none" '
                "(http_requests_total).",
                "reqps",
            ),
            Query(total(rate("http_requests_total", MODEL), "provider", "model"), "{{provider}} {{model}}"),
            stacked=True,
            table=True,
        ),
        lines(
            Text(
                "Failing attempts",
                "Share of the attempts of the last five minutes that the provider failed: 5xx, timeouts, "
                "connections, TLS, answers that are no HTTP or break off. It pages above 0.2; the model "
                "does not apply (job_provider:openai_proxy_upstream_failures:ratio_rate5m).",
                "percentunit",
            ),
            Query(f"max by (provider) ({failing})", "{{provider}}"),
            marks=(("red", 0.2),),
            top=1,
        ),
        lines(
            Text(
                "Duration p95 by provider",
                f"One attempt, from its first byte out to the answer's last byte in ({DURATION}).",
                "s",
            ),
            Query(quantile(0.95, DURATION, MODEL, "provider"), "{{provider}}"),
        ),
        lines(
            Text("First token p95 by provider", f"Of streams; 19 of 20 were faster ({FIRST}).", "s"),
            Query(quantile(0.95, FIRST, MODEL, "provider"), "{{provider}}"),
        ),
    ]


def _rate_limits() -> list[Json]:
    updated = f"{LIMIT}_updated_timestamp_seconds"
    headroom = select("job_provider_model_resource:openai_proxy_upstream_ratelimit_headroom:ratio", MODEL)
    by = ", ".join(LIMITED)
    name = "{{provider}} {{model}} {{resource}}"
    return [
        lines(
            Text(
                "Rate limit headroom",
                "What is left of the provider's limit, while its latest answer is younger than 120 s "
                "(job_provider_model_resource:openai_proxy_upstream_ratelimit_headroom:ratio).",
                "percentunit",
            ),
            Query(f"min by ({by}) ({headroom})", name),
            marks=(("red", 0.05),),
            top=1,
            table=True,
        ),
        table(
            Text(
                "Rate limits",
                "As x-ratelimit-* of the latest answer said, and how long ago "
                f"({LIMIT}_limit, {LIMIT}_remaining, {updated}).",
                "short",
            ),
            Query(f"min by ({by}) ({select(f'{LIMIT}_limit', MODEL)})", "limit"),
            Query(f"min by ({by}) ({select(f'{LIMIT}_remaining', MODEL)})", "remaining"),
            Query(f"time() - max by ({by}) ({select(updated, MODEL)})", "age"),
            labels=LIMITED,
            units={"age": "s"},
        ),
    ]


def _attempts() -> list[Json]:
    return [
        lines(
            Text(
                "Attempts by result",
                f"Every try of an exchange at the provider; the model does not apply ({ATTEMPTS}).",
                "reqps",
            ),
            Query(total(rate(ATTEMPTS, PROVIDER), "result"), "{{result}}"),
            colours=RESULTS,
            stacked=True,
            width=8,
        ),
        quantiles(
            Text("Attempt duration", f"From its first byte out to its last byte in ({DURATION}).", "s"),
            DURATION,
            MODEL,
            width=8,
        ),
        lines(
            Text("Attempt duration p95 by model", f"19 of 20 were faster ({DURATION}).", "s"),
            Query(quantile(0.95, DURATION, MODEL, "model"), "{{model}}"),
            width=8,
        ),
        lines(
            Text(
                "Mean duration by endpoint",
                "Of exchanges. A stream lasts as long as its model writes (http_request_duration_seconds).",
                "s",
            ),
            Query(mean("http_request_duration_seconds", MODEL, "endpoint"), "{{endpoint}}"),
            width=8,
        ),
        lines(
            Text(
                "First byte p95 by endpoint",
                f"From the request's last byte to the head of the answer, streamed or not ({FIRST_BYTE}).",
                "s",
            ),
            Query(quantile(0.95, FIRST_BYTE, PROVIDER, "endpoint"), "{{endpoint}}"),
            width=8,
        ),
        lines(
            Text(
                "Retries",
                "Requests that went out once more to the same target, by how the attempt before ended. "
                "stale_connection: the provider had closed the kept connection; if there are many, keep them "
                "for less long (pool_idle_seconds). The model does not apply (openai_proxy_retries_total).",
                "reqps",
            ),
            Query(total(rate("openai_proxy_retries_total", PROVIDER), "reason"), "{{reason}}"),
            stacked=True,
            width=8,
        ),
        lines(
            Text(
                "Errors by type and code",
                "Of the provider, of the proxy about it, and of clients; the model does not apply "
                "(openai_proxy_errors_total).",
                "reqps",
            ),
            Query(
                total(rate("openai_proxy_errors_total", PROVIDER), "source", "type", "code"),
                "{{source}} {{type}} {{code}}",
            ),
            table=True,
            width=24,
        ),
    ]


def _tokens() -> list[Json]:
    gap, each = "openai_proxy_stream_chunk_interval_seconds", "openai_proxy_time_per_output_token_seconds"
    return [
        lines(
            Text("First token p95 by model", f"Of streams; 19 of 20 were faster ({FIRST}).", "s"),
            Query(quantile(0.95, FIRST, MODEL, "model"), "{{model}}"),
            width=6,
        ),
        lines(
            Text(
                "First visible token p95 by model",
                f"Of streams: the first token of the answer itself, after the reasoning ({VISIBLE}).",
                "s",
            ),
            Query(quantile(0.95, VISIBLE, MODEL, "model"), "{{model}}"),
            width=6,
        ),
        quantiles(
            Text("Between chunks", f"Between two chunks of a stream that hold tokens ({gap}).", "s"),
            gap,
            MODEL,
            width=6,
        ),
        lines(
            Text("Per output token, median", f"By model; from the first token to the last ({each}).", "s"),
            Query(quantile(0.5, each, MODEL, "model"), "{{model}}"),
            width=6,
        ),
    ]


def _connections() -> list[Json]:
    connect, wait = (
        "openai_proxy_upstream_connect_duration_seconds",
        "openai_proxy_upstream_pool_wait_seconds",
    )
    opened, open_now = "openai_proxy_upstream_connections_opened_total", "openai_proxy_upstream_connections"
    reused = or_zero(total(rate(REUSE, PROVIDER, 'reused="true"')))
    return [
        lines(
            Text(
                "Connecting p95 by phase",
                f"Of new connections: name look-up, TCP, TLS; 19 of 20 were faster ({connect}).",
                "s",
            ),
            Query(quantile(0.95, connect, PROVIDER, "phase"), "{{phase}}"),
            colours=CONNECTING,
            width=8,
        ),
        lines(
            Text("Connections opened", f"New ones, and what became of them ({opened}).", "ops"),
            Query(total(rate(opened, PROVIDER), "result"), "{{result}}"),
            colours=RESULTS,
            stacked=True,
            width=8,
        ),
        quantiles(
            Text("Waiting for a connection", f"While all that are allowed were busy ({wait}).", "s"),
            wait,
            PROVIDER,
            width=8,
        ),
        lines(
            Text(
                "Connection reuse",
                f"Share of the requests that went out on a connection that was there already ({REUSE}).",
                "percentunit",
            ),
            Query(share(reused, total(rate(REUSE, PROVIDER))), "reused"),
            top=1,
            width=8,
        ),
        lines(
            Text("Connections", f"To the provider, now ({open_now}).", "none"),
            Query(total(select(open_now, PROVIDER), "state"), "{{state}}"),
            stacked=True,
            width=8,
        ),
        lines(
            Text(
                "Streams open",
                "Streams that are being relayed; the model does not apply (openai_proxy_streams_open).",
                "none",
            ),
            Query(total(select("openai_proxy_streams_open", PROVIDER), "provider"), "{{provider}}"),
            width=8,
        ),
    ]
