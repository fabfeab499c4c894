"""TLS for clients: what is shown, what is refused, and a certificate that is changed meanwhile."""

from __future__ import annotations

import math
import socket
import ssl
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.web.resource import Resource

from openai_proxy.config.content import content_of
from openai_proxy.config.settings import Limits
from openai_proxy.wire import server_tls
from openai_proxy.wire.request import Request
from openai_proxy.wire.server_tls import ServerTLS
from tests.support.certificates import Certificate, make
from tests.support.wire import CountingSite, Streaming, read_answers

pytestmark = pytest.mark.timeout_seconds(20)
reactor: Any = global_reactor
SECONDS = 15
GET = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
T = TypeVar("T")


def in_thread(function: Callable[..., T], *arguments: Any) -> Deferred[T]:
    """The reactor serves while a client blocks."""
    return deferToThread(function, *arguments)


def believing_all() -> ssl.SSLContext:
    """A client's context that asks no certificate for anything."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Client:
    """A connection of the standard library's, whose calls block."""

    def __init__(
        self, port: int, context: ssl.SSLContext | None = None, session: ssl.SSLSession | None = None
    ) -> None:
        plain = socket.create_connection(("127.0.0.1", port), SECONDS)
        try:
            self.socket = (context or believing_all()).wrap_socket(
                plain, suppress_ragged_eofs=False, server_hostname="localhost", session=session
            )
        except BaseException:
            plain.close()
            raise

    def serial(self) -> int:
        """Of the certificate that it was shown."""
        shown = self.socket.getpeercert(binary_form=True)
        assert shown is not None
        return x509.load_der_x509_certificate(shown).serial_number

    def read_until(self, marker: bytes) -> bytes:
        data = b""
        while marker not in data:
            piece = self.socket.recv(65536)
            assert piece, data
            data += piece
        return data

    def to_end(self) -> bytes:
        """All up to close_notify; an end without one is an SSLEOFError."""
        pieces = []
        while piece := self.socket.recv(65536):
            pieces.append(piece)
        return b"".join(pieces)

    def close(self) -> None:
        self.socket.close()


class Rig:
    """A TLS port with a certificate."""

    def __init__(self, folder: Path, handle: Resource | Callable[[Request], object], limits: Limits) -> None:
        self.path = folder / "server.pem"
        self.first = make("localhost")
        self.write(self.first)
        self.tls = ServerTLS("here", str(self.path))
        self.tls.use(self.tls.load())
        resource = handle if isinstance(handle, Resource) else Streaming(handle)
        self.site = CountingSite(resource, reactor, limits)
        factory = self.tls.wrap(self.site, reactor)
        self._listening = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.port: int = self._listening.getHost().port

    def write(self, one: Certificate) -> None:
        self.path.write_bytes(one.pem + one.key_pem)

    async def connect(self, **options: Any) -> Client:
        return await in_thread(partial(Client, self.port, **options))

    async def exchange(self, data: bytes = GET, **options: Any) -> bytes:
        client = await self.connect(**options)
        client.socket.sendall(data)
        answer = await in_thread(client.to_end)
        client.close()
        return answer

    async def stop(self) -> None:
        await self._listening.stopListening()
        self.site.abort_all()
        while self.site.channels:
            await pause()


async def pause() -> None:
    """A turn of the reactor."""
    turn: Deferred[None] = Deferred()
    reactor.callLater(0.001, turn.callback, None)
    await turn


MakeRig = Callable[..., Rig]


def hello(request: Request) -> None:
    request.answer(200, b"OK", [], b"hello")


@pytest.fixture
def rig(nothing_left: list[Any], tmp_path: Path) -> Iterator[MakeRig]:
    """Make TLS ports: ``rig(handle, header_seconds=...)``."""
    made: list[Rig] = []

    def make_rig(handle: Resource | Callable[[Request], object] = hello, **limits: Any) -> Rig:
        made.append(Rig(tmp_path, handle, Limits(**limits)))
        return made[-1]

    yield make_rig
    for one in made:
        pytest_twisted.blockon(Deferred.fromCoroutine(one.stop()).addTimeout(5, reactor))


# What clients see.


