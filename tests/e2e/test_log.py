"""What a daemon says of itself on stdout, and what becomes of it where nobody can hear it."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import pytest

from openai_proxy import __version__
from tests.support.daemon import ANY_PORT, ROOT, Daemon, command, environment, run
from tests.support.program import Program
from tests.support.sockets import Peer

SERVES_IN_JSON = re.compile(r'"message": "openai_proxy \S+ serves on (http://[\d.:]+)"')


LAUNCH = """
import os, sys
listener, out, *words = sys.argv[1:]
os.dup2(int(listener), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="clients")
if out == "closed":
    os.close(1)
os.execv(words[0], words)
"""


@contextmanager
def adopted(
    out: IO[bytes] | int | None, options: Sequence[str] = (), twistd: Sequence[str] = ()
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A daemon on a port that is open before it, so that nobody has to hear when it serves; and that port.

    :param out: its stdout; None: it has none.
    :param twistd: options of twistd itself.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        program, *words = command("--port", "systemd:domain=INET:index=0", *options)
        number, what = listener.fileno(), "closed" if out is None else "open"
        child = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(number), what, program, *twistd, *words],
            cwd=ROOT,
            env=environment(),
            pass_fds=[number],
            stdout=out,
            stderr=subprocess.PIPE,
        )
    try:
        yield child, port
    finally:
        child.kill()
        child.wait()
        assert child.stderr is not None
        child.stderr.close()


def asked(port: int) -> int:
    with Peer.connect(port) as client:
        client.send_request("GET", "/healthz")
        return client.read_answer("GET").status


def ended(child: subprocess.Popen[bytes]) -> tuple[int, bytes]:
    child.send_signal(signal.SIGTERM)
    _, said = child.communicate(timeout=20)
    return child.returncode, said


def test_the_start_says_who_is_served_and_who_is_asked(tmp_path: Path) -> None:
    """In a few lines, with where keys come from and no key."""
    path = tmp_path / "proxy.yaml"
    path.write_text(
        "providers:\n  groq: {api_key: env:GROQ}\n"
        "  ours: {base_url: 'http://127.0.0.1:1/v1', client_key: drop}\n"
        "default_provider: groq\n"
    )
    with Daemon("--config", str(path), env={"GROQ": "gsk_canary"}) as daemon:
        assert daemon.ask("GET", "/healthz").status == 200
        assert daemon.stop() == 0
    said = [line.split("] ", 1)[1] for line in daemon.output.splitlines() if "ProxyService#info]" in line]
    serves, *lines = said
    assert serves.startswith(f"openai_proxy {__version__} serves on http://127.0.0.1:")
    assert lines[:3] == [
        f"Clients: {ANY_PORT} (this machine only)",
        "Metrics: to clients, at /metrics; pages: to this machine only",
        "Providers: groq https://api.groq.com (key: env:GROQ), ours http://127.0.0.1:1 (key: none), "
        "mock (no key)",
    ]
    assert "canary" not in daemon.output


def test_json_is_an_object_a_line_from_the_first_to_the_last() -> None:
    """What was logged before the log began is among them."""
    words = command("--port", ANY_PORT, "--log-format", "json")
    with Program(words, SERVES_IN_JSON, ROOT, environment()) as daemon:
        assert daemon.ask("GET", "/healthz").status == 200
        assert daemon.stop() == 0
    lines = [json.loads(line) for line in daemon.output.splitlines()]
    assert all({"time", "level", "namespace", "message"} <= line.keys() for line in lines)
    messages = [line["message"] for line in lines]
    assert messages[0].startswith("twistd ") and messages[-1] == "Server Shut Down."
    (serves,) = [line for line in lines if line.get("url")]
    assert (serves["version"], serves["url"]) == (__version__, daemon.url)


def test_less_than_the_level_is_not_said(tmp_path: Path) -> None:
    """An idle daemon that ends well has nothing to say at ``warn``."""
    with (tmp_path / "out").open("wb") as out, adopted(out, ("--log-level", "warn")) as (child, port):
        assert asked(port) == 200
        assert ended(child) == (0, b"")
    assert (tmp_path / "out").read_bytes() == b""


def test_another_choice_of_the_operator_stays(tmp_path: Path) -> None:
    """With ``--logfile`` twistd writes the file as it always did, and stdout has nothing."""
    log, out = tmp_path / "log", tmp_path / "out"
    options, twistd = ("--log-format", "json"), (f"--logfile={log}",)
    with out.open("wb") as file, adopted(file, options, twistd) as (child, port):
        assert asked(port) == 200
        assert ended(child)[0] == 0
    assert out.read_bytes() == b""
    assert "Server Shut Down." in log.read_text() and not log.read_text().startswith("{")


@pytest.mark.parametrize("option", ["--log-format=yaml", "--log-level=loud"])
def test_a_wrong_value_is_one_line(option: str) -> None:
    """With what can be given."""
    refused = run(option)
    assert refused.returncode == 1
    assert re.fullmatch(r"openai_proxy: --log-\w+: '\w+' is not one of [\w, ]+ \(.*\)\n", refused.stderr)


@pytest.mark.parametrize("path", ["/dev/full", None], ids=["full disk", "closed"])
def test_a_log_that_cannot_be_written_stops_nothing(path: str | None) -> None:
    """The daemon serves, and ends well."""
    with ExitStack() as stack:
        out = None if path is None else stack.enter_context(open(path, "wb"))
        child, port = stack.enter_context(adopted(out))
        assert asked(port) == 200
        code, said = ended(child)
    assert code == 0 and b"Traceback" not in said


def test_a_log_whose_reader_is_gone_stops_nothing() -> None:
    """EPIPE."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with adopted(writer) as (child, port):
            assert asked(port) == 200
            code, said = ended(child)
    finally:
        os.close(writer)
    assert code == 0 and b"Traceback" not in said


def test_a_log_that_nobody_reads_stops_nothing() -> None:
    """A pipe that is full; who reads it later has every line."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    filling = b"x" * 4096
    assert os.write(writer, filling) == len(filling)
    try:
        with adopted(writer) as (child, port):
            assert asked(port) == 200
            os.close(writer)
            writer = -1
            read = b""
            child.send_signal(signal.SIGTERM)
            while piece := os.read(reader, 65536):
                read += piece
            assert child.wait(20) == 0
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)
    lines = read[len(filling) :].decode().splitlines()
    assert "starting up." in lines[0] and lines[-1].endswith("Server Shut Down.")
    assert any(f"openai_proxy {__version__} serves on" in line for line in lines)
