"""What SDKs are told of the models that can be asked for, by a daemon with several providers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import AuthenticationError, OpenAI

from tests.support.daemon import Daemon
from tests.support.openai_upstream import OpenAIUpstream, error, json_answer

SECONDS = 20
KEY = "sk-client"
NAMES = ["fast", "openai/gpt-4o", "gpt-4o", "anthropic/claude-opus-5", "local/gpt-4o"]
CLAUDE = {
    "type": "model",
    "id": "claude-opus-5",
    "display_name": "Claude Opus 5",
    "created_at": "2026-01-01T00:00:00Z",
}
PAGE = {"data": [CLAUDE], "has_more": False, "first_id": "claude-opus-5", "last_id": "claude-opus-5"}


@pytest.fixture(scope="module")
def upstreams() -> Iterator[dict[str, OpenAIUpstream]]:
    """By the names of their providers."""
    with OpenAIUpstream() as openai, OpenAIUpstream() as anthropic, OpenAIUpstream() as local:
        yield {"openai": openai, "anthropic": anthropic, "local": local}


@pytest.fixture
def daemon(upstreams: dict[str, OpenAIUpstream], tmp_path: Path) -> Iterator[Daemon]:
    """The client's key is for `openai`, ours for `anthropic`, and `local` wants none."""
    for upstream in upstreams.values():
        upstream.forget()
    upstreams["anthropic"].planned.append(json_answer(PAGE))
    path = tmp_path / "proxy.yaml"
    path.write_text(
        f"""
mock: false
providers:
  openai: {{base_url: '{upstreams["openai"].url}/v1'}}
  anthropic: {{base_url: '{upstreams["anthropic"].url}', api_key: 'env:CLAUDE_KEY'}}
  local: {{base_url: '{upstreams["local"].url}/v1', client_key: drop}}
models:
  fast: {{targets: [{{provider: local, model: small}}]}}
"""
    )
    with Daemon("--config", str(path), env={"CLAUDE_KEY": "sk-ours"}) as daemon:
        yield daemon
        assert daemon.stop() == 0
    assert "Traceback" not in daemon.output
    assert "sk-" not in daemon.output


def client_of(daemon: Daemon) -> OpenAI:
    return OpenAI(api_key=KEY, base_url=daemon.url + "/v1", max_retries=0, timeout=SECONDS)


def test_openais_sdk(daemon: Daemon, upstreams: dict[str, OpenAIUpstream]) -> None:
    """All names in one list; each provider saw its own key only, and was asked once where that is ours."""
    with client_of(daemon) as client:
        models = client.models.list().data
        assert [model.id for model in models] == NAMES
        assert [model.owned_by for model in models] == [
            "openai_proxy",
            "system",
            "system",
            "anthropic",
            "system",
        ]
        assert [model.id for model in client.models.list()] == NAMES
    openai, anthropic, local = (upstreams[name].requests for name in ("openai", "anthropic", "local"))
    assert [one.get("authorization") for one in openai] == [b"Bearer sk-client"] * 2
    assert [one.target for one in anthropic] == [b"/v1/models?limit=1000"]
    assert [one.get("x-api-key") for one in anthropic] == [b"sk-ours"]
    assert [one.target for one in local] == [b"/v1/models"]
    for one in (*anthropic, *local):
        assert b"sk-client" not in b" ".join(value for _, value in one.fields)


def test_anthropics_sdk(daemon: Daemon) -> None:
    """The same in its form, though it asks for pages of one."""
    anthropic = pytest.importorskip("anthropic")
    with anthropic.Anthropic(api_key=KEY, base_url=daemon.url, max_retries=0, timeout=SECONDS) as client:
        models = list(client.models.list(limit=1))
    assert [model.id for model in models] == NAMES
    assert {model.type for model in models} == {"model"}
    assert [model.display_name for model in models if model.id.startswith("anthropic/")] == ["Claude Opus 5"]


def test_what_is_missing_is_said(daemon: Daemon, upstreams: dict[str, OpenAIUpstream]) -> None:
    """A key that a provider refuses costs its models, and the exchange is counted once."""
    upstreams["openai"].planned.append(error(401, "invalid_api_key"))
    with client_of(daemon) as client:
        answer = client.models.with_raw_response.list()
        assert answer.headers["x-openai-proxy-missing"] == "openai"
        assert [model.id for model in answer.parse()] == ["fast", "anthropic/claude-opus-5", "local/gpt-4o"]
    lines = daemon.ask("GET", "/metrics").body.decode().splitlines()
    of_lists = [line for line in lines if line.startswith('http_requests_total{endpoint="models"')]
    counted = {line.split()[-1] for line in of_lists if 'outcome="ok"' in line and 'provider="none"' in line}
    assert counted == {"1.0"}


def test_a_key_that_is_refused_is_said_to_be(upstreams: dict[str, OpenAIUpstream], tmp_path: Path) -> None:
    """Where nothing else can be listed: the SDK raises what it would without us."""
    upstream = upstreams["openai"]
    upstream.forget()
    upstream.planned.append(error(401, "invalid_api_key"))
    path = tmp_path / "proxy.yaml"
    path.write_text(
        f"providers:\n  openai: {{base_url: '{upstream.url}/v1'}}\n  mistral: {{base_url: 'http://127.0.0.1:1/v1'}}\n"
    )
    with Daemon("--config", str(path)) as daemon:
        with client_of(daemon) as client, pytest.raises(AuthenticationError):
            client.models.list()
        assert daemon.stop() == 0
