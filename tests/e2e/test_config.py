"""``--config`` and ``--check`` as commands, and the daemon that they describe."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from openai_proxy.providers.catalogue import read_catalogue
from tests.support.certificates import make
from tests.support.daemon import ROOT, Daemon, command, environment, run
from tests.support.openai_upstream import OpenAIUpstream, error, json_answer
from tests.support.sockets import Peer, RawUpstream

EXAMPLE = ROOT / "etc" / "openai-proxy.yaml"
WRONG = """
providers:
  openai: {base_ulr: http://h, api_key: sk-canary}
models:
  fast: {targets: [{provider: grok}]}
timeouts: {connect_seconds: soon}
"""


ROUTES = """
default_provider: groq
providers: {groq: , mistral: {client_key: drop}, ollama: , vllm: {client_key: drop}}
models:
  fast: {targets: [{provider: mistral, model: a}, {provider: ollama, model: b}, {provider: vllm}]}
  slow: {targets: [{provider: vllm}, {provider: mistral}]}
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
    assert "  /openai  https://eu.api.openai.com  /v1 is /v1  openai dialect  key: the client's" in lines
    assert lines[-1].startswith("metric series: ")


def test_a_taken_port_of_the_file_is_one_line(tmp_path: Path) -> None:
    """The daemon ends, and says where the port was said."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        path = written(
            tmp_path, f"listeners: [{{address: 'tcp:0:interface=127.0.0.1'}}, {{address: '{port}'}}]"
        )
        ended = run("-c", path)
    assert ended.returncode == 1
    line = f"openai_proxy: {path}: listeners[1].address: {port}: Address already in use"
    assert ended.stderr.splitlines() == [line]


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
    """Prices, authority, listeners, tokens, log: what would end the daemon at its start, or fail later."""
    path = written(
        tmp_path,
        "prices: {file: gone.toml}\nca_file: gone.pem\naccess_log: {file: gone/access.log}\n"
        "listeners: [{address: 'nonsense:1', allow_anonymous: true}]\nadmin: {address: 'nonsense:2'}\n"
        "providers: {a: {base_url: 'http://h', token: {command: [/nonexistent/token]}}}\n",
    )
    ended = run("--check", "--config", path)
    assert ended.returncode == 1
    assert f"{tmp_path}/gone.toml: No such file" in ended.stderr
    assert "CA file" in ended.stderr
    assert f"{path}: listeners[0].address: nonsense:1: not an endpoint description" in ended.stderr
    assert f"{path}: admin.address: nonsense:2: not an endpoint description" in ended.stderr
    assert f"{path}: providers.a.token.command: there is no program /nonexistent/token" in ended.stderr
    assert f"{path}: access_log.file: there is no folder {tmp_path}/gone" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_check_loads_the_certificates(tmp_path: Path) -> None:
    """Of clients and of the operator's port: a key that does not fit is a problem, a lapsed one is said."""
    one, other = make("localhost", days=(-9, -2)), make("localhost")
    (tmp_path / "server.pem").write_bytes(one.pem + one.key_pem)
    (tmp_path / "other.pem").write_bytes(other.key_pem)
    text = (
        "listeners: [{address: '1', tls: {certificate: server.pem}}]\n"
        "admin: {address: '2', tls: {certificate: server.pem%s}}\n"
    )
    ended = run("--check", "--config", written(tmp_path, text % ""))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"warning: {tmp_path}/server.pem: the certificate expired at " in ended.stdout
    path = written(tmp_path, text % ", key: other.pem")
    ended = run("--check", "--config", path)
    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        f"openai_proxy: {path}: admin.tls: the private key of {tmp_path}/other.pem is not that of the "
        f"certificate of {tmp_path}/server.pem"
    ]
    path = written(tmp_path, text % ", key: gone.pem")
    assert run("--check", "--config", path).stderr.splitlines() == [
        f"openai_proxy: {path}: admin.tls.key: there is no file {tmp_path}/gone.pem"
    ]