async def test_an_exchange(rig: MakeRig) -> None:
    """An answer over TLS 1.3, ended by close_notify; http/1.1 is what ALPN agrees on."""
    one = rig()
    context = believing_all()
    context.set_alpn_protocols(["h2", "http/1.1"])
    client = await one.connect(context=context)
    assert client.socket.version() == "TLSv1.3"
    assert client.socket.selected_alpn_protocol() == "http/1.1"
    assert client.serial() == one.first.certificate.serial_number
    client.socket.sendall(GET)
    answer = await in_thread(client.to_end)
    client.close()
    assert read_answers(answer)[0][2] == b"hello"


async def test_the_chain_is_sent(rig: MakeRig, tmp_path: Path) -> None:
    """A client that knows the root alone believes a certificate of an authority between."""
    root = make(authority=True)
    between = make(authority=True, issuer=root)
    leaf = make("localhost", issuer=between)
    one = rig()
    one.path.write_bytes(leaf.pem + between.pem + leaf.key_pem)
    one.tls.use(one.tls.load())
    context = ssl.create_default_context(cadata=root.pem.decode())
    assert b"hello" in await one.exchange(context=context)


async def test_a_session_is_resumed(rig: MakeRig) -> None:
    """A client that comes again is spared the certificates; with a new certificate it is not."""
    one = rig()
    context = believing_all()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    first = await one.connect(context=context)
    again = await one.connect(context=context, session=first.socket.session)
    assert (first.socket.session_reused, again.socket.session_reused) == (False, True)
    one.tls.use(one.tls.load())
    third = await one.connect(context=context, session=again.socket.session)
    assert not third.socket.session_reused
    for client in (first, again, third):
        client.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:.*TLSv1.*is deprecated:DeprecationWarning")
async def test_old_versions_are_refused(rig: MakeRig, version: ssl.TLSVersion) -> None:
    """TLS 1.1 and before are no TLS."""
    one = rig()
    context = believing_all()
    # Else the client would not even offer what is old.
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
        await one.connect(context=context)
    assert b"hello" in await one.exchange()


async def test_no_common_protocol_is_refused(rig: MakeRig) -> None:
    """A client that speaks h2 alone is told no in the handshake (RFC 7301 section 3.2)."""
    one = rig()
    context = believing_all()
    context.set_alpn_protocols(["h2"])
    with pytest.raises(ssl.SSLError, match="ALERT"):
        await one.connect(context=context)


@pytest.mark.parametrize("data", [GET, b"\x00" * 100, b"\x16\x03\x01\xff\xff" + b"\xff" * 70000])
async def test_what_is_no_tls_ends(rig: MakeRig, data: bytes) -> None:
    """Plain HTTP, or anything else, ends that connection and nothing more; nothing is logged."""
    one = rig()

    def talk() -> None:
        with socket.create_connection(("127.0.0.1", one.port), SECONDS) as plain:
            try:
                plain.sendall(data)
                while plain.recv(65536):
                    pass
            except ConnectionError:
                pass

    await in_thread(talk)
    while one.site.channels:
        await pause()
    assert not one.site.refused
    assert b"hello" in await one.exchange()


async def test_a_refusal_is_whole(rig: MakeRig) -> None:
    """A 413 while its body still comes: the answer, then close_notify, and no reset."""
    one = rig(body_bytes=10)
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    client = await one.connect()
    client.socket.sendall(head)
    answer = await in_thread(client.read_until, b"}}")
    # The client goes on for a while, as one does that has not read its answer yet.
    await in_thread(client.socket.sendall, b"x" * 300_000)
    assert await in_thread(client.to_end) == b""
    client.close()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert one.site.refused == [413]


# Slowness.


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01"])
async def test_who_never_shakes_hands_is_closed(rig: MakeRig, said: bytes) -> None:
    """A client that is silent, or stops within its first record, has as long as an idle one."""
    one = rig(keepalive_seconds=0.2)

    def wait() -> bytes:
        with socket.create_connection(("127.0.0.1", one.port), SECONDS) as plain:
            plain.sendall(said)
            try:
                return plain.recv(100)
            except ConnectionError:
                return b""

    assert await in_thread(wait) == b""
    while one.site.channels:
        await pause()


async def test_a_head_that_does_not_come_is_answered(rig: MakeRig) -> None:
    """Behind the handshake the limits are those of any connection: 408."""
    one = rig(header_seconds=0.2)
    assert (await one.exchange(b"GET / HT")).startswith(b"HTTP/1.1 408 ")


