"""TLS to upstreams: who is believed, who is not, and how it is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.ssl import TLSVersion

from openai_proxy.wire.errors import ConnectFailed, ConnectTimedOut, TLSFailed
from openai_proxy.wire.tls import trust_root_from_file
from tests.support.certificates import Certificate, make
from tests.support.client import Body, Reader, ended, read
from tests.support.upstream import UpstreamConnection, answering
from tests.wire.conftest import MakeAgent, MakeUpstream

pytestmark = pytest.mark.timeout_seconds(8)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def authority() -> Certificate:
    """A private certificate authority."""
    return make(authority=True)


@pytest.fixture
def trust(authority: Certificate, tmp_path: Path) -> Any:
    """Trust in the system's authorities and ``authority``."""
    path = tmp_path / "ca.pem"
    path.write_bytes(b"A comment.\n" + make(authority=True).pem + authority.pem)
    return trust_root_from_file(str(path))


async def test_private_authority(
    agent: MakeAgent, upstream: MakeUpstream, authority: Certificate, trust: Any
) -> None:
    """A certificate of our own authority for this name, and the connection is reused."""
    server = upstream(answering(OK), make("localhost", issuer=authority).server_options())
    one = agent(trust_root=trust)
    for reused in (False, True, True):
        response: Any = await one.request(b"POST", server.url(host=b"localhost"), None, Body(b"x" * 100_000))
        assert await read(response) == b"ok"
        assert response.timings.reused is reused
    assert len(server.connections) == 1


async def test_address(agent: MakeAgent, upstream: MakeUpstream, authority: Certificate, trust: Any) -> None:
    """An IP address is verified against the certificate's addresses."""
    server = upstream(answering(OK), make("127.0.0.1", issuer=authority).server_options())
    assert await read(await agent(trust_root=trust).request(b"GET", server.url())) == b"ok"


BAD: dict[str, Any] = {
    "wrong host": lambda ca: make("example.com", issuer=ca),
    "address of another": lambda ca: make("127.0.0.2", issuer=ca),
    "name for an address": lambda ca: make("localhost", issuer=ca),
    "no name": lambda ca: make(issuer=ca),
    "expired": lambda ca: make("127.0.0.1", issuer=ca, days=(-30, -1)),
    "not yet valid": lambda ca: make("127.0.0.1", issuer=ca, days=(1, 30)),
    "self-signed": lambda ca: make("127.0.0.1"),
    "unknown authority": lambda ca: make("127.0.0.1", issuer=make(authority=True)),
    "missing intermediate": lambda ca: make("127.0.0.1", issuer=make(authority=True, issuer=ca)),
}


@pytest.mark.parametrize("certificate", BAD.values(), ids=BAD.keys())
async def test_not_believed(
    agent: MakeAgent, upstream: MakeUpstream, authority: Certificate, trust: Any, certificate: Any
) -> None:
    """Not a byte of the request goes to who cannot be verified; TLSFailed."""
    server = upstream(None, certificate(authority).server_options())
    one = agent(trust_root=trust)
    with pytest.raises(TLSFailed) as caught:
        await one.request(b"GET", server.url())
    assert "127" not in str(caught.value)
    assert all(not connection.received for connection in server.connections)
    assert [pool.open for pool in one._pools.values()] == [0]


async def test_private_authority_unknown(
    agent: MakeAgent, upstream: MakeUpstream, authority: Certificate
) -> None:
    """Without the file the private authority is nobody."""
    server = upstream(None, make("127.0.0.1", issuer=authority).server_options())
    with pytest.raises(TLSFailed):
        await agent().request(b"GET", server.url())


async def test_old_tls(agent: MakeAgent, upstream: MakeUpstream, authority: Certificate, trust: Any) -> None:
    """TLS 1.1 is refused."""
    options = make("127.0.0.1", issuer=authority).server_options(
        insecurelyLowerMinimumTo=TLSVersion.TLSv1_0, lowerMaximumSecurityTo=TLSVersion.TLSv1_1
    )
    server = upstream(None, options)
    with pytest.raises(TLSFailed):
        await agent(trust_root=trust).request(b"GET", server.url())


