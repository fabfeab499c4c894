"""How the process itself does: CPU, memory, reactor, and what observing it costs."""

from __future__ import annotations

from tools.dashboards.board import Json, board
from tools.dashboards.colours import LEVELS, THREADS
from tools.dashboards.panels import Query, Text, heatmap, lines, quantiles, row, stat, table
from tools.dashboards.queries import INSTANCE, increase, or_zero, rate, select, total

LAG = "openai_proxy_reactor_lag_seconds"
OVERFLOW = "openai_proxy_metric_label_overflow_total"


def dashboard() -> Json:
    """By instance: each is one process, with one thread for all its requests."""
    return board(
        "process",
        "process",
        "How the processes do: CPU, memory, reactor, and what observing them costs.",
        ("job", "instance"),
        [
            *_numbers(),
            row("Reactor"),
            *_reactor(),
            row("Resources"),
            *_resources(),
            row("Operation"),
            *_operation(),
            row("Observation"),
            *_observation(),
        ],
    )


def _each(name: str) -> Query:
    return Query(total(select(name, INSTANCE), "instance"), "{{instance}}")


def _numbers() -> list[Json]:
    started = select("process_start_time_seconds", INSTANCE)
    return [
        stat(
            Text("Instances up", "Targets that answered the latest scrape (up).", "none"),
            total(select("up", INSTANCE)),
            steps=(("red", None), ("green", 1)),
        ),
        stat(
            Text("Up since", "The youngest instance (process_start_time_seconds).", "s"),
            f"time() - max({started})",
        ),
        stat(
            Text("Client connections", "Open now (openai_proxy_client_connections).", "none"),
            total(select("openai_proxy_client_connections", INSTANCE)),
        ),
        stat(
            Text(
                "Descriptors used",
                "Of the limit, where it is most (process_open_fds, process_max_fds).",
                "percentunit",
            ),
            f"max({select('process_open_fds', INSTANCE)} / {select('process_max_fds', INSTANCE)})",
            steps=(("green", None), ("orange", 0.5), ("red", 0.8)),
        ),
        stat(
            Text(
                "Label overflow",
                f'Label sets of the time shown that were counted as "other" ({OVERFLOW}).',
                "short",
            ),
            or_zero(total(increase(OVERFLOW, INSTANCE))),
            steps=(("green", None), ("orange", 0.5)),
            decimals=0,
            instant=True,
        ),
        table(
            Text("Versions", "One line for each build that runs (openai_proxy_build_info).", "short"),
            Query(
                f"count by (version, revision, python_version, twisted_version) "
                f"({select('openai_proxy_build_info', INSTANCE)})",
                "instances",
            ),
            labels=("version", "revision", "python_version", "twisted_version"),
            width=9,
            height=4,
        ),
    ]


def _reactor() -> list[Json]:
    tick, calls = "openai_proxy_reactor_last_tick_timestamp_seconds", "openai_proxy_reactor_delayed_calls"
    threads, queue = "openai_proxy_reactor_threadpool_threads", "openai_proxy_reactor_threadpool_queue_length"
    return [
        quantiles(
            Text("Lag", f"How late a call that was due came: every request waits so long ({LAG}).", "s"),
            LAG,
            INSTANCE,
            width=8,
        ),
        heatmap(
            Text("Lag, all of it", f"How many calls came how late ({LAG}).", "s"),
            total(increase(f"{LAG}_bucket", INSTANCE, over="$__rate_interval"), "le"),
            width=8,
        ),
        lines(
            Text(
                "Thread pool",
                "Threads that look up names and write /metrics (one of those at work is this scrape's own), "
                f"and calls that wait for one ({threads}, {queue}).",
                "none",
            ),
            Query(total(select(threads, INSTANCE), "state"), "{{state}}"),
            Query(total(select(queue, INSTANCE)), "queue"),
            colours=THREADS,
            width=8,
        ),
        lines(
            Text("Last tick", f"How long ago the reactor last ran, when it was scraped ({tick}).", "s"),
            Query(f"timestamp({select(tick, INSTANCE)}) - {select(tick, INSTANCE)}", "{{instance}}"),
        ),
        lines(
            Text("Delayed calls", f"Timers that wait, a few for each request in flight ({calls}).", "none"),
            _each(calls),
        ),
    ]


