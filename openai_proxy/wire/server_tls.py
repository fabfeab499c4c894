"""TLS for clients: a certificate that is checked before it is used, and changed while daemons serve."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IProtocolFactory, IReactorTime
from twisted.internet.ssl import CertificateOptions, TLSVersion
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from openai_proxy.config.content import content_of
from openai_proxy.wire.pem import certificates_in

MAX_FILE_BYTES: Final = 1024 * 1024
_PROTOCOLS: Final = [b"http/1.1"]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A certificate and its key that fit together, ready to be used."""

    options: CertificateOptions
    leaf: x509.Certificate
    """The server's own certificate."""
    named: str
    """Where it came from, for messages."""

    @property
    def not_after(self) -> float:
        """When it expires, in unix time."""
        return self.leaf.not_valid_after_utc.timestamp()

    def warning(self, now: float) -> str | None:
        """What clients will not like about it at ``now`` (unix time), though it can be used."""
        if now > self.not_after:
            return f"{self.named}: the certificate expired at {_written(self.leaf.not_valid_after_utc)}"
        begins = self.leaf.not_valid_before_utc
        if now < begins.timestamp():
            return f"{self.named}: the certificate is not valid before {_written(begins)}"
        return None


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLS:
    """TLS >= 1.2 of one listener.

    ``load`` reads and checks, and changes nothing; ``use`` changes all that comes from then on, and
    cannot fail. A connection that is open keeps what it began with.
    """

    def __init__(self, listen_place: str, certificate: str, key: str | None = None) -> None:
        """:param listen_place: where the operator said so, for errors.
        :param certificate: PEM file: the server's own first, each next one the issuer of the one before.
        :param key: PEM file; None: it is in the certificate's file.
        """
        self._place = listen_place
        self._certificate = certificate
        self._key = key or certificate
        self._used: Prepared | None = None

    def load(self) -> Prepared:
        """The files as they are now. Raises OSError, with ``filename``, and ValueError.

        An expired certificate is none of these: see ``Prepared.warning``.
        """
        chain_pem, key_pem = _together(self._certificate, self._key)
        try:
            chain = certificates_in(chain_pem, self._certificate)
            _check_order(chain, self._certificate)
            options = _options(chain, _private_key(key_pem, self._key), self._certificate, self._key)
        except ValueError as error:
            raise ValueError(f"{self._place} {error}".lstrip()) from None
        return Prepared(options, chain[0], self._certificate)

    def use(self, prepared: Prepared) -> None:
        """Meet new connections with this."""
        self._used = prepared

    def difference(self, prepared: Prepared) -> str | None:
        """What clients would see of ``prepared``, in a line, if it is not what is used already."""
        if self._used is None or self._used.leaf == prepared.leaf:
            return None
        return f"{prepared.named}: another certificate, until {_written(prepared.leaf.not_valid_after_utc)}"

    @property
    def used(self) -> Prepared:
        """What new connections are met with."""
        assert self._used is not None
        return self._used

    @property
    def not_after(self) -> float:
        """When the certificate that is used expires, in unix time; NaN before there is one."""
        return math.nan if self._used is None else self._used.not_after

    def wrap(self, factory: IProtocolFactory, clock: IReactorTime) -> IProtocolFactory:
        """A factory for connections over TLS, whose inside ``factory`` makes."""
        return ServerTLSFactory(self, False, factory, clock)

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """See ``IOpenSSLServerConnectionCreator``."""
        if self._used is None:
            raise RuntimeError("a connection came before there was a certificate")
        connection: SSL.Connection = self._used.options.serverConnectionForTLS(protocol)
        return connection


class ServerTLSProtocol(TLSMemoryBIOProtocol):
    """One connection. What is written leaves at once: see ``wire.tls.ClientTLSFactory``."""

    transport: Any

    def loseWriteConnection(self) -> None:
        """Send close_notify (RFC 8446 section 6.1), then end our half of the connection below.

        Without it the half-close would pass TLS by, and be a truncation to a careful client.
        """
        if self.connected and self._handshakeDone and not self._lostTLSConnection:
            self._shutdownTLS()
            self.transport.loseWriteConnection()
        else:
            self.loseConnection()


class ServerTLSFactory(TLSMemoryBIOFactory):
    """Makes them."""

    protocol = ServerTLSProtocol


def _together(certificate: str, key: str) -> tuple[bytes, bytes]:
    """Both files as they were at one time.

    A folder that is swapped as a whole (Kubernetes' ``..data``) may be so between the two.
    """
    chain_pem = content_of(certificate, MAX_FILE_BYTES)
    for _ in range(3):
        key_pem = content_of(key, MAX_FILE_BYTES)
        before, chain_pem = chain_pem, content_of(certificate, MAX_FILE_BYTES)
        if before == chain_pem:
            break
    return chain_pem, key_pem


def _private_key(pem: bytes, path: str) -> Any:
    # What cryptography says of a text that it cannot read is not repeated: the text is a key, or nearly.
    try:
        return load_pem_private_key(pem, password=None)
    except TypeError:
        raise ValueError(
            f"{path}: the private key is encrypted: one without a passphrase is wanted"
        ) from None
    except UnsupportedAlgorithm:
        raise ValueError(f"{path}: the private key is of a kind that is not known") from None
    except ValueError:
        raise ValueError(f"{path} holds no PEM private key, or a bad one") from None


def _check_order(chain: list[x509.Certificate], path: str) -> None:
    for number, (one, issuer) in enumerate(pairwise(chain), 1):
        try:
            one.verify_directly_issued_by(issuer)
        except UnsupportedAlgorithm:
            continue
        except (ValueError, TypeError, InvalidSignature):
            raise ValueError(
                f"certificate {number} of {path} was not issued by certificate {number + 1}: "
                "the server's own comes first, then its issuer, then the issuer's"
            ) from None


def _options(chain: list[x509.Certificate], key: Any, path: str, key_path: str) -> CertificateOptions:
    leaf: Any = chain[0]
    if key.public_key() != leaf.public_key():
        raise ValueError(f"the private key of {key_path} is not that of the certificate of {path}")
    others: Any = chain[1:]
    options = CertificateOptions(
        privateKey=key,
        certificate=leaf,
        extraCertChain=others,
        raiseMinimumTo=TLSVersion.TLSv1_2,
        enableSessionTickets=True,
        acceptableProtocols=_PROTOCOLS,
    )
    try:
        # Made now, and kept in it: what OpenSSL does not take shall not be found by the first client.
        options.getContext()
    except (SSL.Error, TypeError, ValueError) as error:
        raise ValueError(f"{path}: OpenSSL does not take this certificate and key{_reason(error)}") from None
    return options


def _reason(error: Exception) -> str:
    """OpenSSL's word for it (``ee key too small``), if there is one."""
    queue = error.args[0] if isinstance(error, SSL.Error) and error.args else None
    return f": {queue[-1][2]}" if queue else ""


def _written(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
