"""Usage times rates."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.observe.usage import Usage
from openai_proxy.policy.cost import Above, Price, cost_microdollars, cost_picodollars
from openai_proxy.policy.prices import Prices, Section

FLAT = Price(
    input=2_500_000,
    cached_input=1_250_000,
    cache_write=3_125_000,
    cache_write_1h=5_000_000,
    output=10_000_000,
    reasoning=4_000_000,
    input_audio=32_000_000,
    cached_input_audio=400_000,
    output_audio=64_000_000,
)
STEP = Price(
    input=1_000_000, output=2_000_000, above=(Above(input_tokens=1_000, input=2_000_000, output=3_000_000),)
)
COUNT = st.integers(0, 10**7)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Whose parts are within their totals."""
    fresh, cached, write, hour, said, thought, heard, kept, spoken = (draw(COUNT) for _ in range(9))
    return Usage(
        input_tokens=fresh + cached + write + hour + heard + kept,
        cached_input_tokens=cached + kept,
        input_audio_tokens=heard + kept,
        cached_input_audio_tokens=kept,
        cache_write_tokens=write + hour,
        cache_write_1h_tokens=hour,
        output_tokens=said + thought + spoken,
        output_audio_tokens=spoken,
        reasoning_tokens=thought,
    )


def added(one: Usage, other: Usage) -> Usage:
    """The sum of two usages in tokens."""
    names = [name for name in Usage.__struct_fields__ if name.endswith("_tokens")]
    return Usage(**{name: getattr(one, name) + getattr(other, name) for name in names})


@pytest.mark.parametrize(
    ("usage", "microdollars"),
    [
        (Usage(input_tokens=1000, output_tokens=100), 2500 + 1000),
        (Usage(input_tokens=1000, cached_input_tokens=400, output_tokens=0), 600 * 2.5 + 400 * 1.25),
        (Usage(input_tokens=1000, cache_write_tokens=400), 600 * 2.5 + 400 * 3.125),
        (Usage(input_tokens=1000, cache_write_tokens=400, cache_write_1h_tokens=80), 1500 + 1000 + 400),
        (Usage(output_tokens=100, reasoning_tokens=80), 20 * 10 + 80 * 4),
        (Usage(input_tokens=0, output_tokens=0), 0),
    ],
)
def test_each_token_is_paid_once_at_its_own_rate(usage: Usage, microdollars: float) -> None:
    """Parts are within their totals: paid at their rate, and not at the total's again."""
    assert cost_microdollars(usage, FLAT) == microdollars


def test_a_part_without_a_rate_is_paid_as_what_it_is_part_of() -> None:
    """A model without a price for the cache is paid in full; one without output is free there."""
    usage = Usage(
        input_tokens=10,
        cached_input_tokens=5,
        input_audio_tokens=2,
        cached_input_audio_tokens=1,
        output_tokens=10,
        reasoning_tokens=5,
        output_image_tokens=1,
    )
    assert cost_picodollars(usage, Price(input=3, output=7)) == 100
    assert cost_picodollars(usage, Price(input=3)) == 30


def test_audio_and_images_are_paid_apart() -> None:
    """Tokens of another modality are paid at its rate where the model has one."""
    price = Price(input=5, input_audio=9, input_image=10, output=20, output_audio=30, output_image=40)
    usage = Usage(
        input_tokens=100,
        input_audio_tokens=1,
        input_image_tokens=2,
        output_tokens=100,
        output_audio_tokens=3,
        output_image_tokens=4,
    )
    assert cost_picodollars(usage, price) == 97 * 5 + 9 + 20 + 93 * 20 + 90 + 160


@pytest.mark.parametrize(
    ("rates", "picodollars"),
    [
        ({}, 40 * 5 + 60 * 9),
        ({"cached_input": 2}, 30 * 5 + 30 * 9 + 40 * 2),
        ({"cached_input": 2, "cached_input_audio": 3}, 30 * 5 + 30 * 9 + 10 * 2 + 30 * 3),
        ({"cached_input_audio": 3}, 40 * 5 + 30 * 9 + 30 * 3),
        ({"cached_input": 2, "cached_input_image": 3}, 30 * 5 + 30 * 9 + 40 * 2),
    ],
)
def test_cached_audio_is_paid_once(rates: dict[str, int], picodollars: int) -> None:
    """It is in what is cached and in what is audio: its own rate holds, else the cache's, else audio's."""
    usage = Usage(
        input_tokens=100,
        cached_input_tokens=40,
        input_audio_tokens=60,
        cached_input_audio_tokens=30,
        output_tokens=0,
    )
    price = msgspec.convert({"input": 5, "input_audio": 9, **rates}, type=Price)
    assert cost_picodollars(usage, price) == picodollars


def test_the_step_holds_for_every_token_of_a_longer_input() -> None:
    """At the bound the lower rates hold; one token more, and all are paid at the higher."""
    assert cost_microdollars(Usage(input_tokens=1000, output_tokens=10), STEP) == 1000 + 20
    assert cost_microdollars(Usage(input_tokens=1001, output_tokens=10), STEP) == 2002 + 30


