"""The dashboards: every panel says what it shows, asks for what is exported, and lies over no other."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from openai_proxy.observe.metrics import Metrics, new_registry
from openai_proxy.observe.outcome import Outcome
from tests.support.tools import require_tool

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "etc" / "grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
LOADED: list[dict[str, Any]] = [json.loads(path.read_text()) for path in DASHBOARDS]
PANELS = [
    pytest.param(panel, id=f"{path.stem}: {panel['title']}")
    for path, dashboard in zip(DASHBOARDS, LOADED, strict=True)
    for panel in dashboard["panels"]
]
SUFFIXES = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
WORDS = {"or", "and", "unless"}


def exported() -> set[str]:
    """The names of the samples that /metrics has."""
    registry = Metrics(new_registry()).registry
    return {
        family.name + suffix for family in registry.collect() for suffix in SUFFIXES.get(family.type, [""])
    }


def expressions(dashboard: dict[str, Any]) -> Iterator[str]:
    """Every query of a dashboard, its variables' too, as PromQL with Grafana's variables filled in."""
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            values = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
            assert values, variable["query"]
            asked.append(f"group by ({values[2]}) ({values[1]})")
    for expression in asked:
        yield re.sub(r"\$\w+", ".+", expression.replace("$__rate_interval", "1m"))


def metric_names(expression: str) -> set[str]:
    """The names of an expression that are neither functions, nor words, nor labels."""
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\bby \([^)]*\)", " ", expression)
    return set(re.findall(r"\b[a-zA-Z_:][\w:]*\b(?!\s*\()", bare)) - WORDS


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_says_what_it_shows_and_in_what_unit(panel: dict[str, Any]) -> None:
    """Title, description and unit are there, and a query has its own letter."""
    assert panel["title"] and panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    letters = [target["refId"] for target in panel["targets"]]
    assert letters and len(letters) == len(set(letters))


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_asks_for_ranges_that_fit_its_width(panel: dict[str, Any]) -> None:
    """A fixed [5m] hides what is short, and is empty where the scrape is slower."""
    for target in panel["targets"]:
        assert set(re.findall(r"\[([^]]+)\]", target["expr"])) <= {"$__rate_interval"}


@pytest.mark.parametrize("panel", PANELS)
def test_a_legend_names_labels_that_the_query_keeps(panel: dict[str, Any]) -> None:
    """A label that the sum took away is drawn as nothing."""
    for target in panel["targets"]:
        kept = re.findall(r"\bby \(([^)]*)\)", target["expr"])
        shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        assert not kept or shown <= set(re.split(r",\s*", kept[0]))


@pytest.mark.parametrize("dashboard", LOADED, ids=[path.stem for path in DASHBOARDS])
def test_panels_have_ids_of_their_own_and_lie_side_by_side(dashboard: dict[str, Any]) -> None:
    """No panel covers another or leaves the grid of 24 columns."""
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(places)
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)


@pytest.mark.parametrize("dashboard", LOADED, ids=[path.stem for path in DASHBOARDS])
def test_a_dashboard_asks_only_for_what_we_export(dashboard: dict[str, Any]) -> None:
    """A panel that is empty for ever cannot be shipped."""
    for expression in expressions(dashboard):
        names = metric_names(expression)
        assert names and names <= exported(), expression


@pytest.mark.parametrize("dashboard", LOADED, ids=[path.stem for path in DASHBOARDS])
def test_variables_are_defined_and_used(dashboard: dict[str, Any]) -> None:
    """A variable in a query exists, and one that is offered does something."""
    defined = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(dashboard)))
    assert used == defined
    assert dashboard["schemaVersion"] == 39


@pytest.mark.parametrize("dashboard", LOADED, ids=[path.stem for path in DASHBOARDS])
def test_promtool_takes_every_query(dashboard: dict[str, Any], tmp_path: Path) -> None:
    """Each query is PromQL, with operands of the right type."""
    rules = [
        {"record": f"panel:{number}", "expr": expression}
        for number, expression in enumerate(expressions(dashboard))
    ]
    path = tmp_path / "panels.yml"
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    command = (require_tool("promtool"), "check", "rules", str(path))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_outcome_has_a_colour() -> None:
    """Outcomes of one culprit look alike, and none is left to chance."""
    (panel,) = (one for board in LOADED for one in board["panels"] if one["title"] == "Requests by outcome")
    patterns = [override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]]
    for outcome in Outcome:
        assert sum(bool(re.search(pattern, outcome)) for pattern in patterns) == 1, outcome


def test_grafana_is_told_where_the_dashboards_are() -> None:
    """The paths in the provisioning files are the ones that compose mounts."""
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/openai-proxy.yaml").read_text())[
        "providers"
    ]
    grafana = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["grafana"]
    mounted = dict(mount.split(":")[:2] for mount in grafana["volumes"])
    assert mounted["./etc/grafana/dashboards"] == provider["options"]["path"]
    assert mounted["./etc/grafana/provisioning"] == "/etc/grafana/provisioning"
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (GRAFANA / "dashboards" / Path(home).name).is_file()
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yaml").read_text())[
        "datasources"
    ]
    assert source["type"] == "prometheus"
