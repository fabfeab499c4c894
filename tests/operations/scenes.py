"""What is promised of a daemon's signals, as scenes: in any size, and each with its counts.

A scene raises AssertionError where a promise is not kept, and returns what was counted. The tests of this
folder play them small; ``python -m tests.operations.proof`` plays them in full.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.operations.daemons import Configuration, children, connections_of, is_alive, scrape, total, until
from tests.operations.load import Counts, Load, Order, Provider, loads
from tests.support.daemon import ROOT, SERVES, command, environment
from tests.support.program import Program

RELOADED = re.compile(r"^\s+timeouts\.head_seconds")
"""Of each reload another line: the same one again and again would be counted in the log, not repeated."""
UPGRADED = re.compile(r"Upgrade: process (\d+) serves now")
NOT_UPGRADED = re.compile(r"The upgrade failed, and nothing has changed")
ENDS = re.compile(r"The daemon is ending")
AGAIN = re.compile(r"Worker \d+ serves again")
GRACE_SECONDS = 4.0


@dataclass
class Row:
    """One line of what is told."""

    name: str
    counts: Counts
    more: dict[str, object] = field(default_factory=dict)


Rows = list[Row]


class Served:
    """A daemon with a file, and all that come after it by upgrades."""

    def __init__(self, configuration: Configuration, workers: int = 1) -> None:
        options = ("--config", str(configuration.path), *(("--workers", str(workers)) if workers > 1 else ()))
        self.program = Program(command(*options), SERVES, ROOT, environment())
        self.pids = [self.program.pid]
        self.port = self.program.port

    def send(self, number: signal.Signals, says: re.Pattern[str], times: int = 1) -> str:
        """A signal to who serves now; the last line of those that say so."""
        before = self.program.line_count
        os.kill(self.pids[-1], number)
        found: list[str] = []

        def is_said() -> bool:
            said = self.program.output.splitlines()[before:]
            found[:] = [line for line in said if says.search(line)]
            return len(found) >= times

        until(is_said)
        return found[-1]

    def upgrade(self) -> None:
        """Until the successor serves."""
        said = UPGRADED.search(self.send(signal.SIGUSR2, UPGRADED))
        assert said is not None
        self.pids.append(int(said[1]))

    def end(self) -> int:
        """SIGTERM to the last one, when all before it have ended; the exit status of the first."""
        for pid in self.pids[1:-1]:
            until(lambda pid=pid: not is_alive(pid))  # type: ignore[misc]
        with suppress(ProcessLookupError):
            os.kill(self.pids[-1], signal.SIGTERM)
        until(lambda: not is_alive(self.pids[-1]))
        status = self.program.wait()
        assert "Traceback" not in self.program.output, self.program.output
        return status

    def kill(self) -> None:
        """Whatever is left of it."""
        workers = [worker for pid in self.pids for worker in children(pid)]
        for one in (*workers, *self.pids[1:]):
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        self.program.kill()


@contextmanager
def served(configuration: Configuration, workers: int = 1) -> Iterator[Served]:
    """One that is ended by force, if not otherwise."""
    daemon = Served(configuration, workers)
    try:
        yield daemon
    finally:
        daemon.kill()


def nothing_lost(*rows: Row) -> Rows:
    """Each request has its answer, at the first attempt."""
    for row in rows:
        assert row.counts.lost == 0, row
        assert row.counts.retried == 0, row
        assert row.counts.answered, row
    return list(rows)


# Reload


def reloads(folder: Path, provider: Provider, requests: int, times: int, workers: int = 1) -> Rows:
    """SIGHUP under load, with a new key for each good file, and a bad file each third time."""
    configuration = Configuration(folder, provider)
    keys = ["key-0"]
    before = provider.truth
    with served(configuration, workers) as daemon:
        kept = Order(daemon.port, requests=requests * 9 // 10)
        fresh = Order(daemon.port, requests=requests - kept.requests, connections=2, keeps=False)
        streamed = Order(daemon.port, connections=10, events=20, gap_ms=20)
        share = kept.requests // (times + 1)
        with loads(kept, fresh, streamed) as (load, others, streams):
            for number in range(1, times + 1):
                load.wait_for(answered=share * number)
                if number % 3 == 0:
                    configuration.spoil(number)
                    os.kill(daemon.pids[-1], signal.SIGHUP)
                    until(lambda: not _is_reloaded(daemon))
                else:
                    keys.append(f"key-{number}")
                    configuration.rotate(keys[-1])
                    configuration.write(timeouts={"head_seconds": 100.0 + number})
                    daemon.send(signal.SIGHUP, RELOADED, workers)
                    # On who was asked before the word came, the former key may be.
                    load.more(min(share, 100))
            last = load.end()
            rows = [Row("reload: kept connections", last), Row("reload: new connections", others.end())]
            rows.append(Row("reload: streams", streams.stop(), {"reloads": times, "keys": len(keys)}))
        told = scrape(daemon.program)
        assert daemon.end() == 0
    all_counts = sum((row.counts for row in rows), Counts())
    truth = provider.truth
    assert total(told, "http_requests_total", provider="load") == all_counts.sent
    assert set(last.keys) == set(keys), "each key was taken up, and no other one was sent"
    assert truth.requests - before.requests == all_counts.sent
    assert truth.repeated == before.repeated
    return nothing_lost(*rows)


def _is_reloaded(daemon: Served) -> bool:
    return bool(total(scrape(daemon.program), "openai_proxy_config_last_reload_successful"))


# Drain


def in_flight(daemon: Served, streams: int, events: int, gap_ms: int = 50) -> Order:
    """Streams that go on for a while."""
    return Order(daemon.port, requests=streams, connections=streams, events=events, gap_ms=gap_ms)


def drain(folder: Path, provider: Provider, streams: int, events: int, workers: int = 1) -> Rows:
    """SIGTERM: not ready, then no new connection, and each stream to its end; exit status 0."""
    configuration = Configuration(folder, provider, drain={"grace_seconds": GRACE_SECONDS})
    with served(configuration, workers) as daemon:
        program = daemon.program
        asked = Order(daemon.port, connections=8, pause_ms=1)
        with loads(in_flight(daemon, streams, events), asked) as (long, load):
            long.wait_for(in_flight=streams)
            load.more(100)
            daemon.send(signal.SIGTERM, ENDS)
            assert program.ask("GET", "/readyz").status == 503
            answer = program.ask("GET", "/healthz")
            assert answer.get("connection") == b"close"
            load.more(100)
            requests = load.stop()
            rows = [
                Row("drain: requests while it listens", requests, {"closes": requests.closes}),
                Row("drain: streams", long.end()),
            ]
        status = program.wait(60)
        assert status == 0, (status, program.output)
    assert requests.closes >= 8, "every answer says that the connection closes"
    return nothing_lost(*rows)


def cut(folder: Path, provider: Provider, streams: int, twice: bool, workers: int = 1) -> Rows:
    """What is left when ``drain.timeout_seconds`` is over, or at a second SIGTERM, is told so and cut."""
    configuration = Configuration(folder, provider, drain={"timeout_seconds": 600.0 if twice else 0.5})
    with served(configuration, workers) as daemon, Load(in_flight(daemon, streams, 2000)) as long:
        long.wait_for(in_flight=streams)
        daemon.send(signal.SIGTERM, ENDS)
        if twice:
            os.kill(daemon.program.pid, signal.SIGTERM)
        counts = long.end()
        status = daemon.program.wait(60)
    assert status == 3, (status, daemon.program.output)
    assert (counts.sent, counts.told) == (streams, streams), counts
    name = "a second SIGTERM: streams" if twice else "drain.timeout: streams"
    return [Row(name, counts, {"exit_status": status})]


# Upgrade


@dataclass(frozen=True)
class Upgrades:
    """The size of a scene."""

    times: int
    connections: int
    streams: int
    """Begun before each upgrade."""
    events: int
    gap_ms: int
    workers: int = 1


def upgrades(folder: Path, provider: Provider, size: Upgrades) -> Rows:
    """SIGUSR2 under load: nobody is refused, no stream is cut, no count is lost."""
    configuration = Configuration(folder, provider)
    begun: list[Load] = []
    share = size.connections // (size.times + 1)
    with served(configuration, size.workers) as daemon:
        fresh = Order(daemon.port, requests=size.connections, keeps=False)
        kept = Order(daemon.port, connections=8, pause_ms=1)
        with loads(fresh, kept) as (load, others):
            try:
                for number in range(1, size.times + 1):
                    begun.append(Load(in_flight(daemon, size.streams, size.events, size.gap_ms)))
                    begun[-1].wait_for(in_flight=size.streams)
                    load.wait_for(answered=share * number)
                    daemon.upgrade()
                rows = [
                    Row("upgrade: new connections", load.end(), {"upgrades": size.times}),
                    Row("upgrade: kept connections", others.stop()),
                    Row("upgrade: streams", sum((one.end() for one in begun), Counts())),
                ]
            finally:
                for one in begun:
                    one.kill()
        for pid in daemon.pids[:-1]:
            until(lambda pid=pid: not is_alive(pid))  # type: ignore[misc]
        told = scrape(daemon.program)
        assert daemon.end() == 0
    counted = total(told, "http_requests_total", provider="load")
    sent = sum(row.counts.sent for row in rows)
    assert counted == sent, (
        f"counted {counted:.0f} of {sent}, {[row.name for row in rows]} {[row.counts.sent for row in rows]}"
    )
    return nothing_lost(*rows)


def failed_upgrade(folder: Path, provider: Provider) -> Rows:
    """A successor that does not start changes nothing."""
    configuration = Configuration(folder, provider)
    with served(configuration) as daemon:
        order = Order(daemon.port, connections=4, keeps=False)
        with loads(in_flight(daemon, 5, 60, 20), order) as (streams, load):
            streams.wait_for(in_flight=5)
            configuration.spoil()
            daemon.send(signal.SIGUSR2, NOT_UPGRADED)
            load.more(100)
            rows = [
                Row("a failed upgrade: requests", load.stop()),
                Row("a failed upgrade: streams", streams.end()),
            ]
        assert daemon.end() == 0
    return nothing_lost(*rows)


# Workers


def killed_worker(folder: Path, provider: Provider, requests: int, streams: int) -> Rows:
    """kill -9 of one of two: it is replaced, and what it did not have in hand goes on."""
    configuration = Configuration(folder, provider)
    with served(configuration, workers=2) as daemon:
        before = _all(Order(daemon.port, requests=requests))
        assert total(scrape(daemon.program), "http_requests_total", provider="load") == requests
        with Load(in_flight(daemon, streams, 60)) as long:
            long.wait_for(in_flight=streams)
            victim = max(children(daemon.program.pid), key=lambda pid: connections_of(pid, daemon.port))
            held = connections_of(victim, daemon.port)
            with Load(Order(daemon.port, connections=4, keeps=False)) as load:
                load.more(100)
                seen = daemon.program.line_count
                os.kill(victim, signal.SIGKILL)
                daemon.program.wait_for(AGAIN, 60, after=seen)
                load.more(100)
                meanwhile = load.stop()
            cut_streams = long.end()
        counted = total(scrape(daemon.program), "http_requests_total", provider="load")
        after = _all(Order(daemon.port, requests=requests))
        assert len(children(daemon.program.pid)) == 2
        again = total(scrape(daemon.program), "http_requests_total", provider="load")
        assert daemon.end() == 0
    assert before.lost == after.lost == 0
    assert meanwhile.lost == meanwhile.reset + meanwhile.cut <= 4, meanwhile
    assert (cut_streams.cut, cut_streams.answered) == (held, streams - held), (held, cut_streams)
    assert counted >= requests, "what the killed one had told of is still counted"
    assert again == counted + requests
    return [
        Row("two workers: requests", before, {"counted": requests}),
        Row("a worker killed: new connections", meanwhile),
        Row("a worker killed: streams", cut_streams, {"its_own": held}),
        Row("a worker replaced: requests", after, {"counted": f"{again - counted:.0f} more"}),
    ]


def _all(order: Order) -> Counts:
    with Load(order) as load:
        return load.end()
