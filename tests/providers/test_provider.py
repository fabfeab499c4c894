"""What is known of a provider by its root."""

from __future__ import annotations

from urllib.parse import urlsplit

from openai_proxy.providers.catalogue import read_catalogue
from openai_proxy.providers.provider import TELL_USAGE_UNASKED, Provider, tells_usage_unasked


def test_hosts_that_tell_their_usage_unasked_are_the_catalogues() -> None:
    """What a daemon without a file knows of them is what the catalogue says."""
    told = {
        (urlsplit(entry.base_url).hostname or "").encode()
        for entry in read_catalogue().values()
        if entry.base_url is not None and entry.stream_usage == "always"
    }
    assert told == TELL_USAGE_UNASKED


def test_a_root_is_told_by_its_host() -> None:
    """Port, path and case do not matter; another host does."""
    assert tells_usage_unasked(b"https://API.mistral.ai:443/v1")
    assert not tells_usage_unasked(b"https://api.openai.com")
    assert not tells_usage_unasked(b"https://api.mistral.ai.example/")


def test_prices_are_its_own_unless_said() -> None:
    """The mock is priced as another."""
    assert Provider("acme", b"https://x").priced_as == "acme"
    assert Provider("acme", b"https://x", priced_as="openai").priced_as == "openai"
