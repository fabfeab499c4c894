"""The families of /metrics, made from records."""

from __future__ import annotations

import subprocess
from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from prometheus_client import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from openai_proxy.observe.buckets import ITL
from openai_proxy.observe.endpoint import ENDPOINTS
from openai_proxy.observe.intervals import IntervalCounts
from openai_proxy.observe.metrics import MAIN_ENDPOINTS, USUAL_STATUS, Metrics, new_registry
from openai_proxy.observe.model import KNOWN, NONE, OTHER
from openai_proxy.observe.outcome import Outcome, outcome_of_status
from openai_proxy.observe.record import (
    SLOW,
    SLOW_SECONDS,
    Attempt,
    AttemptResult,
    DisconnectPhase,
    Error,
    ErrorSource,
    Generation,
    Move,
    MoveKind,
    Record,
)
from openai_proxy.observe.routing_metrics import FALLBACK_REASONS
from openai_proxy.observe.usage import Usage, UsageMissing
from openai_proxy.wire.response import Timings
from tests.support.tools import require_tool

RECORD = Record(
    provider="openai",
    endpoint="chat_completions",
    model="gpt-4o",
    status=200,
    outcome=Outcome.OK,
    duration_seconds=0.2,
    received_bytes=10,
    sent_bytes=20,
)


ID = b"req-1\xff"
FIELDS = [(b"x-ratelimit-remaining-tokens", b"5")]


def text(metrics: Metrics) -> str:
    return generate_latest(metrics.registry).decode()


def totals(metrics: Metrics) -> dict[str, float]:
    """The sum of all samples of each name."""
    found: dict[str, float] = defaultdict(float)
    for family in metrics.registry.collect():
        for sample in family.samples:
            found[sample.name] += sample.value
    return found


def run(metrics: Metrics, record: Record) -> None:
    """An exchange from its beginning to its end."""
    metrics.exchange_began(record.endpoint)
    if record.is_stream:
        metrics.answer_began(record.provider, record.model, FIELDS, True)
    metrics.exchange_ended(record)


def test_an_exchange_is_counted_once_and_leaves_flight() -> None:
    """One more in flight when it begins; one counted, one observed and none in flight when it ends."""
    metrics = Metrics(new_registry())
    metrics.exchange_began("chat_completions")
    assert 'http_requests_in_flight{endpoint="chat_completions"} 1.0' in text(metrics)
    metrics.exchange_ended(RECORD)
    shown = text(metrics)
    assert 'http_requests_in_flight{endpoint="chat_completions"} 0.0' in shown
    labels = 'endpoint="chat_completions",model="gpt-4o",outcome="ok",provider="openai",status="200"'
    assert f"http_requests_total{{{labels}}} 1.0" in shown
    bucket = 'endpoint="chat_completions",le="0.25",model="gpt-4o",provider="openai",status_class="2xx"'
    assert f"http_request_duration_seconds_bucket{{{bucket}}} 1.0" in shown
    assert "_created" not in shown


def test_every_endpoint_has_its_gauge_from_the_start() -> None:
    """A gauge that appears only with its first request cannot be seen to be 0."""
    shown = text(Metrics(new_registry()))
    for endpoint in ENDPOINTS:
        assert f'http_requests_in_flight{{endpoint="{endpoint}"}} 0.0' in shown


def test_refused_requests_belong_to_no_provider() -> None:
    """What never was an exchange is counted as ``none``, and an odd status is ``other``."""
    metrics = Metrics(new_registry())
    metrics.request_refused(431, 0.001)
    metrics.request_refused(500, 0.001)
    metrics.exchange_began("other")
    metrics.exchange_ended(replace(RECORD, endpoint="other", status=99999))
    shown = text(metrics)
    assert 'model="none",outcome="client_error",provider="none",status="431"' in shown
    assert 'model="none",outcome="proxy_error",provider="none",status="500"' in shown
    assert 'status="other"' in shown


def test_registries_are_separate_and_have_the_process() -> None:
    """Two daemons in one process share nothing, and each shows its process."""
    one, two = Metrics(new_registry()), Metrics(new_registry())
    one.request_refused(404, 0)
    assert 'status="404"' in text(one) and 'status="404"' not in text(two)
    for family in ("process_cpu_seconds_total", "process_resident_memory_bytes", "python_info"):
        assert family in text(two)


