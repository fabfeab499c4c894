"""Lines on their way from the reactor to a file, in batches, by a thread that may wait.

A thread, and not a socket's kind of writing: a disk cannot be asked whether it will wait, and a
pipe that is stdout is shared, so that to make it non-blocking would make the log, the shell and
whoever else writes to it fail. It is a thread of its own, as a thread of the reactor's pool would
be missing there while it waits, and would keep the process from ending.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Final, Protocol

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from openai_proxy.observe.log_file import Loss

FLUSH_SECONDS: Final = 0.25
"""The longest that a line waits before it is handed to the thread."""

FLUSH_BYTES: Final = 64 * 1024
"""So many gathered bytes are handed over at once."""

MAX_WAITING_BYTES: Final = 4 * 1024 * 1024
"""Gathered and not yet written; a line more is dropped. A second of a busy process's lines."""

STOP_SECONDS: Final = 2.0
"""How long the end waits for the last lines: whoever does not read stdout must not keep the daemon."""


class File(Protocol):
    """See :class:`~openai_proxy.observe.log_file.LogFile`; called by one thread at a time."""

    is_stdout: bool

    def open(self) -> None:
        """Raises OSError."""

    def write(self, batch: bytes) -> Loss | None:
        """Append whole lines."""

    def close(self) -> None:
        """Let go of it."""


class LineWriter:
    """Takes lines at once, whatever the file does. A line that cannot be written is dropped and counted."""

    _log = Logger()
    dropped_lines = 0
    """Since the start."""

    def __init__(self, file: File, clock: IReactorTime, call_from_thread: Callable[..., object]) -> None:
        """:param call_from_thread: of the reactor."""
        self._file = file
        self._clock = clock
        self._call_from_thread = call_from_thread
        self._batches: SimpleQueue[bytes | None] = SimpleQueue()
        self._ended: Deferred[None] | None = None
        """None: there is no thread to write."""
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._waiting_lines = 0
        self._waiting_bytes = 0
        """Of what was handed to the thread."""
        self._timer: IDelayedCall | None = None
        self._dropped_before: int | None = None
        """``dropped_lines`` before the first line that was dropped of those that are being dropped."""

    @property
    def is_open(self) -> bool:
        """Whether it takes lines."""
        return self._ended is not None

    def start(self) -> None:
        """Open the file. Raises OSError: that it cannot be written is said at start, not at a request."""
        self._file.open()
        self._ended = Deferred()
        # daemon: one that waits for a reader of stdout must not keep the process.
        Thread(target=self._run, args=(self._ended,), name="access log", daemon=True).start()

    def line(self, line: bytes) -> None:
        """Write a line, with its end in it, within :data:`FLUSH_SECONDS`."""
        if self._ended is None:
            self._lose(1, "it is closed")
            return
        if self._gathered_bytes + self._waiting_bytes + len(line) > MAX_WAITING_BYTES:
            self._lose(1, "they are not taken as fast as they come")
            return
        self._gathered.append(line)
        self._gathered_bytes += len(line)
        if self._gathered_bytes >= FLUSH_BYTES:
            self._flush()
        elif self._timer is None:
            self._timer = self._clock.callLater(FLUSH_SECONDS, self._late)

    async def stop(self) -> None:
        """Write what is left, and close the file; at most :data:`STOP_SECONDS`. No line is taken any more."""
        ended, self._ended = self._ended, None
        if ended is None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._flush()
        self._batches.put(None)
        try:
            await ended.addTimeout(STOP_SECONDS, self._clock)
        except TimeoutError:
            self._lose(self._waiting_lines, "they were not taken before the end")
            self._waiting_lines = self._waiting_bytes = 0
        if not self._file.is_stdout:
            self._say_end()

    def _late(self) -> None:
        self._timer = None
        self._flush()

    def _flush(self) -> None:
        if self._gathered:
            self._waiting_lines += len(self._gathered)
            self._waiting_bytes += self._gathered_bytes
            self._batches.put(b"".join(self._gathered))
            self._gathered = []
            self._gathered_bytes = 0

    def _run(self, ended: Deferred[None]) -> None:
        """The thread."""
        while (batch := self._batches.get()) is not None:
            loss = self._file.write(batch)
            self._call_from_thread(self._written, batch.count(b"\n"), len(batch), loss)
        self._file.close()
        self._call_from_thread(ended.callback, None)

    def _written(self, lines: int, size: int, loss: Loss | None) -> None:
        if not self._waiting_bytes:
            # It was waited for in vain (`stop`), and counted as lost.
            return
        self._waiting_lines -= lines
        self._waiting_bytes -= size
        if loss is not None:
            self._lose(loss.lines, loss.reason)
        elif not self._waiting_bytes:
            # Not before all is written: a slow reader would have us say both lines for every batch.
            self._say_end()

    def _lose(self, lines: int, reason: str) -> None:
        if self._dropped_before is None:
            self._dropped_before = self.dropped_lines
            if not self._file.is_stdout:
                # Our log may be that stdout, and to write to it would be to wait for its reader.
                self._log.warn("The access log drops lines: {reason}", reason=reason)
        self.dropped_lines += lines

    def _say_end(self) -> None:
        if self._dropped_before is not None:
            count = self.dropped_lines - self._dropped_before
            self._dropped_before = None
            self._log.warn("The access log drops no more lines: {count} were dropped", count=count)
