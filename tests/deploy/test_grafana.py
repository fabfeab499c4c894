"""The dashboards: every panel says what it shows, asks for what is exported, and lies over no other."""

from __future__ import annotations

import json
import re
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from openai_proxy.observe.outcome import Outcome
from openai_proxy.observe.record import AttemptResult
from tests.deploy.contract import BUCKETS, FAMILY_OF, SAMPLES, values
from tests.deploy.dashboards import BOARDS, FOLDER, Target, further_expressions, panels, targets
from tests.deploy.promql import ALERTS, ROOT, filled_in, grouped, known, ranges, rules, selectors
from tests.deploy.readers import NOT_READ
from tests.support.tools import require_tool
from tools.dashboards.__main__ import write
from tools.dashboards.colours import CONNECTING, OUTCOMES, RESULTS

GRAFANA = ROOT / "etc" / "grafana"
PANELS = [pytest.param(panel, id=f"{board}: {panel['title']}") for board in BOARDS for panel in panels(board)]
TARGETS = [pytest.param(target, id=str(target)) for target in targets()]


def test_the_files_are_what_the_generator_writes(tmp_path: Path) -> None:
    """A dashboard that was edited by hand would lose that at the next ``make dashboards``."""
    write(tmp_path)
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_text() for path in FOLDER.iterdir()}


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_says_what_it_shows_and_in_what_unit(panel: dict[str, Any]) -> None:
    """Title, description and unit are there, the metric is named, and a query has its own letter."""
    assert panel["title"] and panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    letters = [target["refId"] for target in panel["targets"]]
    assert letters and len(letters) == len(set(letters))


@pytest.mark.parametrize("panel", PANELS)
def test_a_metric_named_in_a_description_is_asked_for(panel: dict[str, Any]) -> None:
    """A text that was copied from another panel misleads."""
    asked = {selector.name for target in panel["targets"] for selector in selectors(target["expr"])}
    said = set(re.findall(r"(?<![\w/])(?:http|openai_proxy|process|python)_\w+\b", panel["description"]))
    assert all(any(name in one for one in asked) for name in said), (said, asked)


@pytest.mark.parametrize("target", TARGETS)
def test_a_query_asks_for_ranges_that_fit_the_panel(target: Target) -> None:
    """A fixed [5m] hides what is short, and is empty where the scrape is slower; totals are of all shown."""
    assert ranges(target.expr) <= ({"$__range"} if target.instant else {"$__rate_interval"})


@pytest.mark.parametrize("target", TARGETS)
def test_a_legend_names_labels_that_the_query_keeps(target: Target) -> None:
    """A label that the sum took away is drawn as nothing; one that it keeps tells two lines apart."""
    shown = set(re.findall(r"\{\{(\w+)\}\}", target.target["legendFormat"]))
    kept = re.findall(r"\bby \(([^)]*)\)", target.expr)
    by = {label for one in kept for label in re.split(r",\s*", one)}
    assert not kept or shown <= by
    if target.target.get("format") is None:
        assert by - {"le"} <= shown
    if target.target.get("format") == "table":
        assert by - {"le"} <= target.panel["transformations"][-1]["options"]["indexByName"].keys()


@pytest.mark.parametrize("target", TARGETS)
def test_a_query_asks_only_for_what_we_export(target: Target) -> None:
    """A panel that is empty for ever cannot be shipped: metrics, labels, their values, and bounds exist."""
    check_names(target.expr)


@pytest.mark.parametrize("board", BOARDS)
def test_variables_and_annotations_ask_only_for_what_we_export(board: str) -> None:
    """A variable without values makes every panel empty."""
    for expression in further_expressions(board):
        check_names(expression)


