"""With a real Prometheus over daemons with mixed traffic, faults among it: no query is without an answer.

Every query of every panel, every rule and every sample of the contract returns data of the right kind.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.contract import OF_SOME_DAEMONS, SAMPLES
from tests.deploy.dashboards import BOARDS, Target, further_expressions, targets
from tests.deploy.promql import ALERTS, ROOT, RULES, grouped, rules, selectors
from tests.deploy.traffic import driven
from tests.support.prometheus import Prometheus, running

DEADLINE_SECONDS = 150
"""Ten times what it takes."""
POLL_SECONDS = 0.5
RANGE_SECONDS = 20

NOT_CAUSED = {
    "openai_proxy_metric_label_overflow_total",
    'openai_proxy_metric_label_overflow_total{job="openai-proxy"}',
    "process: Label overflow by family A",
    # The mock is no target of a route, and has no breaker.
    "overview: Circuits A of the mock",
    # These daemons have neither workers nor TLS for their clients.
    *OF_SOME_DAEMONS,
    *(f'{name}{{job="openai-proxy"}}' for name in OF_SOME_DAEMONS[1:]),
    "process: Workers A",
    "process: Worker restarts A",
    "process: Certificates A",
}
"""It takes more than a hundred models to fill a family, and then scrapes are slow: tests/observe has that."""

CAUSED = (
    'openai_proxy_fallbacks_total{from_provider="broken",reason="http_5xx"} > 0',
    'openai_proxy_fallbacks_total{from_provider="broken",reason="circuit_open"} > 0',
    'openai_proxy_fallbacks_total{from_provider="limited",reason="http_429"} > 0',
    'openai_proxy_fallbacks_total{from_provider="limited",reason="rate_limited"} > 0',
    'openai_proxy_hedges_total{provider="steady",result="won"} > 0',
    'openai_proxy_hedge_wasted_cost_usd_total{provider="slow"} > 0',
    'openai_proxy_circuit_transitions_total{provider="broken",to_state="half_open"} > 0',
    'openai_proxy_circuit_state{provider="broken",state="open"} == 1',
    'openai_proxy_target_resting{provider="limited"} == 1',
    'openai_proxy_dropped_members_total{provider="steady",member="logit_bias"} > 0',
)
"""What is done between targets was done: series that are there from the start would answer with 0."""

Ask = Callable[[], str | None]
"""Makes a query, and says what is wrong with its answer, if anything is."""


def configuration(*hosts: str) -> str:
    """The shipped file with its rules, other targets, and everything once a second."""
    settings = yaml.safe_load((ROOT / "etc/prometheus/prometheus.yml").read_text())
    settings["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    settings["rule_files"] = [str(RULES / "*.yml")]
    del settings["alerting"]
    (job,) = settings["scrape_configs"]
    # These daemons have no admin port.
    del job["authorization"]
    job["static_configs"] = [{"targets": list(hosts)}]
    return yaml.safe_dump(settings)


def filled_in(expression: str, **chosen: str) -> str:
    """With Grafana's variables as ``chosen``, else all; for a scrape a second."""
    text = expression.replace("$__rate_interval", "10s").replace("$__range", f"{RANGE_SECONDS}s")
    return re.sub(r"\$(\w+)", lambda found: chosen.get(found[1], ".+"), text)


def fault_of(prometheus: Prometheus, target: Target, **chosen: str) -> str | None:
    """What is wrong with the answer to a panel's query, if anything is."""
    wanted = set(re.findall(r"\{\{(\w+)\}\}", target.target["legendFormat"]))
    if target.target.get("format") == "table":
        wanted |= grouped(target.expr) - {"le"}
    expression = filled_in(target.expr, **chosen)
    if target.instant:
        return fault_of_answer(prometheus.instant(expression), "vector", wanted)
    return fault_of_answer(last(prometheus, expression, RANGE_SECONDS), "matrix", wanted)


def last(prometheus: Prometheus, expression: str, seconds: float) -> Any:
    """As a graph asks: a point a second."""
    end = time.time()
    return prometheus.range(expression, end - seconds, end, "1s")


def fault_over_all(prometheus: Prometheus, expression: str) -> str | None:
    """Over the whole test: what marks a start ends a minute after it."""
    return fault_of_answer(last(prometheus, filled_in(expression), DEADLINE_SECONDS), "matrix", set())


def fault_now(prometheus: Prometheus, expression: str) -> str | None:
    """At this moment."""
    return fault_of_answer(prometheus.instant(expression), "vector", set())


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


def asks(prometheus: Prometheus) -> Iterator[tuple[str, Ask]]:
    """Every query that must have an answer, by a name for it."""
    for target in targets():
        yield str(target), partial(fault_of, prometheus, target)
        if target.board == "overview":
            # The first look: there is no provider but the mock yet.
            yield f"{target} of the mock", partial(fault_of, prometheus, target, provider="mock")
    for board in BOARDS:
        for expression in further_expressions(board):
            yield f"{board}: {expression}", partial(fault_over_all, prometheus, expression)
    for expression in CAUSED:
        yield expression, partial(fault_over_all, prometheus, expression)
    recorded = [rule["record"] for path in RULES.glob("*.yml") for rule in rules(path) if "record" in rule]
    for sample in (*SAMPLES, *recorded, *alarming()):
        yield sample, partial(fault_now, prometheus, sample)


def alarming() -> Iterator[str]:
    """What the alerts look at: each of their selectors, for an alert itself has data only where it fires."""
    for rule in rules(ALERTS):
        for selector in selectors(rule["expr"]):
            matchers = (f'{label}{operator}"{value}"' for label, operator, value in selector.matchers)
            yield f"{selector.name}{{{','.join(matchers)}}}"


def until_all_answered(left: dict[str, Ask], drive: Callable[[], None]) -> None:
    """Each was answered well once; more traffic comes until then."""
    end = time.monotonic() + DEADLINE_SECONDS
    while True:
        bad = {name: fault for name, ask in left.items() if (fault := ask())}
        if not bad:
            return
        assert time.monotonic() < end, bad
        left = {name: left[name] for name in bad}
        drive()
        threading.Event().wait(POLL_SECONDS)


def assert_rules_are_well(prometheus: Prometheus) -> None:
    """Each rule, alerts included, was evaluated without an error."""
    groups = prometheus.get("rules")["groups"]
    states = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
    assert set(states.values()) == {"ok"}, states
    shipped = sum(len(rules(path)) for path in RULES.glob("*.yml"))
    assert sum(len(group["rules"]) for group in groups) == shipped


def test_every_query_has_an_answer(tmp_path: Path) -> None:
    """Real numbers, faults and all, fill every panel and every rule; the mock alone fills the overview."""
    with (
        # Too few connections for all clients: some have to wait for one.
        driven(tmp_path, "--limit", "pool_connections=2") as traffic,
        running(tmp_path, configuration(*traffic.targets)) as prometheus,
    ):
        left = dict(asks(prometheus))
        assert left.keys() >= NOT_CAUSED
        until_all_answered({name: left[name] for name in left.keys() - NOT_CAUSED}, traffic.round)
        assert_rules_are_well(prometheus)