SEVERAL = """
default_provider: first
providers:
  first: {{base_url: '{first}/v1', api_key: env:FIRST_KEY}}
  second: {{base_url: '{second}/api/v1', client_key: drop}}
models:
  fast:
    targets: [{{provider: first, model: big}}, {{provider: second, model: small}}]
retry: {{attempts: 2}}
breaker: {{min_attempts: 5}}
hedge: {{enabled: false}}
listeners:
- address: tcp:0:interface=127.0.0.1
- address: unix:{socket}
"""
JSON = "Content-Type: application/json"


def chat(model: str) -> bytes:
    """A question."""
    return json.dumps({"model": model, "messages": []}).encode()


def test_several_providers_are_served_at_several_ports(tmp_path: Path) -> None:
    """By the model's name, by the provider's, by a route with its fallback, by each provider's own way."""
    socket = f"{tmp_path}/s"
    with OpenAIUpstream() as first, OpenAIUpstream() as second:
        path = written(tmp_path, SEVERAL.format(first=first.url, second=second.url, socket=socket))
        second.planned += [json_answer({"object": "chat.completion"})] * 3
        with Daemon("--config", path, port=None, env={"FIRST_KEY": "sk-first"}) as daemon:
            daemon.wait_for(re.compile(f"serves on unix:{re.escape(socket)}$"))
            ours = "Authorization: Bearer sk-client"
            daemon.ask("POST", "/v1/chat/completions", ours, JSON, body=chat("gpt-4o"))
            daemon.ask("POST", "/v1/chat/completions", ours, JSON, body=chat("second/gpt-4o"))
            daemon.ask("GET", "/second/api/v1/models", ours)
            first.planned.append(error(503, "unavailable"))
            with Peer.connect_unix(socket) as client:
                client.send_request("POST", "/v1/chat/completions", ours, JSON, body=chat("fast"))
                answer = client.read_answer()
            assert daemon.stop() == 0
    assert [(one.target, json.loads(one.body)["model"]) for one in first.requests] == [
        (b"/v1/chat/completions", "gpt-4o"),
        (b"/v1/chat/completions", "big"),
    ]
    assert {one.get("authorization") for one in first.requests} == {b"Bearer sk-first"}
    assert [(one.target, json.loads(one.body or b'{"model": ""}')["model"]) for one in second.requests] == [
        (b"/api/v1/chat/completions", "gpt-4o"),
        (b"/api/v1/models", ""),
        (b"/api/v1/chat/completions", "small"),
    ]
    assert {one.get("authorization") for one in second.requests} == {None}
    said = {name: answer.get(f"x-openai-proxy-{name}") for name in ("provider", "model", "attempts")}
    assert (answer.status, said) == (200, {"provider": b"second", "model": b"small", "attempts": b"2"})


@pytest.mark.parametrize("options", [["--check"], []], ids=["check", "start"])
def test_a_public_port_with_keys_of_ours_is_refused(options: list[str], tmp_path: Path) -> None:
    """Unless the operator says so: whoever reaches it could spend his money."""
    path = written(
        tmp_path, "providers: {openai: {token: {file: /run/token}}}\nlisteners: [{address: 'tcp:0'}]"
    )
    ended = run(*options, "--config", path)
    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"openai_proxy: {path}:2: listeners[0]: anyone who reaches this port could use")
    assert "`allow_anonymous: true`" in line


def test_an_open_port_is_one_that_is_said_to_be(tmp_path: Path) -> None:
    """With the operator's word it starts, and uses his key for whoever asks."""
    with OpenAIUpstream() as upstream:
        path = written(
            tmp_path,
            f"providers: {{openai: {{base_url: '{upstream.url}', api_key: env:OUR_KEY}}}}\n"
            "listeners: [{address: 'tcp:0', allow_anonymous: true}]",
        )
        with Daemon("--config", path, port=None, env={"OUR_KEY": "sk-ours"}) as daemon:
            assert daemon.ask("GET", "/v1/models").status == 200
            assert daemon.stop() == 0
    (asked,) = upstream.requests
    assert asked.get("authorization") == b"Bearer sk-ours"


