"""Who reads which family: panels and alerts, found in the queries themselves."""

from __future__ import annotations

import pytest

from tests.deploy.contract import FAMILIES
from tests.deploy.promql import ALERTS, ROOT, rules
from tests.deploy.readers import exported_name, families, readers, table


def test_every_family_has_its_line() -> None:
    """None is left out, read or not, and each stands under the name that /metrics shows."""
    assert readers().keys() == {family.name for family in FAMILIES}
    assert exported_name("http_requests") == "http_requests_total"
    assert exported_name("http_requests_in_flight") == "http_requests_in_flight"
    assert table().count("\n") == 2 + len(FAMILIES)


def test_the_table_is_in_the_documents() -> None:
    """docs/metrics.md says which panel and which alert reads a family; ``python -m tests.deploy.readers``."""
    assert table() in (ROOT / "docs/metrics.md").read_text()


def test_a_panel_and_an_alert_are_found() -> None:
    """By the query of the panel and the expression of the alert."""
    read = readers()["openai_proxy_time_to_first_token_seconds"]
    assert ("overview", "First token p95") in read.panels
    assert read.alerts == ("OpenAIProxyTimeToFirstTokenSlow",)


def test_recorded_rules_are_followed_to_what_they_read() -> None:
    """A budget is made of requests, over three rules."""
    assert families("job:openai_proxy_slo_burn:rate30d") == {"http_requests"}
    assert ("overview", "Budget left, 30 d") in readers()["http_requests"].panels
    assert "OpenAIProxyErrorBudgetBurnsFast" in readers()["http_requests"].alerts


def test_every_alert_reads_a_family_or_the_target_itself() -> None:
    """An alert that no family is behind would be left out of every table."""
    named = {alert for read in readers().values() for alert in read.alerts}
    others = {rule["alert"] for rule in rules(ALERTS)} - named
    assert others == {"OpenAIProxyTargetDown", "OpenAIProxyAbsent"}


@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        (
            "is it us or the provider",
            {"http_requests", "openai_proxy_overhead_seconds", "openai_proxy_errors"},
        ),
        (
            "which model",
            {"http_requests", "openai_proxy_time_to_first_token_seconds", "openai_proxy_cost_usd"},
        ),
        ("how long to the first token", {"openai_proxy_time_to_first_token_seconds"}),
        ("what did it cost", {"openai_proxy_cost_usd", "openai_proxy_unpriced_requests"}),
        ("what was lost", {"openai_proxy_client_disconnects", "openai_proxy_usage_missing"}),
    ],
)
def test_the_overview_answers(question: str, wanted: set[str]) -> None:
    """Who is on call needs no second dashboard to know where to look."""
    shown = {name for name, read in readers().items() if any(board == "overview" for board, _ in read.panels)}
    assert wanted <= shown, question
