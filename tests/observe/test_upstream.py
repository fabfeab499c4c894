"""The families of attempts and connections."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry

from openai_proxy.observe.families import Families
from openai_proxy.observe.record import Attempt, AttemptResult
from openai_proxy.observe.upstream import CONNECT_RESULTS, UpstreamMetrics
from openai_proxy.wire.response import Timings

NEW = Timings(lookup_seconds=0.003, connect_seconds=0.02, tls_seconds=0.04, pool_wait_seconds=1.5)


@dataclass
class Pool:
    """Plain numbers, as a pool has them."""

    active: int = 2
    idle: int = 3
    opened: dict[str, int] = field(default_factory=dict)


class Rig:
    """The families and their registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.upstream = UpstreamMetrics(Families(self.registry))

    def attempt(
        self,
        result: AttemptResult,
        seconds: float = 0.2,
        timings: Timings | None = None,
        failed_again: bool = False,
    ) -> None:
        attempt = Attempt("openai", result, seconds, timings, failed_again)
        self.upstream.of("openai", "responses").ended(attempt, "gpt-5")

    def read(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"openai_proxy_{name}", {"provider": "openai", **labels})


@pytest.mark.parametrize("result", AttemptResult)
def test_every_attempt_is_counted_and_timed(result: AttemptResult) -> None:
    """Those that failed too: a time limit is the upstream's slowness."""
    rig = Rig()
    rig.attempt(result)
    rig.attempt(result)
    assert rig.read("upstream_attempts_total", endpoint="responses", result=result.value) == 2
    labels = {"endpoint": "responses", "model": "gpt-5"}
    assert rig.read("upstream_request_duration_seconds_count", **labels) == 2
    assert rig.read("upstream_request_duration_seconds_sum", **labels) == 0.4


def test_a_new_connection_has_its_steps() -> None:
    """DNS, TCP and TLS apart."""
    rig = Rig()
    rig.attempt(AttemptResult.OK, timings=NEW)
    for phase, seconds in (("dns", 0.003), ("tcp", 0.02), ("tls", 0.04)):
        assert rig.read("upstream_connect_duration_seconds_count", phase=phase) == 1
        assert rig.read("upstream_connect_duration_seconds_sum", phase=phase) == seconds
    assert rig.read("upstream_connection_requests_total", reused="false") == 1
    assert rig.read("upstream_connection_requests_total", reused="true") == 0
    assert rig.read("upstream_pool_wait_seconds_sum") == 1.5
    assert rig.read("retries_total", reason="stale_connection") == 0


def test_steps_that_there_were_not_are_not_timed() -> None:
    """A kept connection has none; an address needs no DNS; the mock has no connection."""
    rig = Rig()
    rig.attempt(AttemptResult.OK, timings=Timings(reused=True, connect_seconds=9, tls_seconds=9))
    rig.attempt(AttemptResult.OK, timings=Timings())
    for phase in ("dns", "tcp", "tls"):
        assert rig.read("upstream_connect_duration_seconds_count", phase=phase) is None
    assert rig.read("upstream_connection_requests_total", reused="true") == 1
    assert rig.read("upstream_pool_wait_seconds_count") == 2


def test_a_repeated_request_is_a_retry() -> None:
    """With its reason."""
    rig = Rig()
    rig.attempt(AttemptResult.OK, timings=Timings(repeated=True, connect_seconds=0.1))
    assert rig.read("retries_total", reason="stale_connection") == 1
    rig.attempt(AttemptResult.PROTOCOL_ERROR, failed_again=True)
    assert rig.read("retries_total", reason="stale_connection") == 2


def test_an_attempt_without_an_answer_says_nothing_of_connections() -> None:
    """There may have been none."""
    rig = Rig()
    rig.attempt(AttemptResult.CONNECT_ERROR)
    assert rig.read("upstream_pool_wait_seconds_count") is None
    assert rig.read("upstream_connection_requests_total", reused="false") == 0


def test_time_to_the_first_byte() -> None:
    """By provider and endpoint."""
    rig = Rig()
    rig.upstream.of("openai", "responses").first_byte(0.3)
    rig.upstream.of("openai", "responses").first_byte(0.4)
    assert rig.read("time_to_first_byte_seconds_count", endpoint="responses") == 2


def test_a_pool_is_read_when_it_is_asked_for() -> None:
    """Every result is there from the start."""
    rig = Rig()
    pool = Pool()
    assert rig.read("upstream_connections", state="idle") is None
    rig.upstream.watch_pool("openai", lambda: pool)
    assert rig.read("upstream_connections", state="active") == 2
    assert rig.read("upstream_connections", state="idle") == 3
    pool.opened["tls_error"] = 4
    opened = {one: rig.read("upstream_connections_opened_total", result=one) for one in CONNECT_RESULTS}
    assert opened == {"ok": 0, "timeout": 0, "connect_error": 0, "tls_error": 4}


def test_what_is_expected_is_there_before_it_happens() -> None:
    """Each result of each endpoint."""
    rig = Rig()
    rig.upstream.expect("openai", ("files", "models"))
    for endpoint in ("files", "models"):
        for result in AttemptResult:
            assert rig.read("upstream_attempts_total", endpoint=endpoint, result=result.value) == 0
