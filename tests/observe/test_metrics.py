"""The families of /metrics, made from records."""

import re
from pathlib import Path

from msgspec.structs import replace
from prometheus_client import generate_latest

from openai_proxy.observe.endpoint import ENDPOINTS
from openai_proxy.observe.metrics import DURATION_BUCKETS_SECONDS, Metrics, new_registry
from openai_proxy.observe.outcome import Outcome, outcome_of_status
from openai_proxy.observe.record import Record

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


def text(metrics: Metrics) -> str:
    return generate_latest(metrics.registry).decode()


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


def test_buckets_are_the_contract() -> None:
    """The bounds that dashboards and alerts are written for."""
    metrics = Metrics(new_registry())
    metrics.exchange_began("other")
    metrics.exchange_ended(replace(RECORD, endpoint="other"))
    bounds = re.findall(r'http_request_duration_seconds_bucket\{[^}]*le="([^"]+)"', text(metrics))
    assert [float(bound) for bound in bounds] == [*DURATION_BUCKETS_SECONDS, float("inf")]


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


def test_no_wall_clock_in_the_hot_path() -> None:
    """Durations come from the record: the sink reads no clock."""
    source = Path(__file__).parents[2] / "openai_proxy" / "observe" / "metrics.py"
    assert "time" not in re.findall(r"^import (\w+)", source.read_text(), re.MULTILINE)
