"""Who reads a family: the panels and the alerts, by what they ask for themselves or through recorded rules.

``python -m tests.deploy.readers`` prints it as the table in docs/metrics.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

from tests.deploy.contract import FAMILIES, FAMILY_OF
from tests.deploy.dashboards import BOARDS, targets
from tests.deploy.promql import ALERTS, RECORDING, rules, selectors


@dataclass(frozen=True, slots=True)
class Readers:
    """``panels`` as ``(board, title)``, in the order in which they are shown; ``alerts`` by name."""

    panels: tuple[tuple[str, str], ...]
    alerts: tuple[str, ...]


@cache
def _recorded() -> dict[str, frozenset[str]]:
    """The families behind each recorded series. A rule may read what an earlier one recorded."""
    found: dict[str, frozenset[str]] = {}
    for rule in rules(RECORDING):
        name = rule["record"]
        found[name] = found.get(name, frozenset()) | _families(rule["expr"], found)
    return found


def _families(expression: str, recorded: dict[str, frozenset[str]]) -> frozenset[str]:
    asked = {selector.name for selector in selectors(expression)}
    direct = {FAMILY_OF[name] for name in asked & FAMILY_OF.keys()}
    return frozenset(direct.union(*(recorded[name] for name in asked & recorded.keys())))


def families(expression: str) -> frozenset[str]:
    """The families of /metrics that an expression reads, through recorded rules too."""
    return _families(expression, _recorded())


@cache
def readers() -> dict[str, Readers]:
    """Of every family of the contract, in its order; one that nobody reads has two empty tuples."""
    panels: dict[str, dict[tuple[str, str], None]] = {family.name: {} for family in FAMILIES}
    alerts: dict[str, dict[str, None]] = {family.name: {} for family in FAMILIES}
    for target in targets():
        for name in families(target.expr):
            panels[name][target.board, target.panel["title"]] = None
    for rule in rules(ALERTS):
        for name in families(rule["expr"]):
            alerts[name][rule["alert"]] = None
    return {name: Readers(tuple(panels[name]), tuple(alerts[name])) for name in panels}


NOT_READ: Final = {
    "process_virtual_memory_bytes": "none: of a process's memory, what is resident counts",
    "python_info": "none: `openai_proxy_build_info` has the version, and Twisted's",
}
"""Why nobody reads it."""


def exported_name(family: str) -> str:
    """As /metrics and its readers write it: a counter with ``_total``."""
    (kind,) = (one.kind for one in FAMILIES if one.name == family)
    return f"{family}_total" if kind == "counter" else family


def table() -> str:
    """Markdown: family, panels by dashboard, alerts."""
    lines = ["| family | panels | alerts |", "|---|---|---|"]
    for family, read in readers().items():
        by_board = {
            board: " · ".join(title for one, title in read.panels if one == board) for board in BOARDS
        }
        panels = "; ".join(f"{board}: {titles}" for board, titles in by_board.items() if titles)
        panels = panels or NOT_READ[family]
        alerts = ", ".join(f"`{alert}`" for alert in read.alerts)
        lines.append(f"| `{exported_name(family)}` | {panels} | {alerts or 'none'} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
