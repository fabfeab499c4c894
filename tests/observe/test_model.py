"""Model names out of bodies, and as labels."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.observe.model import KNOWN, NONE, OTHER, ModelNames, is_same_model, model_in, model_label


@pytest.mark.parametrize(
    ("body", "model"),
    [
        (b'{"model":"gpt-4o","messages":[]}', "gpt-4o"),
        (b'{"messages":[{"model":"inner"}],"model":"last"}', "last"),
        (b'{"model":null}', ""),
        (b'{"model":7}', ""),
        (b'["model"]', ""),
        (b"{", ""),
        (b"", ""),
        (b"\xff\xfe", ""),
        (b'{"model":"\\ud83d"}', ""),
        (b"[" * 100000, ""),
        (b'{"a":' * 100000, ""),
        (b'{"big":' + b"9" * 5000 + b',"model":"m"}', "m"),
    ],
)
def test_model_in_a_body(body: bytes, model: str) -> None:
    """The top-level member, and nothing where there is no such JSON: never an exception."""
    assert model_in(body) in (model, "")
    if body.startswith(b'{"m') and model:
        assert model_in(body) == model


@given(st.binary(max_size=200))
def test_any_body_is_read(body: bytes) -> None:
    """Whatever a client sends, reading its model does not raise."""
    assert isinstance(model_in(body), str)


def test_labels() -> None:
    """Known names and their snapshots are labels; the rest is ``other``, and nothing is ``none``."""
    assert model_label("gpt-4o-mini") == "gpt-4o-mini"
    assert model_label("gpt-4o-mini-2024-07-18") == "gpt-4o-mini"
    assert model_label("gpt-4-0613") == "gpt-4"
    assert model_label("gpt-4o-mini-2024-07-18x") == OTHER
    assert model_label("x" * 100000) == OTHER
    assert model_label("") == NONE


@given(st.text())
def test_labels_are_bounded(name: str) -> None:
    """No name makes a label that is not in the list."""
    assert model_label(name) in KNOWN | {OTHER, NONE}


@dataclass
class Maker:
    """What names depend on."""

    name: str = "own"
    priced_as: str = "own"
    names_models: bool = True


OWN, OPENAI, ACME = Maker(), Maker("openai", "openai"), Maker("acme", "acme")
MOCK = Maker("mock", "openai", names_models=False)


def names(most_learned: int = 2, most_of_any: int = 2) -> ModelNames:
    known = {("acme", "brand-1-2026"): "brand-1", ("acme", "brand-1"): "brand-1"}
    return ModelNames(lambda provider, name: known.get((provider, name)), most_learned, most_of_any)


def test_names_are_known_by_the_list_or_the_price_table() -> None:
    """A dated name counts as its model; an unknown one is ``other``, none is ``none``."""
    labels = names()
    for provider, name, label in (
        (OPENAI, "gpt-4o-2024-08-06", "gpt-4o"),
        (ACME, "brand-1-2026", "brand-1"),
        (OPENAI, "brand-1-2026", "other"),
        (OPENAI, "nonsense", "other"),
        (OPENAI, "other", "other"),
        (OPENAI, "none", "other"),
        (OPENAI, "", "none"),
    ):
        assert labels.of_answer(provider, name, 200) == label
        assert labels.label(provider, name) == label
        assert labels.label(provider, name) == label


def test_a_known_name_is_a_label_once_it_was_answered_for() -> None:
    """By that provider, in any spelling; whoever has no key makes no series."""
    labels = names()
    for status in (400, 401, 404, 429, 500, 302):
        assert labels.of_answer(OPENAI, "gpt-4o", status) == "other"
    assert labels.label(OPENAI, "gpt-4o-2024-08-06") == "other"
    assert labels.of_answer(OPENAI, "gpt-4o", 200) == "gpt-4o"
    assert labels.label(OPENAI, "gpt-4o-2024-08-06") == "gpt-4o"
    for status in (400, 404, 429, 500):
        assert labels.of_answer(OPENAI, "gpt-4o", status) == "gpt-4o"
    for status in (401, 403):
        assert labels.of_answer(OPENAI, "gpt-4o", status) == "other"
        assert labels.of_answer(OPENAI, "", status) == "none"
    assert labels.label(MOCK, "gpt-4o") == labels.label(ACME, "gpt-4o") == "other"


def test_a_taught_name_is_learned_and_no_more_than_so_many_of_each_provider() -> None:
    """What was ``other`` becomes a label; the third is one too many, but not for another provider."""
    labels = names(2)
    assert labels.label(OWN, "llama") == "other"
    assert labels.answered(OWN, "llama", teaches=False) == "other"
    asked = ("llama", "qwen", "phi")
    assert [labels.answered(OWN, name, True) for name in asked] == ["llama", "qwen", "other"]
    assert [labels.label(OWN, name) for name in asked] == ["llama", "qwen", "other"]
    assert labels.answered(OWN, "gpt-4o", True) == "gpt-4o"
    assert labels.answered(ACME, "phi", True) == "phi"
    assert labels.label(OWN, "phi") == "other"


def test_who_answers_for_any_name_teaches_few_and_known_ones() -> None:
    """Everybody may ask the mock for all that there is."""
    labels = names(most_of_any=2)
    asked = ("gpt-4o", "made-up", "gpt-5", "o3", "gpt-4o-2024-08-06")
    said = [labels.answered(MOCK, name, teaches=True) for name in asked]
    assert said == ["gpt-4o", "other", "gpt-5", "other", "gpt-4o"]


@pytest.mark.parametrize("name", ["a b", 'a"b', "\n", "ü", "x" * 65, "-a", "{}", "sk-proj-1234", "a/hf_abc"])
def test_odd_names_are_never_learned(name: str) -> None:
    """They are others' text."""
    assert names().answered(OWN, name, teaches=True) == "other"


def test_what_is_remembered_is_bounded() -> None:
    """A client that makes up names fills no memory."""
    labels = names()
    for number in range(5000):
        name = f"made-up-{number}" + "x" * 200 * (number % 2)
        labels.label(OWN, name)
        labels.answered(OWN, name, teaches=True)
    assert len(labels._labels) <= 1024
    assert all(len(name) <= 128 for _, name in labels._labels)
    assert sum(map(len, labels._answered.values())) == 2


def test_an_answers_name_is_the_asked_one_but_for_a_date() -> None:
    """An alias is not."""
    assert is_same_model("my-model", "my-model")
    assert is_same_model("my-model", "my-model-2026-01-31")
    assert not is_same_model("my-model-2026-01-31", "my-model")
    assert not is_same_model("made-up", "my-model")
