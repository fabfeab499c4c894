"""What a body asks for, decoded once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.observe.asked import asked_in
from openai_proxy.observe.include_usage import splice_include_usage
from openai_proxy.observe.model import model_in


@pytest.mark.parametrize(
    ("body", "model", "is_stream", "options"),
    [
        (b'{"model":"m","stream":true,"stream_options":{"a":1}}', "m", True, b'{"a":1}'),
        (b'{"model":"m"}', "m", False, b""),
        (b'{"model":7,"stream":true,"stream_options":null}', "", True, b"null"),
        (b'{"model":"\xff","stream": true }', "", True, b""),
        (b'{"model":[],"stream":\n\ttrue\n,"stream_options" : {} }', "", True, b"{}"),
        (b'{"stream":"true"}', "", False, b""),
        (b'{"stream":true,"stream":false}', "", False, b""),
        (b'{"model":"m","stream":true}x', "", False, b""),
        (b"[]", "", False, b""),
        (b"", "", False, b""),
        (b"\xff", "", False, b""),
    ],
)
def test_asked(body: bytes, model: str, is_stream: bool, options: bytes) -> None:
    """Each member by itself, and nothing of what is no object."""
    asked = asked_in(body)
    assert (asked.model, asked.is_stream, bytes(asked.stream_options)) == (model, is_stream, options)


@given(
    st.binary(max_size=100)
    | st.sampled_from([b'{"model":"m","stream":true}', b'{"stream":true,"stream_options":{"x":1}}'])
)
def test_decoded_once(body: bytes) -> None:
    """What has been asked is of use to each reader, and none needs to be told."""
    asked = asked_in(body)
    assert model_in(body) == asked.model
    assert splice_include_usage(body, asked) == splice_include_usage(body)