README = (ROOT / "README.md").read_text().partition("## Several providers")[2].partition("\n## ")[0]


def test_the_readme_shows_what_happens(tmp_path: Path) -> None:
    """Its first file with the mock behind it, and its three commands: the answers are as it prints them."""
    file, _ = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    session = README.partition("\n```\n$ ")[2].partition("```")[0]
    with Daemon() as mock:
        path = written(tmp_path, file.replace("127.0.0.1:8080", f"127.0.0.1:{mock.port}"))
        with Daemon("--config", path) as daemon:
            models = re.findall(r'"model":"([^"]+)"', session)
            asked = [daemon.ask("POST", "/v1/chat/completions", JSON, body=chat(model)) for model in models]
            metrics = daemon.ask("GET", "/metrics").body.decode()
            assert daemon.stop() == 0
    assert models == ["fast", "stedy/gpt-4o"]
    heads = [f"{name.decode()}: {value.decode()}" for name, value in asked[0].fields]
    ours = [one for one in heads if one.startswith("x-openai-proxy")]
    counted = re.findall(r"^openai_proxy_fallbacks_total.*(?<! 0\.0)$", metrics, re.MULTILINE)
    printed = [line for line in session.splitlines() if not line.startswith(("$", "curl"))]
    assert printed == [asked[0].start.decode(), *ours, *counted, asked[1].body.decode()]


def test_the_readmes_file_of_real_providers_is_right(tmp_path: Path) -> None:
    """All that it lacks is keys."""
    _, file = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    keys = {name: "sk-canary" for name in re.findall(r"env:(\w+)", file)}
    ended = subprocess.run(
        command("--check", "--config", written(tmp_path, file)),
        env=environment(**keys),
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "23 providers" in README
    assert len(read_catalogue()) == 23


def test_check_without_a_file_is_one_line() -> None:
    """There would be nothing to check."""
    ended = run("--check")
    assert ended.returncode == 1
    assert ended.stderr.startswith("openai_proxy: --check: ")


def test_the_example_is_understood(tmp_path: Path) -> None:
    """All of it is right, but for the files that it names, which are not there."""
    names = ("OPENAI", "AZURE", "ANTHROPIC", "EXAMPLE")
    ended = subprocess.run(
        command("--check", "--config", str(EXAMPLE)),
        env=environment(
            **{f"{name}_API_KEY": "sk-canary" for name in names},
            OPENAI_PROXY_ADMIN_TOKEN="sk-canary",
            TRACES_KEY="sk-canary",
        ),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert ended.returncode == 1
    assert ended.stdout.startswith(f"{EXAMPLE}: understood\n")
    assert "canary" not in ended.stdout + ended.stderr
    # Where gcloud is, its program is.
    absent = ["prices.toml", "CA file", "/run/tokens/vertex", "/usr/bin/gcloud", "tls.crt", "tls.key"]
    lines = ended.stderr.splitlines()
    assert len(lines) >= 3
    assert all(any(name in line for name in absent) for line in lines)


@pytest.mark.parametrize("text", ["{}", ROUTES], ids=["empty", "routes"])
def test_the_series_that_check_promises_are_those_of_a_daemon(text: str, tmp_path: Path) -> None:
    """Of one that has just begun; a few come with what it serves."""
    path = written(tmp_path, text)
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


def test_a_reload_is_taken_from_the_moment_that_it_listens(tmp_path: Path) -> None:
    """Whoever waits for that line may signal at once: the daemon reads again, and does not die of it."""
    path = tmp_path / "proxy.yaml"
    listener, provider = {"address": "tcp:0:interface=127.0.0.1"}, {"base_url": "http://127.0.0.1:1"}
    path.write_text(json.dumps({"listeners": [listener], "providers": {"one": provider}}))
    with Daemon("--config", str(path), port=None) as daemon:
        os.kill(daemon.pid, signal.SIGHUP)
        daemon.wait_for(re.compile("The configuration was read again"))
        assert daemon.stop() == 0
