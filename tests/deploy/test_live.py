"""With a real Prometheus: every query of every panel, and every rule, returns data of the right kind.

Twice: over an exporter that has all that the contract promises, and over a daemon with mixed
traffic, faults among it.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.dashboards import BOARDS, Target, further_expressions, targets
from tests.deploy.exporter import exporting
from tests.deploy.promql import RECORDING, ROOT, RULES, grouped, rules
from tests.deploy.test_contract import complete
from tests.deploy.traffic import Traffic
from tests.support.daemon import Daemon
from tests.support.prometheus import Prometheus, running

DEADLINE_SECONDS = 90
POLL_SECONDS = 1.0
RANGE_SECONDS = 20

EMPTY_WITHOUT_A_FAULT = {
    "process: Label overflow by family A",
    "process: Log messages A",
    # Waiting is observed where there was some.
    "providers: Waiting for a connection A",
    "providers: Waiting for a connection B",
    "providers: Waiting for a connection C",
    # The mock caches nothing and does not reason.
    "tokens-and-cost: Cached share by model A",
    "tokens-and-cost: Parts of them A",
    "tokens-and-cost: Parts of them B",
    "tokens-and-cost: Parts of them C",
}
"""What a daemon need not have: nothing has happened that could be shown."""
UNSEEN_BY_MOCK = {
    "gen_ai_client_inference_usage_cache_read_input_tokens_total",
    "gen_ai_client_inference_usage_cache_write_input_tokens_total",
    "gen_ai_client_inference_usage_reasoning_output_tokens_total",
}


def configuration(target: str) -> str:
    """The shipped file with its rules, another target, and everything once a second."""
    settings = yaml.safe_load((ROOT / "etc/prometheus/prometheus.yml").read_text())
    settings["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    settings["rule_files"] = [str(RULES / "*.yml")]
    del settings["alerting"]
    (job,) = settings["scrape_configs"]
    job["static_configs"] = [{"targets": [target]}]
    return yaml.safe_dump(settings)


def filled_in(expression: str) -> str:
    """With Grafana's variables as they are where all is chosen, for a scrape a second."""
    text = expression.replace("$__rate_interval", "10s").replace("$__range", f"{RANGE_SECONDS}s")
    return re.sub(r"\$\w+", ".+", text)


def fault_of(prometheus: Prometheus, target: Target) -> str | None:
    """What is wrong with the answer to a panel's query, if anything is."""
    wanted = set(re.findall(r"\{\{(\w+)\}\}", target.target["legendFormat"]))
    if target.target.get("format") == "table":
        wanted |= grouped(target.expr) - {"le"}
    expression = filled_in(target.expr)
    if target.instant:
        data, kind = prometheus.instant(expression), "vector"
    else:
        end = time.time()
        data, kind = prometheus.range(expression, end - RANGE_SECONDS, end, "1s"), "matrix"
    return fault_of_answer(data, kind, wanted)


def fault_of_answer(data: Any, kind: str, labels: set[str]) -> str | None:
    """Another kind, no series, nothing but NaN, or a label that a legend names and no series has."""
    if data is None:
        return "refused"
    if data["resultType"] != kind:
        return f"is a {data['resultType']}"
    if not data["result"]:
        return "no series"
    values = [value for series in data["result"] for _, value in series.get("values", [series.get("value")])]
    if all(value == "NaN" for value in values):
        return "only NaN"
    missing = [labels - series["metric"].keys() for series in data["result"]]
    return f"lacks {missing[0]}" if all(missing) else None


def faults(prometheus: Prometheus) -> dict[str, str]:
    """Each query that has no good answer yet, and why."""
    found = {str(target): fault_of(prometheus, target) for target in targets()}
    for board in BOARDS:
        for expression in further_expressions(board):
            found[expression] = fault_of_answer(prometheus.instant(filled_in(expression)), "vector", set())
    for path in (RECORDING, RULES / "otel-genai.rules.yml"):
        for rule in rules(path):
            found[rule["record"]] = fault_of_answer(prometheus.instant(rule["record"]), "vector", set())
    return {name: fault for name, fault in found.items() if fault}


def until_all_answer(
    prometheus: Prometheus, allowed: set[str], drive: Callable[[], None] = lambda: None
) -> None:
    """Ask again, with more traffic, until only what is ``allowed`` to be empty is."""
    end = time.monotonic() + DEADLINE_SECONDS
    while bad := {name: fault for name, fault in faults(prometheus).items() if name not in allowed}:
        assert time.monotonic() < end, bad
        drive()
        threading.Event().wait(POLL_SECONDS)


def assert_rules_are_well(prometheus: Prometheus) -> None:
    """Each rule, alerts included, was evaluated without an error."""
    groups = prometheus.get("rules")["groups"]
    states = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
    assert set(states.values()) == {"ok"}, states
    shipped = sum(len(rules(path)) for path in RULES.glob("*.yml"))
    assert sum(len(group["rules"]) for group in groups) == shipped


def test_every_query_has_an_answer_where_all_is_exported(tmp_path: Path) -> None:
    """No panel and no rule is empty over what the contract promises."""
    with exporting() as target, running(tmp_path, configuration(target)) as prometheus:
        until_all_answer(prometheus, set())
        assert_rules_are_well(prometheus)


@contextmanager
def proxied() -> Iterator[Daemon]:
    """A daemon in front of another, whose mock provider is its upstream: real connections, real faults."""
    with Daemon() as upstream, Daemon("--upstream", f"{upstream.url}/mock") as daemon:
        yield daemon


def test_every_query_has_an_answer_over_a_daemon_with_traffic(tmp_path: Path) -> None:
    """Real numbers, faults and all, fill every panel and every rule."""
    if not complete():
        pytest.skip("openai_proxy.observe.metrics has no openai_proxy_build_info yet: not all is built")
    with proxied() as daemon, running(tmp_path, configuration(f"127.0.0.1:{daemon.port}")) as prometheus:
        traffic = Traffic(daemon)
        traffic.round()
        until_all_answer(prometheus, EMPTY_WITHOUT_A_FAULT | UNSEEN_BY_MOCK, traffic.round)
        assert_rules_are_well(prometheus)
