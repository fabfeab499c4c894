"""Whom we trust, and TLS connections to one origin."""

from __future__ import annotations

from typing import Any, Final

from OpenSSL import SSL, crypto
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address
from twisted.internet._sslverify import IOpenSSLTrustRoot
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import CertificateOptions, platformTrust
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from openai_proxy.config.content import content_of
from openai_proxy.wire.pem import certificates_in

MAX_FILE_BYTES: Final = 16 * 1024 * 1024
"""Of a file of authorities; the system's own are a quarter of a megabyte."""


@implementer(IOpenSSLTrustRoot)
class _SystemAnd:
    """The system's authorities and a few more."""

    def __init__(self, certificates: list[crypto.X509]) -> None:
        self._certificates = certificates

    def _addCACertsToContext(self, context: SSL.Context) -> None:  # noqa: N802
        platform: Any = platformTrust()
        platform._addCACertsToContext(context)
        store = context.get_cert_store()
        assert store is not None
        for certificate in self._certificates:
            store.add_cert(certificate)


def trust_root_from_file(path: str) -> IOpenSSLTrustRoot:
    """The system's authorities and those in a PEM file of one or more certificates.

    Raises ``ValueError`` when the file cannot be read or holds no certificate, or a bad one.
    """
    try:
        pem = content_of(path, MAX_FILE_BYTES)
    except OSError as error:
        raise ValueError(f"the CA file cannot be read: {error.strerror}") from None
    certificates = certificates_in(pem, "the CA file")
    return _SystemAnd([crypto.X509.from_cryptography(one) for one in certificates])


@implementer(IOpenSSLClientConnectionCreator)
class ConnectionCreator:
    """Verified TLS >= 1.2 to one host (a name or an IP address), with one context.

    ``remember`` keeps a session of a connection that was verified; the next ones resume it,
    which spares the handshake its certificates (RFC 8446 section 2.2).
    """

    def __init__(self, host: str, trust_root: IOpenSSLTrustRoot | None) -> None:
        self._host = host
        self._is_address = isIPAddress(host) or isIPv6Address(host)
        self._options = CertificateOptions(
            trustRoot=platformTrust() if trust_root is None else trust_root, enableSessionTickets=True
        )
        self._session: SSL.Session | None = None

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N803
        """See ``IOpenSSLClientConnectionCreator``."""
        connection: SSL.Connection = self._options.clientConnectionForTLS(tlsProtocol)
        if not self._is_address:
            connection.set_tlsext_host_name(self._host.encode("ascii"))
        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._verified)
        if self._session is not None:
            connection.set_session(self._session)
        return connection

    def _verified(
        self, connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int
    ) -> bool:
        """OpenSSL's word on the chain, and ours on the name (RFC 9525).

        Twisted's ``optionsForClientTLS`` takes a certificate without any subjectAltName for
        anybody's: service-identity raises what is not its VerificationError, which Twisted
        logs and lets pass. Here whatever is raised is a no.
        """
        if depth != 0 or not ok:
            return bool(ok)
        try:
            leaf = certificate.to_cryptography()
            if self._is_address:
                verify_certificate_ip_address(leaf, self._host)
            else:
                verify_certificate_hostname(leaf, self._host)
        except Exception:
            return False
        return True

    def remember(self, connection: SSL.Connection) -> None:
        """Take the session of ``connection``, whose handshake went well."""
        self._session = connection.get_session()

    def forget(self) -> None:
        """A handshake failed: the next one starts from nothing."""
        self._session = None


class ClientTLSFactory(TLSMemoryBIOFactory):
    """TLS whose writes leave at once: we write whole heads and pieces, there is little to gather.

    Twisted's gathering costs a delayed call for each write.
    """

    protocol = TLSMemoryBIOProtocol
