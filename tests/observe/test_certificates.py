"""The gauge of certificates."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry

from openai_proxy.observe.certificates import show_certificates
from openai_proxy.observe.families import Families

NAME = "openai_proxy_tls_certificate_expiry_timestamp_seconds"


def test_each_listener_has_its_expiry_as_it_is_now() -> None:
    """Read when somebody asks, for a reload changes it; a listener may come later."""
    registry = CollectorRegistry()
    expiry = {"tcp:8443": 1.0}
    read: dict[str, Callable[[], float]] = {"tcp:8443": lambda: expiry["tcp:8443"]}
    show_certificates(Families(registry), read)
    expiry["tcp:8443"] = 2.5
    read["unix:/run/proxy"] = lambda: 3.0
    assert registry.get_sample_value(NAME, {"listener": "tcp:8443"}) == 2.5
    assert registry.get_sample_value(NAME, {"listener": "unix:/run/proxy"}) == 3.0
