"""systemd hears what the daemon says; where it does not listen, nothing happens."""

from __future__ import annotations

import os
import re
import resource
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from openai_proxy.process.notify import Notify, Watchdog


class Manager:
    """A socket such as systemd's."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(address)
        self.environment = {"NOTIFY_SOCKET": address.replace("\0", "@")}

    def heard(self) -> list[str]:
        """Each datagram that has come."""
        heard = []
        try:
            while True:
                heard.append(self._socket.recv(4096).decode())
        except BlockingIOError:
            return heard

    def close(self) -> None:
        """No longer there; its file, if it has one, still is."""
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    """Both forms of its address."""
    name = tmp_path / "notify"
    made = Manager(str(name) if request.param == "path" else f"\0{name}")
    yield made
    made.close()


Telling = Callable[[Mapping[str, str]], Notify]


@pytest.fixture
def telling() -> Iterator[Telling]:
    """Makes what is tested, and closes it at the end."""
    with ExitStack() as made:

        def make(environment: Mapping[str, str]) -> Notify:
            return made.enter_context(closing(Notify(environment)))

        yield make


def test_each_word_is_a_datagram(manager: Manager, telling: Telling) -> None:
    """READY, STOPPING, STATUS and MAINPID as sd_notify(3) writes them."""
    notify = telling(manager.environment)
    assert notify.has_manager
    notify.ready("serving at tcp:8080")
    notify.status("draining")
    notify.stopping(630.5)
    notify.main_pid(4711)
    notify.watchdog()
    assert manager.heard() == [
        "READY=1\nSTATUS=serving at tcp:8080",
        "STATUS=draining",
        "STOPPING=1\nEXTEND_TIMEOUT_USEC=630500000",
        "MAINPID=4711\nWATCHDOG=1",
        "WATCHDOG=1",
    ]


def test_a_reload_says_when_it_began(manager: Manager, telling: Telling) -> None:
    """By the clock that systemd compares with, in microseconds."""
    before = time.monotonic_ns() // 1000
    telling(manager.environment).reloading()
    (said,) = manager.heard()
    found = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", said)
    assert found and before <= int(found[1]) <= time.monotonic_ns() // 1000


def test_a_status_cannot_say_more_than_a_status(manager: Manager, telling: Telling) -> None:
    """A line end in it makes no second assignment."""
    telling(manager.environment).status("one\nMAINPID=1\r\ntwo")
    assert manager.heard() == ["STATUS=one MAINPID=1 two"]


@pytest.mark.parametrize(
    "said", [None, "", "relative", "vsock:2:1", "/not/there", "@not-there", "/" + "x" * 200]
)
def test_without_a_manager_nothing_happens(said: str | None, telling: Telling) -> None:
    """No variable, one of another kind, or a socket that is not there."""
    notify = telling({} if said is None else {"NOTIFY_SOCKET": said})
    notify.ready("serving")
    notify.reloading()
    notify.stopping(630.5)


def test_a_manager_that_has_gone_is_no_failure(tmp_path: Path, telling: Telling) -> None:
    """Its file is left, and nobody reads."""
    manager = Manager(str(tmp_path / "notify"))
    manager.close()
    telling(manager.environment).ready("serving")


def test_a_manager_that_does_not_read_stops_nobody(tmp_path: Path, telling: Telling) -> None:
    """Its queue is full: what comes then is dropped, and the sender goes on."""
    manager = Manager(str(tmp_path / "notify"))
    try:
        notify = telling(manager.environment)
        # net.unix.max_dgram_qlen is 10 to 512.
        sent = 2000
        for _ in range(sent):
            notify.watchdog()
        heard = manager.heard()
        assert 0 < len(heard) < sent
        notify.stopping(630.5)
        assert manager.heard() == ["STOPPING=1\nEXTEND_TIMEOUT_USEC=630500000"]
    finally:
        manager.close()


@pytest.mark.parametrize("pid", [None, str(os.getpid())])
def test_the_watchdog_is_petted_at_half_its_time(tmp_path: Path, pid: str | None, telling: Telling) -> None:
    """At once, then from the reactor, until it is stopped."""
    manager = Manager(str(tmp_path / "notify"))
    try:
        clock = Clock()
        environment = {**manager.environment, "WATCHDOG_USEC": "30000000"}
        if pid is not None:
            environment["WATCHDOG_PID"] = pid
        watchdog = Watchdog(clock, telling(environment), environment)
        watchdog.start()
        watchdog.start()
        assert manager.heard() == ["WATCHDOG=1"]
        clock.advance(14.9)
        assert manager.heard() == []
        clock.pump([0.1, 15, 15])
        assert manager.heard() == ["WATCHDOG=1"] * 3
        watchdog.stop()
        watchdog.stop()
        clock.advance(60)
        assert manager.heard() == []
        assert clock.getDelayedCalls() == []
    finally:
        manager.close()


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"WATCHDOG_USEC": ""},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "-5"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "me"},
    ],
)
def test_who_is_not_watched_pets_nobody(said: dict[str, str], telling: Telling) -> None:
    """Without its variables, with values that are none, or where another process is watched."""
    clock = Clock()
    environment = {"NOTIFY_SOCKET": "@nobody-is-here", **said}
    watchdog = Watchdog(clock, telling(environment), environment)
    watchdog.start()
    assert watchdog.interval_seconds is None
    assert clock.getDelayedCalls() == []
    watchdog.stop()


def test_without_a_manager_there_is_no_watchdog(telling: Telling) -> None:
    """Not a call of the reactor is spent."""
    clock = Clock()
    Watchdog(clock, telling({}), {"WATCHDOG_USEC": "30000000"}).start()
    assert clock.getDelayedCalls() == []


def test_words_go_out_when_no_descriptor_is_left(manager: Manager, telling: Telling) -> None:
    """A daemon that has used up its descriptors still pets its watchdog: it is not ended for that."""
    notify = telling(manager.environment)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(OSError):
            os.pipe()
        notify.watchdog()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert manager.heard() == ["WATCHDOG=1"]


def test_a_manager_that_comes_back_is_told_again(tmp_path: Path, telling: Telling) -> None:
    """systemd makes its socket anew when it is started again itself."""
    first = Manager(str(tmp_path / "notify"))
    notify = telling(first.environment)
    first.close()
    (tmp_path / "notify").unlink()
    notify.watchdog()
    second = Manager(str(tmp_path / "notify"))
    notify.watchdog()
    assert second.heard() == ["WATCHDOG=1"]
    second.close()


def test_half_a_character_is_no_failure(manager: Manager, telling: Telling) -> None:
    """The name of a file may hold bytes that are no UTF-8."""
    telling(manager.environment).status(os.fsdecode(b"/etc/\xff"))
    assert manager.heard() == ["STATUS=/etc/?"]


def test_closed_it_tells_nobody(manager: Manager, telling: Telling) -> None:
    """And it can be closed twice."""
    notify = telling(manager.environment)
    notify.close()
    notify.close()
    notify.stopping(630.5)
    assert manager.heard() == []
