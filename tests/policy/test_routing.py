"""Which targets a request goes to."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.config.routing import Route, RouteTimeouts, Target
from openai_proxy.policy.routing import Candidate, NoRoute, Plan, Router

TIMEOUTS = RouteTimeouts(first_token_seconds=5.0, total_seconds=60.0)
ROUTES = {
    "fast": Route(
        targets=(
            Target(provider="groq", model="llama-3.3-70b"),
            Target(provider="openai", model="gpt-4o-mini"),
        ),
        timeouts=TIMEOUTS,
        hedge=True,
    ),
    "gpt-4o": Route(targets=(Target(provider="azure"),)),
    "meta/llama": Route(targets=(Target(provider="groq", model="llama"),)),
}
PROVIDERS = ("openai", "azure", "groq", "mistral")
ROUTER = Router(PROVIDERS, ROUTES, "openai")


@pytest.mark.parametrize(
    ("model", "candidates", "route"),
    [
        ("fast", (("groq", "llama-3.3-70b", True), ("openai", "gpt-4o-mini", True)), "fast"),
        ("gpt-4o", (("azure", "gpt-4o", True),), "gpt-4o"),
        ("meta/llama", (("groq", "llama", True),), "meta/llama"),
        ("openai/gpt-4o", (("openai", "gpt-4o", False),), ""),
        ("groq/meta-llama/x", (("groq", "meta-llama/x", False),), ""),
        ("o3", (("openai", "o3", False),), ""),
        ("", (("openai", "", False),), ""),
        ("ft:gpt-4o:org::id", (("openai", "ft:gpt-4o:org::id", False),), ""),
        ("Fast", (("openai", "Fast", False),), ""),
    ],
)
def test_planned(model: str, candidates: tuple[tuple[str, str, bool], ...], route: str) -> None:
    """A route's name comes first, then a provider's, then the default; a client's name is no label."""
    plan = ROUTER.plan(model, Random(1))
    assert plan.candidates == tuple(
        Candidate(provider, name, name if configured else "") for provider, name, configured in candidates
    )
    assert plan.route == route


def test_a_routes_own_settings() -> None:
    """Its deadlines and its hedging go with it; others have none."""
    plan = ROUTER.plan("fast", Random(1))
    assert (plan.timeouts, plan.hedge) == (TIMEOUTS, True)
    assert ROUTER.plan("openai/o3", Random(1)) == Plan((Candidate("openai", "o3"),))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "opnai/gpt-4o",
            "There is no provider 'opnai' and no model 'opnai/gpt-4o'. Did you mean 'openai/gpt-4o'?",
        ),
        ("meta/lama", "There is no provider 'meta' and no model 'meta/lama'. Did you mean 'meta/llama'?"),
        ("zzzzzz/x", "There is no provider 'zzzzzz' and no model 'zzzzzz/x'."),
        ("/x", "There is no model '/x'."),
        ("groq/", "There is no model's name after 'groq/'."),
    ],
)
def test_refused(model: str, message: str) -> None:
    """What names no provider is told so, with the name that is nearest."""
    with pytest.raises(NoRoute) as raised:
        ROUTER.plan(model, Random(1))
    assert (raised.value.message, raised.value.param, raised.value.code) == (
        message,
        "model",
        "model_not_found",
    )


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("fsat", "There is no model 'fsat'. Did you mean 'fast'?"),
        ("", "The request names no model."),
        ("x" * 5000, "There is no model '" + "x" * 64 + "...'."),
    ],
)
def test_no_default_provider(model: str, message: str) -> None:
    """Then only what is named is there; long names are cut."""
    with pytest.raises(NoRoute) as raised:
        Router(PROVIDERS, ROUTES, None).plan(model, Random(1))
    assert raised.value.message == message


def test_slashes_of_the_default_provider() -> None:
    """Where its own models have slashes, what stands before one is no provider's name."""
    router = Router(PROVIDERS, ROUTES, "openai", default_has_slashes=True)
    assert router.plan("mistralai/mixtral", Random(1)).candidates == (
        Candidate("openai", "mistralai/mixtral"),
    )
    assert router.plan("mistral/small", Random(1)).candidates == (Candidate("mistral", "small"),)


