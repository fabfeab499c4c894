"""What the daemon says of itself, on stdout, where nobody chose another observer."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable, Mapping
from threading import Timer
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.logger import ILogObserver, LogEvent, LogLevel
from zope.interface import implementer

from openai_proxy.config.settings import Logging
from openai_proxy.process.log_form import FORMS, level_of
from openai_proxy.process.log_outlet import Outlet
from openai_proxy.process.repeats import Repeats

_STDOUT = 1


@implementer(ILogObserver)
class DaemonLog:
    """Writes what is at its level or above, in its form. It never raises, and never waits."""

    _last: float | None = None
    """When the last event was."""

    def __init__(
        self,
        logging: Logging,
        descriptor: int | None,
        later: Callable[[float, Callable[[], None]], None] | None = None,
    ) -> None:
        self._least = LogLevel.lookupByName(logging.level)
        self._form = FORMS[logging.format]
        self._outlet = Outlet(descriptor, self._loss_line)
        self._repeats = Repeats(self._write, later or _in_a_thread)

    def __call__(self, event: LogEvent) -> None:
        if level_of(event) < self._least:
            return
        try:
            self._repeats(event)
        except Exception as error:
            # Twisted would take an observer that raises off the log, for good.
            self._outlet.write(f"An event of the log could not be written: {type(error).__name__}\n".encode())

    def flush(self) -> None:
        """Say what was only counted, and wait a little until all of it is written."""
        self._repeats.sum_up()
        self._outlet.flush()

    def _write(self, event: LogEvent) -> None:
        line = self._form(event)
        self._last = event.get("log_time")
        if line:
            # A file's name, say, may have bytes that are no text.
            self._outlet.write(line.encode("utf-8", "backslashreplace"))

    def _loss_line(self, lines: int, reason: str) -> bytes:
        event: LogEvent = {
            "log_format": "{lines} lines of the log were lost: {reason}",
            "log_level": LogLevel.warn,
            "log_namespace": __name__,
            "log_time": self._last,
            "lines": lines,
            "reason": reason,
        }
        return self._form(event).encode("ascii", "backslashreplace")


def _in_a_thread(seconds: float, function: Callable[[], None]) -> None:
    # Not by the reactor: it may not run yet, or any more, and any thread logs.
    timer = Timer(seconds, function)
    timer.daemon = True
    timer.start()


def to_stdout(logging: Logging) -> DaemonLog:
    """The log on the standard output as it is now."""
    descriptor = None
    # Where it was closed at the start, its number is that of something else by now.
    if sys.__stdout__ is not None:
        try:
            descriptor = os.dup(_STDOUT)
        except OSError:
            pass
    log = DaemonLog(logging, descriptor)
    atexit.register(log.flush)
    return log


class _Logged(MultiService):
    """A service, and the log of the application that it becomes a part of."""

    def __init__(self, service: IService, logging: Logging) -> None:
        super().__init__()
        self._logging = logging
        service.setServiceParent(self)

    def setServiceParent(self, parent: Any) -> None:
        """twistd takes the application's observer in place of its own, if there is one by now."""
        parent.setComponent(ILogObserver, to_stdout(self._logging))
        super().setServiceParent(parent)


def with_log(service: IService, options: Mapping[str, Any] | None, logging: Logging) -> IService:
    """The service, and where the log is ours its log too; ``options`` are twistd's, if there are any."""
    return _Logged(service, logging) if is_ours(options) else service


def is_ours(options: Mapping[str, Any] | None) -> bool:
    """Whether the log is ours to write, by twistd's options: it stays in the foreground, and nobody chose a
    file, syslog or an observer of theirs.
    """
    if options is None or not options.get("nodaemon"):
        return False
    return not (options.get("syslog") or options.get("logger")) and options.get("logfile") in (None, "", "-")
