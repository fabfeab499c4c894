"""What a daemon says of itself when it starts."""

from __future__ import annotations

import pytest

from openai_proxy.config.secret import Secret
from openai_proxy.config.settings import Admin, Listen, Settings
from openai_proxy.config.started import started

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
