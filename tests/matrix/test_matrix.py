"""openai-python, sync and async, and openai-node: what each asks, on each way to each provider."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tests.matrix.clients import RUNNERS, Runner
from tests.matrix.expected import FAILING, GIVEN, LEFT_OUT, asks, expected, refused, tokens
from tests.matrix.scenarios import SCENARIOS
from tests.matrix.stage import Counts, Stage, normal
from tests.matrix.ways import WAYS, Way

CELLS = [
    pytest.param(way, scenario, id=f"{way}-{scenario}")
    for way in WAYS
    for scenario in SCENARIOS
    if (way.name, scenario) not in LEFT_OUT
]
WARMING_UP = ("chat", "tools_stream", "structured", "files", "transcription", "image", "response_stream")


@pytest.fixture(scope="module", params=RUNNERS)
def runner(request: pytest.FixtureRequest, stage: Stage) -> Iterator[Runner]:
    """An SDK."""
    runner = RUNNERS[request.param]()
    for scenario in WARMING_UP:
        runner.run(scenario, stage.door(WAYS[0]))
    # What an SDK loads when it is first used would be walked after each test.
    gc.collect()
    gc.freeze()
    yield runner
    runner.close()


def wanted_tokens(scenario: str, way: Way, reads_forms: bool) -> Counts:
    """By the labels of the metrics."""
    found = {(way.provider, model): numbers for model, numbers in tokens(scenario, way).items()}
    if scenario == "transcription" and not reads_forms:
        return {(way.provider, "none"): numbers for numbers in found.values()}
    return found


@pytest.mark.parametrize(("way", "scenario"), CELLS)
def test_a_cell(stage: Stage, runner: Runner, way: Way, scenario: str) -> None:
    """The SDK's objects are as expected, the upstream found nothing wrong, and the tokens are counted."""
    stage.begin(way, FAILING.get(scenario, ()))
    result = normal(runner.run(scenario, stage.door(way)), GIVEN)
    assert stage.violations() == []
    assert result == expected(scenario, way)
    if not way.is_direct:
        wanted = wanted_tokens(scenario, way, stage.has_routing)
        assert stage.counted(wanted) == wanted
    asked = stage.asked()
    if refused(scenario, way) is None or way.form == "gemini":
        assert list(asked) == [way.form]
        assert asked[way.form] == (asks(scenario) or asked[way.form])
    else:
        assert asked == {}
