"""A successor of this process: started with its sockets, and taken at its word that it serves."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.error import ProcessDone
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from openai_proxy.process.command_line import CommandLine
from openai_proxy.process.link import LINK, Link, adopt
from openai_proxy.process.listening import Socket, environment_of

READY: Final = "ready"
"""What a child tells on its link when it serves, with its process's number."""
READY_SECONDS: Final = 60.0
"""How long a child has for that; then it is taken for one that never will."""
PID_FILE: Final = "OPENAI_PROXY_PIDFILE"
"""The variable that tells a successor where its predecessor's number stands, to be its own later."""

_LINK_FD: Final = 3
"""A child's: the first behind its standard streams. Its sockets follow."""
_OF_ONE_PROCESS: Final = ("LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "WATCHDOG_PID")
"""Variables that are meant for the process that systemd has started, and no other."""


class _Child(ProcessProtocol):
    def __init__(self, ended: Callable[[Failure], None]) -> None:
        self._ended = ended

    def processEnded(self, reason: Failure) -> None:
        self._ended(reason)


def spawn(
    reactor: Any,
    command: CommandLine,
    environment: Mapping[str, str],
    sockets: list[Socket],
    answer: Callable[[str, Any], Any],
    gone: Callable[[], None],
    ended: Callable[[Failure], None],
) -> tuple[Link, Any]:
    """Start a process like this one with these sockets; a link to it, and its transport.

    :param answer: see ``Link``.
    :param gone: called when the other end of the link is closed.
    :param ended: called with how the process ended: ProcessDone or ProcessTerminated. One that makes itself
        a daemon ends before it serves.
    """
    ours, theirs = socket.socketpair()
    numbers = {fd: _LINK_FD + 1 + place for place, (_, fd) in enumerate(sockets)}
    child_fds: dict[int, int | str] = {0: 0, 1: 1, 2: 2, _LINK_FD: theirs.fileno()}
    child_fds |= {number: fd for fd, number in numbers.items()}
    variables = {name: value for name, value in environment.items() if name not in _OF_ONE_PROCESS}
    variables |= {LINK: str(_LINK_FD), **environment_of(sockets, numbers)}
    try:
        process = reactor.spawnProcess(
            _Child(ended), command.child[0], command.child, variables, command.folder, childFDs=child_fds
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return adopt(reactor, ours.detach(), answer, gone), process


class Upgrade:
    """One attempt at a time. Until the successor serves nothing has changed."""

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        command: CommandLine,
        environment: Mapping[str, str],
        sockets: Callable[[], list[Socket]],
        answer: Callable[[str, Any], Any],
        replaced: Callable[[Link, int], None],
    ) -> None:
        """:param environment: of the successor.
        :param sockets: what it is handed.
        :param answer: what it asks; see ``Link``.
        :param replaced: called when it serves, with the link to it and its number.
        """
        self._reactor = reactor
        self._command = command
        self._environment = environment
        self._sockets = sockets
        self._answer = answer
        self._replaced = replaced
        self._link: Link | None = None
        self._process: Any = None
        self._timeout: IDelayedCall | None = None
        self._is_done = False
        self._is_stopped = False

    def begin(self) -> None:
        """Start the successor."""
        if os.getpid() == 1:
            self._log.error("No upgrade: a container ends with its first process; start another container")
        elif self._is_done or self._link is not None:
            self._log.warn("No upgrade: one is under way")
        elif self._is_stopped:
            # Its sockets are closed or about to be, and a successor would have its streams cut.
            self._log.warn("No upgrade: this process ends")
        else:
            self._log.info("Upgrade: a successor is started")
            self._start()

    def _start(self) -> None:
        try:
            self._link, self._process = spawn(
                self._reactor,
                self._command,
                self._environment,
                self._sockets(),
                self._asked,
                self._gone,
                self._ended,
            )
        except OSError as error:
            self._log.error("No upgrade: {reason}", reason=error.strerror)
            return
        self._timeout = self._reactor.callLater(READY_SECONDS, self._late)

    def _asked(self, what: str, argument: Any) -> Any:
        if what != READY:
            return self._answer(what, argument)
        if not self._is_done and self._link is not None:
            self._is_done = True
            self._forget_timeout()
            self._log.info("Upgrade: process {pid} serves now", pid=argument)
            self._replaced(self._link, int(argument))
        return None

    def _late(self) -> None:
        self._timeout = None
        self._failed(f"it did not serve within {READY_SECONDS:g} s")
        self._kill()

    def _kill(self) -> None:
        if self._process is not None and self._process.pid is not None:
            self._process.signalProcess("KILL")

    def _ended(self, how: Failure) -> None:
        self._process = None
        # One that has made itself a daemon is done so, and serves later.
        if how.check(ProcessDone) is None:
            self._failed(str(how.value).rstrip("."))

    def _gone(self) -> None:
        self._failed("it ended before it served")

    def _failed(self, why: str) -> None:
        """Once for each attempt; this process goes on as if there had been none."""
        link, self._link = self._link, None
        self._forget_timeout()
        if link is None or self._is_done:
            return
        link.close()
        self._log.error("The upgrade failed, and nothing has changed: {why}", why=why)

    def _forget_timeout(self) -> None:
        timeout, self._timeout = self._timeout, None
        if timeout is not None:
            timeout.cancel()

    def stop(self) -> None:
        """Nobody waits for a successor any more, nor is one started; one that does not serve yet ends with
        its link.
        """
        self._is_stopped = True
        if not self._is_done and self._link is not None:
            self._failed("this process ends")
            self._kill()
