"""Measures every proxy that is here, side by side, and writes one report.

Run as ``python -m benchmarks.run --help``; README.md in this folder says what the numbers mean.
"""

import http.client
import json
import resource
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from benchmarks import machine, scenarios, table
from benchmarks.daemons import Daemon, proxy, upstream
from benchmarks.load import LoadFailed
from benchmarks.options import Options, parse
from benchmarks.peers import PEERS, Missing, Peer
from benchmarks.processes import LOOPBACK, NotStarted
from benchmarks.results import DIRECT, MEBIBYTE, Result, Results
from benchmarks.transfer import transfer

LOADS_OF = {"chat": ["chat1", "chat32"], "stream": ["stream32"]}
SCRAPE_GAP_MS = 100
LONGEST_STREAM_SECONDS = 10
FAILURES = (LoadFailed, scenarios.StreamsFailed, OSError, ValueError, http.client.HTTPException)


def say(text: str) -> None:
    """Progress, apart from the report."""
    print(text, file=sys.stderr, flush=True)


class Run:
    """One run: the peers in question, the upstream before them, and what was found so far."""

    def __init__(self, options: Options, direct: Daemon, folder: Path) -> None:
        self._options = options
        self._direct = direct
        self._folder = folder
        self._peers = {peer.name: peer for peer in PEERS if peer.name in options.peers}
        self.results: Results = {DIRECT: Result("the upstream itself")}
        self.results |= {name: Result(peer.title) for name, peer in self._peers.items()}

    def everything(self) -> None:
        """All scenarios that the options name."""
        with ExitStack() as stack:
            daemons = {DIRECT: self._direct}
            for name, peer in self._peers.items():
                if daemon := self._start(stack, peer, "loads"):
                    daemons[name] = daemon
            self._loads(daemons)
        if "transfer" in self._options.scenarios:
            self._transfers()
        if "streams" in self._options.scenarios:
            self._streams()
        if "scrape" in self._options.scenarios:
            self._scrapes()

    def _start(self, stack: ExitStack, peer: Peer, purpose: str) -> Daemon | None:
        result = self.results[peer.name]
        try:
            folder = self._folder / f"{peer.name}-{purpose}"
            daemon = stack.enter_context(proxy(peer, self._direct.port, folder))
        except (Missing, NotStarted) as error:
            if result.start_seconds is None:
                result.missing = str(error)
            else:
                result.failures.append(f"not started again for {purpose}: {error}")
            say(f"{peer.name}: missing: {error}")
            return None
        if result.start_seconds is None:
            result.start_seconds, result.idle_bytes = daemon.start_seconds, daemon.idle_bytes
            result.failures += [daemon.stream_fault] if daemon.stream_fault else []
        say(f"{peer.name}: up in {daemon.start_seconds:.2f} s, {daemon.idle_bytes / MEBIBYTE:.1f} MB")
        return daemon

    @contextmanager
    def _alone(self, peer: Peer, purpose: str) -> Iterator[Daemon | None]:
        """The peer newly started, so that memory left over from loads is not counted."""
        with ExitStack() as stack:
            yield None if self.results[peer.name].missing else self._start(stack, peer, purpose)

    def _loads(self, daemons: dict[str, Daemon]) -> None:
        names = [load for scenario in self._options.scenarios for load in LOADS_OF.get(scenario, [])]
        if not names:
            return
        for name, daemon in daemons.items():
            with self._guarded(name):
                scenarios.warm_up(daemon)
        for number in range(self._options.rounds):
            # A, B, C, A, B, C: what two peers did in one round was done on the same machine.
            for name, daemon in daemons.items():
                say(f"round {number + 1} of {self._options.rounds}: {name}")
                measured = None
                with self._guarded(name):
                    measured = scenarios.loads(daemon, self._options.seconds, names)
                self.results[name].rounds.append(measured)

    def _transfers(self) -> None:
        self._transfer(DIRECT, self._direct)
        for name, peer in self._peers.items():
            if peer.files:
                with self._alone(peer, "transfer") as daemon:
                    if daemon:
                        self._transfer(name, daemon)

    def _transfer(self, name: str, daemon: Daemon) -> None:
        say(f"{self._options.megabytes} MiB up and down: {name}")
        with self._guarded(name):
            length = self._options.megabytes * MEBIBYTE
            self.results[name].transfers = transfer(LOOPBACK, daemon.port, length, daemon.tree)

    def _streams(self) -> None:
        self._hold(DIRECT, self._direct, self._options.streams)
        for name, peer in self._peers.items():
            with self._alone(peer, "streams") as daemon:
                if daemon and not daemon.stream_fault:
                    self._hold(name, daemon, min(self._options.streams, peer.most_streams))

    def _hold(self, name: str, daemon: Daemon, streams: int) -> None:
        options = self._options
        wanted = scenarios.order(daemon, streams, options.chunks, options.gap_ms)
        say(f"{streams} paced streams, {wanted.seconds():.0f} s: {name}")
        with self._guarded(name):
            self.results[name].held = scenarios.hold(daemon, wanted, self._folder)

    def _scrapes(self) -> None:
        every = self._options.scrape_seconds
        chunks = round(max(2 * LONGEST_STREAM_SECONDS, 4 * every) * 1000 / SCRAPE_GAP_MS)
        chunks = min(chunks, round(8 * every * 1000 / SCRAPE_GAP_MS))
        for name, peer in self._peers.items():
            if not peer.metrics:
                continue
            with self._alone(peer, "scrapes") as daemon:
                if daemon is None or daemon.stream_fault:
                    continue
                wanted = scenarios.order(daemon, self._options.scrape_streams, chunks, SCRAPE_GAP_MS)
                say(f"scrapes, twice {wanted.seconds():.0f} s: {name}")
                with self._guarded(name):
                    self.results[name].scraped = scenarios.scrapes(daemon, wanted, every, self._folder)

    @contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        """One peer that fails must not end the others' measuring."""
        try:
            yield
        except FAILURES as error:
            failure = f"{type(error).__name__}: {error}"
            self.results[name].failures.append(failure)
            say(f"{name}: {failure}")


