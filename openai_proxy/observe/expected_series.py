"""How many series a configuration will show: counted, not computed, so that it stays true."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from openai_proxy.observe.metrics import Metrics, new_registry
from openai_proxy.observe.outcome import Outcome
from openai_proxy.observe.record import Attempt, AttemptResult, Generation, Record
from openai_proxy.observe.upstream import NO_CONNECTIONS
from openai_proxy.observe.usage import Usage

_ENDPOINT = "chat_completions"


def expected_series(
    providers: Iterable[str],
    targets: Iterable[tuple[str, str]],
    with_mock: bool = False,
    routes: Iterable[Sequence[str]] = (),
    circuits: Iterable[tuple[str, str]] = (),
) -> tuple[int, int]:
    """Series at the start, and when each target, ``(provider, model)``, has answered one chat completion.

    ``routes`` are the providers of each route's targets, in their order; ``circuits`` the targets that
    have a breaker, each named as it will be to ``Metrics.watch_circuit``.
    """
    metrics = Metrics(new_registry())
    metrics.operating.begun()
    for provider in providers:
        metrics.expect(provider)
        metrics.watch_pool(provider, lambda: NO_CONNECTIONS)
    if with_mock:
        metrics.expect("mock")
    for route in routes:
        metrics.expect_route(route)
    for provider, model in circuits:
        metrics.watch_circuit(provider, model, lambda: "closed")
        metrics.watch_rest(provider, model, lambda: False)
    before = _series(metrics)
    for provider, model in targets:
        metrics.exchange_began(_ENDPOINT)
        metrics.exchange_ended(_answered(provider, model))
    return before, _series(metrics)


def _series(metrics: Metrics) -> int:
    return sum(1 for family in metrics.registry.collect() for _ in family.samples)


def _answered(provider: str, model: str) -> Record:
    return Record(
        provider=provider,
        endpoint=_ENDPOINT,
        model=model,
        status=200,
        outcome=Outcome.OK,
        duration_seconds=1.0,
        received_bytes=1,
        sent_bytes=1,
        first_byte_seconds=0.1,
        overhead_seconds=0.001,
        is_stream=True,
        attempts=(Attempt(provider, AttemptResult.OK, 1.0),),
        generation=Generation(
            model=model,
            usage=Usage(input_tokens=1, output_tokens=1),
            cost_picodollars=1,
            first_token_seconds=0.1,
            first_visible_seconds=0.1,
            seconds_per_output_token=0.01,
        ),
    )
