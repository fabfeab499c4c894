"""What all routed exchanges share: a breaker for each target, and where a request goes."""

from __future__ import annotations

from random import Random

import pytest

from openai_proxy.config.routing import Breaker, Hedge, Retry, Route
from openai_proxy.config.routing import Target as RouteTarget
from openai_proxy.exchange.gateway import Gateway
from openai_proxy.exchange.question import Question
from openai_proxy.policy.breaker import Verdict
from openai_proxy.policy.routing import Candidate, NoRoute, Plan
from tests.exchange.test_question import request


def gateway(changes: list[tuple[str, str, str]] | None = None) -> Gateway:
    """Two providers, and a route to both."""
    models = {"fast": Route((RouteTarget("two", "b"), RouteTarget("one")))}
    targets = dict.fromkeys(("one", "two"))

    def changed(*change: str) -> None:
        if changes is not None:
            changes.append(change)  # type: ignore[arg-type]

    breaker = Breaker(min_attempts=1)
    return Gateway(targets, models, "one", Retry(), breaker, Hedge(), Random(1), changed)  # type: ignore[arg-type]


def plan(path: bytes, body: bytes | None = None, shared: Gateway | None = None) -> Plan:
    """Of a POST."""
    question = Question(request(path, body=body))
    if body is not None:
        question.read(body, b"")
    return (shared or gateway()).plan(question, 0.0)


def test_there_is_a_breaker_for_each_configured_target() -> None:
    """And one for each provider, which clients' own names share: they cannot make more."""
    changes: list[tuple[str, str, str]] = []
    shared = gateway(changes)
    assert set(shared.breakers) == {("one", ""), ("two", ""), ("two", "b"), ("one", "fast")}
    breaker = shared.breaker_of(Candidate("two", "anything"))
    leave = breaker.begin(0.0)
    assert leave is not None
    breaker.end(leave, Verdict.BAD, 0.0)
    assert changes == [("two", "", "open")]
    assert len(shared.breakers) == 4


@pytest.mark.parametrize(
    ("path", "body", "providers"),
    [
        (b"/v1/chat/completions", b'{"model":"fast"}', ["two", "one"]),
        (b"/v1/chat/completions", b'{"model":"two/x"}', ["two"]),
        (b"/v1/chat/completions?provider=two", b'{"model":"x"}', ["two"]),
        (b"/v1/chat/completions", b'{"model":"gpt"}', ["one"]),
        (b"/v1/files", None, ["one"]),
        (b"/v1/realtime?model=fast", None, ["two", "one"]),
        (b"/v1/models/two/x", None, ["two"]),
    ],
)
def test_where_a_request_goes(path: bytes, body: bytes | None, providers: list[str]) -> None:
    """By its model, wherever that stands; by the provider that it names; else to the default one."""
    assert [one.provider for one in plan(path, body).candidates] == providers


def test_what_goes_on_from_an_object_stays_with_its_provider() -> None:
    """Alone, whether it is known who made it or not."""
    shared = gateway()
    body = b'{"model":"fast","previous_response_id":"resp_1"}'
    assert [one.provider for one in plan(b"/v1/responses", body, shared).candidates] == ["two"]
    shared.stickiness.remember(("resp_1",), "one", 0.0)
    [there] = plan(b"/v1/responses", body, shared).candidates
    assert (there.provider, there.model) == ("one", "fast")


def test_a_provider_that_there_is_not_is_told() -> None:
    """As the parameter that it stands in."""
    with pytest.raises(NoRoute) as refused:
        plan(b"/v1/files?provider=x")
    assert refused.value.param == "provider"
