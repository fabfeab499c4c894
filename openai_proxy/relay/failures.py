"""What a client is told when its upstream failed, and what the numbers say of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from openai_proxy.observe.errors import PROXY_TYPE, REFUSED_TYPE
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
    type: str = PROXY_TYPE
    param: str | None = None
    """The member of the request that is wrong."""
    is_final: bool = False
    """Whether the client's SDK is told not to try again."""

    def after(self, seconds: int) -> ErrorAnswer:
        """The same, with a Retry-After."""
        return replace(self, retry_after_seconds=seconds)


def refusing(status: int, message: str, code: str, param: str | None) -> ErrorAnswer:
    """The request itself is wrong."""
    return ErrorAnswer(
        status,
        Outcome.CLIENT_ERROR,
        code,
        message,
        AttemptResult.ABORTED,
        type=REFUSED_TYPE,
        param=param,
    )


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
    errors.NoKey: ErrorAnswer(
        502,
        Outcome.UPSTREAM_CONNECT_ERROR,
        "upstream_key_unavailable",
        "The proxy has no key for the upstream now.",
        AttemptResult.CONNECT_ERROR,
    ),
    errors.UpstreamError: ErrorAnswer(
        502, Outcome.UPSTREAM_ERROR, "upstream_error", "The upstream failed.", AttemptResult.STREAM_ERROR
    ),
}

CIRCUIT_IS_OPEN = ErrorAnswer(
    503,
    Outcome.PROXY_CIRCUIT_OPEN,
    "circuit_open",
    "Every target of this model has failed too often, and is left alone for a while.",
    AttemptResult.ABORTED,
)
RATE_LIMITED = ErrorAnswer(
    429,
    Outcome.UPSTREAM_RATE_LIMITED,
    "upstream_rate_limited",
    "The rate limits of every target of this model are used up.",
    AttemptResult.HTTP_429,
    type="rate_limit_error",
)
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

SHUTTING_DOWN = ErrorAnswer(
    503,
    Outcome.PROXY_ERROR,
    "proxy_shutting_down",
    "The proxy is being stopped, and could not wait for this request any longer.",
    AttemptResult.ABORTED,
    1,
)
ENDED_BY_OPERATOR = ErrorAnswer(
    503,
    Outcome.PROXY_ERROR,
    "ended_by_operator",
    "This request was ended by an operator of the proxy.",
    AttemptResult.ABORTED,
    is_final=True,
)


def error_answer_for(error: BaseException) -> ErrorAnswer:
    """The entry of the error's class, or of the nearest class above it."""
    for kind in type(error).__mro__:
        if kind in _BY_ERROR:
            return _BY_ERROR[kind]
    return PROXY_FAILED
