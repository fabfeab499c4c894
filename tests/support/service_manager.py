"""A service manager's end of sd_notify(3): what was said, and by which process."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Self


class Word(NamedTuple):
    """A datagram."""

    pid: int
    """Who sent it, by the kernel's word."""
    text: str


class ServiceManager:
    """Listens at a name of the abstract namespace."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        # The kernel chooses a name that is free.
        self._socket.bind("")
        self.heard: list[Word] = []

    @property
    def environment(self) -> dict[str, str]:
        """For the process that it starts."""
        return {"NOTIFY_SOCKET": self._socket.getsockname().replace(b"\0", b"@").decode()}

    def wait_for(self, is_wanted: Callable[[Word], bool], seconds: float = 20) -> Word:
        """The first one, of all that come from now on, that is wanted."""
        end = time.monotonic() + seconds
        while True:
            self._socket.settimeout(max(end - time.monotonic(), 0.001))
            text, (credentials, *_), _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(12))
            pid, _, _ = struct.unpack("3i", credentials[2])
            word = Word(pid, text.decode())
            self.heard.append(word)
            if is_wanted(word):
                return word

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
