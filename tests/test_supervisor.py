"""Workers are kept going: replaced when they end, not too fast, and ended together."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from msgspec import Raw
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from openai_proxy import supervisor as module
from openai_proxy.config.settings import Drain, Settings
from openai_proxy.process.command_line import CommandLine
from openai_proxy.process.operations import Family, Sample
from openai_proxy.process.upgrade import READY, READY_SECONDS
from openai_proxy.process.worker import DRAIN, END, RETIRE, WORKER
from openai_proxy.supervisor import (
    KILL_SECONDS,
    LONGEST_PAUSE_SECONDS,
    YOUNG_SECONDS,
    Supervisor,
)


class Child:
    """A worker that is no process: its link and its transport."""

    def __init__(self, environment: dict[str, str], answer: Any, gone: Any, ended: Any) -> None:
        self.number = environment[WORKER]
        self.environment = environment
        self.status: int | None = None
        self.told: list[tuple[str, Any]] = []
        self._answer, self._gone, self._ended = answer, gone, ended

    def ready(self) -> None:
        """It serves."""
        self._answer(READY, 1)

    def say(self, what: str, argument: Any = None) -> Any:
        """It tells or asks its parent."""
        return self._answer(what, argument)

    def ask(self, what: str, argument: Any = None, kind: Any = None) -> Deferred[Any]:
        # No families.
        return succeed(b"\x90") if kind is Raw else succeed([])

    def tell(self, what: str, argument: Any = None) -> None:
        self.told.append((what, argument))

    def end(self, status: int) -> None:
        """As ``waitpid`` says it."""
        self.status = status
        self._gone()
        self._ended("somehow")

    def signalProcess(self, name: str) -> None:  # noqa: N802
        assert name == "KILL"
        self.end(signal.SIGKILL)


class Ports:
    """Listeners that hold one socket."""

    are_open = True

    def to_hand_down(self) -> list[tuple[str, int]]:
        return [("tcp:80", 5)]

    async def close_all(self) -> None:
        self.are_open = False


class Reactor(Clock):
    """A clock that can be stopped."""

    stops = 0

    def stop(self) -> None:
        self.stops += 1


class Made:
    """A supervisor over a clock, and the children that it has started, the latest last."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.clock = Reactor()
        self.ports: Any = Ports()
        self.children: list[Child] = []
        self.fails = False
        self.served = 0
        self.it = self._of(2)
        monkeypatch.setattr(module, "spawn", self._spawn)

    def _of(self, workers: int) -> Supervisor:
        return Supervisor(
            Settings(workers=workers, drain=Drain(1, 10)),
            self.clock,
            CommandLine(("python", "twistd", "openaiproxy"), "/"),
            {"HOME": "/", "NOTIFY_SOCKET": "/run/notify"},
            listeners=self.ports,
            served=self._serves,
        )

    def _serves(self) -> None:
        self.served += 1

    def _spawn(
        self, reactor: Any, command: CommandLine, environment: dict[str, str], sockets: Any, *calls: Any
    ) -> Any:
        assert command.child == ("python", "twistd", "--nodaemon", "--pidfile=", "openaiproxy")
        assert sockets == [("tcp:80", 5)]
        if self.fails:
            raise OSError(11, "Resource temporarily unavailable")
        child = Child(environment, *calls)
        self.children.append(child)
        return child, child

    def start(self, count: int) -> list[Child]:
        """All of them."""
        self.it = self._of(count)
        self.it.startService()
        return self.children

    def serving(self, count: int) -> list[Child]:
        """All of them, and they serve."""
        for child in self.start(count):
            assert not self.served
            child.ready()
        assert self.served == 1
        return self.children

    def stop(self) -> list[None]:
        """What tells that it has stopped."""
        over: list[None] = []
        self.it.stopService().addCallback(over.append)
        return over

    def drain(self) -> list[None]:
        """The same of its drain."""
        over: list[None] = []
        self.it.drain().addCallback(over.append)
        return over

    def numbers(self) -> dict[str, float]:
        """The first of each family."""
        families: list[Family] = []
        self.it.operations.families().addCallback(families.extend)
        return {one.name: one.samples[0].value for one in families if one.samples}


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    """A supervisor of nobody yet."""
    return Made(monkeypatch)


def test_all_are_started_and_know_who_they_are(made: Made) -> None:
    """The start is over when the last one serves; none has what is the parent's alone."""
    children = made.serving(3)
    assert [child.environment for child in children] == [
        {"HOME": "/", WORKER: "1"},
        {"HOME": "/", WORKER: "2"},
        {"HOME": "/", WORKER: "3"},
    ]
    assert made.numbers()["openai_proxy_workers"] == 3


def test_one_that_ends_before_all_serve_ends_the_start(made: Made) -> None:
    """A daemon that cannot serve says so, and does not try for ever."""
    made.start(2)[0].ready()
    made.children[1].end(1 << 8)
    assert (made.clock.stops, made.it.exit_status, made.served) == (1, 1, 0)


def test_all_that_cannot_serve_end_the_start_once(made: Made) -> None:
    """They mostly fail for the same reason, at the same time: nobody is started again, and it is no cut."""
    for child in made.start(3):
        child.end(1 << 8)
    over = made.stop()
    made.clock.advance(READY_SECONDS + LONGEST_PAUSE_SECONDS)
    assert (made.clock.stops, made.it.exit_status, len(made.children), over) == (1, 1, 3, [None])


