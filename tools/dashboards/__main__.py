"""Write every dashboard to the folder that is named, else to etc/grafana/dashboards."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tools.dashboards import overview, process, providers, tokens_and_cost
from tools.dashboards.board import Json

FOLDER = Path(__file__).parents[2] / "etc" / "grafana" / "dashboards"


def dashboards() -> dict[str, Json]:
    """Every dashboard by the name of its file."""
    return {
        "overview.json": overview.dashboard(),
        "process.json": process.dashboard(),
        "providers.json": providers.dashboard(),
        "tokens-and-cost.json": tokens_and_cost.dashboard(),
    }


def write(folder: Path) -> None:
    """The same files, byte for byte, each time."""
    for name, dashboard in dashboards().items():
        (folder / name).write_text(json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
