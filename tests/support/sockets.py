"""HTTP/1.1 by hand, both sides: blocking sockets that see and send every byte themselves.

The daemon is another process, so a test may hold both of its ends and need no reactor.
Every wait has the limit ``SECONDS``, after which it fails with TimeoutError.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType

SECONDS = 20.0
_PIECE = 1 << 16
_BODILESS = (b"204", b"304")

Fields = list[tuple[bytes, bytes]]


@dataclass
class Message:
    """A request or an answer as it came over the wire."""

    start: bytes
    """The request line or status line, without its end."""
    fields: Fields
    """In order, with their case."""
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)

    @property
    def status(self) -> int:
        """Of an answer."""
        return int(self.start.split(b" ")[1])

    @property
    def target(self) -> bytes:
        """Of a request."""
        return self.start.split(b" ")[1]

    def all(self, name: str) -> list[bytes]:
        """Every value of a field, whatever the case of its name."""
        wanted = name.lower().encode()
        return [value for key, value in self.fields if key.lower() == wanted]

    def get(self, name: str) -> bytes | None:
        """The first of :meth:`all`."""
        values = self.all(name)
        return values[0] if values else None

    def lower_names(self) -> list[bytes]:
        """The fields' names in lower case, in order."""
        return [name.lower() for name, _ in self.fields]


class Truncated(Exception):
    """The connection ended (FIN) before the message did."""


class Peer:
    """One end of a connection."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(SECONDS)
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connection
        self._ahead = b""

    @classmethod
    def connect(cls, port: int) -> Peer:
        """To a port of this machine."""
        return cls(socket.create_connection(("127.0.0.1", port), SECONDS))

    @classmethod
    def connect_unix(cls, path: str) -> Peer:
        """To a socket in the file system."""
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(path)
        return cls(connection)

    def send(self, data: bytes) -> None:
        """Write all of it."""
        self.socket.sendall(data)

    def send_request(self, method: str, target: str, *fields: str, body: bytes = b"") -> None:
        """A request with the fields as given, after Host; Content-Length is added if there is a body."""
        lines = [f"{method} {target} HTTP/1.1", "Host: proxy.test", *fields]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def send_chunk(self, data: bytes) -> None:
        """One chunk; an empty one ends the body."""
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def read_some(self) -> bytes:
        """What is there, when something is; empty at the other's end."""
        if self._ahead:
            data, self._ahead = self._ahead, b""
            return data
        return self.socket.recv(_PIECE)

    def read_line(self) -> bytes:
        """Up to the next CRLF, without it."""
        return self._through(b"\r\n")[:-2]

    def read_exactly(self, count: int) -> bytes:
        """``count`` bytes; :class:`Truncated` if they do not come."""
        pieces = list(self.pieces(count))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def pieces(self, count: int) -> Iterator[bytes]:
        """``count`` bytes as they come; :class:`Truncated` if they do not come."""
        while count:
            data = self.read_some()
            if not data:
                raise Truncated
            if len(data) > count:
                data, self._ahead = data[:count], data[count:]
            count -= len(data)
            yield data

    def read_head(self) -> Message:
        """A message up to its empty line."""
        start, *lines = self._through(b"\r\n\r\n")[:-4].split(b"\r\n")
        split = [line.partition(b":") for line in lines]
        return Message(start, [(name, value.strip(b" \t")) for name, _, value in split])

    def read_chunk(self) -> bytes:
        """The next chunk's data; empty for the last one, whose end is read too."""
        size = int(self.read_line(), 16)
        return self.read_exactly(size + 2)[:-2]

    def read_request(self) -> Message:
        """A whole request."""
        return self._read_body(self.read_head(), to_end=False)

    def read_answer(self, method: str = "GET") -> Message:
        """A whole answer, to a request with ``method``; of one without a length, to the end."""
        head = self.read_head()
        bodiless = method == "HEAD" or head.start.split(b" ")[1] in _BODILESS
        return head if bodiless else self._read_body(head, to_end=True)

    def wait_end(self) -> str:
        """Read until the other ends the connection: ``FIN`` or ``RST``."""
        try:
            while self.read_some():
                pass
        except ConnectionError:
            return "RST"
        return "FIN"

    def close(self) -> None:
        """FIN, or RST if something that came was not read."""
        self.socket.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read_body(self, message: Message, *, to_end: bool) -> Message:
        length = message.get("content-length")
        if message.get("transfer-encoding") is not None:
            while chunk := self.read_chunk():
                message.chunks.append(chunk)
            message.body = b"".join(message.chunks)
        elif length is not None:
            message.body = self.read_exactly(int(length))
        elif to_end:
            message.body = self._to_end()
        return message

    def _to_end(self) -> bytes:
        pieces = []
        while data := self.read_some():
            pieces.append(data)
        return b"".join(pieces)

    def _through(self, marker: bytes) -> bytes:
        data = b""
        while marker not in data:
            piece = self.read_some()
            if not piece:
                raise Truncated
            data += piece
        end = data.index(marker) + len(marker)
        data, self._ahead = data[:end], data[end:] + self._ahead
        return data


class RawUpstream:
    """A listening socket; its connections are read and answered by the test itself."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self._listener.settimeout(SECONDS)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.peers: list[Peer] = []

    def next(self) -> Peer:
        """The connection that has bytes to read: a new one, or one that was kept."""
        while True:
            watched = [self._listener, *(peer.socket for peer in self.peers)]
            ready, _, _ = select.select(watched, [], [], SECONDS)
            if not ready:
                raise TimeoutError("no request came")
            for peer in list(self.peers):
                if peer.socket in ready:
                    if _has_bytes(peer.socket):
                        return peer
                    peer.close()
                    self.peers.remove(peer)
            if self._listener in ready:
                connection, _ = self._listener.accept()
                self.peers.append(Peer(connection))

    def nothing_came(self) -> bool:
        """Whether no connection and no byte is waiting here now."""
        watched = [self._listener, *(peer.socket for peer in self.peers)]
        return not select.select(watched, [], [], 0)[0]

    def hang_up(self) -> None:
        """Close all connections; the port stays."""
        for peer in self.peers:
            peer.close()
        self.peers.clear()

    def close(self) -> None:
        """Close all."""
        self.hang_up()
        self._listener.close()

    def __enter__(self) -> RawUpstream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _has_bytes(connection: socket.socket) -> bool:
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except ConnectionError:
        return False