def _resources() -> list[Json]:
    received, sent = "http_request_body_bytes_total", "http_response_body_bytes_total"
    collected = "python_gc_objects_collected_total"
    return [
        lines(
            Text("CPU", "Cores in use; a process can use one (process_cpu_seconds_total).", "percentunit"),
            Query(total(rate("process_cpu_seconds_total", INSTANCE), "instance"), "{{instance}}"),
            width=6,
        ),
        lines(
            Text("Memory", "Resident (process_resident_memory_bytes).", "bytes"),
            _each("process_resident_memory_bytes"),
            width=6,
        ),
        lines(
            Text("File descriptors", "Open (process_open_fds).", "none"),
            _each("process_open_fds"),
            width=6,
        ),
        lines(
            Text("Client connections", "Open (openai_proxy_client_connections).", "none"),
            _each("openai_proxy_client_connections"),
            width=6,
        ),
        lines(
            Text("Bodies", f"From clients and to them ({received}, {sent}).", "Bps"),
            Query(total(rate(received, INSTANCE)), "received"),
            Query(total(rate(sent, INSTANCE)), "sent"),
            colours={"received": "blue", "sent": "green"},
            width=8,
        ),
        lines(
            Text("Collections", "Of garbage, by generation (python_gc_collections_total).", "ops"),
            Query(total(rate("python_gc_collections_total", INSTANCE), "generation"), "{{generation}}"),
            width=8,
        ),
        lines(
            Text(
                "Objects in cycles",
                f"Collected per second; the relay makes none, so what grows here is a fault ({collected}, "
                "python_gc_objects_uncollectable_total).",
                "ops",
            ),
            Query(total(rate(collected, INSTANCE)), "collected"),
            Query(total(rate("python_gc_objects_uncollectable_total", INSTANCE)), "uncollectable"),
            width=8,
        ),
    ]


def _operation() -> list[Json]:
    expiry = "openai_proxy_tls_certificate_expiry_timestamp_seconds"
    reloaded = "openai_proxy_config_last_reload_success_timestamp_seconds"
    return [
        lines(
            Text(
                "Reloads",
                "Of the configuration, by result, and whether the last one succeeded everywhere "
                "(openai_proxy_config_reloads_total, openai_proxy_config_last_reload_successful).",
                "none",
            ),
            Query(
                total(
                    increase("openai_proxy_config_reloads_total", INSTANCE, over="$__rate_interval"), "result"
                ),
                "{{result}}",
            ),
            Query(
                f"min({select('openai_proxy_config_last_reload_successful', INSTANCE)})",
                "the last: 1 is good",
            ),
            colours={"success": "green", "failure": "red"},
            width=8,
        ),
        lines(
            Text("Age of the configuration", f"Since it was last read and taken into use ({reloaded}).", "s"),
            Query(f"time() - {total(select(reloaded, INSTANCE), 'instance')}", "{{instance}}"),
            width=8,
        ),
        lines(
            Text(
                "Draining",
                "Instances that end, and the exchanges that each of them still waits for "
                "(openai_proxy_draining, openai_proxy_drain_exchanges).",
                "none",
            ),
            Query(total(select("openai_proxy_draining", INSTANCE)), "instances"),
            _each("openai_proxy_drain_exchanges"),
            width=8,
        ),
        lines(
            Text("Workers", "That serve, of daemons that have them (openai_proxy_workers).", "none"),
            _each("openai_proxy_workers"),
            width=8,
        ),
        lines(
            Text("Worker restarts", "In place of one that died (openai_proxy_worker_restarts_total).", "ops"),
            Query(total(rate("openai_proxy_worker_restarts_total", INSTANCE), "instance"), "{{instance}}"),
            width=8,
        ),
        lines(
            Text("Certificates", f"How long they are still good for, by listener ({expiry}).", "s"),
            Query(f"min by (listener) ({select(expiry, INSTANCE)}) - time()", "{{listener}}"),
            width=8,
        ),
    ]


def _observation() -> list[Json]:
    recorded = "gen_ai_.+|scrape_.+|ALERTS.*|.+:.+"
    return [
        lines(
            Text("Scrape duration", "What Prometheus waited for /metrics (scrape_duration_seconds).", "s"),
            _each("scrape_duration_seconds"),
            width=8,
        ),
        lines(
            Text("Series", "In one scrape; refused above 20000 (scrape_samples_scraped).", "none"),
            _each("scrape_samples_scraped"),
            width=8,
        ),
        lines(
            Text("Log messages", "By level (openai_proxy_log_messages_total).", "ops"),
            Query(total(rate("openai_proxy_log_messages_total", INSTANCE), "level"), "{{level}}"),
            colours=LEVELS,
            stacked=True,
            width=8,
        ),
        table(
            Text("Largest families", "Series by name, of all that the instances export.", "short"),
            Query(f'topk(15, count by (__name__) ({{{INSTANCE},__name__!~"{recorded}"}}))', "series"),
            labels=("__name__",),
            width=8,
        ),
        lines(
            Text("Label overflow by family", f"Label sets that were counted as other ({OVERFLOW}).", "ops"),
            Query(total(rate(OVERFLOW, INSTANCE), "metric"), "{{metric}}"),
            width=8,
        ),
        lines(
            Text("Spans of traces", "Sent to the collector, by what became of them, and dropped.", "ops"),
            Query(total(rate("openai_proxy_trace_spans_exported_total", INSTANCE), "result"), "{{result}}"),
            Query(total(rate("openai_proxy_trace_spans_dropped_total", INSTANCE)), "dropped"),
            width=8,
        ),
    ]
