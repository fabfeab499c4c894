"""Descriptions of listeners."""

from __future__ import annotations

import pytest

from openai_proxy.config.address import admin_description, is_local, is_tls, listen_description, same_place


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
        "systemd:domain=UNIX:index=0",
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


def test_the_operators_number_is_on_loopback() -> None:
    """A description is taken as it is."""
    assert admin_description("9091") == "tcp:9091:interface=127.0.0.1"
    assert admin_description("tcp:9091") == "tcp:9091"
    with pytest.raises(ValueError, match="65536 is not a port number"):
        admin_description("65536")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("tcp:80", "tcp:80"),
        ("systemd:domain=INET:index=0", "systemd:domain=INET:index=0"),
        ("tcp:80", "tcp:80:interface=127.0.0.1"),
        ("tcp:80:backlog=9", "ssl:port=80:interface=0.0.0.0"),
        ("tcp:80:interface=localhost", "tcp:interface=127.0.0.1:port=80"),
        (r"tcp:80:interface=\:\:", r"tcp6:80:interface=\:\:1"),
        ("unix:/run/a", "unix:address=/run/a:mode=600"),
    ],
)
def test_what_cannot_be_had_together(one: str, other: str) -> None:
    """The same port where their interfaces overlap, the same path; in either order."""
    assert same_place(one, other)
    assert same_place(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("tcp:80", "tcp:81"),
        ("tcp:80:interface=127.0.0.1", "tcp:80:interface=10.0.0.1"),
        ("tcp:80", r"tcp6:80:interface=\:\:1"),
        ("tcp:0", "tcp:0:interface=127.0.0.1"),
        ("unix:/run/a", "unix:/run/b"),
        ("unix:/run/a", "tcp:80"),
        ("systemd:domain=INET:index=0", "systemd:domain=INET:index=1"),
        ("tcp:80:interface=a.example", "tcp:80:interface=b.example"),
    ],
)
def test_what_can_be_had_together(one: str, other: str) -> None:
    """And what is not understood, of which the bind will tell."""
    assert not same_place(one, other)
    assert not same_place(other, one)


def test_tls_by_description() -> None:
    """Twisted's own word for it."""
    assert is_tls("ssl:443:privateKey=key.pem")
    assert not is_tls("tcp:443")
