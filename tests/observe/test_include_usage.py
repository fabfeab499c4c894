"""The option is added to what a client sends, and every other byte stays."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.observe.include_usage import splice_include_usage

INCLUDE = '"include_usage":true'
NAMES = st.sampled_from(["stream", "stream_options", "include_usage", "a{", 'q"', "\\", "é"]) | st.text(
    max_size=4
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.just('{"stream_options":{}}'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
PAIRS = st.lists(
    st.tuples(NAMES, VALUES)
    | st.tuples(st.just("stream"), st.just(True))
    | st.tuples(st.just("stream_options"), st.dictionaries(NAMES, VALUES, max_size=3)),
    max_size=6,
)


@pytest.mark.parametrize(
    ("body", "spliced"),
    [
        ('{"stream":true}', '{"stream_options":{"include_usage":true},"stream":true}'),
        ('{"stream":true,"stream_options":{}}', '{"stream":true,"stream_options":{"include_usage":true}}'),
        (
            '{"stream_options" : { } ,"stream":true}',
            '{"stream_options" : {"include_usage":true } ,"stream":true}',
        ),
        (
            '{"stream":true,"stream_options":{"include_obfuscation":false}}',
            '{"stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false}}',
        ),
        ('{"stream":true,"stream_options":null}', '{"stream":true,"stream_options":{"include_usage":true}}'),
        (
            '{"stream":true,"stream_options":{"include_usage":null}}',
            '{"stream":true,"stream_options":{"include_usage":true}}',
        ),
        (
            '{"stream_options":{"include_usage":true},"stream":true,"stream_options":{"x":1}}',
            '{"stream_options":{"include_usage":true},"stream":true,"stream_options":{"include_usage":true,"x":1}}',
        ),
        (
            '{"tools":[{"stream_options":{}}],"stream":true}',
            '{"stream_options":{"include_usage":true},"tools":[{"stream_options":{}}],"stream":true}',
        ),
        (
            '{"stream":true,"stream\\u005foptions":{}}',
            '{"stream":true,"stream\\u005foptions":{"include_usage":true}}',
        ),
        (
            '{"a":{"stream_options":{}},"stream":true,"stream\\u005foptions":{}}',
            '{"a":{"stream_options":{}},"stream":true,"stream\\u005foptions":{"include_usage":true}}',
        ),
        (
            '{"a":{"stream_options":[1]},"stream":true,"stream\\u005foptions":null}',
            '{"a":{"stream_options":[1]},"stream":true,"stream\\u005foptions":{"include_usage":true}}',
        ),
        (
            '{"stream":true,"stream_options":{},"a":"stream_options"}',
            '{"stream":true,"stream_options":{"include_usage":true},"a":"stream_options"}',
        ),
    ],
)
def test_spliced(body: str, spliced: str) -> None:
    """In each form that leaves it open."""
    assert splice_include_usage(body.encode()) == spliced.encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'{"stream":false}',
        b'{"stream":"true"}',
        b'{"stream":1}',
        b'{"stream":true',
        b'{"stream":true}x',
        b'{"a":{"stream":true}}',
        b'{"stream":true,"stream":false}',
        b'{"stream":true,"stream_options":{"include_usage":true}}',
        b'{"stream":true,"stream_options":{"include_usage":false}}',
        b'{"stream":true,"stream_options":"all"}',
        b'{"stream":true,"stream_options":[]}',
        b"\xef\xbb\xbf" + b'{"stream":true}',
        b'{"stream":true,"a":' + b"[" * 100000 + b"]" * 100000 + b"}",
    ],
)
def test_left_alone(body: bytes) -> None:
    """No stream, a decision, or no JSON object: as it came."""
    assert splice_include_usage(body) is None


@given(PAIRS, st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t: ")]), st.booleans())
def test_any_object(pairs: list[tuple[str, Any]], separators: tuple[str, str], ascii_only: bool) -> None:
    """What a parser reads is the same plus the option, with names that come twice too."""
    comma, colon = separators

    def dumped(value: Any) -> str:
        return json.dumps(value, separators=separators, ensure_ascii=ascii_only)

    text = "{" + comma.join(dumped(name) + colon + dumped(value) for name, value in pairs) + "}"
    body = text.encode(errors="replace")
    value = json.loads(body)
    options = value.get("stream_options")
    is_open = options is None or (isinstance(options, dict) and options.get("include_usage") is None)
    spliced = splice_include_usage(body)
    if value.get("stream") is not True or not is_open:
        assert spliced is None
        return
    assert spliced is not None
    value["stream_options"] = {**(options or {}), "include_usage": True}
    assert json.loads(spliced) == value


@given(st.binary(max_size=100))
def test_any_bytes(body: bytes) -> None:
    """Whatever a client sends, the splice does not raise."""
    splice_include_usage(b'{"stream":true,' + body)
    assert splice_include_usage(body) is None
