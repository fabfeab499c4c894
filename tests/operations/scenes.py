"""What is promised of a daemon's signals, as scenes: in any size, and each with its counts.

A scene raises AssertionError where a promise is not kept, and returns what was counted. The tests of this
folder play them small; ``python -m tests.operations.proof`` plays them in full.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from tests.operations.daemons import Configuration, children, connections_of, is_alive, scrape, total, until
from tests.operations.load import Counts, Load, Order, Provider, loads
from tests.operations.served import (
    AGAIN,
    ENDS,
    NOT_UPGRADED,
    RELOADED,
    Row,
    Rows,
    Served,
    in_flight,
    nothing_lost,
    served,
)

GRACE_SECONDS = 4.0


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
                    daemon.send(signal.SIGHUP, RELOADED)
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


# Signals that come at a bad time


def storm(folder: Path, provider: Provider, times: int, workers: int = 1) -> Rows:
    """SIGHUP again and again, and nobody waits for what it does; the last file is what counts in the end."""
    configuration = Configuration(folder, provider)
    with served(configuration, workers) as daemon:
        kept, fresh = Order(daemon.port, connections=6), Order(daemon.port, connections=2, keeps=False)
        with loads(kept, fresh, in_flight(daemon, 10, 60)) as (load, others, streams):
            streams.wait_for(in_flight=10)
            for number in range(1, times + 1):
                configuration.rotate(f"key-{number}")
                os.kill(daemon.pids[-1], signal.SIGHUP)
            load.more(500)
            rows = [
                Row("a storm of SIGHUP: kept connections", load.stop(), {"signals": times}),
                Row("a storm of SIGHUP: new connections", others.stop()),
                Row("a storm of SIGHUP: streams", streams.end()),
            ]
        # The last signal may be served behind the last request.
        until(lambda: set(_all(Order(daemon.port, requests=20)).keys) == {f"key-{times}"})
        assert daemon.end() == 0
    return nothing_lost(*rows)


def killed_successor(folder: Path, provider: Provider, workers: int = 1) -> Rows:
    """kill -9 of the successor while it starts changes nothing, and the next upgrade goes well."""
    configuration = Configuration(folder, provider)
    with served(configuration, workers) as daemon:
        before = set(children(daemon.program.pid))
        order = Order(daemon.port, connections=4, keeps=False)
        with loads(in_flight(daemon, 5, 60), order) as (streams, load):
            streams.wait_for(in_flight=5)
            seen = daemon.program.line_count
            os.kill(daemon.program.pid, signal.SIGUSR2)
            until(lambda: set(children(daemon.program.pid)) != before)
            (successor,) = set(children(daemon.program.pid)) - before
            os.kill(successor, signal.SIGKILL)
            daemon.program.wait_for(NOT_UPGRADED, 60, after=seen)
            load.more(100)
            daemon.upgrade()
            load.more(100)
            rows = [
                Row("a killed successor: requests", load.stop()),
                Row("a killed successor: streams", streams.end()),
            ]
        assert daemon.end() == 0
    return nothing_lost(*rows)


def ended_in_an_upgrade(folder: Path, provider: Provider, workers: int = 1) -> Rows:
    """SIGTERM while a successor starts: the daemon drains, and no successor is left behind."""
    configuration = Configuration(folder, provider)
    with served(configuration, workers) as daemon, Load(in_flight(daemon, 10, 60)) as streams:
        streams.wait_for(in_flight=10)
        before = set(children(daemon.program.pid))
        os.kill(daemon.program.pid, signal.SIGUSR2)
        until(lambda: set(children(daemon.program.pid)) != before)
        started = set(children(daemon.program.pid)) - before
        daemon.send(signal.SIGTERM, ENDS)
        row = Row("SIGTERM in an upgrade: streams", streams.end())
        status = daemon.program.wait(60)
        assert status == 0, (status, daemon.program.output)
        until(lambda: not any(is_alive(pid) for pid in started))
    return nothing_lost(row)


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
