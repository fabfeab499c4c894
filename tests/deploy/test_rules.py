"""The rules: valid, each alert shown firing and silent, each with a runbook; and Alertmanager's."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
import yaml

from tests.deploy.contract import SAMPLES
from tests.deploy.promql import ALERTS, RECORDING, ROOT, RULES, ranges, recorded, rules, selectors
from tests.deploy.test_grafana import check_names
from tests.support.tools import require_tool

TESTS = sorted((ROOT / "etc" / "prometheus" / "tests").glob("*.yml"))
ALERTMANAGER = ROOT / "etc" / "alertmanager" / "alertmanager.yml"
RUNBOOK = "docs/alerts.md"
FILES = sorted(RULES.glob("*.yml"))
ALERT_RULES = [pytest.param(rule, id=rule["alert"]) for rule in rules(ALERTS)]
EVERY_RULE = [
    pytest.param(rule, id=f"{path.stem}: {rule.get('record') or rule['alert']}")
    for path in FILES
    for rule in rules(path)
]


def promtool(*arguments: str) -> None:
    """It has nothing to say."""
    command = (require_tool("promtool"), *arguments)
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_the_rules() -> None:
    """Valid PromQL, no rule twice."""
    promtool("check", "rules", *map(str, FILES))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_alerts_fire_and_are_silent_as_told(path: Any) -> None:
    """etc/prometheus/tests holds, by Prometheus' own engine."""
    promtool("test", "rules", str(path))


@pytest.mark.parametrize("rule", ALERT_RULES)
def test_an_alert_is_shown_firing_and_silent(rule: dict[str, Any]) -> None:
    """One that cannot fire, or that fires always, would not be noticed."""
    shown = [
        bool(check["exp_alerts"])
        for path in TESTS
        for case in yaml.safe_load(path.read_text())["tests"]
        for check in case.get("alert_rule_test", ())
        if check["alertname"] == rule["alert"]
    ]
    assert True in shown and False in shown


@pytest.mark.parametrize("rule", ALERT_RULES)
def test_an_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    """Who is called at night needs a sentence and a page; numbers would make each notification another."""
    assert re.fullmatch(r"OpenAIProxy([A-Z][a-z]+)+", rule["alert"])
    assert rule["labels"] in ({"severity": "page"}, {"severity": "ticket"})
    notes = rule["annotations"]
    assert notes["summary"].endswith(".") and notes["description"].endswith(".")
    assert "$value" not in str(notes)
    assert notes["runbook_url"] == f"{RUNBOOK}#{rule['alert'].lower()}"
    text = (ROOT / RUNBOOK).read_text()
    section = text.partition(f"\n## {rule['alert']}\n")[2]
    assert section.startswith(f"**{rule['labels']['severity'].capitalize()}.**")


def test_the_runbook_has_no_alert_that_does_not_exist() -> None:
    """A renamed alert leaves nothing behind, and links within the page lead somewhere."""
    text = (ROOT / RUNBOOK).read_text()
    headings = re.findall(r"^## (\w+)$", text, re.MULTILINE)
    assert headings == [rule["alert"] for rule in rules(ALERTS)]
    assert set(re.findall(r"\]\(#(\w+)\)", text)) <= {heading.lower() for heading in headings}


def test_panels_named_in_the_runbook_exist() -> None:
    """*In italics* is the title of a panel; the heading of a section, or a page of Prometheus."""
    dashboards = "".join(path.read_text() for path in (ROOT / "etc/grafana/dashboards").glob("*.json"))
    text = re.sub(r"\*\*[^*]+\*\*", "", (ROOT / RUNBOOK).read_text())
    for title in set(re.findall(r"\*([A-Z][^*\n]+)\*", text)) - {"Targets"}:
        assert f'"title": "{title}"' in dashboards, title


@pytest.mark.parametrize("rule", EVERY_RULE)
def test_a_rule_asks_only_for_what_we_export(rule: dict[str, Any]) -> None:
    """Metrics, labels, values and bounds exist; only our job is asked, for others have http_requests too."""
    if not rule.get("record", "").startswith("gen_ai_"):
        check_names(rule["expr"])
    for selector in selectors(rule["expr"]):
        if selector.name in SAMPLES:
            assert ("job", "=", "openai-proxy") in selector.matchers, selector


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule["record"]) for rule in rules(RECORDING)])
def test_a_recorded_name_says_its_range(rule: dict[str, Any]) -> None:
    """``...:rate1h`` is of one hour."""
    window = re.search(r"rate(\d+[mhd])$", rule["record"])
    asked = ranges(rule["expr"])
    assert not asked or (window and asked == {window[1]})


def test_what_is_recorded_is_read() -> None:
    """By an alert, a dashboard or another rule."""
    dashboards = "".join(path.read_text() for path in (ROOT / "etc/grafana/dashboards").glob("*.json"))
    expressions = [rule["expr"] for path in (RECORDING, ALERTS) for rule in rules(path)]
    read = {selector.name for expression in expressions for selector in selectors(expression)}
    assert {name for name in recorded() if name not in read and name not in dashboards} == set()


def test_amtool_takes_the_sample() -> None:
    """Alertmanager starts with the file that compose mounts."""
    command = (require_tool("amtool"), "check-config", str(ALERTMANAGER))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("severity", "receiver"), [("page", "page"), ("ticket", "ticket")])
def test_a_severity_goes_to_its_receiver(severity: str, receiver: str) -> None:
    """Nobody is called for a ticket."""
    program = require_tool("amtool")
    command = (program, "config", "routes", "test", f"--config.file={ALERTMANAGER}", f"severity={severity}")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, receiver), done.stderr


def test_inhibitions_name_alerts_that_exist() -> None:
    """A renamed alert would no longer be silenced."""
    names = {rule["alert"] for rule in rules(ALERTS)}
    assert set(re.findall(r'alertname = "(\w+)"', ALERTMANAGER.read_text())) <= names
