"""200 MB each way through a running daemon: unchanged, in constant memory, with no file in between."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.relayed import OK, get, through
from tests.support.sockets import Peer, RawUpstream

MEBIBYTE = 1 << 20
LARGE = 200 * MEBIBYTE
ALLOWED_GROWTH = 32 * MEBIBYTE


@pytest.fixture
def roomy(upstream: RawUpstream, tmp_path: Path) -> Iterator[tuple[Daemon, Path]]:
    """A daemon that was not used before, and its folder for temporary files."""
    with Daemon("--upstream", upstream.url, env={"TMPDIR": str(tmp_path)}) as daemon:
        for _ in range(20):
            through(daemon, upstream, get())
        upstream.hang_up()
        yield daemon, tmp_path


def files_of(daemon: Daemon) -> list[str]:
    """What the daemon has open that is a file with a name or without."""
    found = []
    for link in Path(f"/proc/{daemon.pid}/fd").iterdir():
        target = os.readlink(link)
        if "(deleted)" in target or "memfd" in target or target.startswith(("/tmp", "/var/tmp")):
            found.append(target)
    return found


def pump(peer: Peer, size: int, digests: list[bytes]) -> None:
    """Send ``size`` bytes that do not repeat in step with any buffer; then their digest."""
    block = os.urandom(MEBIBYTE + 13)
    digest = hashlib.sha256()
    while size:
        piece = block[:size]
        digest.update(piece)
        peer.send(piece)
        size -= len(piece)
    digests.append(digest.digest())


def carry(sender: Peer, receiver: Peer, daemon: Daemon, temporary: Path) -> None:
    """200 MB from one end to the other, unchanged, with no file in between."""
    sent: list[bytes] = []
    sending = threading.Thread(target=pump, args=(sender, LARGE, sent))
    sending.start()
    digest = hashlib.sha256()
    half = True
    left = LARGE
    for piece in receiver.pieces(LARGE):
        digest.update(piece)
        left -= len(piece)
        if half and left < LARGE // 2:
            half = False
            assert files_of(daemon) == []
            assert list(temporary.iterdir()) == []
    sending.join()
    assert [digest.digest()] == sent


def stand_still(daemon: Daemon) -> None:
    """Leave the daemon time to take more than it should: it serves others meanwhile."""
    with daemon.connect() as other:
        for _ in range(500):
            other.send(get("/healthz"))
            other.read_answer()


def report(what: str, before: int, daemon: Daemon) -> None:
    """Print the growth, and fail if it is more than buffers of a connection may take."""
    growth = daemon.peak_bytes() - before
    print(f"{what} of {LARGE >> 20} MiB: peak memory grew by {growth / MEBIBYTE:.1f} MiB")
    assert growth < ALLOWED_GROWTH


def test_a_large_download_in_constant_memory(
    roomy: tuple[Daemon, Path], upstream: RawUpstream, capsys: pytest.CaptureFixture[str]
) -> None:
    """200 MB arrive whole while the daemon holds a few buffers, and no file."""
    daemon, temporary = roomy
    before = daemon.forget_peak()
    with daemon.connect() as client:
        client.send(get("/v1/files/f/content"))
        server = upstream.next()
        server.read_request()
        server.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
        client.read_head()
        carry(server, client, daemon, temporary)
    with capsys.disabled():
        report("download", before, daemon)


@pytest.mark.parametrize("content_type", ["application/octet-stream", "application/json"])
def test_a_large_upload_in_constant_memory(
    roomy: tuple[Daemon, Path], upstream: RawUpstream, capsys: pytest.CaptureFixture[str], content_type: str
) -> None:
    """200 MB arrive whole, also as JSON, which is held only up to a bound."""
    daemon, temporary = roomy
    before = daemon.forget_peak()
    with daemon.connect() as client:
        client.send(
            b"POST /v1/files HTTP/1.1\r\nHost: p\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
            % (content_type.encode(), LARGE)
        )
        server = upstream.next()
        assert server.read_head().get("content-length") == str(LARGE).encode()
        carry(client, server, daemon, temporary)
        server.send(OK)
        assert client.read_answer().body == b"ok"
    with capsys.disabled():
        report(f"upload ({content_type})", before, daemon)


@pytest.mark.parametrize("way", ["download", "upload"])
def test_who_does_not_read_holds_the_sender(
    roomy: tuple[Daemon, Path], upstream: RawUpstream, capsys: pytest.CaptureFixture[str], way: str
) -> None:
    """200 MB wait at their sender, not in the daemon, until the other end reads; then all arrive."""
    daemon, _ = roomy
    before = daemon.forget_peak()
    with daemon.connect() as client:
        upload = way == "upload"
        method, length = (b"POST", b"Content-Length: %d\r\n" % LARGE) if upload else (b"GET", b"")
        client.send(b"%b /v1/files HTTP/1.1\r\nHost: p\r\nContent-Type: a/b\r\n%b\r\n" % (method, length))
        server = upstream.next()
        server.read_head()
        sender, receiver = (client, server) if upload else (server, client)
        if not upload:
            server.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
            client.read_head()
        sent: list[bytes] = []
        sending = threading.Thread(target=pump, args=(sender, LARGE, sent))
        sending.start()
        stand_still(daemon)
        assert sent == []
        digest = hashlib.sha256()
        for piece in receiver.pieces(LARGE):
            digest.update(piece)
        sending.join()
        assert sent == [digest.digest()]
    with capsys.disabled():
        report(f"{way} to who does not read", before, daemon)
