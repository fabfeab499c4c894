"""``python -m benchmarks.soak``: run the daemon, ask it for minutes, and hold what is left to account.

Ends with status 1 if an answer was wrong, if the log has a traceback, or if memory, descriptors,
the gauge of requests in flight or the count of requests are not what they have to be.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.procfs import Tree
from benchmarks.soak.messages import Cut
from benchmarks.soak.traffic import Client, Wrong
from benchmarks.soak.upstream import Upstream
from tests.support.daemon import Daemon

WARM_UP = 0.25
"""The part of the run in which memory may still grow."""
SLOPE_MINUTES = 20.0
SLOPE_BYTES = 64 * 1024
"""A minute, in a soak of so many minutes: in a shorter one the allocator's steps are the slope."""
GROWTH_BYTES = 8 << 20
"""What it may grow by after that, whatever the length of the run: the collector runs seldom."""
SETTLE_SECONDS = 30
"""Idle connections to the upstream are closed after 15 s."""


@dataclass
class Figures:
    """What was seen."""

    done: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    samples: list[tuple[float, int]] = field(default_factory=list)
    """Seconds since the start, resident bytes."""
    most_descriptors: int = 0


def descriptors(pid: int) -> int:
    """Open files and sockets."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def samples_of(daemon: Daemon, name: str) -> list[tuple[dict[str, str], float]]:
    """A metric's labels and values."""
    text = daemon.ask("GET", "/metrics").body.decode()
    return [
        (sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    ]


async def work(client: Client, figures: Figures, until: float, pause: float, dice: random.Random) -> None:
    """One client's requests, one after the other, until the clock says so."""
    loop = asyncio.get_running_loop()
    while loop.time() < until:
        try:
            await asyncio.wait_for(client.turn(), 30)
        except (Wrong, Cut, TimeoutError, OSError) as error:
            figures.wrong[f"{type(error).__name__}: {error}"] += 1
            client.close()
        await asyncio.sleep(dice.expovariate(1 / pause))
    client.close()


async def watch(pid: int, figures: Figures, until: float) -> None:
    """Memory and descriptors, twice a second."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while loop.time() < until:
        figures.samples.append((loop.time() - began, Tree(pid).resident_bytes()))
        figures.most_descriptors = max(figures.most_descriptors, descriptors(pid))
        await asyncio.sleep(0.5)


def growth(samples: list[tuple[float, int]]) -> tuple[int, float]:
    """Bytes between the first and the last third after the warm-up, and the slope in bytes a minute."""
    warm = samples[int(len(samples) * WARM_UP) :]
    third = max(1, len(warm) // 3)
    first = statistics.median(value for _, value in warm[:third])
    last = statistics.median(value for _, value in warm[-third:])
    slope = statistics.linear_regression(*zip(*warm, strict=True)).slope if len(warm) > 1 else 0.0
    return int(last - first), slope * 60


def delayed_calls(daemon: Daemon) -> float:
    """What the reactor still has to call."""
    [(_, value)] = samples_of(daemon, "openai_proxy_reactor_delayed_calls")
    return value


async def settled(daemon: Daemon, descriptors_before: int, delayed_before: float) -> tuple[int, float, float]:
    """What is more than before, once nothing is or it takes too long: descriptors, requests in
    flight, delayed calls. (Kept connections to the upstream take their idle time to go.)
    """
    for _ in range(SETTLE_SECONDS * 2):
        left = descriptors(daemon.pid) - descriptors_before
        in_flight = sum(
            value for _, value in await asyncio.to_thread(samples_of, daemon, "http_requests_in_flight")
        )
        delayed = await asyncio.to_thread(delayed_calls, daemon) - delayed_before
        if left <= 0 and not in_flight and delayed <= 0:
            break
        await asyncio.sleep(0.5)
    return left, in_flight, delayed


async def soak(options: argparse.Namespace) -> list[str]:
    """Run, print, and say what is broken."""
    figures = Figures()
    upstream = Upstream()
    server = await upstream.start()
    daemon = await asyncio.to_thread(Daemon, "--upstream", f"http://127.0.0.1:{upstream.port}")
    loop = asyncio.get_running_loop()
    try:
        await asyncio.to_thread(samples_of, daemon, "http_requests_total")
        before = descriptors(daemon.pid)
        delayed = await asyncio.to_thread(delayed_calls, daemon)
        until = loop.time() + options.minutes * 60
        dice = random.Random(options.seed)
        clients = [
            Client(daemon.port, random.Random(dice.random()), options.fault_rate, figures.done)
            for _ in range(options.clients)
        ]
        pause = options.clients / options.rate
        await asyncio.gather(
            watch(daemon.pid, figures, until),
            *(work(client, figures, until, pause, dice) for client in clients),
        )
        left, in_flight, delayed_more = await settled(daemon, before, delayed)
        counted = await asyncio.to_thread(samples_of, daemon, "http_requests_total")
        status = await asyncio.to_thread(daemon.stop)
    finally:
        await asyncio.to_thread(daemon.kill)
        server.close()
    grown, slope = growth(figures.samples)
    sent = sum(client.sent for client in clients)
    total = sum(value for _, value in counted)
    outcomes: Counter[str] = Counter()
    for labels, value in counted:
        outcomes[labels["outcome"]] += int(value)
    if options.samples:
        lines = (f"{seconds:.1f}\t{value}\n" for seconds, value in figures.samples)
        await asyncio.to_thread(options.samples.write_text, "".join(lines))
    resident = [value for _, value in figures.samples]
    for kind, count in sorted(figures.done.items()):
        print(f"  {count:9d}  {kind}")
    for outcome, count in sorted(outcomes.items()):
        print(f"  {count:9d}  outcome {outcome}")
    print(f"requests: {sent} sent, {total:.0f} counted, {upstream.requests} seen by the upstream")
    print(
        f"memory: {resident[0] / 2**20:.1f} MiB at first, {max(resident) / 2**20:.1f} at most, "
        f"{resident[-1] / 2**20:.1f} at last; after the warm-up {grown / 2**20:+.2f} MiB, "
        f"{slope / 2**10:+.1f} KiB a minute"
    )
    print(f"descriptors: {before} before, {figures.most_descriptors} at most, {left:+d} after")
    print(
        f"in flight at the end: {in_flight:.0f}; delayed calls: {delayed:.0f} before, "
        f"{delayed_more:+.0f} after"
    )
    broken = [f"{count} x {what}" for what, count in figures.wrong.items()] + upstream.failures
    checks = {
        f"memory grew by {grown} bytes": grown <= GROWTH_BYTES,
        f"memory grows by {slope:.0f} bytes a minute": options.minutes < SLOPE_MINUTES
        or slope <= SLOPE_BYTES,
        f"{delayed_more:.0f} delayed calls are left": delayed_more <= 0,
        f"{left} descriptors are left": left <= 0,
        f"{in_flight:.0f} requests are still in flight": not in_flight,
        f"{sent} requests were sent, and {total:.0f} counted": sent == total,
        "the log has a traceback": "Traceback" not in daemon.output,
        f"the daemon ended with status {status}": status == 0,
    }
    return broken + [what for what, holds in checks.items() if not holds]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second, at most")
    parser.add_argument("--fault-rate", type=float, default=0.01, help="of each kind of fault")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--samples", type=Path, help="write seconds and resident bytes to this file")
    broken = asyncio.run(soak(parser.parse_args()))
    for what in broken:
        print(f"BROKEN: {what}")
    print("broken" if broken else "ok")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
