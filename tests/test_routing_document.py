"""docs/routing.md against the policies, the errors and the numbers that it speaks of."""

from __future__ import annotations

import re
from pathlib import Path

from openai_proxy.config.file import File
from openai_proxy.exchange.telling import OURS, SHOULD_RETRY
from openai_proxy.observe.families import Family
from openai_proxy.observe.metrics import Metrics, new_registry
from openai_proxy.policy import retry_budget, stickiness
from openai_proxy.relay.failures import CIRCUIT_IS_OPEN, RATE_LIMITED
from tests.test_docs import quoted, rows, section

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/routing.md").read_text()


def test_every_default_is_the_schemas() -> None:
    """Where a setting has its value behind it."""
    said = re.findall(r"`(retry|breaker|hedge)\.(\w+)` \(([\d.]+)\)", TEXT)
    assert len(said) >= 4
    for part, key, value in said:
        assert getattr(getattr(File(), part), key) == float(value), key
    phrases = {
        "30 s (`breaker.window_seconds`)": 30,
        "20 attempts or more (`breaker.min_attempts`)": 20,
        "half of them (`breaker.failure_ratio`)": 0.5,
        "15 s (`breaker.open_seconds`)": 15,
        "300 s (`breaker.rest_max_seconds`)": 300,
        "95 % (`hedge.quantile`)": 0.95,
        "1 s (`hedge.min_seconds`)": 1,
        "50 times are known (`hedge.min_samples`)": 50,
        "one request in twenty (`hedge.max_ratio`)": 0.05,
    }
    words = " ".join(TEXT.split())
    for phrase, value in phrases.items():
        ((part, key),) = re.findall(r"`(\w+)\.(\w+)`", phrase)
        assert phrase in words
        assert getattr(getattr(File(), part), key) == value, key
    retry = File().retry
    assert (retry.backoff_seconds, retry.backoff_max_seconds, retry.jitter) == (0.5, 8, 0.25)
    assert "after 0.5 s, 1 s, 2 s, ... up to 8 s less up to a quarter by chance" in words
    assert File().retry.statuses == ("408", "409", "429", "5xx")
    assert "(408, 409, 429, 5xx)" in TEXT
    assert retry_budget.WINDOW_SECONDS == 10
    assert (stickiness._MOST, stickiness._SECONDS) == (100_000, 30 * 86400)


def test_every_setting_that_is_named_is_one() -> None:
    """By its section and its key."""
    named = set(re.findall(r"`(retry|breaker|hedge|timeouts)\.(\w+)`", TEXT))
    assert len(named) > 12
    for part, key in named - {("timeouts", "total_seconds")}:
        assert hasattr(getattr(File(), part), key), key


def test_every_field_of_ours_is_named() -> None:
    """What an answer of the one door has besides its provider's."""
    table = rows(TEXT.partition("## What the client sees")[2].partition("An error is")[0])
    assert {quoted(row[0])[0].encode() for row in table} == OURS | {SHOULD_RETRY}


def test_every_error_has_its_status() -> None:
    """Of those that only a routed request can meet."""
    errors = rows(TEXT.partition("and these:")[2].partition("## Numbers")[0])
    said = {quoted(row[1])[0]: int(row[0]) for row in errors}
    assert {one.code: one.status for one in (CIRCUIT_IS_OPEN, RATE_LIMITED)}.items() <= said.items()
    sources = (ROOT / "openai_proxy/exchange/routed.py").read_text()
    sources += (ROOT / "openai_proxy/policy/routing.py").read_text()
    for code in said.keys() - {"circuit_open", "upstream_rate_limited"}:
        assert f'"{code}"' in sources, code


def test_every_number_is_shown_and_every_alert_is_one() -> None:
    """By the names that /metrics and Prometheus have."""
    collectors = Metrics(new_registry()).registry._collector_to_names
    families = {collector.shown_name for collector in collectors if isinstance(collector, Family)}
    text = section("docs/routing.md", "## Numbers to watch")
    assert set(re.findall(r"`(openai_proxy_\w+)`", text)) <= families
    alerts = (ROOT / "etc/prometheus/rules/alerts.yml").read_text()
    for name in re.findall(r"`(OpenAIProxy\w+)`", text):
        assert f"alert: {name}\n" in alerts
