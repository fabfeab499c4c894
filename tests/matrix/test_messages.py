"""anthropic-python: what it asks, of Anthropic natively, and of providers of either dialect by the model."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from anthropic import Anthropic

from tests.matrix.expected import FAILING, GIVEN, asks
from tests.matrix.expected_messages import ESTIMATED, expected, tokens
from tests.matrix.messages import SCENARIOS, client_of, run
from tests.matrix.stage import Stage, normal
from tests.matrix.ways import MESSAGES_WAYS, Way

CELLS = [
    pytest.param(way, scenario, id=f"{way}-{scenario}") for way in MESSAGES_WAYS for scenario in SCENARIOS
]


@pytest.fixture(scope="module")
def clients(stage: Stage) -> Iterator[dict[str, Anthropic]]:
    """A client of each way."""
    clients = {way.name: client_of(stage.door(way)) for way in MESSAGES_WAYS}
    direct = MESSAGES_WAYS[-1]
    for scenario in ("chat", "stream_whole", "tools_stream", "structured"):
        stage.begin(direct, ())
        run(scenario, clients[direct.name], direct.models["chat"])
    # What an SDK loads when it is first used would be walked after each test.
    gc.collect()
    gc.freeze()
    yield clients
    for client in clients.values():
        client.close()


@pytest.mark.parametrize(("way", "scenario"), CELLS)
def test_a_cell(stage: Stage, clients: dict[str, Anthropic], way: Way, scenario: str) -> None:
    """The SDK's objects are as expected, the upstream found nothing wrong, and the tokens are counted."""
    stage.begin(way, FAILING.get(scenario, ()))
    result = normal(run(scenario, clients[way.name], way.models["chat"]), GIVEN)
    assert stage.violations() == []
    is_estimated = scenario == "count_tokens" and way.form != "anthropic"
    if is_estimated and 0 < result.get("tokens", 0) < 100:
        result["tokens"] = ESTIMATED
    assert result == expected(scenario, way)
    if not way.is_direct:
        wanted = {(way.provider, model): numbers for model, numbers in tokens(scenario, way).items()}
        assert stage.counted(wanted) == wanted
    asked = stage.asked()
    if is_estimated:
        assert asked == {}
        return
    assert list(asked) == [way.form]
    assert asked[way.form] == (asks(scenario) or asked[way.form])