def test_outcomes_of_statuses() -> None:
    """Who is to blame for each class of status."""
    assert {
        status: outcome_of_status(status).value for status in (200, 304, 400, 401, 403, 404, 429, 500, 529)
    } == {
        200: "ok",
        304: "ok",
        400: "client_error",
        401: "client_auth",
        403: "client_auth",
        404: "client_error",
        429: "upstream_rate_limited",
        500: "upstream_error",
        529: "upstream_error",
    }


def test_nothing_reads_a_clock_for_an_ordinary_exchange() -> None:
    """Durations come from the record."""

    def no_clock() -> float:
        raise AssertionError("a clock was read")

    metrics = Metrics(new_registry(), no_clock)
    run(metrics, replace(RECORD, request_id=b"id"))
    metrics.request_refused(404, 0.1)


@pytest.mark.parametrize(
    ("record", "is_shown"),
    [
        (replace(RECORD, request_id=ID), False),
        (replace(RECORD, request_id=ID, duration_seconds=SLOW_SECONDS), True),
        (replace(RECORD, request_id=ID, outcome=Outcome.UPSTREAM_STREAM_ERROR), True),
        (replace(RECORD, outcome=Outcome.UPSTREAM_ERROR), False),
    ],
)
def test_slow_and_failed_requests_can_be_found_again(record: Record, is_shown: bool) -> None:
    """By the id that the client has, on the bucket of their duration."""
    metrics = Metrics(new_registry(), lambda: 5.0)
    assert not metrics.wants_ids
    run(metrics, record)
    shown = openmetrics.generate_latest(metrics.registry).decode()
    assert ('# {request_id="req-1_"}' in shown) == is_shown
    list(text_string_to_metric_families(shown))


def test_an_id_that_looks_like_a_key_is_not_shown() -> None:
    """An upstream may give what it was sent as its id."""
    metrics = Metrics(new_registry(), lambda: 5.0)
    run(metrics, replace(RECORD, request_id=b"sk-CANARY-1", outcome=Outcome.UPSTREAM_ERROR))
    shown = openmetrics.generate_latest(metrics.registry).decode()
    assert '# {request_id="other"}' in shown
    assert "CANARY" not in shown


def test_what_is_expected_of_a_provider_is_there_before_it_happens() -> None:
    """A first failure has to be a rise; and there are only some hundred of such series."""
    metrics = Metrics(new_registry())
    before = len(text(metrics).splitlines())
    for provider in ("openai", "mock"):
        metrics.expect(provider)
    shown = text(metrics)
    assert len(shown.splitlines()) - before < 300
    read = metrics.registry.get_sample_value
    for endpoint in MAIN_ENDPOINTS:
        for outcome, status in USUAL_STATUS.items():
            labels = {"provider": "mock", "endpoint": endpoint, "model": NONE}
            labels |= {"status": str(status), "outcome": outcome.value}
            assert read("http_requests_total", labels) == 0
        for phase in DisconnectPhase:
            labels = {"endpoint": endpoint, "phase": phase.value}
            assert read("openai_proxy_client_disconnects_total", labels) == 0
    assert read("openai_proxy_streams_open", {"provider": "mock"}) == 0


def test_a_models_first_failure_of_the_upstream_is_a_rise() -> None:
    """Its series is there since the model's first request."""
    metrics = Metrics(new_registry())
    run(metrics, RECORD)
    labels = {"provider": "openai", "endpoint": "chat_completions", "model": "gpt-4o"}
    for outcome, status in USUAL_STATUS.items():
        value = metrics.registry.get_sample_value(
            "http_requests_total", {**labels, "outcome": outcome.value, "status": str(status)}
        )
        assert value == (1 if outcome is Outcome.OK else 0 if outcome.startswith("upstream_") else None)


def test_a_model_without_a_name_makes_no_series_but_its_own() -> None:
    """Anybody can ask for one at any endpoint."""
    metrics = Metrics(new_registry())
    run(metrics, replace(RECORD, model=OTHER, status=401, outcome=Outcome.CLIENT_AUTH))
    assert len(list(metrics.http.requests.samples())) == 1


