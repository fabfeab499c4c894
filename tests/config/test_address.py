"""Descriptions of listeners."""

from __future__ import annotations

import pytest

from openai_proxy.config.address import is_local, listen_description


@pytest.mark.parametrize(
    "description",
    [
        "tcp:8080:interface=127.0.0.1",
        "tcp:8080:interface=127.8.9.10:backlog=9",
        "tcp:port=8080:interface=localhost",
        r"tcp6:8080:interface=\:\:1",
        r"tcp:8080:interface=\:\:1",
        "ssl:443:interface=127.0.0.1:privateKey=key.pem",
        "unix:/run/proxy.socket",
        r"unix:address=/run/a\:b",
    ],
)
def test_what_only_this_machine_reaches_is_local(description: str) -> None:
    """Loopback addresses, by any name, and sockets in the file system."""
    assert is_local(description)


@pytest.mark.parametrize(
    "description",
    [
        "tcp:8080",
        "8080",
        "",
        "tcp:8080:interface=",
        "tcp:8080:interface=0.0.0.0",
        r"tcp6:8080:interface=\:\:",
        r"tcp:8080:interface=\:\:ffff\:10.0.0.1",
        "tcp:8080:interface=10.0.0.1",
        "tcp:8080:interface=127.0.0.1.example.org",
        "tcp:8080:backlog=127.0.0.1",
        r"tcp:8080:backlog=1\:interface=127.0.0.1",
        "systemd:domain=INET:index=0",
        "fd:3",
    ],
)
def test_what_is_not_understood_is_not_local(description: str) -> None:
    """Where it is not certain, others may reach it."""
    assert not is_local(description)


def test_a_number_is_a_tcp_port() -> None:
    """Anything else is a description, or a number that no port has."""
    assert listen_description("8080") == "tcp:8080"
    assert listen_description("unix:/x") == "unix:/x"
    with pytest.raises(ValueError, match="65536 is not a port number"):
        listen_description("65536")
