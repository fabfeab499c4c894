"""Model names out of bodies, and as labels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.observe.model import KNOWN, NONE, OTHER, ModelNames, model_in, model_label


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


def names(most_learned: int = 2) -> ModelNames:
    known = {("acme", "brand-1-2026"): "brand-1"}
    return ModelNames(lambda provider, name: known.get((provider, name)), most_learned)


def test_names_are_known_by_the_list_or_the_price_table() -> None:
    """A dated name counts as its model; an unknown one is ``other``, none is ``none``."""
    labels = names()
    for provider, name, label in (
        ("openai", "gpt-4o-2024-08-06", "gpt-4o"),
        ("acme", "brand-1-2026", "brand-1"),
        ("openai", "brand-1-2026", "other"),
        ("openai", "nonsense", "other"),
        ("openai", "", "none"),
    ):
        assert labels.label(provider, name) == label
        assert labels.label(provider, name) == label


def test_an_answered_name_is_learned_and_no_more_than_so_many() -> None:
    """What was ``other`` becomes a label when it is answered for; the third is one too many."""
    labels = names(2)
    assert labels.label("own", "llama") == "other"
    assert [labels.label("own", name, answered=True) for name in ("llama", "qwen", "phi")] == [
        "llama",
        "qwen",
        "other",
    ]
    assert [labels.label("own", name) for name in ("llama", "qwen", "phi")] == ["llama", "qwen", "other"]


@pytest.mark.parametrize("name", ["a b", 'a"b', "\n", "ü", "x" * 65, "-a", "{}"])
def test_odd_names_are_never_learned(name: str) -> None:
    """They are the clients' text."""
    assert names().label("own", name, answered=True) == "other"


def test_what_is_remembered_is_bounded() -> None:
    """A client that makes up names fills no memory."""
    labels = names()
    for number in range(5000):
        labels.label("own", f"made-up-{number}" + "x" * 200 * (number % 2))
    assert len(labels._labels) <= 1024
    assert all(len(name) <= 128 for _, name in labels._labels)
