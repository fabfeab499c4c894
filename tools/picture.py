"""Dashboards with real numbers, for README.md: ``make picture`` writes the pictures in docs.

A daemon in front of another one's mock provider, clients in threads, Debian's Prometheus, and
then tools/grafana-picture. Needs prometheus, node, npm and chromium.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import threading
from pathlib import Path

from tests.deploy.test_live import configuration
from tests.deploy.traffic import driven
from tests.support.prometheus import running
from tools.demo import drive
from tools.png import shrink

ROOT = Path(__file__).parents[1]
RENDERER = ROOT / "tools" / "grafana-picture"
CLIENTS = {"/v1": 6, "/mock/v1": 2}
PER_SECOND = 2.0
"""Requests of one client, at most."""
WIDTH = "1600"
"""With less, titles of single numbers are cut."""


def draw(url: str, dashboard: str, minutes: float, folder: Path) -> None:
    """Have tools/grafana-picture ask and draw."""
    if not (RENDERER / "node_modules").is_dir():
        install = ("npm", "install", "--legacy-peer-deps", "--no-package-lock", "--ignore-scripts")
        subprocess.run(install, cwd=RENDERER, check=True)
    file = ROOT / "etc" / "grafana" / "dashboards" / f"{dashboard}.json"
    command = ["node", "draw.mjs", "--prometheus", url, "--dashboard", str(file), "--rate", "15s"]
    command += ["--minutes", str(minutes), "--width", WIDTH, "--out", str(folder / f"{dashboard}.png")]
    subprocess.run(command, cwd=RENDERER, check=True)
    shrink(folder / f"{dashboard}.png")


def main() -> None:
    """Traffic first, then the picture of its time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--dashboards", nargs="+", default=["overview", "tokens-and-cost"])
    parser.add_argument("--folder", type=Path, default=ROOT / "docs")
    options = parser.parse_args()
    stopped = threading.Event()
    with (
        tempfile.TemporaryDirectory() as folder,
        driven(Path(folder)) as traffic,
        running(Path(folder), configuration(*traffic.targets)) as prometheus,
    ):
        threads = [
            threading.Thread(target=drive, args=(traffic.url + base, PER_SECOND, stopped))
            for base, count in CLIENTS.items()
            for _ in range(count)
        ]
        for thread in threads:
            thread.start()
        stopped.wait(options.minutes * 60)
        stopped.set()
        for thread in threads:
            thread.join()
        for dashboard in options.dashboards:
            draw(prometheus.url, dashboard, options.minutes, options.folder.absolute())


if __name__ == "__main__":
    main()