async def test_no_tls_there(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """A plain HTTP server on an https URI is TLSFailed, which is a ConnectFailed."""

    async def script(connection: UpstreamConnection) -> None:
        await connection.take(1)
        connection.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    server = upstream(script)
    with pytest.raises(TLSFailed):
        await agent().request(b"GET", server.url().replace(b"http", b"https"))
    assert issubclass(TLSFailed, ConnectFailed)


async def test_slow_handshake(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """A handshake that does not go on is ConnectTimedOut and a reset."""
    server = upstream()
    with pytest.raises(ConnectTimedOut):
        await agent(connect_seconds=0.1).request(b"GET", server.url().replace(b"http", b"https"))
    assert await server.connections[0].end() == "RST"


async def test_cancel_in_the_handshake(agent: MakeAgent, upstream: MakeUpstream) -> None:
    """Cancelled while TLS is being made: a reset."""
    server = upstream()
    answer = agent().request(b"GET", server.url().replace(b"http", b"https"))
    answer.addErrback(lambda failure: None)
    connection = await server.connected()
    await connection.take(1)
    answer.cancel()
    assert await connection.end() == "RST"


async def test_session_is_resumed(
    agent: MakeAgent, upstream: MakeUpstream, authority: Certificate, trust: Any
) -> None:
    """The second connection resumes the first one's session."""
    from OpenSSL.SSL import _lib  # type: ignore[attr-defined]

    server = upstream(
        answering(OK + b"x"), make("127.0.0.1", issuer=authority).server_options(enableSessionTickets=True)
    )
    one = agent(trust_root=trust)
    for resumed in (False, True, True):
        assert await read(await one.request(b"GET", server.url())) == b"ok"
        handle = server.connections[-1].transport.getHandle()
        assert resumed is bool(_lib.SSL_session_reused(handle._ssl))


async def test_big_body_and_pause(
    agent: MakeAgent, upstream: MakeUpstream, authority: Certificate, trust: Any
) -> None:
    """A large body over TLS to a reader that is late and pauses comes whole."""
    size = 5_000_000
    server = upstream(
        answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size),
        make("127.0.0.1", issuer=authority).server_options(),
    )
    response = await agent(trust_root=trust).request(b"GET", server.url())
    reader = Reader(paused=True)
    response.deliverBody(reader)
    assert len(reader.body) < 200_000
    reader.transport.resumeProducing()
    await reader.done
    assert len(reader.body) == size


async def test_stop(agent: MakeAgent, upstream: MakeUpstream, authority: Certificate, trust: Any) -> None:
    """stopProducing resets the connection below TLS."""
    server = upstream(
        answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"),
        make("127.0.0.1", issuer=authority).server_options(),
    )
    response = await agent(trust_root=trust).request(b"GET", server.url())
    reader = Reader(stop_after=1)
    response.deliverBody(reader)
    await reader.done
    await server.connections[0].end()


async def test_close_without_notify(
    agent: MakeAgent, upstream: MakeUpstream, authority: Certificate, trust: Any
) -> None:
    """A body that a TLS close ends is whole with close_notify, and Truncated without."""
    from twisted.web.http import PotentialDataLoss

    from openai_proxy.wire.errors import Truncated

    async def script(connection: UpstreamConnection) -> None:
        head = await connection.head()
        connection.write(b"HTTP/1.1 200 OK\r\n\r\nabc")
        if b"/clean" in head:
            connection.close()
        else:
            connection.transport.transport.loseConnection()

    server = upstream(script, make("127.0.0.1", issuer=authority).server_options())
    one = agent(trust_root=trust)
    for path, expected in ((b"/clean", PotentialDataLoss), (b"/cut", Truncated)):
        reader = await ended(await one.request(b"GET", server.url(path)))
        assert reader.body == b"abc"
        assert reader.reason is not None and reader.reason.check(expected)


@pytest.mark.parametrize(
    "content", [b"", b"nothing", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", None]
)
def test_bad_file(tmp_path: Path, content: bytes | None) -> None:
    """A file that is missing, empty or broken is a ValueError in plain words."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match="CA file"):
        trust_root_from_file(str(path))
