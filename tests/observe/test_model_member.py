"""Another model's name in a JSON body, and nothing else changed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.observe.model_member import splice_model

NAMES = st.sampled_from(["model", "messages", 'm"odel', "\\", "é"]) | st.text(max_size=4)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.just('{"model":"x"}'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
PAIRS = st.lists(st.tuples(NAMES, VALUES) | st.tuples(st.just("model"), st.text(max_size=8)), max_size=6)


@pytest.mark.parametrize(
    ("body", "spliced"),
    [
        (b'{"model":"a"}', b'{"model":"new"}'),
        (b' { "model" :\n"a" , "n":1.0 } ', b' { "model" :\n"new" , "n":1.0 } '),
        (b'{"model":"a","model":"b"}', b'{"model":"a","model":"new"}'),
        (b'{"model":"a","mod\\u0065l":"b"}', b'{"model":"a","mod\\u0065l":"new"}'),
        (b'{"x":{"model":"a"},"model":"b"}', b'{"x":{"model":"a"},"model":"new"}'),
        (b'{"x":{"model":"a"},"model":"a"}', b'{"x":{"model":"a"},"model":"new"}'),
        (b'{"x":"\\"model\\":\\"a\\"","model":"b"}', b'{"x":"\\"model\\":\\"a\\"","model":"new"}'),
        (b'{"x":"model","model":"a\\"b"}', b'{"x":"model","model":"new"}'),
        (b'{"x":{"model":"new"},"model":"a"}', b'{"x":{"model":"new"},"model":"new"}'),
    ],
)
def test_spliced(body: bytes, spliced: bytes) -> None:
    """The one that counts, wherever it stands and however it is written."""
    assert splice_model(body, "new") == spliced


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'{"model":null}',
        b'{"model":7}',
        b'{"model":7,"model":"a"}',
        b'{"model":""}',
        b'{"model":"a"',
        b'{"model":"a"}x',
        b'{"x":{"model":"a"}}',
        b'["model","a"]',
        b'{"model":"a","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_left_alone(body: bytes) -> None:
    """No model, or no JSON object."""
    assert splice_model(body, "new") is None


def test_the_same() -> None:
    """A name that is there already changes nothing, not even the object."""
    body = b'{"x":{"model":"a"},"model":"b"}'
    assert splice_model(body, "b") is body


def test_any_name_is_escaped() -> None:
    """A configured name is a JSON string, whatever is in it."""
    assert splice_model(b'{"model":"a"}', 'a"b\\1é') == '{"model":"a\\"b\\\\1é"}'.encode()


@given(PAIRS, st.text(max_size=6), st.sampled_from([(",", ":"), (" ,\n", "\t: ")]), st.booleans())
def test_any_object(
    pairs: list[tuple[str, Any]], model: str, separators: tuple[str, str], ascii_only: bool
) -> None:
    """What a parser reads is the same but for the model, and only that one's bytes have changed."""
    comma, colon = separators

    def dumped(value: Any) -> str:
        return json.dumps(value, separators=separators, ensure_ascii=ascii_only)

    text = "{" + comma.join(dumped(name) + colon + dumped(value) for name, value in pairs) + "}"
    body = text.encode(errors="replace")
    model = model.encode(errors="replace").decode()
    value = json.loads(body)
    spliced = splice_model(body, model)
    if spliced is None:
        odd = [one for name, one in pairs if name == "model" and not isinstance(one, str)]
        # A lone surrogate's escape is no text either.
        assert odd or not value.get("model") or b"\\ud" in body
        return
    assert json.loads(spliced) == {**value, "model": model}
    places = [at for at, (name, _) in enumerate(pairs) if name == "model"]
    before = "{" + "".join(dumped(n) + colon + dumped(v) + comma for n, v in pairs[: places[-1]])
    before += dumped("model") + colon
    after = "".join(comma + dumped(n) + colon + dumped(v) for n, v in pairs[places[-1] + 1 :]) + "}"
    assert spliced.startswith(before.encode(errors="replace"))
    assert spliced.endswith(after.encode(errors="replace"))


@given(st.binary(max_size=100))
def test_any_bytes(body: bytes) -> None:
    """Whatever a client sends, the splice does not raise."""
    splice_model(body, "new")
    splice_model(b'{"model":"a",' + body, "new")
