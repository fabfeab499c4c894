"""docs/operations.md and docs/deployment.md against what they speak of: files, numbers, alerts, links."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from openai_proxy.config.settings import Settings
from openai_proxy.process.upgrade import READY_SECONDS
from tests.deploy.promql import ALERTS, ROOT, rules

DOCS = ROOT / "docs"
OPERATIONS = DOCS / "operations.md"
TEXT = OPERATIONS.read_text()


def section(heading: str) -> str:
    """What is under it, up to the next one."""
    (text,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    return str(text)


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", ["operations.md", "deployment.md", "alerts.md"])
def test_links_lead_somewhere(page: str) -> None:
    """To a page that is there, and to a heading of it."""
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", (DOCS / page).read_text()):
        found = DOCS / target if target else DOCS / page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), f"{target}#{anchor}"


def test_every_alert_is_told_with_its_runbook() -> None:
    """In the order of the rules, with its severity and a link to its entry."""
    rows = re.findall(
        r"^\| \[(\w+)\]\(alerts\.md#(\w+)\) \| (\w+) \| .+ \|$", section("Alerts"), re.MULTILINE
    )
    assert rows == [
        (rule["alert"], rule["alert"].lower(), rule["labels"]["severity"]) for rule in rules(ALERTS)
    ]


def shipped(path: str) -> Any:
    """A file of YAML."""
    return yaml.safe_load((ROOT / path).read_text())


def test_the_times_of_a_drain_are_the_shipped_ones() -> None:
    """What systemd, Kubernetes and Docker wait for, and the daemon's own defaults."""
    text = section("Drain")
    drain = Settings().drain
    assert f"drain.grace_seconds ({drain.grace_seconds:g})" in text
    assert f"drain.timeout_seconds ({drain.timeout_seconds:g})" in text
    unit = (ROOT / "etc/systemd/openai-proxy.service").read_text()
    (stop,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert f"`TimeoutStopSec=` | {stop} s |" in text
    pod = shipped("etc/kubernetes/deployment.yaml")["spec"]["template"]["spec"]
    assert f"`terminationGracePeriodSeconds` | {pod['terminationGracePeriodSeconds']} s |" in text
    sleep = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert f"`preStop` sleeps {sleep} s" in text
    grace = shipped("etc/kubernetes/openai-proxy.yaml")["drain"]["grace_seconds"]
    assert f"`drain.grace_seconds: {grace}`" in text
    period = shipped("docker-compose.yml")["services"]["proxy"]["stop_grace_period"].rstrip("s")
    timeout = shipped("etc/compose/openai-proxy.yaml")["drain"]["timeout_seconds"]
    assert f"| {period} s, with a timeout of {timeout} s |" in text


def test_an_upgrade_waits_as_long_as_it_is_told() -> None:
    """For the word of the new process."""
    assert f"says nothing for {READY_SECONDS:g} s" in section("Upgrade")


def test_sizes_are_measured_ones() -> None:
    """Each command is one of benchmarks/RESULTS.md, and each cost stands in its tables."""
    results = (ROOT / "benchmarks" / "RESULTS.md").read_text()
    text = section("Size")
    commands = re.findall(r"^python -m benchmarks.+$", text, re.MULTILINE)
    assert len(commands) == 2
    assert all(f"`{command}`" in results for command in commands)
    # The first table is of requests, and names them otherwise; a row has its cost in the second cell.
    for row, cost in {
        "| openai_proxy  ": "106 µs",
        "| the same, one target by a file ": "139 µs",
        "| the same, to Anthropic's dialect ": "201 µs",
    }.items():
        (line,) = [
            line for line in results.splitlines() if line.startswith(row) and cost[:3] in line.split("|")[2]
        ]
        assert f"{line.split('|')[2].strip()} µs" == cost
        assert f"| {cost} |" in text
