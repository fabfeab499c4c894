"""What a daemon says of itself when it starts."""

from __future__ import annotations

import pytest

from openai_proxy.config.secret import Secret
from openai_proxy.config.settings import Admin, Listen, Settings
from openai_proxy.config.started import started
from openai_proxy.config.tracing import Tracing

LOCAL = Listen("tcp:9091:interface=127.0.0.1")
OPEN = Listen("tcp:9091", certificate="/c.pem")
TOKEN = Secret("canary", "env:TOKEN")


def test_without_a_file() -> None:
    """One provider, whose key is its clients', and the mock."""
    settings = Settings(listen=(Listen("tcp:8080"), Listen("unix:/run/s")), workers=3)
    assert list(started(settings, None)) == [
        "Clients: tcp:8080 (whoever can reach it), unix:/run/s (this machine only); 3 workers",
        "Metrics: to clients, at /metrics; pages: to this machine only",
        "Providers: openai https://api.openai.com (key: the client's), mock (no key)",
    ]


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        ("http://collector:4318/v1/traces", "Traces: to http://collector:4318/v1/traces"),
        (None, "Traces: to where the environment says (OTEL_...)"),
    ],
)
def test_where_traces_go(endpoint: str | None, said: str) -> None:
    """Only where there are some, and without what the collector is told besides."""
    settings = Settings(tracing=Tracing(endpoint=endpoint, headers={"x-key": TOKEN}))
    lines = list(started(settings, None))
    assert lines[-1] == said and "canary" not in str(lines)


@pytest.mark.parametrize(
    ("admin", "said"),
    [
        (Admin(LOCAL), f"Metrics and pages: {LOCAL.description} (this machine only)"),
        (Admin(LOCAL, TOKEN), f"Metrics and pages: {LOCAL.description} (this machine only), with a token"),
        (Admin(OPEN, TOKEN), "Metrics and pages: tcp:9091 (whoever can reach it, TLS), with a token"),
        (Admin(OPEN), "Metrics, and no pages without a token: tcp:9091 (whoever can reach it, TLS)"),
    ],
)
def test_who_sees_what(admin: Admin, said: str) -> None:
    """By the operator's own port, if there is one."""
    assert list(started(Settings(admin=admin, mock=False), None))[1] == said
