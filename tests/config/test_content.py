"""What is in a file, whatever is there in its place."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from openai_proxy.config.content import content_of

MOST = 3_000_000
read = os.read


@pytest.mark.parametrize("size", [0, 1, 1 << 20, MOST])
def test_a_file_is_read_whole(tmp_path: Path, size: int) -> None:
    """Up to the bound, and through links."""
    (tmp_path / "file").write_bytes(b"x" * size)
    (tmp_path / "link").symlink_to("file")
    assert content_of(tmp_path / "link", MOST) == b"x" * size


@pytest.mark.parametrize("path", ["/dev/zero", "long"])
def test_what_has_no_end_is_refused(tmp_path: Path, path: str) -> None:
    """It is not read until the memory is full."""
    (tmp_path / "long").write_bytes(b"x" * (MOST + 1))
    with pytest.raises(OSError, match=f"longer than {MOST} bytes") as refused:
        content_of(tmp_path / path, MOST)
    assert refused.value.filename == str(tmp_path / path)


def test_a_device_that_ends_is_read() -> None:
    """As /dev/null, for who wants nothing."""
    assert content_of("/dev/null", MOST) == b""


def fifo(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


@pytest.mark.parametrize(
    ("make", "number"),
    [
        (Path.mkdir, errno.EISDIR),
        (fifo, errno.EINVAL),
        (unix_socket, errno.ENXIO),
        (Path.exists, errno.ENOENT),
    ],
)
def test_what_is_no_file_is_told_at_once(tmp_path: Path, make: Callable[[Path], object], number: int) -> None:
    """With its name; a FIFO that nobody writes to is not waited for."""
    make(tmp_path / "one")
    with pytest.raises(OSError, match=r".") as refused:
        content_of(tmp_path / "one", MOST)
    assert (refused.value.errno, refused.value.filename) == (number, str(tmp_path / "one"))


def cut(path: Path) -> None:
    os.truncate(path, 10)


def lengthened(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"y")


def written_over(path: Path) -> None:
    path.write_bytes(b"y" * path.stat().st_size)
    os.utime(path, (1, 1))


@pytest.mark.parametrize("change", [cut, lengthened, written_over])
def test_a_file_that_is_written_meanwhile_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    """Half of the old and half of the new can be valid, and mean neither."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 2_000_000)

    def changing(descriptor: int, count: int) -> bytes:
        piece = read(descriptor, count)
        monkeypatch.undo()
        change(path)
        return piece

    monkeypatch.setattr(os, "read", changing)
    with pytest.raises(OSError, match="Written while it was read") as refused:
        content_of(path, MOST)
    assert refused.value.filename == str(path)


def test_a_file_that_is_replaced_meanwhile_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rename leaves the old one to who has it open; so does a deletion."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 2_000_000)
    (tmp_path / "new").write_bytes(b"y")

    def replacing(descriptor: int, count: int) -> bytes:
        piece = read(descriptor, count)
        monkeypatch.undo()
        (tmp_path / "new").rename(path)
        path.unlink()
        return piece

    monkeypatch.setattr(os, "read", replacing)
    assert content_of(path, MOST) == b"x" * 2_000_000


def test_an_error_of_a_read_has_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system does not tell it where only a descriptor is known."""
    path = tmp_path / "file"
    path.write_bytes(b"x")

    def failing(descriptor: int, count: int) -> bytes:
        monkeypatch.undo()
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "read", failing)
    with pytest.raises(OSError, match="Input/output error") as refused:
        content_of(path, MOST)
    assert refused.value.filename == str(path)
