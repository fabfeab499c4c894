"""The numbers of errors, by the words of whoever said them: those that are known, else ``other``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from openai_proxy.observe.families import Counter, Families
from openai_proxy.observe.model import NONE, OTHER
from openai_proxy.observe.record import Error, ErrorSource

TYPES: Final = frozenset(
    {
        "invalid_request_error", "authentication_error", "permission_error", "not_found_error",
        "rate_limit_error", "requests", "tokens", "insufficient_quota", "server_error", "api_error",
        "overloaded_error", "timeout_error", "billing_error", "request_too_large",
    }
)  # fmt: skip
"""Of errors of OpenAI, Anthropic and those like them; ``requests`` and ``tokens`` are what OpenAI
puts there when one of its rate limits is reached."""

PROXY_CODES: Final = (
    "upstream_connect_timeout", "upstream_tls_error", "upstream_connect_error", "proxy_overload",
    "upstream_key_unavailable", "upstream_timeout", "upstream_connection_closed",
    "upstream_invalid_response", "upstream_error", "proxy_error",
)  # fmt: skip
"""Ours, of errors in an upstream's stead; their type is ``PROXY_TYPE``."""

ROUTING_TYPES: Final = {
    "circuit_open": "server_error",
    "upstream_rate_limited": "rate_limit_error",
    "untranslatable_request": "invalid_request_error",
    "model_not_found": "invalid_request_error",
    "provider_not_found": "invalid_request_error",
}
"""Ours too, by the type of each: of the choice of a target, and of what an answer turned out to be."""

_WITHOUT_PROVIDER: Final = frozenset({"model_not_found", "provider_not_found"})

PROXY_TYPE: Final = "server_error"
REFUSED_TYPE: Final = "invalid_request_error"
"""Of requests that are refused before they have a provider."""

CODES: Final = frozenset(
    {
        *PROXY_CODES, *ROUTING_TYPES,
        "rate_limit_exceeded", "insufficient_quota", "context_length_exceeded", "invalid_api_key",
        "content_filter", "content_policy_violation", "invalid_value", "invalid_type", "invalid_json",
        "invalid_model",
        "missing_required_parameter", "unsupported_parameter", "unsupported_value", "server_error",
    }
)  # fmt: skip


def label_of(text: str | None, known: frozenset[str]) -> str:
    """``text`` if it is known; ``none`` for none, else ``other``."""
    if not text:
        return NONE
    return text if text in known else OTHER


def error_of_refusal(status: int) -> Error:
    """What the client of a request that was refused before it was an exchange was told."""
    if status == 503:
        return Error(ErrorSource.PROXY, PROXY_TYPE, "proxy_overload")
    if status == 500:
        return Error(ErrorSource.PROXY, PROXY_TYPE, "proxy_error")
    return Error(ErrorSource.CLIENT, REFUSED_TYPE)


class ErrorMetrics:
    """The family of errors."""

    def __init__(self, families: Families) -> None:
        self._errors = families.counter(
            "openai_proxy_errors",
            "Errors that clients were told, or that were in their answers.",
            ("provider", "source", "type", "code"),
            cap=800,
        )

    def told(self, provider: str, error: Error) -> None:
        """One more."""
        self._child(provider, error).value += 1

    def refused(self, status: int) -> None:
        """A request was answered with an error before it was an exchange."""
        self.told(NONE, error_of_refusal(status))

    def expect(self, provider: str, codes: Iterable[str] = PROXY_CODES) -> None:
        """Make the children whose first error has to be seen."""
        for code in codes:
            self._child(provider, Error(ErrorSource.PROXY, PROXY_TYPE, code))
        for code, type_ in ROUTING_TYPES.items():
            if code not in _WITHOUT_PROVIDER:
                self._child(provider, Error(ErrorSource.PROXY, type_, code))

    def _child(self, provider: str, error: Error) -> Counter:
        return self._errors.child(
            provider, error.source.value, label_of(error.type, TYPES), label_of(error.code, CODES)
        )
