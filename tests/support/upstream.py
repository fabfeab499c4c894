"""An upstream of raw TCP that does what a test tells it, and remembers what was done to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure


class Gone(Exception):
    """The connection ended while a script waited for bytes."""


class UpstreamConnection(Protocol):
    """One accepted connection.

    ``received`` holds all bytes so far, ``ended`` says how it ended: ``None`` while it is
    open, ``"FIN"``, ``"RST"`` or, where this side ended it, ``"ours"``.
    """

    transport: Any

    def __init__(self, upstream: ScriptedUpstream, number: int) -> None:
        self.upstream = upstream
        self.number = number
        self.received = bytearray()
        self.ended: str | None = None
        self._taken = 0
        self._ours = False
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    # For scripts and tests.

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` holds; it is asked after each event. Raises ``Gone``."""
        if condition():
            return
        if self.ended is not None:
            raise Gone(self.ended)
        waiting: Deferred[None] = Deferred()
        self._waiting.append((condition, waiting))
        await waiting

    async def end(self) -> str:
        """Wait for the connection's end; how it ended."""
        if self.ended is None:
            await self.until(lambda: self.ended is not None)
        assert self.ended is not None
        return self.ended

    async def head(self) -> bytes:
        """The next request's head, its empty line included."""
        return await self._through(b"\r\n\r\n")

    async def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        await self.until(lambda: len(self.received) - self._taken >= count)
        return self._take(count)

    async def request(self) -> tuple[bytes, bytes]:
        """The next request: head, and body without its chunks."""
        head = await self.head()
        lower = head.lower()
        if b"\r\ntransfer-encoding: chunked\r\n" in lower:
            body = b""
            while size := int(await self._through(b"\r\n"), 16):
                body += (await self.take(size + 2))[:-2]
            await self.take(2)
            return head, body
        _, found, rest = lower.partition(b"\r\ncontent-length: ")
        return head, await self.take(int(rest.split(b"\r\n")[0])) if found else b""

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def close(self) -> None:
        """FIN, behind all that was written."""
        self._ours = True
        self.transport.loseConnection()

    def half_close(self) -> None:
        """FIN, and go on reading."""
        self.transport.loseWriteConnection()

    def abort(self) -> None:
        """RST."""
        self._ours = True
        self.transport.abortConnection()

    def pause(self) -> None:
        """Read no more: the peer's socket fills."""
        self.transport.pauseProducing()

    def resume(self) -> None:
        self.transport.resumeProducing()

    # For Twisted.

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self.upstream.began(self)

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self._look()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        clean = reason.check(ConnectionDone) is not None
        self.ended = "ours" if self._ours else "FIN" if clean else "RST"
        self._look()
        waiting, self._waiting = self._waiting, []
        for _, deferred in waiting:
            deferred.errback(Gone(self.ended))
        self.upstream.finished(self)

    async def _through(self, marker: bytes) -> bytes:
        await self.until(lambda: self.received.find(marker, self._taken) != -1)
        return self._take(self.received.find(marker, self._taken) + len(marker) - self._taken)

    def _take(self, count: int) -> bytes:
        start, self._taken = self._taken, self._taken + count
        return bytes(self.received[start : self._taken])

    def _look(self) -> None:
        for waiting in list(self._waiting):
            condition, deferred = waiting
            if waiting in self._waiting and condition():
                self._waiting.remove(waiting)
                deferred.callback(None)


Script = Callable[[UpstreamConnection], Awaitable[None]]


class ScriptedUpstream:
    """Listens on a free port of 127.0.0.1; ``script`` is run for each connection.

    ``answering(b"...", ...)`` makes a script that answers one request after the other.
    A script that raises fails ``stop``; one that waits when its connection ends does not.
    """

    def __init__(self, reactor: Any, script: Script | None = None, tls: Any = None) -> None:
        self._reactor = reactor
        self._tls = tls
        self._script = script
        self._port: IListeningPort | None = None
        self._open = 0
        self._failures: list[Failure] = []
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []
        self.connections: list[UpstreamConnection] = []

    def start(self, interface: str = "127.0.0.1") -> ScriptedUpstream:
        """Listen."""
        upstream = self

        class _Factory(Factory):
            noisy = False

            def buildProtocol(self, addr: IAddress | None) -> UpstreamConnection:
                connection = UpstreamConnection(upstream, len(upstream.connections))
                upstream.connections.append(connection)
                return connection

        if self._tls is not None:
            self._port = self._reactor.listenSSL(0, _Factory(), self._tls, interface=interface)
        else:
            self._port = self._reactor.listenTCP(0, _Factory(), interface=interface)
        return self

    @property
    def port(self) -> int:
        """The port it listens on."""
        assert self._port is not None
        host: Any = self._port.getHost()
        number: int = host.port
        return number

    def url(self, path: bytes = b"/", host: bytes = b"127.0.0.1") -> bytes:
        """An absolute URI of this upstream."""
        scheme = b"http" if self._tls is None else b"https"
        return b"%b://%b:%d%b" % (scheme, host, self.port, path)

    async def connected(self, count: int = 1) -> UpstreamConnection:
        """Wait for the ``count``-th connection."""
        await self.until(lambda: len(self.connections) >= count)
        return self.connections[count - 1]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` holds; it is asked when a connection comes or goes."""
        if not condition():
            waiting: Deferred[None] = Deferred()
            self._waiting.append((condition, waiting))
            await waiting

    async def stop(self) -> None:
        """Close the port and all connections; raise what a script raised."""
        assert self._port is not None
        await maybeDeferred(self._port.stopListening)
        for connection in self.connections:
            if connection.ended is None:
                connection.abort()
        await self.until(lambda: self._open == 0)
        for failure in self._failures:
            failure.raiseException()

    def began(self, connection: UpstreamConnection) -> None:
        self._open += 1
        if self._script is not None:
            script: Any = self._script(connection)
            deferred: Deferred[None] = Deferred.fromCoroutine(script)
            deferred.addErrback(
                lambda failure: None if failure.check(Gone) else self._failures.append(failure)
            )
        self._look()

    def _script_failed(self, failure: Failure) -> None:
        if not failure.check(Gone):
            self._failures.append(failure)

    def finished(self, connection: UpstreamConnection) -> None:
        self._open -= 1
        self._look()

    def _look(self) -> None:
        for waiting in list(self._waiting):
            condition, deferred = waiting
            if waiting in self._waiting and condition():
                self._waiting.remove(waiting)
                deferred.callback(None)


def answering(*answers: bytes | Iterable[bytes]) -> Script:
    """Answer the first request of a connection with the first of ``answers``, and so on.

    The last one answers all that follow.
    """

    async def script(connection: UpstreamConnection) -> None:
        number = 0
        while True:
            await connection.request()
            answer = answers[min(number, len(answers) - 1)]
            for piece in [answer] if isinstance(answer, bytes) else answer:
                connection.write(piece)
            number += 1

    return script
