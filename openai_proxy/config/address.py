"""Where a listener listens, as far as its description tells."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

_PART = re.compile(r"(?:[^:\\]|\\.)*")


def listen_description(port: str) -> str:
    """A port number, or a Twisted endpoint description, as a description. Raises ValueError."""
    if port.isascii() and port.isdecimal():
        if int(port) > 65535:
            raise ValueError(f"{port} is not a port number (0 to 65535)")
        return f"tcp:{port}"
    return port


def admin_description(port: str) -> str:
    """The same for the operator's own port, where a number alone is on loopback. Raises ValueError."""
    description = listen_description(port)
    return description if description == port else f"{description}:interface=127.0.0.1"


def is_local(description: str) -> bool:
    """Whether only this machine can reach it: a loopback interface, or a socket in the file system.

    What is not understood (``systemd:domain=INET:...``, ``fd:3``) is not local.
    """
    one = _parsed(description)
    if one.kind == "unix" or (one.kind == "systemd" and one.named.get("domain") == "UNIX"):
        return True
    interface = _interface(one)
    return interface is not None and interface.is_loopback


def is_tls(description: str) -> bool:
    """Whether it says itself that clients come over TLS."""
    return _parsed(description).kind == "ssl"


def same_place(description: str, other: str) -> bool:
    """Whether two cannot be listened at together, as far as they tell.

    Port 0 is any port that is free; interfaces overlap if one is all of its family.
    """
    ours, theirs = _parsed(description), _parsed(other)
    if description == other:
        return ours.place != "0"
    if ours.kind == theirs.kind == "unix":
        return ours.place == theirs.place
    near, far = _interface(ours), _interface(theirs)
    if near is None or far is None or ours.place != theirs.place or ours.place == "0":
        return False
    is_all = near.is_unspecified or far.is_unspecified
    return near == far or (is_all and near.version == far.version)


class _Parsed(NamedTuple):
    kind: str
    place: str
    """The port, or the path."""
    named: dict[str, str]


def _parsed(description: str) -> _Parsed:
    kind, *parts = [re.sub(r"\\(.)", r"\1", part) for part in _parts(description)]
    named = dict(part.partition("=")[::2] for part in parts if "=" in part)
    place = named.get("port") or named.get("address") or next((part for part in parts if "=" not in part), "")
    return _Parsed(kind, place, named)


def _interface(one: _Parsed) -> IPv4Address | IPv6Address | None:
    """None: it has none, or what it has is no address."""
    if one.kind not in ("tcp", "tcp4", "tcp6", "ssl"):
        return None
    everywhere = "::" if one.kind == "tcp6" else "0.0.0.0"  # noqa: S104 (nothing is bound here)
    interface = one.named.get("interface", "") or everywhere
    try:
        return ip_address("127.0.0.1" if interface == "localhost" else interface)
    except ValueError:
        return None


def _parts(description: str) -> list[str]:
    """Twisted parts them by colons that have no backslash before them."""
    parts, place = [], 0
    while True:
        match = _PART.match(description, place)
        assert match is not None
        parts.append(match[0])
        place = match.end() + 1
        if place > len(description):
            return parts
