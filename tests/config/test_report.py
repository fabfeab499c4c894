"""What an operator is shown of his file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from openai_proxy.config.configuration import Configuration, load
from openai_proxy.config.report import circuits, report, targets
from openai_proxy.config.secret import SecretReader
from openai_proxy.config.settings import Drain, Logging
from openai_proxy.providers.catalogue import read_catalogue

TEXT = """
listeners:
  - {address: "tcp:80:interface=127.0.0.1"}
  - {address: "9000", allow_anonymous: true, tls: {certificate: /tls.crt, key: /tls.key}}
default_provider: groq
providers:
  groq: {api_key: env:KEY}
  vertex: {parameters: {location: eu, project: p}, token: {command: [/bin/token, --secret-canary]}}
  local: {base_url: "http://gpu:8000/v1"}
  ollama:
models:
  small:
    targets: [{provider: groq, model: llama}, {provider: vertex}]
    timeouts: {first_token_seconds: 2.5}
    hedge: true
  big:
    choice: weighted
    targets: [{provider: groq, model: llama, weight: 3}, {provider: vertex, model: b, weight: 0}]
"""


NO_ADMIN = "admin: no port of its own; /metrics is served to clients, pages to those of this machine"


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    """Of the file above."""
    path = tmp_path / "proxy.yaml"
    path.write_text(TEXT)
    return load(path, read_catalogue(), SecretReader({"KEY": "sk-canary"}))


def test_it_says_what_was_understood(configuration: Configuration) -> None:
    """Listeners and who reaches them, providers with their ways and whose key, routes, series; no secret."""
    prefix = "/v1/projects/p/locations/eu/endpoints/openapi"
    root, v1 = len("https://eu-aiplatform.googleapis.com"), len(f"/v1 is {prefix}")
    form = "openai dialect"
    assert list(report(configuration, configuration.settings(), (35, 98))) == [
        f"{configuration.path}: understood",
        "listeners:",
        "  tcp:80:interface=127.0.0.1  this machine only",
        "  tcp:9000                    whoever can reach it  TLS: /tls.crt",
        NO_ADMIN,
        "providers (default: groq):",
        f"  /groq    {'https://api.groq.com':{root}}  {'/v1 is /openai/v1':{v1}}  {form}  key: env:KEY",
        f"  /vertex  https://eu-aiplatform.googleapis.com  /v1 is {prefix}  {form}  token: /bin/token",
        f"  /local   {'http://gpu:8000':{root}}  {'/v1 is /v1':{v1}}  {form}  key: the client's",
        f"  /ollama  {'http://localhost:11434':{root}}  {'/v1 is /v1':{v1}}  {form}  key: none",
        "routes:",
        "  small  ordered   groq/llama, vertex/small      first_token_seconds: 2.5, hedged",
        "  big    weighted  groq/llama (3), vertex/b (0)",
        "drain: new connections for 0 s more, what is in flight for 600 s",
        "log: text, info and above",
        "workers: 1",
        "metric series: 35 at the start, 98 when each of 3 targets has answered a chat completion",
    ]


def test_the_series_of_a_daemon_are_counted(configuration: Configuration) -> None:
    """Its targets, and a breaker for each and for what else each provider has."""
    assert targets(configuration) == [("groq", "llama"), ("vertex", "small"), ("vertex", "b")]
    assert circuits(configuration) == [
        *[("groq", ""), ("vertex", ""), ("local", ""), ("ollama", "")],
        *[("groq", "llama"), ("vertex", "small"), ("vertex", "b")],
    ]


def test_an_empty_file_has_a_report_too(tmp_path: Path) -> None:
    """The default listener, the one provider of a daemon without a file, and no table without rows."""
    path = tmp_path / "proxy.yaml"
    path.write_text("{}")
    configuration = load(path, read_catalogue(), SecretReader({}))
    assert list(report(configuration, configuration.settings(), (35, 35))) == [
        f"{path}: understood",
        "listeners:",
        "  tcp:8080  whoever can reach it",
        NO_ADMIN,
        "providers (default: openai):",
        "  /openai  https://api.openai.com  /v1 is /v1  openai dialect  key: the client's",
        "drain: new connections for 0 s more, what is in flight for 600 s",
        "log: text, info and above",
        "workers: 1",
        "metric series: 35 at the start",
    ]


@pytest.mark.parametrize(
    ("admin", "line"),
    [
        ("address: '9091'", "  tcp:9091:interface=127.0.0.1  this machine only  all, without a token"),
        (
            "address: tcp:9091",
            "  tcp:9091  whoever can reach it  health and metrics only, as others can reach it and there is "
            "no `admin.token`",
        ),
        (
            "address: tcp:9091, token: env:KEY, tls: {certificate: /tls.crt}",
            "  tcp:9091  whoever can reach it  health to anyone, all else by token: env:KEY  TLS: /tls.crt",
        ),
    ],
)
def test_it_says_who_is_shown_what(tmp_path: Path, admin: str, line: str) -> None:
    """At the operator's own port: all to this machine or for a token, else health and metrics."""
    path = tmp_path / "proxy.yaml"
    path.write_text(f"admin: {{{admin}}}")
    configuration = load(path, read_catalogue(), SecretReader({"KEY": "sk-canary"}))
    lines = list(report(configuration, configuration.settings(), (1, 1)))
    assert lines[lines.index("admin:") + 1] == line
    assert "canary" not in "".join(lines)


def test_options_come_before_the_file(configuration: Configuration) -> None:
    """What is said of the process is what the daemon would do."""
    settings = replace(
        configuration.settings(), workers=4, drain=Drain(2.5, 30), log=Logging("json", "warn"), listen=()
    )
    lines = list(report(configuration, settings, (1, 1)))
    assert lines[-4:-1] == [
        "drain: new connections for 2.5 s more, what is in flight for 30 s",
        "log: json, warn and above",
        "workers: 4",
    ]
