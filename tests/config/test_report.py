"""What an operator is shown of his file."""

from __future__ import annotations

from pathlib import Path

import pytest

from openai_proxy.config.configuration import Configuration, load
from openai_proxy.config.report import circuits, report, targets
from openai_proxy.config.secret import SecretReader
from openai_proxy.providers.catalogue import read_catalogue

TEXT = """
listeners: [{address: "tcp:80:interface=127.0.0.1"}, {address: "9000", allow_anonymous: true}]
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
    assert list(report(configuration, (35, 98))) == [
        f"{configuration.path}: understood",
        "listeners:",
        "  tcp:80:interface=127.0.0.1  this machine only",
        "  tcp:9000                    whoever can reach it",
        "providers (default: groq):",
        f"  /groq    {'https://api.groq.com':{root}}  {'/v1 is /openai/v1':{v1}}  {form}  key: env:KEY",
        f"  /vertex  https://eu-aiplatform.googleapis.com  /v1 is {prefix}  {form}  token: /bin/token",
        f"  /local   {'http://gpu:8000':{root}}  {'/v1 is /v1':{v1}}  {form}  key: the client's",
        f"  /ollama  {'http://localhost:11434':{root}}  {'/v1 is /v1':{v1}}  {form}  key: none",
        "routes:",
        "  small  ordered   groq/llama, vertex/small      first_token_seconds: 2.5, hedged",
        "  big    weighted  groq/llama (3), vertex/b (0)",
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
    path.write_text("")
    assert list(report(load(path, read_catalogue(), SecretReader({})), (35, 35))) == [
        f"{path}: understood",
        "listeners:",
        "  tcp:8080  whoever can reach it",
        "providers (default: openai):",
        "  /openai  https://api.openai.com  /v1 is /v1  openai dialect  key: the client's",
        "metric series: 35 at the start",
    ]
