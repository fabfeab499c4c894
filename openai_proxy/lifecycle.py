"""A daemon's life as a process: its signals, its successor, who watches over it, how it exits."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger

from openai_proxy import __version__
from openai_proxy.config.settings import Settings
from openai_proxy.process.accepting import share_fairly
from openai_proxy.process.command_line import CommandLine
from openai_proxy.process.gossip import MADE, Gossip
from openai_proxy.process.link import LINK, Link, LinkEnded, adopt
from openai_proxy.process.listening import Socket
from openai_proxy.process.notify import Notify, Watchdog
from openai_proxy.process.operations import Operations, Reloaded
from openai_proxy.process.peers import answering
from openai_proxy.process.upgrade import PID_FILE, READY, Upgrade
from openai_proxy.process.worker import END, RETIRE, Worker

if TYPE_CHECKING:
    from openai_proxy.service import ProxyService

LAST_WORD_SECONDS: Final = 10.0
"""How long a process that ends waits until its successor has its last numbers."""

END_SECONDS: Final = 30.0
"""What is granted for the end itself, behind a drain."""


class Daemon(Protocol):
    """What lives: one process that serves, or one that watches over others that do."""

    @property
    def settings(self) -> Settings:
        """Those in use."""

    @property
    def exit_status(self) -> int:
        """Of the process, once it has stopped."""

    @property
    def gossip(self) -> Gossip:
        """What its processes tell each other of objects."""

    @property
    def operations(self) -> Operations:
        """Of all its processes, and of those before it that have not ended."""

    def when_serving(self) -> Deferred[None]:
        """Fires when clients are served."""

    @property
    def can_reload(self) -> bool:
        """Whether there is something to read again."""

    def reload(self) -> Deferred[Reloaded]:
        """Read the configuration again."""

    def drain(self) -> Deferred[None]:
        """End in good order; a second time: now. Fires when nothing is left."""

    def hand_over(self) -> Deferred[None]:
        """The same, for another process serves already."""

    def sockets(self) -> list[Socket]:
        """All that are open, for a successor."""

    def follow(self, link: Link) -> None:
        """There is a process before this one, which is about to end."""

    def retire(self, link: Link, families: Any) -> None:
        """Its last numbers: they are counted on here."""

    def followed(self, link: Link) -> None:
        """It has ended."""


class Lifecycle(Service):
    """SIGTERM drains, a second one ends; SIGHUP reloads; SIGUSR2 starts a successor."""

    _log = Logger()
    _is_ending = False
    """A signal has told it to end."""
    _is_replaced = False

    def __init__(
        self,
        reactor: Any,
        daemon: Daemon,
        environment: MutableMapping[str, str],
        twistd: MutableMapping[str, Any],
        command: CommandLine,
    ) -> None:
        """:param twistd: its own options.
        :param command: that has started this process.
        """
        self._reactor = reactor
        self._daemon = daemon
        self._link = _link_of(reactor, environment, self._asked, self._link_ended)
        self._successor: Link | None = None
        self._notify = Notify(environment)
        self._watchdog = Watchdog(reactor, self._notify, environment)
        self._twistd = twistd
        handed = environment.pop(PID_FILE, None)
        self._waiting: list[Deferred[None]] = []
        self._removes_pid_file = handed is not None
        """Whether twistd does not, for its predecessor's did write it."""
        pid_file = twistd.get("pidfile")
        self._pid_file = handed or (os.path.abspath(pid_file) if pid_file else None)
        successors = {**environment, **({PID_FILE: self._pid_file} if self._pid_file else {})}
        self._upgrade = Upgrade(
            reactor, command.by_name, successors, daemon.sockets, self._asked_by_successor, self._replaced
        )
        _begin_process(lambda: daemon.exit_status)
        atexit.register(self._remove_pid_file)

    def privilegedStartService(self) -> None:
        """From now on no reload and no upgrade ends the process: it is done as soon as the reactor runs."""
        super().privilegedStartService()
        # A shell's hang-up ends what it runs, where that has nothing to read again.
        if self._daemon.can_reload or not os.isatty(0):
            _on(self._reactor, signal.SIGHUP, self._reload)
        _on(self._reactor, signal.SIGUSR2, self._upgrade.begin)

    def startService(self) -> None:
        """From now on signals are taken, and whoever waits for this process is told that it serves."""
        super().startService()
        # After the reactor has set its own.
        self._reactor.callWhenRunning(self._running)

    def stopService(self) -> None:
        """Nobody is told anything any more."""
        super().stopService()
        self._watchdog.stop()
        self._notify.close()
        self._upgrade.stop()

    def _running(self) -> None:
        _on(self._reactor, signal.SIGTERM, self._end)
        self._daemon.when_serving().addCallback(lambda _: self._serves())

    def _serves(self) -> None:
        if self._link is not None:
            self._daemon.follow(self._link)
            self._daemon.gossip.join(self._link)
            self._link.tell(READY, os.getpid())
        self._notify.ready(f"openai_proxy {__version__} serves")
        self._watchdog.start()

    def _asked(self, what: str, argument: Any) -> Any:
        """By the process before this one."""
        if what == RETIRE and self._link is not None:
            self._daemon.retire(self._link, argument)
        elif what == MADE and self._link is not None:
            self._daemon.gossip.heard(self._link, argument)

    def _asked_by_successor(self, what: str, argument: Any) -> Any:
        if what == END:
            # Behind the first time, by which it was replaced: it ends now.
            self._daemon.drain()
            return None
        if what == MADE and self._successor is not None:
            self._daemon.gossip.heard(self._successor, argument)
            return None
        return answering(self._daemon.operations)(what, argument)

    def _link_ended(self) -> None:
        """The process before this one is gone."""
        link, self._link = self._link, None
        if link is not None:
            self._daemon.followed(link)
            self._daemon.gossip.leave(link)
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                one.callback(None)

    def _when_alone(self, _: object) -> Deferred[None]:
        """Fires when no process before this one is left: what that counts last, it tells this one."""
        if self._link is None:
            return succeed(None)
        # Were it left, a service manager would kill it and its streams, as the rest of a service that has
        # ended; and nobody would be there for its last numbers.
        if not self._waiting:
            self._log.info("All has ended here; the process before this one is waited for")
        alone: Deferred[None] = Deferred()
        self._waiting.append(alone)
        return alone

    def _hand_over_pid_file(self, pid: int) -> None:
        """It names the successor, which removes it at its end: twistd is to leave it alone."""
        if self._pid_file is None:
            return
        self._twistd["pidfile"] = ""
        self._removes_pid_file = False
        try:
            Path(self._pid_file).write_text(str(pid))
        except OSError as error:
            self._log.warn("{file}: {reason}", file=self._pid_file, reason=error.strerror)

    def _reload(self) -> None:
        self._notify.reloading()
        self._daemon.reload().addCallback(self._reloaded)

    def _reloaded(self, reloaded: Reloaded) -> None:
        said = "with a new configuration" if reloaded.is_done else "as before: the configuration is not right"
        self._notify.ready(f"openai_proxy {__version__} serves {said}")

    def _end(self) -> None:
        drain = self._daemon.settings.drain
        # The unit's file need not know of a drain that the configuration makes longer.
        self._notify.stopping(drain.grace_seconds + drain.timeout_seconds + END_SECONDS)
        self._upgrade.stop()
        is_first, self._is_ending = not self._is_ending, True
        if is_first and self._is_replaced:
            # It drains; what was sent to all processes of the daemon is not meant to cut its streams.
            return
        if self._link is not None and not is_first:
            self._link.tell(END)
        drained = self._daemon.drain()
        if not self._is_replaced:
            drained.addCallback(self._when_alone).addCallback(lambda _: _stop(self._reactor))

    def _replaced(self, link: Link, pid: int) -> None:
        self._is_replaced = True
        self._successor = link
        self._daemon.gossip.join(link)
        self._notify.main_pid(pid)
        self._hand_over_pid_file(pid)
        self._watchdog.stop()
        drained = self._daemon.hand_over()
        drained.addCallback(self._when_alone).addCallback(lambda _: self._say_last_word(link))

    def _say_last_word(self, link: Link) -> None:
        """What was counted here, and before, is the successor's now."""
        said = self._daemon.operations.families()
        said.addCallback(lambda families: link.ask(RETIRE, families))
        said.addTimeout(LAST_WORD_SECONDS, self._reactor)
        said.addErrback(lambda failure: failure.trap(LinkEnded))
        said.addErrback(lambda failure: self._log.failure("The last numbers were not told", failure))
        said.addBoth(lambda _: _stop(self._reactor))

    def _remove_pid_file(self) -> None:
        if self._removes_pid_file and self._pid_file is not None:
            with suppress(OSError):
                os.unlink(self._pid_file)


