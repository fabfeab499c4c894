"""How an exchange ended: one value of a closed set whose prefix says who is to blame."""

from enum import StrEnum


class Outcome(StrEnum):
    """The values of the label ``outcome``; alerts rely on their prefixes."""

    OK = "ok"
    CLIENT_ERROR = "client_error"
    CLIENT_DISCONNECT = "client_disconnect"
    CLIENT_AUTH = "client_auth"
    UPSTREAM_ERROR = "upstream_error"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    UPSTREAM_CONNECT_ERROR = "upstream_connect_error"
    UPSTREAM_RATE_LIMITED = "upstream_rate_limited"
    UPSTREAM_STREAM_ERROR = "upstream_stream_error"
    PROXY_ERROR = "proxy_error"
    PROXY_OVERLOAD = "proxy_overload"
    PROXY_THROTTLED = "proxy_throttled"
    PROXY_CIRCUIT_OPEN = "proxy_circuit_open"


CLIENT_CLOSED_REQUEST = 499
"""The status of an exchange whose client left before there was one (nginx's number)."""


def outcome_of_status(status: int) -> Outcome:
    """The outcome of an upstream's whole answer with this status."""
    if status < 400:
        return Outcome.OK
    if status in (401, 403):
        return Outcome.CLIENT_AUTH
    if status == 429:
        return Outcome.UPSTREAM_RATE_LIMITED
    return Outcome.CLIENT_ERROR if status < 500 else Outcome.UPSTREAM_ERROR


def outcome_of_refusal(status: int) -> Outcome:
    """The outcome of a request that was answered here before it was an exchange."""
    if status == 503:
        return Outcome.PROXY_OVERLOAD
    return Outcome.CLIENT_ERROR if status < 500 or status in (501, 505) else Outcome.PROXY_ERROR
