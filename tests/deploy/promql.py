"""What a PromQL expression asks for: enough of a reader for the queries that we ship."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.contract import FROM_PROMETHEUS, SAMPLES, TARGET_LABELS

ROOT = Path(__file__).parents[2]
RULES = ROOT / "etc" / "prometheus" / "rules"
RECORDING = RULES / "recording.yml"
ALERTS = RULES / "alerts.yml"

_WORDS = frozenset({"or", "and", "unless", "offset", "bool", "by", "on", "without", "ignoring"})
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_CLAUSE = re.compile(r"\b(by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_TOKEN = re.compile(
    r"(?P<name>(?<![\w.])[a-zA-Z_:][\w:]*)?\s*\{(?P<matchers>[^}]*)\}"
    r"|(?P<bare>(?<![\w.])[a-zA-Z_:][\w:]*)(?!\s*\()(?![\w:])"
)


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric, if it is named, and its matchers: label, operator, value."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]


def selectors(expression: str) -> Iterator[Selector]:
    """Every selector of an expression."""
    # What label_replace is told in strings is no metric; braces hold strings that must stay.
    bare = _CLAUSE.sub(" ", re.sub(r"\[[^]]*\]", " ", expression))
    bare = re.sub(r'(?<=[,(])(\s*)"[^"]*"(?=\s*[,)])', r"\1 0", bare)
    for token in _TOKEN.finditer(bare):
        if token["matchers"] is not None:
            yield Selector(token["name"] or "", tuple(_MATCHER.findall(token["matchers"])))
        elif token["bare"] and token["bare"] not in _WORDS:
            yield Selector(token["bare"], ())


def grouped(expression: str) -> set[str]:
    """Every label that an expression groups or joins by."""
    return {label for _, one in _CLAUSE.findall(expression) for label in re.split(r"[,\s]+", one) if label}


def ranges(expression: str) -> set[str]:
    """What stands in square brackets."""
    return set(re.findall(r"\[([^]]+)\]", expression))


def rules(path: Path) -> list[dict[str, Any]]:
    """Every rule of a file."""
    return [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


@cache
def recorded() -> dict[str, frozenset[str]]:
    """The labels of each recorded series: those of its level, of the rule, and of the series it joins."""
    found: dict[str, frozenset[str]] = {}
    for rule in rules(RECORDING):
        name = rule["record"]
        level = name.partition(":")[0]
        labels = {*level.split("_"), *rule.get("labels", {})} - {"openai", "proxy"}
        for selector in selectors(rule["expr"]):
            labels |= found.get(selector.name, frozenset()) if ":" in selector.name else set()
        found[name] = frozenset(labels) | found.get(name, frozenset())
    return found


def known() -> dict[str, frozenset[str]]:
    """The labels of every sample that a dashboard or an alert may ask for."""
    ours = {name: labels | TARGET_LABELS for name, labels in {**SAMPLES, **FROM_PROMETHEUS}.items()}
    return {**ours, **recorded()}


def filled_in(expression: str) -> str:
    """A panel's query as Prometheus gets it, all being chosen."""
    text = expression.replace("$__rate_interval", "1m").replace("$__range", "5m")
    return re.sub(r"\$\w+", ".+", text)
