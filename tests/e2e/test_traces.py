"""A daemon with traces, and its collector."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.collector import Collector, plain
from tests.support.daemon import ROOT, Daemon, environment
from tests.support.openai_upstream import OpenAIUpstream, json_answer

JSON = "Content-Type: application/json"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ANSWER = {
    "model": "gpt-4o-2024-08-06",
    "object": "chat.completion",
    "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
}
BODY = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "canary"}]}).encode()


def written(folder: Path, upstream: str, tracing: str) -> str:
    path = folder / "proxy.yaml"
    path.write_text(f"providers: {{openai: {{base_url: '{upstream}'}}}}\ntracing: {tracing}\n")
    return str(path)


def test_an_exchange_is_seen_by_the_collector(tmp_path: Path) -> None:
    """With a trace that goes from its client to its upstream, and with no text, key or field of either."""
    with OpenAIUpstream() as upstream, Collector() as collector:
        config = written(tmp_path, upstream.url, f"{{endpoint: '{collector.url}', headers: {{x-k: env:K}}}}")
        upstream.planned.append(json_answer(ANSWER))
        with Daemon("--config", config, env={"K": "canary"}) as daemon:
            fields = ("Authorization: Bearer canary", JSON, f"traceparent: {PARENT}")
            answer = daemon.ask("POST", "/v1/chat/completions?canary=1", *fields, body=BODY)
            assert answer.status == 200
            assert daemon.stop() == 0
        server, client = collector.wait_for(2)
    assert collector.fields[0]["x-k"] == "canary"
    assert "canary" not in str(collector.requests) + daemon.output
    sent = (upstream.requests[0].get("traceparent") or b"").decode()
    assert sent == f"00-{PARENT[3:35]}-{client.span_id.hex()}-01"
    assert server.parent_span_id.hex() == PARENT[36:52] and client.parent_span_id == server.span_id
    assert plain(server.attributes)["openai_proxy.request_id"] == "req_scripted"
    assert plain(client.attributes)["gen_ai.usage.output_tokens"] == 4


def test_a_collector_that_is_not_there_costs_nothing(tmp_path: Path) -> None:
    """Requests are answered, one line says so, lost spans are counted, and the daemon ends well."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with OpenAIUpstream() as upstream:
        tracing = f"{{endpoint: 'http://127.0.0.1:{port}/v1/traces', timeout_seconds: 0.5}}"
        with Daemon("--config", written(tmp_path, upstream.url, tracing)) as daemon:
            for _ in range(200):
                assert daemon.ask("GET", "/v1/models").status == 200
            daemon.wait_for(re.compile("Traces cannot be sent to http://127.0.0.1"))
            metrics = daemon.ask("GET", "/metrics").body.decode()
            assert daemon.stop() == 0
    (failed,) = re.findall(r'trace_spans_exported_total\{result="failed"\} (\d+)', metrics)
    assert int(failed) > 0
    assert daemon.output.count("Traces cannot be sent") <= 2
    assert "Traceback" not in daemon.output


@pytest.mark.parametrize("options", [("--check",), ()])
def test_without_the_extra_it_says_what_is_wanted(tmp_path: Path, options: tuple[str, ...]) -> None:
    """In one line, before it listens."""
    config = written(tmp_path, "http://127.0.0.1:1", "{}")
    (tmp_path / "opentelemetry.py").write_text("raise ImportError('not installed')")
    code = (
        "import sys; from twisted.scripts.twistd import run; "
        "sys.argv[1:1] = ['-n', '--pidfile=', 'openaiproxy']; run()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--config", config, "--port", "tcp:0:interface=127.0.0.1", *options],
        cwd=tmp_path,
        env=environment(PYTHONPATH=f"{tmp_path}:{ROOT}"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "openai_proxy: tracing wants the extra: pip install openai_proxy[otel]" in done.stderr.splitlines()
    assert "Traceback" not in done.stderr