def report(results: Results, options: Options, argv: list[str], about: list[tuple[str, str]]) -> str:
    """The whole of RESULTS.md."""
    command = shlex.join(["python", "-m", "benchmarks.run", *argv])
    rounds = f"{options.rounds} rounds of {options.seconds:g} s"
    parts = [
        "# What it costs, and what its peers cost",
        "Written by `make bench`; README.md in this folder says what the numbers mean.",
        "\n".join(f"- {name}: {value}" for name, value in [*about, ("command", f"`{command}`")]),
        f"## Summary ({rounds}, medians)",
        table.summary(results),
        table.notes(results),
        "## Promises",
        table.targets(results) or "The daemon itself was not measured.",
    ]
    if "streams" in options.scenarios:
        parts += [f"## Paced streams ({options.chunks} chunks, one each {options.gap_ms} ms)"]
        parts += [table.streams(results)]
    if "transfer" in options.scenarios:
        parts += [f"## {options.megabytes} MiB up and down", table.transfers(results)]
    if "scrape" in options.scenarios:
        parts += [f"## {options.scrape_streams} paced streams, scraped every {options.scrape_seconds:g} s"]
        parts += [table.scrapes(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def main(argv: list[str]) -> None:
    """Measure, print, write."""
    options = parse(argv)
    about = machine.describe()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        with upstream(folder) as direct:
            run = Run(options, direct, folder)
            run.everything()
    text = report(run.results, options, argv, about)
    print(text)
    if str(options.output) != "-":
        options.output.write_text(text)
    if options.json:
        found = {peer: asdict(result) for peer, result in run.results.items()}
        options.json.write_text(json.dumps({"machine": dict(about), "results": found}, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
