"""What clients are told of each failure of an upstream."""

import pytest

from openai_proxy.observe.outcome import Outcome
from openai_proxy.relay.failures import PROXY_FAILED, error_answer_for
from openai_proxy.wire import errors


@pytest.mark.parametrize(
    ("error", "status", "outcome"),
    [
        (errors.ConnectFailed(), 502, Outcome.UPSTREAM_CONNECT_ERROR),
        (errors.TLSFailed(), 502, Outcome.UPSTREAM_CONNECT_ERROR),
        (errors.ConnectTimedOut(), 504, Outcome.UPSTREAM_TIMEOUT),
        (errors.HeadTimedOut(), 504, Outcome.UPSTREAM_TIMEOUT),
        (errors.ConnectionClosed(), 502, Outcome.UPSTREAM_ERROR),
        (errors.InvalidResponse(), 502, Outcome.UPSTREAM_ERROR),
        (errors.Truncated(), 502, Outcome.UPSTREAM_ERROR),
        (errors.PoolExhausted(), 503, Outcome.PROXY_OVERLOAD),
        (errors.UpstreamError(), 502, Outcome.UPSTREAM_ERROR),
    ],
)
def test_each_error_has_its_answer(error: Exception, status: int, outcome: Outcome) -> None:
    """Status and outcome by the error's class, or the nearest above it."""
    failure = error_answer_for(error)
    assert (failure.status, failure.outcome) == (status, outcome)


def test_every_class_of_upstream_errors_is_known() -> None:
    """A new error class cannot become a bug of the proxy by being forgotten."""

    def below(kind: type[BaseException]) -> list[type[BaseException]]:
        return [kind, *(deeper for child in kind.__subclasses__() for deeper in below(child))]

    for kind in below(errors.UpstreamError):
        assert error_answer_for(kind()) is not PROXY_FAILED


def test_what_is_not_an_upstream_error_is_ours() -> None:
    """A bug is 500 and ``proxy_error``, and tells nothing."""
    assert error_answer_for(RuntimeError("secret")) is PROXY_FAILED
    assert "secret" not in PROXY_FAILED.message
