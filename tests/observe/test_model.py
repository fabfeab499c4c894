"""Model names out of bodies, and as labels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.observe.model import KNOWN, NONE, OTHER, model_in, model_label


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