def check_names(expression: str) -> None:
    """Every metric, label, value of a closed set and bucket of an expression is known."""
    samples = known()
    labels: set[str] = {"__name__"}
    for selector in selectors(expression):
        assert selector.name in samples or not selector.name, (selector.name, expression)
        own = samples.get(selector.name, frozenset({"job", "instance", "__name__"}))
        labels |= own
        for label, operator, value in selector.matchers:
            assert label in own, (label, expression)
            if label == "le":
                bounds = BUCKETS[selector.name.removesuffix("_bucket")]
                assert value in {repr(float(bound)) for bound in bounds}, (value, expression)
            elif "$" not in value:
                check_value(values(FAMILY_OF.get(selector.name, ""), label), operator, value)
    assert grouped(expression) <= labels, expression


def check_value(allowed: tuple[str, ...], operator: str, value: str) -> None:
    """Each alternative of a matcher fits a value of the closed set, if it is one."""
    for wanted in alternatives(value) if "~" in operator else [re.escape(value)]:
        assert not allowed or any(re.fullmatch(wanted, one) for one in allowed), (wanted, allowed)


def alternatives(pattern: str) -> list[str]:
    """``a|b`` as two; what has parentheses is one."""
    return [pattern] if "(" in pattern else pattern.split("|")


@pytest.mark.parametrize("board", BOARDS)
def test_panels_have_ids_of_their_own_and_lie_side_by_side(board: str) -> None:
    """No panel covers another or leaves the grid of 24 columns."""
    every = BOARDS[board]["panels"]
    places = [panel["gridPos"] for panel in every]
    assert len({panel["id"] for panel in every}) == len(places)
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)


@pytest.mark.parametrize("board", BOARDS)
def test_variables_are_defined_and_used(board: str) -> None:
    """A variable in a query exists, and one that is offered does something."""
    dashboard = BOARDS[board]
    defined = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(dashboard)))
    assert used == defined
    assert dashboard["schemaVersion"] == 39


def test_dashboards_are_linked_by_their_tag() -> None:
    """From each to each, with what was chosen; no two have one address."""
    assert len({dashboard["uid"] for dashboard in BOARDS.values()}) == len(BOARDS) == 4
    for dashboard in BOARDS.values():
        (link,) = dashboard["links"]
        assert link["tags"] == dashboard["tags"] == ["openai-proxy"]
        assert link["includeVars"] and link["keepTime"]


def test_every_family_is_shown_or_alerted_on() -> None:
    """What nobody looks at is not worth its series."""
    expressions = [target.expr for target in targets()]
    for path in (ALERTS, ALERTS.with_name("recording.yml")):
        expressions += [rule["expr"] for rule in rules(path)]
    asked = {selector.name for expression in expressions for selector in selectors(expression)}
    stems = {re.sub(r"_(bucket|sum|count)$", "", name) for name in SAMPLES}
    read = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    assert stems - read == NOT_READ.keys()


def test_promtool_takes_every_query(tmp_path: Path) -> None:
    """Each query is PromQL, with operands of the right type."""
    expressions = [target.expr for target in targets()]
    expressions += [expression for board in BOARDS for expression in further_expressions(board)]
    wrapped = [
        {"record": f"panel:{number}", "expr": filled_in(expression)}
        for number, expression in enumerate(expressions)
    ]
    path = tmp_path / "panels.yml"
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": wrapped}]}))
    command = (require_tool("promtool"), "check", "rules", str(path))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_outcome_and_result_has_a_colour_of_its_own() -> None:
    """None is left to chance, and two lines of one panel are told apart."""
    assert OUTCOMES.keys() == set(Outcome)
    assert RESULTS.keys() == set(AttemptResult)
    for colours in (OUTCOMES, RESULTS, CONNECTING):
        assert len(set(colours.values())) == len(colours)


@pytest.mark.parametrize("panel", PANELS)
def test_a_pattern_stands_between_slashes(panel: dict[str, Any]) -> None:
    """Without them, Grafana wants the whole name to match, and the colour is not applied."""
    for override in panel["fieldConfig"]["overrides"]:
        matcher = override["matcher"]
        assert matcher["id"] in ("byName", "byRegexp")
        assert (matcher["id"] == "byRegexp") == bool(re.fullmatch(r"/.+/", matcher["options"]))


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