def test_open_streams_and_clients() -> None:
    """Gauges go back to where they were."""
    metrics = Metrics(new_registry())
    read = metrics.registry.get_sample_value
    metrics.exchange_began("responses")
    metrics.answer_began("mock", "gpt-5", FIELDS, True)
    assert read("openai_proxy_streams_open", {"provider": "mock"}) == 1
    metrics.exchange_ended(replace(RECORD, provider="mock", endpoint="responses", is_stream=True))
    assert read("openai_proxy_streams_open", {"provider": "mock"}) == 0
    assert read("openai_proxy_client_connections") == 0
    metrics.watch_clients(lambda: 7)
    assert read("openai_proxy_client_connections") == 7


seconds = st.floats(min_value=0, max_value=1000)
maybe_seconds = st.none() | seconds
tokens = st.integers(0, 1 << 40)
providers = st.sampled_from(["openai", "mock"])
models = st.sampled_from(["gpt-5", "gpt-4o", OTHER, NONE])
timings = st.builds(
    Timings,
    reused=st.booleans(),
    repeated=st.booleans(),
    pool_wait_seconds=seconds,
    lookup_seconds=maybe_seconds,
    connect_seconds=seconds,
    tls_seconds=maybe_seconds,
)
moves = st.builds(
    Move, st.sampled_from(MoveKind), providers, st.sampled_from(sorted(FALLBACK_REASONS)) | st.text()
)
attempts = st.builds(
    Attempt,
    providers,
    st.sampled_from(AttemptResult),
    seconds,
    st.none() | timings,
    failed_again=st.booleans(),
    move=st.none() | moves,
)
wasteful = st.builds(replace, attempts, wasted_picodollars=st.none() | st.integers(0, 1 << 50))
several = st.lists(wasteful, min_size=2, max_size=4) | st.lists(attempts, max_size=1)
usages = st.builds(
    Usage,
    input_tokens=st.none() | tokens,
    cached_input_tokens=tokens,
    cache_write_tokens=tokens,
    output_tokens=st.none() | tokens,
    reasoning_tokens=tokens,
    seconds=maybe_seconds,
)


def intervals(durations: list[float]) -> IntervalCounts:
    counted = IntervalCounts(ITL)
    for duration in durations:
        counted.add(duration)
    return counted


generations = st.builds(
    Generation,
    model=models,
    usage=st.none() | usages,
    usage_missing=st.none() | st.sampled_from(UsageMissing),
    cost_picodollars=st.none() | st.integers(0, 1 << 50),
    first_token_seconds=maybe_seconds,
    first_visible_seconds=maybe_seconds,
    seconds_per_output_token=maybe_seconds,
    intervals=st.none() | st.builds(intervals, st.lists(seconds, max_size=5)),
)
records = st.builds(
    Record,
    provider=providers,
    endpoint=st.sampled_from(ENDPOINTS),
    model=models,
    status=st.integers(100, 599) | st.just(99999),
    outcome=st.sampled_from(Outcome),
    duration_seconds=seconds,
    received_bytes=tokens,
    sent_bytes=tokens,
    request_id=st.binary(max_size=200),
    phase=st.none() | st.sampled_from(DisconnectPhase),
    first_byte_seconds=maybe_seconds,
    overhead_seconds=maybe_seconds,
    is_stream=st.booleans(),
    attempts=several.map(tuple),
    client_retry=st.integers(0, 3),
    dropped=st.lists(st.text() | st.just("top_k"), unique=True, max_size=3).map(tuple),
    error=st.none()
    | st.builds(Error, st.sampled_from(ErrorSource), st.none() | st.text(), st.none() | st.text()),
    generation=st.none() | generations,
)