@pytest.mark.parametrize(
    ("seconds", "microdollars"), [(0.0, 0), (0.001, 1_000), (10.0, 1_000), (11.0, 1_100), (3600.0, 360_000)]
)
def test_audio_is_paid_by_its_length(seconds: float, microdollars: int) -> None:
    """Per hour, and at least for as long as the provider says; none is free."""
    price = Price(audio_hour=360_000, audio_least_seconds=10)
    assert cost_microdollars(Usage(seconds=seconds), price) == microdollars


def test_a_request_is_paid_by_itself() -> None:
    """The price per request is on top of that of its tokens."""
    assert cost_microdollars(Usage(input_tokens=1), Price(input=1_000_000, request=12_000)) == 12_001


@pytest.mark.parametrize(
    ("usage", "price"),
    [
        (Usage(), FLAT),
        (Usage(), Price(input=1, request=5)),
        (Usage(seconds=3.0), FLAT),
        (Usage(input_tokens=5, output_tokens=5), Price(audio_hour=360_000)),
    ],
)
def test_a_usage_that_the_price_is_not_for_has_no_cost(usage: Usage, price: Price) -> None:
    """What cannot be told is None, and never 0."""
    assert cost_picodollars(usage, price) is None
    assert cost_microdollars(usage, price) is None


@pytest.mark.parametrize(
    "usage",
    [
        Usage(input_tokens=10, cached_input_tokens=20, cache_write_tokens=30),
        Usage(input_tokens=0, output_tokens=0, reasoning_tokens=5, cached_input_tokens=5),
        Usage(input_tokens=5, cache_write_1h_tokens=9, output_tokens=-3),
        Usage(input_tokens=5, cached_input_audio_tokens=9, input_image_tokens=9, output_audio_tokens=3),
    ],
)
def test_impossible_parts_are_cut_to_their_total(usage: Usage) -> None:
    """Numbers that no upstream should send never give a negative cost, nor more tokens than came."""
    cost = cost_picodollars(usage, FLAT)
    assert cost is not None
    assert 0 <= cost <= (usage.input_tokens or 0) * 5_000_000


@pytest.mark.parametrize(("picodollars", "microdollars"), [(499_999, 0), (500_000, 1), (1_499_999, 1)])
def test_micro_dollars_are_the_nearest(picodollars: int, microdollars: int) -> None:
    """Half of one goes up."""
    assert cost_microdollars(Usage(input_tokens=picodollars), Price(input=1)) == microdollars


@given(usages(), usages())
def test_costs_add_up(one: Usage, other: Usage) -> None:
    """In pico-dollars two answers cost what one with the tokens of both costs, to the last."""
    first, second = cost_picodollars(one, FLAT), cost_picodollars(other, FLAT)
    assert first is not None
    assert second is not None
    assert first + second == cost_picodollars(added(one, other), FLAT)


@given(usages(), usages(), st.sampled_from([FLAT, STEP]))
def test_more_tokens_never_cost_less(one: Usage, other: Usage, price: Price) -> None:
    """More of any kind costs at least as much, over a step too, rounded or not."""
    for cost in (cost_picodollars, cost_microdollars):
        less, more = cost(one, price), cost(added(one, other), price)
        assert type(less) is int
        assert type(more) is int
        assert 0 <= less <= more


@given(usages())
def test_rounding_is_less_than_a_micro_dollar(usage: Usage) -> None:
    """Half a micro-dollar is the most that an answer's cost is off."""
    exact, rounded = cost_picodollars(usage, FLAT), cost_microdollars(usage, FLAT)
    assert exact is not None
    assert rounded is not None
    assert abs(rounded * 10**6 - exact) <= 500_000


@pytest.mark.parametrize(
    ("rates", "problem"),
    [
        ({}, "no rate at all"),
        ({"cached_input": 5}, "no rate at all"),
        ({"input": -1}, ">= 0"),
        ({"input": 2.5}, "Expected `int"),
        ({"inptu": 1}, "inptu"),
        ({"input": 1, "output": 2, "above": [{"input_tokens": 9, "input": 2}]}, "above 9 .*: output"),
        ({"input": 1, "above": [{"input_tokens": 0, "input": 2}]}, ">= 1"),
        (
            {"input": 1, "above": [{"input_tokens": 9, "input": 2}, {"input_tokens": 5, "input": 3}]},
            "rising .* at 5",
        ),
    ],
)
def test_a_price_that_would_be_free_by_mistake_is_refused(rates: dict[str, object], problem: str) -> None:
    """A misspelt, fractional, negative or forgotten rate is an error."""
    with pytest.raises(msgspec.ValidationError, match=problem):
        msgspec.convert(rates, type=Price)


def test_longer_inputs_are_nowhere_cheaper() -> None:
    """In the package's table no step lowers a rate, so that costs rise with their tokens."""
    for raw in Prices.load().table.providers.values():
        for model in msgspec.json.decode(raw, type=Section).models:
            for price in (model.price, *model.tiers.values()):
                lower = price
                for row in price.above:
                    assert (row.input or 0) >= (lower.input or 0), model.id
                    assert (row.output or 0) >= (lower.output or 0), model.id