@pytest.mark.parametrize(
    ("provider", "model", "sent"),
    [
        ("groq", "llama", "llama"),
        ("groq", "groq/llama", "llama"),
        ("groq", "openai/x", "openai/x"),
        ("groq", "", ""),
    ],
)
def test_at_a_provider(provider: str, model: str, sent: str) -> None:
    """A request may say where it goes."""
    assert ROUTER.plan_at(provider, model).candidates == (Candidate(provider, sent),)


def test_at_no_provider() -> None:
    """An unknown one is an error, not the default."""
    with pytest.raises(NoRoute) as raised:
        ROUTER.plan_at("gorq", "x")
    assert raised.value.message == "There is no provider 'gorq'. Did you mean 'groq'?"
    assert (raised.value.param, raised.value.code) == ("provider", "provider_not_found")


def test_stuck() -> None:
    """What follows on an object goes to its provider alone, under the name that it has there."""
    plan = ROUTER.plan("fast", Random(1))
    there = plan.stuck_to("openai", "fast")
    assert there.candidates == (Candidate("openai", "gpt-4o-mini", "gpt-4o-mini"),)
    assert there.timeouts == TIMEOUTS
    assert plan.stuck_to("mistral", "fast").candidates == (Candidate("mistral", "fast"),)


def _weighted(*weights: int) -> Router:
    targets = tuple(
        Target(provider="openai", model=str(number), weight=weight) for number, weight in enumerate(weights)
    )
    return Router(PROVIDERS, {"w": Route(targets=targets, choice="weighted")}, "openai")


def test_weights_are_shares_of_the_first_attempts() -> None:
    """Nine to one, with a seed that is always the same."""
    router, random = _weighted(9, 1), Random(7)
    first = [router.plan("w", random).candidates[0].model for _ in range(2000)]
    assert 1700 < first.count("0") < 1900


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=6), st.integers())
def test_weighted_orders_are_whole(weights: list[int], seed: int) -> None:
    """Each target is there once, and those without weight come last."""
    order = [int(one.model) for one in _weighted(*weights).plan("w", Random(seed)).candidates]
    assert sorted(order) == list(range(len(weights)))
    have_weight = [weights[number] > 0 for number in order]
    assert have_weight == sorted(have_weight, reverse=True)


@given(st.text(max_size=200))
def test_any_name(model: str) -> None:
    """Whatever a client asks for: a plan or a refusal."""
    try:
        assert ROUTER.plan(model, Random(1)).candidates
    except NoRoute as error:
        assert len(error.message) < 1200


PARTS = st.sampled_from(("fast", "gpt-4o", "meta", "llama", "openai", "groq", "o3"))


@given(provider=st.sampled_from(PROVIDERS), model=st.lists(PARTS, min_size=1, max_size=3).map("/".join))
def test_a_listed_name_leads_to_its_model(provider: str, model: str) -> None:
    """Each name that a model is given is one that a request for it can have."""
    names = list(ROUTER.names_of(provider, model))
    assert names[0] == f"{provider}/{model}"
    for name in names:
        assert ROUTER.plan(name, Random(1)) == Plan((Candidate(provider, model),))


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("o3", ["openai/o3", "o3"]),
        ("meta-llama/x", ["openai/meta-llama/x", "meta-llama/x"]),
        ("openai/auto", ["openai/openai/auto"]),
        ("mine", ["openai/mine"]),
        ("other", ["other"]),
    ],
)
def test_names_of_the_only_provider(model: str, names: list[str]) -> None:
    """Those with slashes are its own, but for what a route or the provider's own name takes."""
    routes = {
        name: Route(targets=(Target(provider="openai", model="x"),)) for name in ("mine", "openai/other")
    }
    router = Router(("openai",), routes, "openai", default_has_slashes=True)
    assert list(router.names_of("openai", model)) == names
    for name in names:
        assert router.plan(name, Random(1)) == Plan((Candidate("openai", model),))
