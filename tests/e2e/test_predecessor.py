"""What an upgrade leaves behind with streams in flight is not lost in the next upgrade, or in the end."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.operations.daemons import scrape, total, until
from tests.support.daemon import Daemon
from tests.support.sockets import Peer, RawUpstream

UPGRADED = re.compile(r"Upgrade: process (\d+) serves now")
WAITS = re.compile(r"the process before this one is waited for")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class Upgraded:
    """A daemon with a request in flight at its first process, and a second process that serves."""

    def __init__(self, workers: str) -> None:
        self.upstream = RawUpstream()
        self.daemon = Daemon("--upstream", self.upstream.url, "--workers", workers)
        self.client = self.daemon.connect()
        self.client.send_request("GET", "/v1/models")
        self.provider: Peer = self.upstream.next()
        self.provider.read_request()
        self.pids = [self.daemon.pid]
        self.upgrade()

    def upgrade(self) -> None:
        """Another process."""
        seen = self.daemon.line_count
        self.send(signal.SIGUSR2)
        self.pids.append(int(self.daemon.wait_for(UPGRADED, after=seen)[1]))

    def send(self, number: signal.Signals) -> None:
        """To the process that serves."""
        os.kill(self.pids[-1], number)

    def is_there(self, place: int) -> bool:
        """Whether that process has not ended."""
        try:
            stat = Path(f"/proc/{self.pids[place]}/stat").read_text()
        except FileNotFoundError:
            return False
        return stat.rpartition(")")[2].split()[0] != "Z"

    def answer(self) -> None:
        """The upstream answers, and the client has it whole."""
        self.provider.send(ANSWER)
        assert self.client.read_answer("GET").status == 200
        self.client.close()

    def close(self) -> None:
        """End all that is left."""
        for place, pid in enumerate(self.pids):
            if self.is_there(place):
                os.kill(pid, signal.SIGKILL)
        self.client.close()
        self.daemon.kill()
        self.upstream.close()


@pytest.fixture(params=["1", "2"])
def upgraded(request: pytest.FixtureRequest) -> Iterator[Upgraded]:
    """One of one process, and one of a parent with workers."""
    made = Upgraded(request.param)
    yield made
    made.close()


def test_the_end_waits_for_what_is_in_flight_before_an_upgrade(upgraded: Upgraded) -> None:
    """systemd kills all of a service when its main process ends: that is not to be before the last stream."""
    seen = upgraded.daemon.line_count
    upgraded.send(signal.SIGTERM)
    upgraded.daemon.wait_for(WAITS, after=seen)
    assert upgraded.is_there(-1)
    upgraded.answer()
    # The output ends with the last process of both.
    assert upgraded.daemon.wait() == 0
    until(lambda: not upgraded.is_there(-1))


def test_a_second_signal_waits_for_nobody(upgraded: Upgraded) -> None:
    """As it cuts what is in flight here."""
    seen = upgraded.daemon.line_count
    upgraded.send(signal.SIGTERM)
    upgraded.daemon.wait_for(WAITS, after=seen)
    upgraded.send(signal.SIGTERM)
    until(lambda: not upgraded.is_there(-1))
    # It is told, too: nobody is left behind.
    until(lambda: not upgraded.is_there(0))


def test_what_ends_two_upgrades_later_is_counted(upgraded: Upgraded) -> None:
    """Each process stays until the one before it has told its last numbers, and tells them on."""
    seen = upgraded.daemon.line_count
    upgraded.upgrade()
    upgraded.daemon.wait_for(WAITS, after=seen)
    assert all(map(upgraded.is_there, range(3)))
    upgraded.answer()
    until(lambda: not (upgraded.is_there(0) or upgraded.is_there(1)))
    assert total(scrape(upgraded.daemon), "http_requests_total", provider="openai", outcome="ok") == 1
    upgraded.send(signal.SIGTERM)
    assert upgraded.daemon.wait() == 0