class WorkerLife(Service):
    """The same of a worker, which its parent leads: by their link, as signals come to all of a daemon."""

    def __init__(self, reactor: Any, service: ProxyService, environment: MutableMapping[str, str]) -> None:
        self._reactor = reactor
        self._service = service
        self._worker = Worker(reactor, int(environment.pop(LINK)), service.own, self._drain, self._end_now)
        service.work_for(self._worker.parent)
        _begin_process(lambda: service.exit_status)

    def privilegedStartService(self) -> None:
        """What is sent to all processes of a daemon, and not for this one, does not end it."""
        super().privilegedStartService()
        for number in (signal.SIGHUP, signal.SIGUSR2):
            _on(self._reactor, number, _nothing)

    def startService(self) -> None:
        """The parent is told when it serves."""
        super().startService()
        self._reactor.callWhenRunning(self._running)

    def _running(self) -> None:
        _on(self._reactor, signal.SIGTERM, self._worker.drain)
        share_fairly(self._service.doors.listeners)
        self._worker.share(self._service.gossip)
        self._worker.ready()

    def _drain(self, grace_seconds: float | None) -> None:
        self._service.drain(grace_seconds).addCallback(lambda _: self._leave())

    def _end_now(self) -> None:
        if self._service.is_draining:
            self._service.drain()
        else:
            self._drain(0)
            self._service.drain()

    def _leave(self) -> None:
        self._worker.leave().addBoth(lambda _: _stop(self._reactor))


def _on(reactor: Any, number: signal.Signals, call: Callable[[], object]) -> None:
    signal.signal(number, lambda *_: reactor.callFromThread(call))


def _stop(reactor: Any) -> None:
    if reactor.running:
        with suppress(ReactorNotRunning):
            reactor.stop()


def _begin_process(exit_status: Callable[[], int]) -> None:
    # Until the reactor runs, nothing has to be stopped, and nothing is there to be changed.
    signal.signal(signal.SIGTERM, _exit)
    # twistd has a status of its own for an end by a signal only.
    atexit.register(_exit_with, exit_status)


def _exit_with(exit_status: Callable[[], int]) -> None:
    status = exit_status()
    if status:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _link_of(
    reactor: Any,
    environment: MutableMapping[str, str],
    answer: Callable[[str, Any], Any],
    ended: Callable[[], None],
) -> Link | None:
    """To the process that has started this one; None: nobody of ours has."""
    said = environment.pop(LINK, None)
    return None if said is None else adopt(reactor, int(said), answer, ended)


def _nothing() -> None:
    """It is not for this process."""


def _exit(*_: Any) -> None:
    raise SystemExit(0)
