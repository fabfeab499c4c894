"""What a client is told when its upstream failed, and what the numbers say of it."""

from dataclasses import dataclass

from openai_proxy.observe.outcome import Outcome
from openai_proxy.observe.record import AttemptResult
from openai_proxy.wire import errors


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """An answer of ours in an upstream's stead."""

    status: int
    outcome: Outcome
    code: str
    message: str
    result: AttemptResult
    retry_after_seconds: int | None = None


_BY_ERROR: dict[type[Exception], ErrorAnswer] = {
    errors.ConnectTimedOut: ErrorAnswer(
        504,
        Outcome.UPSTREAM_TIMEOUT,
        "upstream_connect_timeout",
        "The upstream did not accept a connection in time.",
        AttemptResult.TIMEOUT,
    ),
    errors.TLSFailed: ErrorAnswer(
        502,
        Outcome.UPSTREAM_CONNECT_ERROR,
        "upstream_tls_error",
        "No TLS connection to the upstream could be made: its certificate or protocol was refused.",
        AttemptResult.TLS_ERROR,
    ),
    errors.ConnectFailed: ErrorAnswer(
        502,
        Outcome.UPSTREAM_CONNECT_ERROR,
        "upstream_connect_error",
        "No connection to the upstream could be made.",
        AttemptResult.CONNECT_ERROR,
    ),
    errors.PoolExhausted: ErrorAnswer(
        503,
        Outcome.PROXY_OVERLOAD,
        "proxy_overload",
        "All connections to the upstream are busy.",
        AttemptResult.ABORTED,
        1,
    ),
    errors.HeadTimedOut: ErrorAnswer(
        504,
        Outcome.UPSTREAM_TIMEOUT,
        "upstream_timeout",
        "The upstream did not answer in time.",
        AttemptResult.TIMEOUT,
    ),
    errors.ConnectionClosed: ErrorAnswer(
        502,
        Outcome.UPSTREAM_ERROR,
        "upstream_connection_closed",
        "The upstream closed the connection before it answered.",
        AttemptResult.PROTOCOL_ERROR,
    ),
    errors.InvalidResponse: ErrorAnswer(
        502,
        Outcome.UPSTREAM_ERROR,
        "upstream_invalid_response",
        "The upstream's answer was not valid HTTP/1.1.",
        AttemptResult.PROTOCOL_ERROR,
    ),
    errors.UpstreamError: ErrorAnswer(
        502, Outcome.UPSTREAM_ERROR, "upstream_error", "The upstream failed.", AttemptResult.STREAM_ERROR
    ),
}

PROXY_FAILED = ErrorAnswer(
    500, Outcome.PROXY_ERROR, "proxy_error", "The proxy failed to handle this request.", AttemptResult.ABORTED
)
HELD_BODIES_FULL = ErrorAnswer(
    503,
    Outcome.PROXY_OVERLOAD,
    "proxy_overload",
    "The proxy holds too many request bodies.",
    AttemptResult.ABORTED,
    1,
)


def error_answer_for(error: BaseException) -> ErrorAnswer:
    """The entry of the error's class, or of the nearest class above it."""
    for kind in type(error).__mro__:
        if kind in _BY_ERROR:
            return _BY_ERROR[kind]
    return PROXY_FAILED