def sums(ended: list[Record]) -> dict[str, float]:
    """What the counters of all families must come to."""
    tried = [attempt for record in ended for attempt in record.attempts]
    made = [record.generation for record in ended if record.generation is not None]
    used = [one for one in made if one.usage is not None]
    usage = [one.usage for one in used if one.usage is not None]
    timed = [attempt.timings for attempt in tried if attempt.timings is not None]
    moved = Counter(attempt.move.kind for attempt in tried if attempt.move is not None)

    def there(values: list[float | None]) -> int:
        return sum(value is not None for value in values)

    return {
        "http_requests_total": len(ended),
        "http_request_duration_seconds_count": len(ended),
        "http_request_body_bytes_total": sum(one.received_bytes for one in ended),
        "http_response_body_bytes_total": sum(one.sent_bytes for one in ended),
        "http_requests_in_flight": 0,
        "openai_proxy_streams_open": 0,
        "openai_proxy_upstream_attempts_total": len(tried),
        "openai_proxy_upstream_request_duration_seconds_count": len(tried),
        "openai_proxy_upstream_connection_requests_total": len(timed),
        "openai_proxy_upstream_pool_wait_seconds_count": len(timed),
        "openai_proxy_retries_total": sum(one.repeated for one in tried) + moved[MoveKind.RETRY],
        "openai_proxy_fallbacks_total": moved[MoveKind.FALLBACK],
        "openai_proxy_hedges_total": moved[MoveKind.HEDGE],
        "openai_proxy_client_retries_total": sum(one.client_retry > 0 for one in ended),
        "openai_proxy_dropped_members_total": sum(
            ("top_k" in one.dropped) + bool({*one.dropped} - {"top_k"}) for one in ended
        ),
        "openai_proxy_overhead_seconds_count": there([one.overhead_seconds for one in ended]),
        "openai_proxy_time_to_first_byte_seconds_count": there([one.first_byte_seconds for one in ended]),
        "openai_proxy_client_disconnects_total": sum(one.phase is not None for one in ended),
        "openai_proxy_errors_total": sum(one.error is not None for one in ended),
        "openai_proxy_usage_missing_total": sum(one.usage_missing is not None for one in made),
        "openai_proxy_input_tokens_total": sum(one.input_tokens or 0 for one in usage),
        "openai_proxy_output_tokens_total": sum(one.output_tokens or 0 for one in usage),
        "openai_proxy_input_cached_tokens_total": sum(one.cached_input_tokens for one in usage),
        "openai_proxy_input_cache_write_tokens_total": sum(one.cache_write_tokens for one in usage),
        "openai_proxy_output_reasoning_tokens_total": sum(one.reasoning_tokens for one in usage),
        "openai_proxy_unpriced_requests_total": sum(one.cost_picodollars is None for one in used),
        "openai_proxy_time_to_first_token_seconds_count": there([one.first_token_seconds for one in made]),
        "openai_proxy_time_to_first_visible_token_seconds_count": there(
            [one.first_visible_seconds for one in made]
        ),
        "openai_proxy_time_per_output_token_seconds_count": there(
            [one.seconds_per_output_token for one in made]
        ),
        "openai_proxy_stream_chunk_interval_seconds_count": sum(
            sum(one.intervals.counts) for one in made if one.intervals is not None
        ),
    }


@settings(deadline=None, max_examples=50)
@given(st.lists(records, max_size=6))
def test_whatever_happens_the_sums_are_right(ended: list[Record]) -> None:
    """Nothing is lost, counted twice or left in flight; both formats can be read."""
    metrics = Metrics(new_registry())
    metrics.expect("openai")
    metrics.expect_route(["openai", "mock"])
    metrics.know_members(["top_k"])
    for record in ended:
        run(metrics, record)
    shown = totals(metrics)
    for name, expected in sums(ended).items():
        assert shown[name] == expected, name
    cost = sum(
        one.generation.cost_picodollars or 0
        for one in ended
        if one.generation is not None and one.generation.usage is not None
    )
    assert shown["openai_proxy_cost_usd_total"] == pytest.approx(cost / 10**12, rel=1e-12)
    wasted = sum(attempt.wasted_picodollars or 0 for record in ended for attempt in record.attempts)
    assert shown["openai_proxy_hedge_wasted_cost_usd_total"] == pytest.approx(wasted / 10**12, rel=1e-12)
    list(text_string_to_metric_families(openmetrics.generate_latest(metrics.registry).decode()))
    outcomes: Counter[str] = Counter()
    for family in metrics.registry.collect():
        for sample in family.samples if family.name == "http_requests" else ():
            outcomes[sample.labels["outcome"]] += int(sample.value)
    assert +outcomes == Counter(one.outcome.value for one in ended)


