"""openai-python, sync and async, and openai-node: what each asks, on each way to each provider."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tests.matrix.clients import RUNNERS, Runner
from tests.matrix.expected import FAILING, GIVEN, LEFT_OUT, asks, expected, refused, tokens
from tests.matrix.scenarios import SCENARIOS
from tests.matrix.stage import Stage, normal
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
    direct = next(way for way in WAYS if way.is_direct)
    stage.begin(direct, ())
    for scenario in WARMING_UP:
        runner.run(scenario, stage.door(direct))
    # What an SDK loads when it is first used would be walked after each test.
    gc.collect()
    gc.freeze()
    yield runner
    runner.close()


@pytest.mark.parametrize(("way", "scenario"), CELLS)
def test_a_cell(stage: Stage, runner: Runner, way: Way, scenario: str) -> None:
    """The SDK's objects are as expected, the upstream found nothing wrong, and the tokens are counted."""
    stage.begin(way, FAILING.get(scenario, ()))
    result = normal(runner.run(scenario, stage.door(way)), GIVEN)
    wanted_result = expected(scenario, way)
    if way.form == "anthropic" and refused(scenario, way):
        assert {name: result.get(name) for name in wanted_result} == wanted_result
        return
    assert stage.violations() == []
    assert result == wanted_result
    if not way.is_direct:
        wanted = {(way.provider, model): numbers for model, numbers in tokens(scenario, way).items()}
        # Where a form is not held, its model is known if it came early enough.
        is_form = scenario == "transcription" and not (stage.has_routing and way.path == "/v1")
        nameless = way.models["transcription"] if is_form else "none"
        assert stage.counted(wanted, nameless) == wanted
    asked = stage.asked()
    assert list(asked) == [way.form]
    assert asked[way.form] == (asks(scenario) or asked[way.form])
