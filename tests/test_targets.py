"""From a file to what it leads to: targets, ways, and what is shown of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from twisted.internet.testing import MemoryReactorClock
from twisted.web.resource import Resource

from openai_proxy.config.configuration import load
from openai_proxy.config.secret import Secret, SecretReader
from openai_proxy.observe.metrics import Metrics, new_registry
from openai_proxy.policy.breaker import Verdict
from openai_proxy.policy.routing import Candidate
from openai_proxy.providers.catalogue import read_catalogue
from openai_proxy.providers.token_source import FetchedKey
from openai_proxy.targets import Wiring
from openai_proxy.web.root import ProxySite
from openai_proxy.wire import errors
from tests.support.exchanges import KeptRecords, context
from tests.support.routed import ERROR, Upstream
from tests.support.wire import Client

FILE = """
listeners:
  - address: tcp:8080:interface=127.0.0.1
default_provider: openai
providers:
  openai:
    api_key: env:KEY
  anthropic: {}
  local:
    base_url: http://127.0.0.1:1/v1
    client_key: drop
    quirks:
      strip_stream_options: true
      fix_finish_reason: true
      drop: [user]
  fetched:
    base_url: http://127.0.0.1:2/v1
    token:
      command: [/bin/true]
models:
  fast:
    targets:
      - provider: openai
        model: gpt-4o
      - provider: local
"""


class Rig:
    """A daemon's ways, its reactor and its upstream, which all targets share."""

    def __init__(self, path: Path) -> None:
        file = path / "proxy.yaml"
        file.write_text(FILE)
        configuration = load(file, read_catalogue(), SecretReader({"KEY": "sk-ours"}))
        self.client = Client(Resource())
        self.client.leave()
        self.metrics = Metrics(new_registry())
        self.upstream = Upstream()
        self.reactor: Any = MemoryReactorClock()
        self.wiring = Wiring(
            configuration, configuration.settings(), self.upstream, self.reactor, self.metrics
        )
        self.sink = KeptRecords()
        site = ProxySite(self.client.clock, configuration.settings().limits, self.metrics)
        self.wiring.watch()
        site.serve(self.wiring.routes(context(self.client.clock, self.sink, site.held_bodies)))
        self.client.connect(site)

    def ask(self, path: bytes, body: bytes = b'{"model":"fast"}', *fields: bytes) -> None:
        """A POST."""
        lines = [b"POST %b HTTP/1.1" % path, b"Host: x", b"Content-Length: %d" % len(body), *fields]
        self.client.send(b"\r\n".join([*lines, b"", body]))


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """Of the file above."""
    return Rig(tmp_path)


def test_each_provider_is_a_target(rig: Rig) -> None:
    """With what the file says of it, and nothing for what it does not."""
    targets = rig.wiring.targets
    assert list(targets) == ["openai", "anthropic", "local", "fetched"]
    openai, local = targets["openai"], targets["local"]
    assert openai.keys is not None and openai.has_own_key
    assert openai.keys.current() == Secret("sk-ours", "env:KEY")
    assert (openai.rules, openai.fixes) == (None, None)
    assert not local.has_own_key
    assert local.rules is not None and local.fixes is not None
    assert local.translation is not None and not local.translation.includes_usage
    assert not local.provider.includes_usage
    always = targets["anthropic"].translation
    assert always is not None and not always.includes_usage
    assert targets["anthropic"].provider.dialect == "anthropic"
    assert isinstance(targets["fetched"].keys, FetchedKey)


