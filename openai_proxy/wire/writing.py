"""Writing to a socket at once, where nothing waits before it."""

from __future__ import annotations

from typing import Any

from twisted.internet.tcp import Client, Server

_PLAIN = frozenset({Client, Server})


def write_now(transport: Any, data: bytes) -> None:
    """Write as ``transport.write`` does, but without waiting for the reactor if that is possible.

    Twisted's own ``write`` leaves the bytes to the next turn, for two calls of epoll and a
    dispatch. TLS, a socket with something to send, and one that does not take all go the
    usual way, with the usual backpressure; so does an error, which the reactor then finds.
    """
    if (
        type(transport) in _PLAIN
        and not transport._tempDataBuffer
        and not transport.dataBuffer
        and transport.connected
        and not transport.disconnecting
        and not transport._writeDisconnected
    ):
        try:
            sent = transport.socket.send(data)
        except OSError:
            sent = 0
        if sent == len(data):
            return
        data = data[sent:]
    transport.write(data)
