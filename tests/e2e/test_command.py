"""``twistd -n openaiproxy`` as a command: options, start, signals, and what goes wrong."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from openai_proxy import __version__
from tests.support.daemon import ANY_PORT, Daemon, run
from tests.support.sockets import Peer, RawUpstream

STREAM = b'{"model":"gpt-4o-mini","stream":true,"messages":[]}'
NO_CA = str(Path(__file__))


def refusal(*options: str) -> str:
    """The one line with which a command line is refused."""
    ended = run(*options)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stdout + ended.stderr
    lines = ended.stderr.splitlines()
    assert len(lines) == 1, ended.stderr
    assert lines[0].startswith("openai_proxy: ")
    return lines[0]


def test_version_is_a_line_and_status_0() -> None:
    """``--version`` names the program and its version."""
    ended = run("--version")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"openai_proxy {__version__}\n", "")


def test_help_names_every_option() -> None:
    """``--help`` ends with status 0."""
    ended = run("--help")
    assert ended.returncode == 0
    for option in ("--port", "--upstream", "--ca-file", "--version", "--no-mock"):
        assert option in ended.stdout


def test_sigterm_ends_an_idle_daemon_with_status_0() -> None:
    """SIGTERM is how a daemon is ended, not a failure."""
    with Daemon() as daemon:
        assert daemon.ask("GET", "/healthz").status == 200
        assert daemon.stop() == 0
    assert "Traceback" not in daemon.output


def test_a_second_sigterm_ends_a_daemon_with_a_stream_in_flight() -> None:
    """A client in mid-stream is told so, and not that its stream was whole; the exit status says it too."""
    with Daemon() as daemon, daemon.connect() as client:
        client.send_request(
            "POST", "/mock/v1/chat/completions", "x-mock-chunk-ms: 600000", "x-mock-chunks: 9", body=STREAM
        )
        assert client.read_head().status == 200
        assert client.read_chunk().startswith(b"data: ")
        assert daemon.end_now() == 3
        assert b"proxy_shutting_down" in client.read_chunk()
        assert client.wait_end() == "RST"
    assert "Traceback" not in daemon.output


def test_a_second_sigterm_ends_a_daemon_that_waits_for_its_upstream() -> None:
    """The upstream's connection is closed with the daemon, and the client is told to try again."""
    with RawUpstream() as upstream, Daemon("--upstream", upstream.url) as daemon, daemon.connect() as client:
        client.send_request("GET", "/v1/models")
        waiting = upstream.next()
        waiting.read_request()
        assert daemon.end_now() == 3
        assert client.read_answer().status == 503
        assert waiting.wait_end() in ("FIN", "RST")
    assert "Traceback" not in daemon.output


def test_a_taken_port_is_one_line() -> None:
    """The daemon ends, and says which port and why."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        assert refusal("--port", port) == f"openai_proxy: --port {port}: Address already in use"


def test_a_taken_port_given_as_a_number_is_one_line() -> None:
    """A number listens on all addresses, and one of them is taken."""
    with socket.create_server(("0.0.0.0", 0)) as taken:
        number = taken.getsockname()[1]
        assert refusal("--port", str(number)) == f"openai_proxy: --port tcp:{number}: Address already in use"


@pytest.mark.parametrize("port", ["65536", "-1", "http", "", "tcp:x", "\u0663"])
def test_a_bad_port_is_one_line(port: str) -> None:
    """A value that is no port and no endpoint description is named in the refusal."""
    line = refusal("--port", port)
    assert "--port" in line
    assert port in line or repr(port) in line


@pytest.mark.parametrize("port", ["unix:/nonexistent/socket", "tcp:0:interface=nonsense.invalid"])
def test_an_endpoint_that_cannot_listen_is_one_line(port: str) -> None:
    """A description that is well formed but leads nowhere ends the daemon as well."""
    assert port in refusal("--port", port)


@pytest.mark.parametrize(
    "upstream",
    [
        "api.openai.com",
        "ftp://example.org",
        "http://host:99999",
        "http://[::1",
        "https://user:secret@example.org",
        "https://example.org/?key=secret",
    ],
)
def test_a_bad_upstream_is_one_line(upstream: str) -> None:
    """Nor is a credential in it repeated."""
    line = refusal("--upstream", upstream, "--port", ANY_PORT)
    assert line.startswith("openai_proxy: --upstream: ")


def test_a_credential_in_the_upstream_is_not_repeated() -> None:
    """The refusal goes into logs; the password must not."""
    assert "secret" not in refusal("--upstream", "https://user:secret@example.org")


@pytest.mark.parametrize("path", ["/nonexistent/ca.pem", "/", NO_CA], ids=["missing", "folder", "not-pem"])
def test_a_bad_ca_file_is_one_line(path: str) -> None:
    """A CA that cannot be trusted ends the daemon at start, not at the first request."""
    assert "CA file" in refusal("--ca-file", path, "--port", ANY_PORT)


@pytest.mark.parametrize(
    ("option", "value"),
    [("connect-timeout", "soon"), ("connect-timeout", "0"), ("head-timeout", "-1"), ("idle-timeout", "nan")],
)
def test_a_bad_time_is_one_line(option: str, value: str) -> None:
    """Only positive numbers of seconds are taken."""
    assert f"--{option}" in refusal(f"--{option}={value}")


@pytest.mark.parametrize("arguments", [["--nosuch"], ["extra"], ["--port"], ["--no-mock=1"]])
def test_an_unknown_option_is_one_line(arguments: list[str]) -> None:
    """The line says where the options are listed."""
    assert "twistd openaiproxy --help" in refusal(*arguments)


def test_port_0_is_a_free_port() -> None:
    """A plain number is a TCP port; 0 lets the system choose, and the log says which."""
    with Daemon(port="0") as daemon:
        assert daemon.port
        assert daemon.ask("GET", "/healthz").status == 200


def test_a_unix_endpoint_serves(tmp_path: Path) -> None:
    """Any of Twisted's endpoint descriptions is a ``--port``."""
    path = str(tmp_path / "proxy.socket")
    with Daemon(port=f"unix:{path}") as daemon:
        assert daemon.url == f"unix:{path}"
        with Peer.connect_unix(path) as client:
            client.send_request("GET", "/mock/v1/models")
            assert client.read_answer().status == 200
            client.send_request("GET", "/metrics")
            scraped = client.read_answer()
            assert scraped.status == 200
            assert b"http_requests_total" in scraped.body
    assert not os.path.exists(path)


def test_no_mock_takes_the_mock_away() -> None:
    """With ``--no-mock`` the built-in provider has no route."""
    with Daemon("--no-mock") as daemon:
        assert daemon.ask("GET", "/mock/v1/models").status == 404
        assert b"/mock" not in daemon.ask("GET", "/").body