FULL = replace(
    RECORD,
    outcome=Outcome.CLIENT_DISCONNECT,
    phase=DisconnectPhase.MID_STREAM,
    request_id=b"id",
    first_byte_seconds=0.1,
    overhead_seconds=0.001,
    is_stream=True,
    attempts=(
        Attempt("mock", AttemptResult.TIMEOUT, 1.0, move=Move(MoveKind.HEDGE, "openai", SLOW)),
        Attempt("openai", AttemptResult.TIMEOUT, 1.0, wasted_picodollars=1),
        Attempt("openai", AttemptResult.TIMEOUT, 1.0, move=Move(MoveKind.RETRY, "openai", "timeout")),
        Attempt(
            "openai",
            AttemptResult.OK,
            1.0,
            Timings(lookup_seconds=1, connect_seconds=1, tls_seconds=1),
            move=Move(MoveKind.FALLBACK, "mock", "timeout"),
        ),
    ),
    client_retry=1,
    dropped=("top_k",),
    error=Error(ErrorSource.UPSTREAM, "server_error", "server_error"),
    generation=Generation(
        model="gpt-5",
        usage=Usage(input_tokens=1, output_tokens=1, seconds=1),
        usage_missing=UsageMissing.DISCONNECT,
        first_token_seconds=1,
        first_visible_seconds=1,
        seconds_per_output_token=1,
        intervals=intervals([1]),
    ),
)


def test_promtool_has_nothing_to_say() -> None:
    """Names, helps, types and units are as Prometheus wants them, in a page with every family."""
    promtool = require_tool("promtool")
    metrics = Metrics(new_registry())
    metrics.expect("openai")
    metrics.watch_circuit("openai", "", lambda: "closed")
    metrics.watch_rest("openai", "", lambda: False)
    run(metrics, FULL)
    done = subprocess.run(
        (promtool, "check", "metrics"), input=text(metrics), capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_models_beyond_all_bounds_are_other() -> None:
    """Whoever fills a record wrongly makes no series without end."""
    metrics = Metrics(new_registry())
    for number in range(3000):
        model = f"made-up-{number}"
        run(metrics, replace(FULL, model=model, generation=Generation(model=model, first_token_seconds=1)))
    lines = text(metrics).splitlines()
    assert len(lines) < 30_000
    assert totals(metrics)["http_requests_total"] == 3000
    assert totals(metrics)["openai_proxy_time_to_first_token_seconds_count"] == 3000
    assert totals(metrics)["openai_proxy_metric_label_overflow_total"] > 3000


def test_thirty_providers_have_a_place_for_what_is_expected() -> None:
    """And for what each of them is asked first; what is never asked for must not fill a family."""
    metrics = Metrics(new_registry())
    names = [f"p{number}" for number in range(30)]
    for name in names:
        metrics.expect(name)
        metrics.watch_circuit(name, "", lambda: "closed")
        metrics.expect_route([name, *names[:3]])
    tried = Timings(lookup_seconds=1, connect_seconds=1, tls_seconds=1)
    for name in names:
        for outcome in (Outcome.OK, Outcome.CLIENT_ERROR):
            record = replace(FULL, provider=name, is_stream=False, outcome=outcome, dropped=())
            run(metrics, replace(record, attempts=(Attempt(name, AttemptResult.OK, 1.0, tried),)))
    assert totals(metrics)["openai_proxy_metric_label_overflow_total"] == 0


def test_a_real_set_up_has_a_place_for_every_label() -> None:
    """Three providers, thirty models, three endpoints, successes and failures: none is ``other``."""
    metrics = Metrics(new_registry())
    for provider in ("one", "two", "three"):
        metrics.expect(provider)
        for model in sorted(KNOWN)[:30]:
            for endpoint in MAIN_ENDPOINTS:
                record = replace(FULL, provider=provider, model=model, endpoint=endpoint, is_stream=False)
                record = replace(
                    record,
                    generation=Generation(model=model, first_token_seconds=1, usage=Usage(input_tokens=1)),
                )
                record = replace(record, attempts=(Attempt(provider, AttemptResult.OK, 1.0),))
                run(metrics, replace(record, outcome=Outcome.OK))
                run(metrics, replace(record, status=429, outcome=Outcome.UPSTREAM_RATE_LIMITED))
                run(metrics, replace(record, status=499))
    assert totals(metrics)["openai_proxy_metric_label_overflow_total"] == 0
