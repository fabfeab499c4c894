"""``--config`` and ``--check`` as commands, and the daemon that they describe."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.daemon import ANY_PORT, ROOT, Daemon, command, environment, run
from tests.support.sockets import RawUpstream

EXAMPLE = ROOT / "etc" / "openai-proxy.yaml"
WRONG = """
providers:
  openai: {base_ulr: http://h, api_key: sk-canary}
models:
  fast: {targets: [{provider: grok}]}
timeouts: {connect_seconds: soon}
"""


def written(folder: Path, text: str) -> str:
    """The path of a file with this text."""
    path = folder / "proxy.yaml"
    path.write_text(text)
    return str(path)


def test_check_says_what_it_understood_and_ends_with_0(tmp_path: Path) -> None:
    """On stdout; nothing listens and nobody is asked."""
    path = written(tmp_path, "providers: {openai: {base_url: https://eu.api.openai.com/v1}}\nmock: false\n")
    ended = run("--check", "--config", path)
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    assert lines[0] == f"{path}: understood"
    assert "  /openai  https://eu.api.openai.com/v1  openai dialect  key: the client's" in lines
    assert lines[-1].startswith("metric series: ")


@pytest.mark.parametrize("options", [["--check"], []], ids=["check", "start"])
def test_every_problem_is_a_line_and_the_status_is_1(options: list[str], tmp_path: Path) -> None:
    """With file, line, place and what was meant, and without what may be a key."""
    path = written(tmp_path, WRONG)
    ended = run(*options, "-c", path)
    assert (ended.returncode, ended.stdout) == (1, "")
    places = [
        line.removeprefix(f"openai_proxy: {path}").split(": ")[:2] for line in ended.stderr.splitlines()
    ]
    assert places == [
        ["", "listeners[0]"],
        [":3", "providers.openai.base_ulr"],
        [":3", "providers.openai.api_key"],
        [":5", "models.fast.targets[0].provider"],
        [":6", "timeouts.connect_seconds"],
    ]
    assert "did you mean 'base_url'?" in ended.stderr
    assert "canary" not in ended.stderr


def test_check_looks_at_the_files_and_ports_that_are_named(tmp_path: Path) -> None:
    """Prices, authority and listeners: what would end the daemon at its start, all of it."""
    path = written(
        tmp_path, "prices: {file: gone.toml}\nca_file: gone.pem\nlisteners: [{address: 'nonsense:1'}]\n"
    )
    ended = run("--check", "--config", path)
    assert ended.returncode == 1
    assert f"{tmp_path}/gone.toml: No such file" in ended.stderr
    assert "CA file" in ended.stderr
    assert f"{path}: listeners[0].address: nonsense:1: not an endpoint description" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("options", [["--check"], ["--port", ANY_PORT]], ids=["check", "start"])
def test_what_is_not_supported_yet_is_refused(options: list[str], tmp_path: Path) -> None:
    """By the check and by the daemon: a key that does nothing must not look as if it did."""
    path = written(tmp_path, "retry: {attempts: 5}\n")
    ended = run(*options, "--config", path)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"openai_proxy: {path}:1: retry: not supported yet")


def test_check_without_a_file_is_one_line() -> None:
    """There would be nothing to check."""
    ended = run("--check")
    assert ended.returncode == 1
    assert ended.stderr.startswith("openai_proxy: --check: ")


def test_the_example_is_understood_and_refused_for_now(tmp_path: Path) -> None:
    """All of it is right, and more than this version can do."""
    names = ("OPENAI", "AZURE", "ANTHROPIC", "EXAMPLE")
    ended = subprocess.run(
        command("--check", "--config", str(EXAMPLE)),
        env=environment(**{f"{name}_API_KEY": "sk-canary" for name in names}),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert ended.returncode == 1
    assert ended.stdout.startswith(f"{EXAMPLE}: understood\n")
    assert "canary" not in ended.stdout + ended.stderr
    lines = [line for line in ended.stderr.splitlines() if "not supported yet" not in line]
    # They are names in an example, and not there.
    assert len(lines) == 2
    assert all("prices.toml" in line or "CA file" in line for line in lines)


def test_the_series_that_check_promises_are_those_of_a_daemon(tmp_path: Path) -> None:
    """Of one that has just begun; a few come with what it serves."""
    path = written(tmp_path, "")
    promised = int(run("--check", "--config", path).stdout.split("metric series: ")[1].split()[0])
    with Daemon("--config", path) as daemon:
        exposed = daemon.ask("GET", "/metrics").body.splitlines()
    series = [line for line in exposed if line and not line.startswith(b"#")]
    assert abs(len(series) - promised) <= 10


def test_a_daemon_is_what_its_file_says(tmp_path: Path) -> None:
    """Port, upstream, routes and limits."""
    with RawUpstream() as upstream:
        path = written(
            tmp_path,
            f"providers: {{openai: {{base_url: '{upstream.url}/v1'}}}}\nmock: false\n"
            "listeners: [{address: 'tcp:1:interface=127.0.0.1'}]\nlimits: {body_bytes: 10}\n",
        )
        with Daemon("--config", path) as daemon:
            assert daemon.ask("GET", "/mock/v1/models").status == 404
            assert daemon.ask("POST", "/v1/embeddings", body=b"x" * 11).status == 413
            with daemon.connect() as client:
                client.send_request("GET", "/v1/models")
                asked = upstream.next()
                assert asked.read_request().target == b"/v1/models"
                asked.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                assert client.read_answer().body == b"{}"
            assert daemon.stop() == 0
