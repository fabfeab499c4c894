"""The gauges of what upstreams say of their rate limits."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from twisted.internet.task import Clock

from openai_proxy.observe.families import Families
from openai_proxy.observe.rate_limits import FORGET_SECONDS, LOOK_EVERY, MOST_PAIRS, NAME, RateLimits, said_in
from openai_proxy.wire.fields import Field

OTHERS: list[Field] = [(b"Date", b"today"), (b"Set-Cookie", b"secret"), (b"x-ratelimit-reset-tokens", b"6ms")]
OPENAI: list[Field] = [
    *OTHERS,
    (b"X-RateLimit-Limit-Requests", b"100"),
    (b"x-ratelimit-remaining-requests", b"99"),
    (b"x-ratelimit-limit-tokens", b"1000"),
    (b"x-ratelimit-remaining-tokens", b"0"),
]


class Rig:
    """The families, and a clock."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.registry = CollectorRegistry()
        self.limits = RateLimits(Families(self.registry), self.clock.seconds)

    def keep(self, fields: list[Field], model: str = "m") -> None:
        self.limits.keep("p", model, fields)

    def read(self, what: str, resource: str, model: str = "m") -> float | None:
        labels = {"provider": "p", "model": model, "resource": resource}
        return self.registry.get_sample_value(f"{NAME}_{what}", labels)


def test_what_an_answer_said_is_shown_with_its_time() -> None:
    """Both kinds of both resources."""
    rig = Rig()
    rig.keep(OPENAI)
    rig.clock.advance(5)
    assert [rig.read("limit", "requests"), rig.read("remaining", "requests")] == [100, 99]
    assert [rig.read("limit", "tokens"), rig.read("remaining", "tokens")] == [1000, 0]
    assert rig.read("updated_timestamp_seconds", "tokens") == 1_000_000


@pytest.mark.parametrize("is_read_between", [False, True])
def test_an_answer_that_says_nothing_wipes_nothing(is_read_between: bool) -> None:
    """Whether or not somebody looked in between."""
    rig = Rig()
    rig.keep(OTHERS)
    rig.keep(OPENAI)
    if is_read_between:
        rig.read("limit", "tokens")
    rig.clock.advance(1)
    rig.keep(OTHERS)
    rig.keep([])
    assert rig.read("remaining", "requests") == 99
    assert rig.read("updated_timestamp_seconds", "requests") == 1_000_000


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.booleans())))
def test_the_last_that_was_said_counts(answers: list[tuple[bool, int, bool]]) -> None:
    """Wherever the fields stand, whatever came between, and however often it was read."""
    rig = Rig()
    expected = None
    for number, (says, others, reads) in enumerate(answers):
        fields: list[Field] = [(b"x-%d" % index, b"") for index in range(others)]
        if says:
            # As many as one without them may have, so that a look at the length alone would err.
            fields[1:1] = [(b"X-Ratelimit-Remaining-Tokens", b"%d" % number)]
            expected = number
        before = rig.limits._senders.get(("p", "m"))
        unseen = says and before is not None and before.place < 0 and before.length == len(fields)
        rig.keep(fields)
        if unseen:
            # It may not have been looked at: the next test is about that.
            return
        if reads:
            assert rig.read("remaining", "tokens") == expected
    assert rig.read("remaining", "tokens") == expected


def test_a_provider_that_begins_to_say_something_is_found() -> None:
    """With the first answer of another length, or else soon."""
    silent: list[Field] = [(b"a", b""), (b"b", b"")]
    for fields, most in (
        (OPENAI, 1),
        ([(b"a", b""), (b"x-ratelimit-limit-tokens", b"1000")], LOOK_EVERY + 1),
    ):
        rig = Rig()
        for _ in range(100):
            rig.keep(silent)
        for _ in range(most):
            rig.keep(fields)
        assert rig.read("limit", "tokens") == 1000


def test_a_part_leaves_the_rest_as_it_was() -> None:
    """An answer that says only one resource is no word about the other."""
    rig = Rig()
    rig.keep(OPENAI)
    rig.read("limit", "tokens")
    rig.clock.advance(5)
    rig.keep([(b"x-ratelimit-remaining-tokens", b"7")])
    assert [rig.read("limit", "tokens"), rig.read("remaining", "tokens")] == [1000, 7]
    assert rig.read("updated_timestamp_seconds", "tokens") == 1_000_005
    assert rig.read("updated_timestamp_seconds", "requests") == 1_000_000


def test_it_is_dropped_when_it_is_old() -> None:
    """An idle model's last word says nothing of now."""
    rig = Rig()
    rig.keep(OPENAI)
    rig.clock.advance(FORGET_SECONDS)
    assert rig.read("limit", "tokens") == 1000
    rig.clock.advance(1)
    assert rig.read("limit", "tokens") is None
    rig.keep(OPENAI)
    assert rig.read("limit", "tokens") == 1000


def test_nothing_else_of_an_answer_is_kept() -> None:
    """Fields hold secrets: those of an answer without limits never, the others until they are read."""
    rig = Rig()
    rig.keep(OTHERS)
    assert not rig.limits._fresh
    rig.keep(OPENAI)
    rig.read("limit", "tokens")
    assert not rig.limits._fresh
    assert "secret" not in repr(rig.limits._said)


def test_pairs_are_bounded() -> None:
    """What comes too late is left out and counted."""
    rig = Rig()
    for number in range(MOST_PAIRS + 3):
        rig.keep(OPENAI, str(number))
    assert rig.read("limit", "tokens", str(MOST_PAIRS - 1)) == 1000
    assert rig.read("limit", "tokens", str(MOST_PAIRS)) is None
    overflow = "openai_proxy_metric_label_overflow_total"
    assert rig.registry.get_sample_value(overflow, {"metric": f"{NAME}_remaining"}) == 3


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (b"anthropic-ratelimit-tokens-remaining", b"12", {("tokens", "remaining"): 12}),
        (b"Anthropic-RateLimit-Requests-Limit", b"12", {("requests", "limit"): 12}),
        (b"anthropic-ratelimit-input-tokens-limit", b"12", {}),
        (b"x-ratelimit-limit-tokens", b"-1", {}),
        (b"x-ratelimit-limit-tokens", b"1.5", {}),
        (b"x-ratelimit-limit-tokens", b"\xd9\xa1", {}),
        (b"x-ratelimit-limit-tokens", b"9" * 5000, {}),
        (b"x-ratelimit-limit-tokens", b"", {}),
        (b"x-ratelimit-limit-images", b"1", {}),
    ],
)
def test_fields(name: bytes, value: bytes, expected: dict[tuple[str, str], int]) -> None:
    """Names of both families in any case, and numbers that are numbers."""
    assert said_in([(name, value)]) == expected
