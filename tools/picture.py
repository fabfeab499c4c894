"""The overview with real numbers, for README.md: ``make picture`` writes docs/overview.png.

A daemon in front of another one's mock provider, clients in threads, Debian's Prometheus, and
then tools/grafana-picture. Needs prometheus, node, npm and chromium.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from tests.deploy.test_live import configuration, proxied
from tests.deploy.traffic import FAULTS, Traffic
from tests.support.daemon import Daemon
from tests.support.prometheus import running

ROOT = Path(__file__).parents[1]
RENDERER = ROOT / "tools" / "grafana-picture"
CLIENTS = 8
MODELS = ("gpt-4o-mini", "gpt-4o-mini", "gpt-4o", "gpt-4.1")
FAULTY = 0.01
LEAVING = 0.005


def client(daemon: Daemon, seed: int, end: float) -> None:
    """Chats and responses, most of them streams; now and then a fault, or a client that leaves."""
    traffic = Traffic(daemon)
    chance = random.Random(seed)
    while time.monotonic() < end:
        delay = f"x-mock-delay-ms: {chance.lognormvariate(5, 0.6):.1f}"
        gap = f"x-mock-chunk-ms: {chance.uniform(5, 25):.1f}"
        fields = (delay, gap, chance.choice(FAULTS)) if chance.random() < FAULTY else (delay, gap)
        stream = chance.random() < 0.7
        if chance.random() < LEAVING:
            traffic.leave()
        elif chance.random() < 0.6:
            traffic.chat(chance.choice(MODELS), stream, *fields)
        else:
            traffic.responses(chance.choice(MODELS), stream, *fields)


def draw(url: str, dashboard: str, minutes: float, out: Path) -> None:
    """Have tools/grafana-picture ask and draw."""
    if not (RENDERER / "node_modules").is_dir():
        install = ("npm", "install", "--legacy-peer-deps", "--no-package-lock", "--ignore-scripts")
        subprocess.run(install, cwd=RENDERER, check=True)
    file = ROOT / "etc" / "grafana" / "dashboards" / f"{dashboard}.json"
    command = ["node", "draw.mjs", "--prometheus", url, "--dashboard", str(file), "--rate", "15s"]
    subprocess.run([*command, "--minutes", str(minutes), "--out", str(out)], cwd=RENDERER, check=True)


def main() -> None:
    """Traffic first, then the picture of its time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--dashboard", default="overview")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "overview.png")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        proxied() as daemon,
        running(Path(folder), configuration(f"127.0.0.1:{daemon.port}")) as prometheus,
    ):
        end = time.monotonic() + options.minutes * 60
        threads = [threading.Thread(target=client, args=(daemon, seed, end)) for seed in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        draw(prometheus.url, options.dashboard, options.minutes, options.out.absolute())


if __name__ == "__main__":
    main()
