"""How long the certificates that clients are shown are good for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from openai_proxy.observe.families import Families


def show_certificates(families: Families, not_after: Mapping[str, Callable[[], float]]) -> None:
    """Add the gauge of their expiry; a daemon without TLS has none.

    :param not_after: for each listener's description, what tells when the certificate that it uses now
        expires, in unix time. Called in the exporter's thread; the mapping may change.
    """
    families.gauge(
        "openai_proxy_tls_certificate_expiry_timestamp_seconds",
        "When the certificate that clients of a listener are shown expires, in unix time.",
        ("listener",),
        lambda: [((listener,), read()) for listener, read in list(not_after.items())],
    )