def test_one_that_never_comes_to_serve_is_killed(made: Made) -> None:
    """At the start, which has failed then, and later, when it is replaced by one that may."""
    made.start(2)[0].ready()
    made.clock.advance(READY_SECONDS)
    assert (made.children[1].status, made.it.exit_status) == (signal.SIGKILL, 1)
    made = Made(made.monkeypatch)
    made.serving(1)
    made.children[0].end(0)
    made.clock.advance(0)
    made.clock.advance(READY_SECONDS)
    assert made.children[1].status == signal.SIGKILL
    made.clock.advance(0)
    made.children[2].ready()
    made.clock.advance(READY_SECONDS)
    assert made.children[2].status is None and len(made.children) == 3


def test_one_that_dies_for_days_is_still_replaced(made: Made) -> None:
    """Whatever it dies of may be put right on Monday."""
    made.serving(1)
    for _ in range(1100):
        count = len(made.children)
        made.children[-1].end(signal.SIGSEGV)
        made.clock.advance(LONGEST_PAUSE_SECONDS)
        assert len(made.children) == count + 1


def test_one_that_ends_is_replaced_at_once_and_then_after_pauses(made: Made) -> None:
    """A worker that dies young again and again does not take the machine with it."""
    made.serving(1)
    pauses = []
    for _ in range(9):
        count, waited = len(made.children), 0.0
        made.children[-1].end(signal.SIGKILL)
        made.clock.advance(0)
        while len(made.children) == count:
            made.clock.advance(0.5)
            waited += 0.5
        pauses.append(waited)
        made.children[-1].ready()
    assert pauses == [0, 1, 2, 4, 8, 16, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS]
    made.clock.advance(YOUNG_SECONDS)
    made.children[-1].end(0)
    made.clock.advance(0)
    assert (len(made.children), made.children[-1].number, made.served) == (11, "1", 1)
    assert made.numbers()["openai_proxy_worker_restarts"] == 10


def test_one_that_cannot_be_started_again_is_tried_again(made: Made) -> None:
    """A machine without room for a process may have some later."""
    made.serving(1)
    made.fails = True
    made.children[0].end(0)
    made.clock.advance(0)
    made.fails = False
    made.clock.advance(1)
    assert len(made.children) == 2


def test_a_worker_may_ask_for_all_and_leaves_what_it_counted(made: Made) -> None:
    """Also for some numbers by their names, as the page of a shared port does."""
    one, two = made.serving(2)
    one.say(RETIRE, [["requests", "counter", "Some.", [["requests_total", [], 7.0, None]]]])
    came: list[list[Family]] = []
    two.say("families", ["requests"]).addCallback(came.append)
    counted = Family("requests", "counter", "Some.", [Sample("requests_total", (), 7.0)])
    assert came == [[counted]]
    one.end(0)
    made.clock.advance(0)
    two.say("families", ["requests"]).addCallback(came.append)
    assert came[1:] == [[counted]]


def test_all_end_in_good_order(made: Made) -> None:
    """Each is told to drain, and waited for; none is replaced; sockets are open as long as they listen."""
    one, two = made.serving(2)
    over = made.drain()
    assert one.told == two.told == [(DRAIN, 1)]
    one.end(0)
    assert not over and made.ports.are_open
    made.clock.advance(1)
    assert not made.ports.are_open
    two.end(0)
    assert over == made.stop() == [None]
    assert made.it.exit_status == 0 and len(made.children) == 2
    assert not made.clock.getDelayedCalls()


def test_an_end_takes_as_long_as_the_settings_say_that_are_in_use_then(made: Made) -> None:
    """Not those that were in use at the start: a longer drain is not cut short by a kill."""
    (one,) = made.serving(1)
    made.it.settings = Settings(drain=Drain(2, 100))
    over = made.drain()
    assert one.told == [(DRAIN, 2)]
    made.clock.advance(2 + 100 + KILL_SECONDS - 1)
    assert not over and one.status is None
    one.end(0)
    assert over == made.stop() == [None]


def test_what_a_worker_cut_off_is_known(made: Made) -> None:
    """Its exit status is the daemon's."""
    (one,) = made.serving(1)
    over = made.drain()
    one.end(3 << 8)
    assert over == [None] and made.it.exit_status == 3


def test_one_that_does_not_end_is_killed(made: Made) -> None:
    """Some seconds after it should have ended, by itself or because it was told to."""
    one, two = made.serving(2)
    over = made.drain()
    one.end(0)
    made.clock.advance(10 + KILL_SECONDS)
    assert not over
    again = made.stop()
    assert two.told == [(DRAIN, 1), (END, None)]
    made.clock.advance(KILL_SECONDS)
    assert over == again == [None] and made.it.exit_status == 3
    assert not made.clock.getDelayedCalls()


def test_one_that_waits_to_be_started_is_not(made: Made) -> None:
    """A daemon that ends starts nobody."""
    made.serving(1)
    made.children[0].end(0)
    assert made.stop() == [None]
    made.clock.advance(100)
    assert len(made.children) == 1