def test_there_is_a_way_to_each_and_one_to_all(rig: Rig) -> None:
    """The transparent one byte for byte, the unified one by the model; the key is ours."""
    rig.ask(b"/openai/v1/chat/completions?a=%2F", b'{"model":"x"}', b"Authorization: Bearer theirs")
    ask = rig.upstream.last
    assert ask.url == b"https://api.openai.com/v1/chat/completions?a=%2F"
    assert (b"Authorization", b"Bearer sk-ours") in ask.fields
    assert ask.sent == b'{"model":"x"}'
    ask.give(200, b"{}")
    rig.ask(b"/v1/chat/completions", b'{"model":"fast"}', b"Authorization: Bearer theirs")
    assert rig.upstream.last.sent == b'{"model":"gpt-4o"}'
    rig.upstream.last.give(500, ERROR)
    ask = rig.upstream.last
    assert ask.url == b"http://127.0.0.1:1/v1/chat/completions"
    assert not any(name.lower() == b"authorization" for name, _ in ask.fields)
    assert ask.sent == b'{"model":"fast"}'
    ask.give(200, b"{}")
    assert [record.route for record in rig.sink.ended] == ["/openai", "/v1"]
    assert [answer[0] for answer in rig.client.answers()] == [200, 200]
    rig.client.done()


@pytest.mark.parametrize(
    ("path", "fields", "is_anthropic"),
    [
        (b"/anthropic/v1/messages", (), True),
        (b"/openai/v1/chat/completions", (), False),
        (b"/local/anthropic/v1/messages", (b"anthropic-version: 2023-06-01",), True),
    ],
)
def test_an_error_of_ours_on_a_providers_own_way(
    rig: Rig, path: bytes, fields: tuple[bytes, ...], is_anthropic: bool
) -> None:
    """In the provider's dialect, or its client's where that has more than one."""
    rig.ask(path, b"{}", *fields)
    rig.upstream.last.fail(errors.ConnectFailed())
    status, answered, body = rig.client.answers()[-1]
    assert status == 502
    assert (json.loads(body).get("type") == "error") == is_anthropic
    assert any(name == b"request-id" for name, _ in answered) == is_anthropic
    rig.client.done()


def test_circuits_are_shown(rig: Rig) -> None:
    """Those of each target, as they are when they are looked at, and each change of one."""
    breaker = rig.wiring.gateway.breaker_of(Candidate("openai", "gpt-4o", "gpt-4o"))
    shown = generate_latest(rig.metrics.registry).decode()
    place = 'model="gpt-4o",provider="openai"'
    assert f'openai_proxy_circuit_state{{{place},state="closed"}} 1.0' in shown
    for _ in range(20):
        leave = breaker.begin(0.0)
        assert leave is not None
        breaker.end(leave, Verdict.BAD, 0.0)
    shown = generate_latest(rig.metrics.registry).decode()
    assert f'openai_proxy_circuit_state{{{place},state="open"}} 1.0' in shown


def test_keys_are_fetched_no_more_behind_the_end(rig: Rig) -> None:
    """Whoever waits for one is told that there is none."""
    keys = rig.wiring.targets["fetched"].keys
    assert keys is not None
    for one in rig.wiring.fetching:
        one.stop()
    waiting: Any = keys.current()
    failures: list[Any] = []
    waiting.addErrback(failures.append)
    assert len(failures) == 1


@pytest.mark.parametrize(
    ("model", "member"),
    [("anthropic/claude-haiku-4-5", "seed"), ("local/m", "user"), ("local/m", "stream_options")],
)
def test_what_is_not_sent_is_counted_by_its_name(rig: Rig, model: str, member: str) -> None:
    """Whether the dialect has no word for it, or the provider refuses it."""
    asked = {"model": model, "messages": [{"role": "user", "content": "hi"}], member: 1}
    rig.ask(b"/v1/chat/completions", json.dumps(asked).encode())
    rig.upstream.last.give(400, ERROR)
    rig.client.leave()
    [record] = rig.sink.ended
    rig.metrics.exchange_began(record.endpoint)
    rig.metrics.exchange_ended(record)
    provider = model.partition("/")[0]
    sample = f'openai_proxy_dropped_members_total{{member="{member}",provider="{provider}"}} 1.0'
    assert sample.encode() in generate_latest(rig.metrics.registry)
