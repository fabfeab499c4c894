"""How several processes share the connections that come to one socket."""

from __future__ import annotations

from typing import Any, Final

from openai_proxy.process.listening import Listeners

REST_SECONDS: Final = 0.001
"""For so long a worker leaves new connections to others when it has taken some."""


def share_fairly(listeners: Listeners) -> None:
    """All ports are open at siblings too: leave connections to them, and the sockets when this one ends."""
    listeners.share()
    for port in listeners.ports:
        _Turns(port)


class _Turns:
    """Accepts a connection at a time, with rests; while there are more than that, one more each time.

    Twisted takes up to a hundred and more: the first to wake up would have all streams of a burst. One at a
    time is not enough: a process that runs is back before another has woken up. Of 200 connections that come
    at once, one of four had 75 to 150 then; with rests, 55 to 80.
    """

    def __init__(self, port: Any) -> None:
        self._port = port
        self._most = 1
        port.doRead = self._accept

    def _accept(self) -> None:
        port, most = self._port, self._most
        # Twisted changes it whenever it accepts.
        port.numberAccepts = most
        before = port.sessionno
        type(port).doRead(port)
        accepted = port.sessionno - before
        self._most = most + 1 if accepted == most else 1
        if accepted:
            port.stopReading()
            port.reactor.callLater(REST_SECONDS, self._go_on)

    def _go_on(self) -> None:
        port = self._port
        if port.connected and not port.disconnecting:
            port.startReading()
