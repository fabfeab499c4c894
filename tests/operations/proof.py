"""The proof in full: ``make proof``, or ``python -m tests.operations.proof [--share 0.1]``.

Plays every scene of ``scenes.py`` at its full size on real daemons, prints what was sent, answered and lost,
and ends with status 1 if one promise was not kept. ``--share`` makes all of it smaller.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.operations import scenes
from tests.operations.load import Counts, Provider
from tests.operations.scenes import Upgrades
from tests.operations.table import line

Played = tuple[str, tuple[Any, ...]]


def full(share: float) -> list[Played]:
    """What is promised, and the scene that shows it."""

    def of(count: int, least: int = 1) -> int:
        return max(least, round(count * share))

    times = of(5, 2)
    # A stream lives through two upgrades, whatever the size.
    size = (times, of(50_000, 3000), of(40, 10))
    return [
        (
            f"{of(50, 6)} reloads: 0 of {of(100_000, 6000)} requests fail, each key is taken up",
            (scenes.reloads, of(100_000, 6000), of(50, 6)),
        ),
        ("the same with 2 workers", (scenes.reloads, of(100_000, 6000), of(50, 6), 2)),
        ("SIGTERM: every stream ends whole, status 0", (scenes.drain, of(200, 20), of(400, 100))),
        ("the same with 2 workers", (scenes.drain, of(200, 20), of(400, 100), 2)),
        ("drain.timeout_seconds over: an error event, status 3", (scenes.cut, of(200, 20), False)),
        ("a second SIGTERM: the same, at once", (scenes.cut, of(200, 20), True)),
        (
            f"{size[0]} upgrades: 0 of {size[1]} connections refused, 0 of {size[0] * size[2]} streams cut",
            (scenes.upgrades, Upgrades(*size, events=of(300, 80), gap_ms=50)),
        ),
        (
            "the same with 2 workers",
            (scenes.upgrades, Upgrades(*size, events=of(300, 80), gap_ms=50, workers=2)),
        ),
        ("a successor that does not start changes nothing", (scenes.failed_upgrade,)),
        ("nor does one that is killed while it starts", (scenes.killed_successor,)),
        ("SIGTERM while a successor starts is an end like any other", (scenes.ended_in_an_upgrade,)),
        (f"{of(1000, 100)} SIGHUPs that nobody waits for", (scenes.storm, of(1000, 100))),
        (
            "kill -9 of one of 2 workers: its own requests only",
            (scenes.killed_worker, of(20_000, 1000), of(200, 20)),
        ),
    ]


def main(share: float) -> int:
    """Play all; the exit status."""
    failed: list[str] = []
    all_counts = Counts()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, Provider() as provider:
        for number, (promise, (scene, *arguments)) in enumerate(full(share)):
            place = Path(folder) / str(number)
            place.mkdir()
            print(f"\n{promise}", flush=True)
            try:
                rows = scene(place, provider, *arguments)
            except AssertionError as error:
                failed.append(promise)
                print(f"  NOT KEPT: {str(error)[:1000]}", flush=True)
                continue
            for row in rows:
                print("  " + line(row.name, row.counts, **row.more), flush=True)
                all_counts += row.counts
    print(f"\n{line('all', all_counts)}\n{time.monotonic() - began:.0f} s", flush=True)
    for promise in failed:
        print(f"NOT KEPT: {promise}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--share", type=float, default=1.0, help="of the full size (default: 1)")
    sys.exit(main(parser.parse_args().share))
