"""Certificates in PEM (RFC 7468)."""

from __future__ import annotations

from cryptography import x509

_BEGIN = b"-----BEGIN CERTIFICATE-----"
_END = b"-----END CERTIFICATE-----"


def certificates_in(pem: bytes, named: str) -> list[x509.Certificate]:
    """All certificates in a text, in their order; what stands between them is not looked at.

    :param named: the text's name, for the ValueError if there is none, or a bad one.
    """
    certificates = []
    for number, block in enumerate(pem.split(_BEGIN)[1:], 1):
        body, _, _ = block.partition(_END)
        try:
            certificates.append(x509.load_pem_x509_certificate(_BEGIN + body + _END + b"\n"))
        except ValueError:
            raise ValueError(f"certificate {number} of {named} is not valid PEM") from None
    if not certificates:
        raise ValueError(f"{named} holds no PEM certificate")
    return certificates
