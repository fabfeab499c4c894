"""The file, pipe or stdout that lines are appended to; every call of it may wait."""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Iterator
from typing import Final, NamedTuple

STDOUT: Final = "-"
"""The path that stands for the process's standard output."""

FILE_MODE: Final = 0o640
"""Of a file that is made here; the process's umask takes more away."""

# Not to wait for a reader of a named pipe: without one, opening it is an error (ENXIO).
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
_STDOUT_DESCRIPTOR: Final = 1


class Loss(NamedTuple):
    """Lines that were not written, or not whole."""

    lines: int
    reason: str
    """The system's words: ``No space left on device``."""


class LogFile:
    """Appends lines at a path; a file that was moved or deleted is made anew at the next write.

    No method is safe to be called while another runs. ``write`` never raises.
    """

    def __init__(self, path: str) -> None:
        """:param path: absolute, or :data:`STDOUT`."""
        self.path = path
        self.is_stdout = path == STDOUT
        self._descriptor: int | None = None
        self._identity = (0, 0)
        self._piece_bytes = 0
        self._is_torn = False

    def open(self) -> None:
        """Open it, and make it if it is not there. Raises OSError."""
        if self.is_stdout:
            # sys.stdout is no way to it: twistd makes a log of that.
            descriptor = os.dup(_STDOUT_DESCRIPTOR)
        else:
            descriptor = os.open(self.path, _FLAGS, FILE_MODE)
            os.set_blocking(descriptor, True)
        self.close()
        status = os.fstat(descriptor)
        self._descriptor = descriptor
        self._identity = (status.st_dev, status.st_ino)
        # Into a pipe others may write as well (the daemon's own log does). Of more than PIPE_BUF
        # bytes in one write, theirs may come to stand in the middle of a line (POSIX, write()).
        self._piece_bytes = 0 if stat.S_ISREG(status.st_mode) else select.PIPE_BUF
        self._is_torn = False

    def write(self, batch: bytes) -> Loss | None:
        """Append whole lines; the loss, if not all of them could be written."""
        written = 0
        try:
            descriptor = self._current()
            if self._is_torn:
                # The rest of a line that a full disk cut off must not become part of the next.
                _write_some(descriptor, b"\n")
                self._is_torn = False
            for piece in _pieces(batch, self._piece_bytes):
                end = written + len(piece)
                while written < end:
                    written += _write_some(descriptor, batch[written:end])
        except OSError as error:
            if written:
                self._is_torn = batch[written - 1] != 0x0A
            return Loss(batch.count(b"\n", written), error.strerror or type(error).__name__)
        return None

    def close(self) -> None:
        """Let go of it; ``write`` would open it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _current(self) -> int:
        if self._descriptor is None or self._was_moved():
            self.open()
        assert self._descriptor is not None
        return self._descriptor

    def _was_moved(self) -> bool:
        if self.is_stdout:
            return False
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            return True
        except OSError:
            # A folder that may not be looked into any more: what is open can still be written.
            return False
        return (status.st_dev, status.st_ino) != self._identity


def _pieces(batch: bytes, size: int) -> Iterator[bytes]:
    """``batch`` cut at line ends into pieces of at most ``size`` bytes, but of a line at least; 0: whole."""
    start = 0
    while size and len(batch) - start > size:
        end = (batch.rfind(b"\n", start, start + size) + 1) or (batch.find(b"\n", start) + 1) or len(batch)
        yield batch[start:end]
        start = end
    if start < len(batch):
        yield batch[start:]


def _write_some(descriptor: int, data: bytes) -> int:
    """One write, which waits also where whoever gave us the descriptor has set it not to."""
    while True:
        try:
            return os.write(descriptor, data)
        except BlockingIOError:
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()
