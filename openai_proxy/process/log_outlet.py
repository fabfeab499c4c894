"""A descriptor that the log is written to: whatever it does, nothing waits for it and nothing fails."""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Callable
from threading import RLock, Thread
from typing import Final

MAX_WAITING_BYTES: Final = 1024 * 1024
"""Written when whoever reads takes it; a line more is lost."""
FLUSH_SECONDS: Final = 2.0
"""How long the process's end waits for what is not taken yet."""


class Outlet:
    """Takes lines from any thread. What cannot be written is counted, and said before the next line that can.

    A line is written at once, as it was before a process is killed. Only while a pipe is full a thread writes
    in our stead, and waits.
    """

    lost_lines = 0
    """Since it was last said."""
    _reason = ""
    _is_torn = False
    """Whether the last that was written is a part of a line."""

    def __init__(self, descriptor: int | None, loss_line: Callable[[int, str], bytes]) -> None:
        """:param descriptor: it is this object's own from now on; None: there is none, and all is lost.
        :param loss_line: a line that says how many were lost, and why.
        """
        self._descriptor = descriptor
        self.loss_line = loss_line
        # Reentrant: a signal's handler may log while the thread that it interrupts does.
        self._lock = RLock()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._thread: Thread | None = None
        self._poll = select.poll()
        if descriptor is not None:
            self._poll.register(descriptor, select.POLLOUT)

    def write(self, line: bytes) -> None:
        """One line, with its end in it (it may have further ones in it)."""
        descriptor = self._descriptor
        if descriptor is None:
            return
        with self._lock:
            left: bytes | None = line
            if self._thread is None:
                lost = self.lost_lines
                left = self._write_now(descriptor, self._mended(line, lost))
                if left is not None:
                    self.lost_lines -= lost
            if left is None:
                self.lost_lines += 1
            elif left:
                self._wait(descriptor, left)

    def _mended(self, line: bytes, lost: int) -> bytes:
        """Behind what was left of another, and what is to be said of those that were lost."""
        if lost:
            line = self.loss_line(lost, self._reason) + line
        return b"\n" + line if self._is_torn else line

    def flush(self, seconds: float = FLUSH_SECONDS) -> None:
        """Wait until all is written, but no longer than that."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def _write_now(self, descriptor: int, data: bytes) -> bytes | None:
        """Write as much as is taken at once; what is left, or None if it cannot be written."""
        try:
            while data:
                # Of PIPE_BUF bytes or less, poll says whether a write waits (POSIX, write()).
                if not self._poll.poll(0):
                    return data
                data = self._write_piece(descriptor, data)
        except BlockingIOError:
            return data
        except OSError as error:
            self._reason = error.strerror or type(error).__name__
            return None
        return data

    def _write_piece(self, descriptor: int, data: bytes) -> bytes:
        written = os.write(descriptor, data[: select.PIPE_BUF])
        self._is_torn = data[written - 1] != 0x0A
        return data[written:]

    def _wait(self, descriptor: int, data: bytes) -> None:
        if self._waiting_bytes + len(data) > MAX_WAITING_BYTES:
            self._reason = "they were not read"
            self.lost_lines += 1
            return
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if self._thread is None:
            # daemon: who does not read must not keep the process.
            self._thread = Thread(target=self._run, args=(descriptor,), name="log", daemon=True)
            self._thread.start()

    def _run(self, descriptor: int) -> None:
        """The thread: until nothing waits."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return
                data = self._waiting.popleft()
                self._waiting_bytes -= len(data)
            self._wait_and_write(descriptor, data)

    def _wait_and_write(self, descriptor: int, data: bytes) -> None:
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        while data:
            poll.poll()
            try:
                data = self._write_piece(descriptor, data)
            except BlockingIOError:
                continue
            except OSError as error:
                with self._lock:
                    self._reason = error.strerror or type(error).__name__
                    self.lost_lines += 1
                return
