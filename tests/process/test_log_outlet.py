"""Where the log is written to: a pipe that nobody reads, a disk that is full, a reader that is gone."""

from __future__ import annotations

import fcntl
import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from openai_proxy.process.log_outlet import MAX_WAITING_BYTES, Outlet

PIPE_BYTES = 4096


def said(lines: int, reason: str) -> bytes:
    return f"lost {lines}: {reason}\n".encode()


class Pipe:
    """A small one, of which nothing is read before ``read``."""

    def __init__(self) -> None:
        self.reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.writer = writer
        self.outlet = Outlet(writer, said)

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = os.read(self.reader, size - len(data))
            assert piece
            data += piece
        return data

    def close(self) -> None:
        self.outlet.flush(20)
        for descriptor in (self.reader, self.writer):
            try:
                os.close(descriptor)
            except OSError:
                pass


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def test_a_line_is_written_at_once(pipe: Pipe) -> None:
    """It is there before the process is killed."""
    pipe.outlet.write(b"one\n")
    assert os.read(pipe.reader, 100) == b"one\n"


def test_a_full_pipe_keeps_nobody(pipe: Pipe) -> None:
    """What comes meanwhile is written in order when somebody reads; after that no thread is left."""
    lines = [b"%05d %b\n" % (number, b"x" * 1000) for number in range(50)]
    for line in lines:
        pipe.outlet.write(line)
    whole = b"".join(lines)
    assert pipe.read(len(whole)) == whole
    pipe.outlet.flush(20)
    pipe.outlet.write(b"after\n")
    assert pipe.read(6) == b"after\n"
    assert "log" not in {thread.name for thread in threading.enumerate()}


def test_a_line_longer_than_a_pipe_is_whole(pipe: Pipe) -> None:
    """Written piece by piece, as it is read."""
    line = b"y" * 100_000 + b"\n"
    pipe.outlet.write(line)
    assert pipe.read(len(line)) == line


def test_what_waits_has_a_bound_and_the_loss_is_said(pipe: Pipe) -> None:
    """A reader that comes back is told how many lines it has missed."""
    line = b"z" * 9_999 + b"\n"
    for _ in range(200):
        pipe.outlet.write(line)
    assert 200 - MAX_WAITING_BYTES // len(line) - 3 <= pipe.outlet.lost_lines < 200
    lost = pipe.outlet.lost_lines
    pipe.read((200 - lost) * len(line))
    pipe.outlet.flush(20)
    pipe.outlet.write(b"after\n")
    expected = said(lost, "they were not read") + b"after\n"
    assert pipe.read(len(expected)) == expected


def test_a_reader_that_is_gone_is_a_loss(pipe: Pipe) -> None:
    """Nothing is raised, whether it goes before a line or while one waits."""
    pipe.outlet.write(b"w" * 20_000 + b"\n")
    os.close(pipe.reader)
    pipe.outlet.flush(20)
    pipe.outlet.write(b"one\n")
    assert pipe.outlet.lost_lines >= 1


def test_a_full_disk_is_a_loss() -> None:
    """It is said when there is room again."""
    with open("/dev/full", "wb", buffering=0) as full:
        outlet = Outlet(full.fileno(), said)
        for _ in range(3):
            outlet.write(b"line\n")
        assert (outlet.lost_lines, outlet._reason) == (3, "No space left on device")


def test_without_a_descriptor_all_is_lost() -> None:
    """A daemon whose stdout was closed at its start runs on."""
    outlet = Outlet(None, said)
    outlet.write(b"line\n")
    outlet.flush()


def test_a_nonblocking_descriptor_is_waited_for_too(pipe: Pipe) -> None:
    """Others share it, and one of them may have made it so."""
    os.set_blocking(pipe.writer, False)
    data = b"v" * 30_000 + b"\n"
    pipe.outlet.write(data)
    assert pipe.read(len(data)) == data


def test_a_torn_line_is_not_part_of_the_next(tmp_path: Path) -> None:
    """A disk that is full in the middle of one."""
    path = tmp_path / "log"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with path.open("wb", buffering=0) as file:
            outlet = Outlet(file.fileno(), said)
            outlet.write(b"0123456789abc\n")
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            outlet.write(b"next\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"0123456789\nlost 1: File too large\nnext\n"
