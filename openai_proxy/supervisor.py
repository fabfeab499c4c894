"""The parent of several processes: it holds their sockets, starts them, watches over them, and ends them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from openai_proxy.config.settings import Settings
from openai_proxy.observe.certificates import show_certificates
from openai_proxy.observe.families import Families
from openai_proxy.observe.metrics import new_registry
from openai_proxy.observe.operating import OperatingMetrics
from openai_proxy.observe.snapshot import families_of
from openai_proxy.observe.worker_metrics import WorkerMetrics
from openai_proxy.policy.stickiness import Stickiness
from openai_proxy.process.command_line import CommandLine
from openai_proxy.process.drain import CUT
from openai_proxy.process.gossip import MADE, Gossip
from openai_proxy.process.link import Link
from openai_proxy.process.listening import Listeners
from openai_proxy.process.operations import ErrorSeen, Family, InFlight, Reloaded
from openai_proxy.process.peers import Peers, answering
from openai_proxy.process.upgrade import READY, READY_SECONDS, spawn
from openai_proxy.process.worker import DRAIN, END, RETIRE, WORKER

NO_START: Final = 1
"""The exit status of a daemon whose workers do not come to serve."""

YOUNG_SECONDS: Final = 30.0
"""A worker that dies younger is started again after a pause."""

LONGEST_PAUSE_SECONDS: Final = 30.0

KILL_SECONDS: Final = 5.0
"""What a worker has left after it should have ended."""

_OF_THE_PARENT: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "OPENAI_PROXY_PIDFILE")
"""Variables of which a worker has nothing."""


def _right() -> Reloaded:
    """Nothing is wrong."""
    return Reloaded(True, [])


class _Own:
    """What the parent itself does: next to nothing."""

    def __init__(self, registry: Any, check: Callable[[], Reloaded]) -> None:
        self._registry = registry
        self._check = check

    def families(self, names: Collection[str] | None = None) -> Deferred[list[Family]]:
        every = families_of(self._registry)
        return succeed([family for family in every if names is None or family.name in names])

    def in_flight(self) -> Deferred[list[InFlight]]:
        return succeed([])

    def last_errors(self) -> Deferred[list[ErrorSeen]]:
        return succeed([])

    def end(self, request_id: str) -> Deferred[bool]:
        return succeed(False)

    def reload(self) -> Deferred[Reloaded]:
        return succeed(self._check())


class _Life:
    """One worker, from its start to its end."""

    def __init__(self, number: int, began_seconds: float) -> None:
        self.number = number
        self.began_seconds = began_seconds
        self.link: Link | None = None
        self.process: Any = None
        self.serves = False
        self.is_gone = False
        """Nothing comes from it any more."""
        self.status: int | None = None
        """Once it has ended: its exit status, or less than 0: the signal that it died of."""

    @property
    def how(self) -> str:
        """How it ended."""
        assert self.status is not None
        return f"signal {-self.status}" if self.status < 0 else f"exit status {self.status}"


class Supervisor(Service):
    """Starts ``settings.workers`` processes like this one, and others in place of those that end.

    Its sockets are theirs: a connection that comes while one of them dies is taken by another.
    """

    _log = Logger()
    exit_status = 0
    """Of the process, once it has stopped: ``CUT`` if a worker's was that, or it had to be killed."""

    def __init__(
        self,
        settings: Settings,
        reactor: Any,
        command: CommandLine,
        environment: Mapping[str, str],
        *,
        listeners: Listeners,
        served: Callable[[], object] = int,
        check: Callable[[], Reloaded] = _right,
    ) -> None:
        """:param command: that has started this process.
        :param listeners: the ports, which are held for the workers.
        :param served: called once, when all workers serve.
        :param check: what is wrong with the configuration that the workers would read now.
        """
        self.settings = settings
        """Set it when others are in use."""
        self.listeners = listeners
        self._reactor = reactor
        self._command = command.in_foreground
        self._environment = {name: it for name, it in environment.items() if name not in _OF_THE_PARENT}
        self._served: Callable[[], object] | None = served
        self._lives: dict[int, _Life] = {}
        self._died_young: dict[int, int] = {}
        self._calls: list[IDelayedCall] = []
        self.is_ending = False
        """Whether its workers are to end, and none is started any more."""
        self._waiting: list[Deferred[None]] = []
        self.registry = new_registry()
        """The parent's own numbers."""
        self.certificates: dict[str, Callable[[], float]] = {}
        """Of the parent's own listeners; see ``show_certificates``."""
        self._metrics, self.operating = self._numbers()
        self.operations = Peers(reactor, _Own(self.registry, check))
        """Of all workers as one."""
        self.gossip = Gossip(Stickiness(), reactor.seconds)
        """What one worker knows of objects, for the others and for those that come after it."""

    def _numbers(self) -> tuple[WorkerMetrics, OperatingMetrics]:
        families = Families(self.registry)
        show_certificates(families, self.certificates)
        operating = OperatingMetrics(families, time.time)  # noqa: TID251 (of the day, as it is shown)
        operating.begun()
        return WorkerMetrics(families, self._serving), operating

    def _serving(self) -> int:
        return sum(life.serves for life in list(self._lives.values()))

    # The start.

    def startService(self) -> None:
        """Start the workers."""
        super().startService()
        self.operations.start()
        for number in range(1, self.settings.workers + 1):
            self._start(number)

    def _start(self, number: int) -> None:
        life = self._lives[number] = _Life(number, self._reactor.seconds())
        try:
            life.link, life.process = spawn(
                self._reactor,
                self._command,
                {**self._environment, WORKER: str(number)},
                self.listeners.to_hand_down(),
                self._answers(life),
                lambda: self._gone(life),
                lambda _: self._ended(life),
            )
        except OSError as error:
            self._log.error("Worker {number} is not started: {reason}", number=number, reason=error.strerror)
            life.status, life.is_gone = NO_START, True
            self._over(life)
        else:
            self.operations.join(life.link, number)
            self.gossip.join(life.link)
            self._call(READY_SECONDS, self._late, life)

    def _late(self, life: _Life) -> None:
        if not life.serves and life.status is None:
            seconds = f"{READY_SECONDS:g} s"
            self._log.error("Worker {number} does not serve after {s}", number=life.number, s=seconds)
            life.process.signalProcess("KILL")

    def _answers(self, life: _Life) -> Callable[[str, Any], Any]:
        everything = answering(self.operations)

        def answer(what: str, argument: Any) -> Any:
            if what == READY:
                self._ready(life)
            elif what == RETIRE and life.link is not None:
                self.operations.told(life.link, argument)
            elif what == MADE and life.link is not None:
                self.gossip.heard(life.link, argument)
            else:
                return everything(what, argument)
            return None

        return answer

    def _ready(self, life: _Life) -> None:
        life.serves = True
        if self._served is None:
            self._log.info("Worker {number} serves again", number=life.number)
        elif self._serving() == self.settings.workers:
            served, self._served = self._served, None
            served()

    # A worker's end.

    def _gone(self, life: _Life) -> None:
        assert life.link is not None
        life.is_gone, life.serves = True, False
        self.operations.leave(life.link)
        self.gossip.leave(life.link)
        self._over(life)

    def _ended(self, life: _Life) -> None:
        life.status = os.waitstatus_to_exitcode(life.process.status)
        life.serves = False
        self._over(life)

    def _over(self, life: _Life) -> None:
        if life.status is None or not life.is_gone:
            return
        del self._lives[life.number]
        if self.is_ending:
            self._left(life)
        elif self._served is not None:
            self._log.critical("Worker {number} does not serve: {how}", number=life.number, how=life.how)
            self.exit_status = NO_START
            # The others mostly end for the same reason, at the same time.
            self._begin_to_end()
            self._reactor.stop()
        else:
            self._replace(life)

    def _replace(self, life: _Life) -> None:
        number = life.number
        is_young = self._reactor.seconds() - life.began_seconds < YOUNG_SECONDS
        self._died_young[number] = young = self._died_young.get(number, 0) + 1 if is_young else 1
        # At once, then after 1, 2, 4, ... seconds. It may go on for days, and 2.0 ** 1024 is no float.
        pause = 0.0 if young == 1 else min(2.0 ** min(young - 2, 10), LONGEST_PAUSE_SECONDS)
        self._log.error(
            "Worker {number} has ended: {how}; another is started in {pause:g} s",
            number=number,
            how=life.how,
            pause=pause,
        )
        self._metrics.restarts += 1
        self._call(pause, self._start, number)

    # The end.

    def drain(self, grace_seconds: float | None = None) -> Deferred[None]:
        """Every worker ends in good order: fires when all have ended. A second time: they end it now.

        :param grace_seconds: how long the workers still accept connections; None: as the settings say.
        """
        if self.is_ending:
            self._end()
            return succeed(None)
        settings = self.settings.drain
        grace_seconds = settings.grace_seconds if grace_seconds is None else grace_seconds
        self._log.info("The daemon is ending, with {count} workers", count=len(self._lives))
        self._begin_to_end()
        self._tell(DRAIN, grace_seconds)
        # As long as anybody has them open, connections would wait at them for nobody.
        self._call(grace_seconds, self._stop_listening)
        # One that does not react would never end.
        self._call(grace_seconds + settings.timeout_seconds + KILL_SECONDS, self._kill)
        return self._all_ended()

    def stopService(self) -> Deferred[None]:
        """Whatever is left ends now; fires when nothing is."""
        super().stopService()
        self._begin_to_end()
        self._end()
        return self._all_ended().addCallback(lambda _: Deferred.fromCoroutine(self._close()))

    def _begin_to_end(self) -> None:
        self.is_ending = True
        # Nobody is started any more.
        self._forget_calls()

    def _end(self) -> None:
        """They have been waited for long enough."""
        if self._lives:
            self._tell(END)
            self._call(KILL_SECONDS, self._kill)

    def _tell(self, what: str, argument: Any = None) -> None:
        for life in self._lives.values():
            if life.link is not None:
                life.link.tell(what, argument)

    def _kill(self) -> None:
        for life in list(self._lives.values()):
            if life.status is None:
                self._log.error("Worker {number} does not end: it is killed", number=life.number)
                self.exit_status = CUT
                life.process.signalProcess("KILL")

    def _all_ended(self) -> Deferred[None]:
        if not self._lives:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def _left(self, life: _Life) -> None:
        if life.status:
            # A daemon that did not come to serve keeps its own.
            self.exit_status = self.exit_status or CUT
            self._log.warn("Worker {number} has ended: {how}", number=life.number, how=life.how)
        if not self._lives:
            self._forget_calls()
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                one.callback(None)

    def _stop_listening(self) -> None:
        Deferred.fromCoroutine(self.listeners.close_all())

    async def _close(self) -> None:
        self._forget_calls()
        self.operations.stop()
        await self.listeners.close_all()

    def _call(self, seconds: float, call: Callable[..., object], *arguments: object) -> None:
        self._calls = [one for one in self._calls if one.active()]
        self._calls.append(self._reactor.callLater(seconds, call, *arguments))

    def _forget_calls(self) -> None:
        calls, self._calls = self._calls, []
        for call in calls:
            if call.active():
                call.cancel()
