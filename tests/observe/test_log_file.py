"""Appending to files that are moved, deleted, full or pipes."""

from __future__ import annotations

import errno
import os
import select
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from openai_proxy.observe.log_file import LogFile, Loss


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the log is to be."""
    return tmp_path / "access.log"


@pytest.fixture
def file(path: Path) -> Iterator[LogFile]:
    """An opened log."""
    file = LogFile(str(path))
    file.open()
    yield file
    file.close()


def test_it_appends(path: Path) -> None:
    """What was there stays."""
    path.write_bytes(b"old\n")
    file = LogFile(str(path))
    file.open()
    assert file.write(b"1\n2\n") is None
    assert file.write(b"3\n") is None
    file.close()
    assert path.read_bytes() == b"old\n1\n2\n3\n"


def test_others_cannot_read_it(path: Path) -> None:
    """0640, less what the umask takes."""
    before = os.umask(0o022)
    try:
        file = LogFile(str(path))
        file.open()
    finally:
        os.umask(before)
    file.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("where", ["missing/access.log", "."])
def test_what_cannot_be_opened_is_an_error_at_once(tmp_path: Path, where: str) -> None:
    """At start somebody reads it."""
    with pytest.raises(OSError, match=r"."):
        LogFile(str(tmp_path / where)).open()


@pytest.mark.parametrize("how", ["moved", "deleted", "replaced"])
def test_a_file_that_is_gone_is_made_anew(file: LogFile, path: Path, how: str) -> None:
    """As logrotate does it, with no signal to us."""
    file.write(b"1\n")
    if how == "deleted":
        path.unlink()
    else:
        path.rename(path.with_suffix(".1"))
    if how == "replaced":
        path.write_bytes(b"made\n")
    assert file.write(b"2\n") is None
    assert path.read_bytes() == (b"made\n2\n" if how == "replaced" else b"2\n")
    if how != "deleted":
        assert path.with_suffix(".1").read_bytes() == b"1\n"


def test_a_folder_that_is_gone_loses_lines_until_it_is_back(file: LogFile, path: Path) -> None:
    """Each write tries again."""
    folder = path.parent
    folder.rename(folder.with_suffix(".away"))
    assert file.write(b"1\n2\n") == Loss(2, os.strerror(errno.ENOENT))
    folder.mkdir()
    assert file.write(b"3\n") is None
    assert path.read_bytes() == b"3\n"


def test_a_full_disk_loses_lines() -> None:
    """They are counted, with the system's reason."""
    file = LogFile("/dev/full")
    file.open()
    assert file.write(b"1\n2\n") == Loss(2, os.strerror(errno.ENOSPC))
    file.close()


def test_a_line_that_was_cut_off_does_not_spoil_the_next(
    file: LogFile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fills in the middle of a line: the line is lost, and the next begins at a line's begin."""
    room = 6

    def write(descriptor: int, data: bytes) -> int:
        nonlocal room
        if room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = real_write(descriptor, data[:room])
        room -= taken
        return taken

    real_write = os.write
    monkeypatch.setattr(os, "write", write)
    assert file.write(b"one\ntwo\nthree\n") == Loss(2, os.strerror(errno.ENOSPC))
    assert file.write(b"four\n") == Loss(1, os.strerror(errno.ENOSPC))
    room = 100
    assert file.write(b"five\n") is None
    assert file.write(b"six\n") is None
    assert path.read_bytes() == b"one\ntw\nfive\nsix\n"


@pytest.fixture
def fifo(path: Path) -> Iterator[int]:
    """A named pipe at ``path``, and its reader."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    yield reader
    os.close(reader)


def test_a_named_pipe_without_a_reader_is_not_waited_for(path: Path) -> None:
    """To open it would wait for ever."""
    os.mkfifo(path)
    with pytest.raises(OSError, match=os.strerror(errno.ENXIO)):
        LogFile(str(path)).open()


def test_lines_to_a_pipe_are_never_parted(fifo: int, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each write is of whole lines and small enough that nobody else's comes in between."""
    file = LogFile(str(path))
    file.open()
    writes: list[bytes] = []
    real_write = os.write

    def write(descriptor: int, data: bytes) -> int:
        writes.append(data)
        return real_write(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    lines = b"".join(b"%d %b\n" % (number, b"x" * (number * 37 % 900)) for number in range(60))
    assert file.write(lines) is None
    file.close()
    assert os.read(fifo, 1 << 20) == lines == b"".join(writes)
    assert all(len(one) <= select.PIPE_BUF and one.endswith(b"\n") for one in writes)
    assert 1 < len(writes) < 60


def test_a_line_longer_than_a_pipe_writes_at_once_is_written(fifo: int, path: Path) -> None:
    """It cannot be kept in one piece, but it comes."""
    file = LogFile(str(path))
    file.open()
    lines = b"a\n" + b"x" * 5000 + b"\nb\n"
    assert file.write(lines) is None
    file.close()
    assert os.read(fifo, 1 << 20) == lines


def test_a_pipe_that_is_full_is_waited_for(fifo: int, path: Path) -> None:
    """Also where it was set not to block, as a stdout can be by whoever started us."""
    file = LogFile(str(path))
    file.open()
    assert file._descriptor is not None
    os.set_blocking(file._descriptor, False)
    lines = b"x" * 99 + b"\n"
    read = bytearray()

    def read_all() -> None:
        os.set_blocking(fifo, True)
        while len(read) < 4000 * 100:
            read.extend(os.read(fifo, 1 << 16))

    reading = threading.Thread(target=read_all)
    reading.start()
    assert file.write(lines * 4000) is None
    reading.join(20)
    file.close()
    assert bytes(read) == lines * 4000


def test_a_reader_that_left_loses_lines(path: Path) -> None:
    """And one that comes back has the later ones."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    file = LogFile(str(path))
    file.open()
    os.close(reader)
    assert file.write(b"1\n") == Loss(1, os.strerror(errno.EPIPE))
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    assert file.write(b"2\n") is None
    assert os.read(reader, 100) == b"2\n"
    file.close()
    os.close(reader)
