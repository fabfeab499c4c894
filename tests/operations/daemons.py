"""Daemons for these tests: a configuration with the load's provider, their numbers, their processes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.operations.load import SECONDS, Provider
from tests.support.program import Program

LOOPBACK = "tcp:0:interface=127.0.0.1"


class Configuration:
    """A file with one provider, whose key is in a file of its own; ``write`` changes it."""

    def __init__(self, folder: Path, provider: Provider, **more: Any) -> None:
        self.path = folder / "proxy.yaml"
        self.key_path = folder / "key"
        self.content: dict[str, Any] = {
            "listeners": [{"address": LOOPBACK}],
            "providers": {"load": {"base_url": f"{provider.url}/v1", "api_key": f"file:{self.key_path}"}},
            **more,
        }
        self.rotate("key-0")
        self.write()

    def write(self, **changes: Any) -> None:
        """All of it again, in one step, with these members instead."""
        self.content.update(changes)
        _replace(self.path, json.dumps(self.content))

    def spoil(self, number: int = 0) -> None:
        """A file with two problems, with other words for each ``number``."""
        _replace(self.path, json.dumps({**self.content, f"lisseners-{number}": [], "workers": "many"}))

    def rotate(self, key: str) -> None:
        """Another key."""
        _replace(self.key_path, key)


def _replace(path: Path, text: str) -> None:
    """As who writes configuration does it: nobody sees half a file."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


Numbers = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def numbers(scraped: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Samples by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(scraped)
        for sample in family.samples
    }


def scrape(program: Program, path: str = "/metrics") -> Numbers:
    """What the daemon tells on its own port."""
    answer = program.ask("GET", path)
    assert answer.status == 200, answer
    return numbers(answer.body.decode())


def total(found: Numbers, name: str, **labels: str) -> float:
    """The sum of a family's samples that have these labels."""
    wanted = set(labels.items())
    return sum(value for (one, others), value in found.items() if one == name and wanted <= others)


def until(is_so: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Wait for what another process does, and no event tells of."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.01)


def cpu_seconds(pid: int) -> float:
    """What a process has used of the processors so far (utime and stime of proc(5))."""
    values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")


def descriptors(pid: int) -> int:
    """How many a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and it is more than an entry that its parent has not read."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """The processes that this one has started."""
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def connections_of(pid: int, port: int) -> int:
    """How many connections a process has accepted at a port of this machine (proc(5): net/tcp)."""
    mine = set()
    for one in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            mine.add(os.readlink(one))
    count = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        parts = line.split()
        is_open = parts[3] == "01" and int(parts[1].rpartition(":")[2], 16) == port
        count += is_open and f"socket:[{parts[9]}]" in mine
    return count
