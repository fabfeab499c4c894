"""The dashboards as they are shipped, and their queries."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.deploy.promql import ROOT

FOLDER = ROOT / "etc" / "grafana" / "dashboards"
BOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*"))
}


@dataclass(frozen=True, slots=True)
class Target:
    """One query of a panel."""

    board: str
    panel: dict[str, Any]
    target: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.board}: {self.panel['title']} {self.target['refId']}"

    @property
    def expr(self) -> str:
        """With Grafana's variables in it."""
        return str(self.target["expr"])

    @property
    def instant(self) -> bool:
        """Asked once, for the end of the time range."""
        return bool(self.target.get("instant"))


def panels(board: str) -> list[dict[str, Any]]:
    """The panels that show something: not the headings."""
    return [panel for panel in BOARDS[board]["panels"] if panel["type"] != "row"]


def targets() -> list[Target]:
    """Every query of every panel."""
    return [
        Target(board, panel, target)
        for board in BOARDS
        for panel in panels(board)
        for target in panel["targets"]
    ]


def further_expressions(board: str) -> Iterator[str]:
    """What a dashboard's variables and annotations ask for."""
    for variable in BOARDS[board]["templating"]["list"]:
        if variable["type"] == "query":
            values = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
            assert values, variable["query"]
            yield f"group by ({values[2]}) ({values[1]})"
    for annotation in BOARDS[board]["annotations"]["list"]:
        yield annotation["expr"]
