"""Where a listener listens, as far as its description tells."""

from __future__ import annotations

import re
from ipaddress import ip_address

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

    What is not understood (``systemd:...``) is not local.
    """
    kind, *parts = [re.sub(r"\\(.)", r"\1", part) for part in _parts(description)]
    if kind == "unix":
        return True
    if kind not in ("tcp", "tcp4", "tcp6", "ssl"):
        return False
    named = dict(part.partition("=")[::2] for part in parts if "=" in part)
    interface = named.get("interface", "")
    try:
        return interface == "localhost" or ip_address(interface).is_loopback
    except ValueError:
        return False


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