async def test_a_client_that_does_not_say_goodbye_is_cut(rig: MakeRig) -> None:
    """One that is idle is told close_notify; if it does not answer, the connection ends all the same."""
    one = rig(write_stall_seconds=0.2)
    client = await one.connect()
    (channel,) = one.site.channels
    channel.watch.until(0)
    while one.site.channels:
        await pause()
    client.close()


# Another certificate.


class Stream:
    """An answer that goes on for as long as the test says."""

    def __init__(self) -> None:
        self.request: Request | None = None

    def __call__(self, request: Request) -> None:
        if request.uri != b"/stream":
            hello(request)
            return
        self.request = request
        request.setResponseCode(200)
        request.write(b"first ")


async def test_new_connections_have_the_new_certificate(rig: MakeRig) -> None:
    """A stream that is open goes on over what it began with, to its end."""
    stream = Stream()
    one = rig(stream)
    old = await one.connect()
    old.socket.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    await in_thread(old.read_until, b"first ")
    second = make("localhost", days=(-1, 60))
    one.write(second)
    prepared = one.tls.load()
    client = await one.connect()
    assert client.serial() == one.first.certificate.serial_number
    client.close()
    told = one.tls.difference(prepared)
    assert told is not None
    assert str(one.path) in told
    one.tls.use(prepared)
    assert one.tls.not_after == second.certificate.not_valid_after_utc.timestamp()
    for _ in range(3):
        client = await one.connect()
        assert client.serial() == second.certificate.serial_number
        client.close()
    assert stream.request is not None
    stream.request.write(b"last")
    stream.request.finish()
    assert b"last" in await in_thread(old.read_until, b"0\r\n\r\n")
    old.close()


async def test_a_wrong_key_leaves_the_old_one(rig: MakeRig, tmp_path: Path) -> None:
    """What cannot be loaded is not used, not even in part."""
    one = rig()
    one.path.write_bytes(make("localhost").pem + make("localhost").key_pem)
    with pytest.raises(ValueError, match=r"^here the private key of .*server\.pem is not that of"):
        one.tls.load()
    assert one.tls.not_after == one.first.certificate.not_valid_after_utc.timestamp()
    client = await one.connect()
    assert client.serial() == one.first.certificate.serial_number
    client.close()


def test_the_same_certificate_is_no_difference(tmp_path: Path) -> None:
    """A reload that finds the files as they were has nothing to say, nor has the first load."""
    path = tmp_path / "server.pem"
    one = make("localhost")
    path.write_bytes(one.pem + one.key_pem)
    tls = ServerTLS("here", str(path))
    assert math.isnan(tls.not_after)
    assert tls.difference(tls.load()) is None
    tls.use(tls.load())
    assert tls.difference(tls.load()) is None


# Files.

LEAF = make("localhost")
OTHER = make("localhost")
AUTHORITY = make(authority=True)
ISSUED = make("localhost", issuer=AUTHORITY)
EC_PARAMETERS = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"


def encrypted(one: Certificate) -> bytes:
    return one.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"a passphrase"),
    )


def traditional(one: Certificate) -> bytes:
    return one.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def load(folder: Path, certificate: bytes, key: bytes | None) -> Any:
    """``ServerTLS.load`` of two files, or of one."""
    (folder / "chain.pem").write_bytes(certificate)
    if key is not None:
        (folder / "key.pem").write_bytes(key)
    path = None if key is None else str(folder / "key.pem")
    return ServerTLS("listeners[0].tls:", str(folder / "chain.pem"), path).load()


@pytest.mark.parametrize(
    ("certificate", "key"),
    [
        (LEAF.pem, LEAF.key_pem),
        (LEAF.pem + LEAF.key_pem, None),
        (LEAF.key_pem + LEAF.pem, None),
        (LEAF.pem + EC_PARAMETERS + traditional(LEAF), None),
        (b"words\r\n" + LEAF.pem.replace(b"\n", b"\r\n"), b"words\n" + traditional(LEAF)),
        (ISSUED.pem + AUTHORITY.pem, ISSUED.key_pem),
    ],
)
def test_files_that_are_taken(tmp_path: Path, certificate: bytes, key: bytes | None) -> None:
    """One file or two, in either order, with words between, from any system."""
    prepared = load(tmp_path, certificate, key)
    assert prepared.leaf.serial_number in (
        LEAF.certificate.serial_number,
        ISSUED.certificate.serial_number,
    )


