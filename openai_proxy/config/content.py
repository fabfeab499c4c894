"""What is in a file that an operator names, whatever is there in its place."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import NoReturn

_PIECE_BYTES = 1024 * 1024


def content_of(path: Path | str, most_bytes: int) -> bytes:
    """All of a file, or of a device that ends. Never waits for anybody.

    Raises OSError, with ``filename`` and ``strerror``: also if it is longer than ``most_bytes``, if it is
    neither of the two, and if it was written while it was read: half a file can be valid, too.
    """
    # A FIFO without a writer would stop the daemon for ever at the opening (fifo(7)).
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        before = os.fstat(descriptor)
        if stat.S_ISDIR(before.st_mode):
            _fail(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if not stat.S_ISREG(before.st_mode) and not stat.S_ISCHR(before.st_mode):
            _fail(errno.EINVAL, "Not a file", path)
        content = _all(descriptor, most_bytes, path)
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    # Not the inode's other times: a file that another one is renamed over is still whole.
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        _fail(
            errno.EBUSY, "Written while it was read: put a new file in its place (rename), or try again", path
        )
    return content


def _all(descriptor: int, most_bytes: int, path: Path | str) -> bytes:
    content = bytearray()
    while len(content) <= most_bytes:
        try:
            piece = os.read(descriptor, min(_PIECE_BYTES, most_bytes + 1 - len(content)))
        except OSError as error:
            _fail(error.errno or 0, error.strerror or "cannot be read", path)
        if not piece:
            return bytes(content)
        content += piece
    _fail(errno.EFBIG, f"longer than {most_bytes} bytes", path)


def _fail(number: int, message: str, path: Path | str) -> NoReturn:
    raise OSError(number, message, os.fspath(path))