@pytest.mark.parametrize(
    ("certificate", "key", "said"),
    [
        (b"", LEAF.key_pem, r"chain\.pem holds no PEM certificate"),
        (LEAF.key_pem, None, r"chain\.pem holds no PEM certificate"),
        (LEAF.pem + LEAF.pem[:80], LEAF.key_pem, r"certificate 2 of .*chain\.pem is not valid PEM"),
        (LEAF.pem[:200], LEAF.key_pem, r"certificate 1 of .*chain\.pem is not valid PEM"),
        (LEAF.pem, b"", r"key\.pem holds no PEM private key"),
        (LEAF.pem, None, r"chain\.pem holds no PEM private key"),
        (LEAF.pem, LEAF.key_pem[:100], r"key\.pem holds no PEM private key, or a bad one"),
        (LEAF.pem, encrypted(LEAF), r"key\.pem: the private key is encrypted"),
        (
            LEAF.pem,
            OTHER.key_pem,
            r"private key of .*key\.pem is not that of the certificate of .*chain\.pem",
        ),
        (
            ISSUED.pem + LEAF.pem,
            ISSUED.key_pem,
            r"certificate 1 of .*chain\.pem was not issued by certificate 2",
        ),
        (AUTHORITY.pem + ISSUED.pem, ISSUED.key_pem, r"certificate 1 of .*chain\.pem was not issued by"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, certificate: bytes, key: bytes | None, said: str) -> None:
    """The error has the place, the file and what is wrong; nothing of a key."""
    with pytest.raises(ValueError, match=said) as caught:
        load(tmp_path, certificate, key)
    text = str(caught.value)
    assert text.startswith("listeners[0].tls: ")
    secret = (key or certificate).decode().replace("\n", "")
    assert not any(secret[start : start + 12] in text for start in range(30, len(secret) - 12))


def test_a_weak_key_is_refused_by_openssl(tmp_path: Path) -> None:
    """What OpenSSL does not take is found when it is loaded, in its words."""
    key = rsa.generate_private_key(65537, 1024)
    builder = x509.CertificateBuilder(
        LEAF.certificate.issuer,
        LEAF.certificate.subject,
        key.public_key(),
        1,
        LEAF.certificate.not_valid_before_utc,
        LEAF.certificate.not_valid_after_utc,
    )
    weak: Any = Certificate(builder.sign(AUTHORITY.key, AUTHORITY.certificate.signature_hash_algorithm), key)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"OpenSSL does not take this certificate and key: .*too small"):
        load(tmp_path, weak.pem, weak.key_pem)


def test_a_missing_file_is_an_os_error_with_its_name(tmp_path: Path) -> None:
    """As whoever prints it needs it."""
    (tmp_path / "there.pem").write_bytes(LEAF.pem)
    for certificate, key in (("gone.pem", None), ("there.pem", "gone.pem")):
        tls = ServerTLS("here", str(tmp_path / certificate), key and str(tmp_path / key))
        with pytest.raises(FileNotFoundError) as caught:
            tls.load()
        assert str(caught.value.filename) == str(tmp_path / "gone.pem")


def test_files_that_are_swapped_between_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate and its key of one folder that another is put in place of, in the worst moment."""
    for number, one in enumerate((LEAF, OTHER)):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "tls.crt").write_bytes(one.pem)
        (tmp_path / str(number) / "tls.key").write_bytes(one.key_pem)
    data = tmp_path / "data"
    data.symlink_to("0")
    reads = 0

    def swapping(path: str, most_bytes: int) -> bytes:
        nonlocal reads
        content = content_of(path, most_bytes)
        reads += 1
        if reads == 1:
            data.unlink()
            data.symlink_to("1")
        return content

    monkeypatch.setattr(server_tls, "content_of", swapping)
    prepared = ServerTLS("here", str(data / "tls.crt"), str(data / "tls.key")).load()
    assert prepared.leaf.serial_number == OTHER.certificate.serial_number


@pytest.mark.parametrize(
    ("days", "said"), [((-9, -2), "expired at 2"), ((3, 9), "is not valid before 2"), ((-1, 1), None)]
)
def test_an_expired_certificate_is_a_warning(tmp_path: Path, days: tuple[int, int], said: str | None) -> None:
    """It is used all the same: a clock can be wrong, and a daemon that does not start is worse."""
    prepared = load(tmp_path, (one := make("localhost", days=days)).pem, one.key_pem)
    now = prepared.leaf.not_valid_before_utc.timestamp() - days[0] * 86400
    warning = prepared.warning(now)
    assert warning is None if said is None else (warning is not None and said in warning)
