"""What a provider's rules make of a request's body."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.config.provider import Quirks
from openai_proxy.providers.catalogue import read_catalogue
from openai_proxy.providers.request_rules import RequestRules

RULES = RequestRules(
    Quirks(rename={"max_completion_tokens": "max_tokens"}, drop=("store", "user"), strip_stream_options=True)
)


@pytest.mark.parametrize(
    ("body", "expected", "dropped"),
    [
        (b'{"store":true,"a":1}', b'{"a":1}', ("store",)),
        (b'{"a":1,"store":true}', b'{"a":1}', ("store",)),
        (b'{"a":1,"store":true,"b":2}', b'{"a":1,"b":2}', ("store",)),
        (b'{"store":true}', b"{}", ("store",)),
        (b'{ "store" : true , "user":"x" }', b"{}", ("store", "user")),
        (b'{\n  "a": 1,\n  "store": {"a": [1, "}"]},\n  "b": 2\n}', b'{\n  "a": 1,\n  "b": 2\n}', ("store",)),
        (b'{"store":1,"a":0,"store":2}', b'{"a":0}', ("store",)),
        (b'{"max_completion_tokens": 5}', b'{"max_tokens": 5}', ()),
        (
            b' {"a":1e2, "max_completion_tokens" :9007199254740993,"z":"\\u00e9"}\n',
            b' {"a":1e2, "max_tokens" :9007199254740993,"z":"\\u00e9"}\n',
            (),
        ),
        (b'{"max_tokens":1,"max_completion_tokens":2}', b'{"max_tokens":1}', ("max_completion_tokens",)),
        (b'{"stream":true,"stream_options":{"a":{}}}', b'{"stream":true}', ("stream_options",)),
        (b'{"st\\u006fre":true,"a":"store"}', b'{"a":"store"}', ("store",)),
        (b'{"m\\u0061x_completion_tokens":1}', b'{"max_tokens":1}', ()),
        (b'{"a":{"store":true},"b":["user"]}', b'{"a":{"store":true},"b":["user"]}', ()),
    ],
)
def test_members_are_taken_out_and_renamed_in_place(
    body: bytes, expected: bytes, dropped: tuple[str, ...]
) -> None:
    """At the top only; white space, numbers, escapes and order of the rest are the client's."""
    assert RULES.applied(body) == (expected, dropped)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'["store"]', b'"store"', b"null", b'{"a":1,}', b'{"store":true} x', b'{"store":tru}',
     b"\xff{", b'{"\xff":1,"store":1}', b'{"a":1}', b"{}", b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_object_or_has_nothing_to_change_is_the_same_object(body: bytes) -> None:
    """The provider says what is wrong with it, to the client that sent it."""
    assert RULES.applied(body)[0] is body


def test_without_rules_nothing_is_read() -> None:
    """Most providers have none."""
    body = b'{"store":true}'
    assert RequestRules(Quirks()).applied(body) == (body, ())


@pytest.mark.parametrize("name", [name for name, one in read_catalogue().items() if one.quirks != Quirks()])
def test_every_rule_of_the_catalogue_does_what_it_says(name: str) -> None:
    """No member that is to go is left, and each renamed one is there by its other name."""
    quirks = read_catalogue()[name].quirks
    gone = {*quirks.drop, *quirks.rename} | ({"stream_options"} if quirks.strip_stream_options else set())
    body = {"model": "m", "stream": True, "stream_options": {}, **dict.fromkeys(sorted(gone), 1)}
    after = json.loads(RequestRules(quirks).applied(json.dumps(body).encode())[0])
    assert after == {key: value for key, value in body.items() if key not in gone} | {
        new: 1 for new in quirks.rename.values()
    }


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = (
    st.sampled_from(["store", "user", "max_tokens", "max_completion_tokens", "stream_options"]) | st.text()
)


@given(st.dictionaries(NAMES, VALUES, max_size=6), st.booleans(), st.sampled_from([None, 0, 2]))
def test_any_object_is_what_parsing_and_dumping_would_make_of_it(
    body: dict[str, Any], ascii_only: bool, indent: int | None
) -> None:
    """Without the members to drop, with the new names; and doing it again changes nothing more."""
    sent = json.dumps(body, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    after, dropped = RULES.applied(sent)
    expected = {key: value for key, value in body.items() if key not in ("store", "user", "stream_options")}
    if "max_completion_tokens" in expected:
        value = expected.pop("max_completion_tokens")
        expected.setdefault("max_tokens", value)
    if after is sent:
        assert dropped == ()
    else:
        assert json.loads(after) == expected
        renamed = "max_completion_tokens" in body and "max_tokens" not in body
        assert len(dropped) == len(body) - len(expected)
        assert dropped or renamed
        assert RULES.applied(after) == (after, ())


@given(st.binary(max_size=60) | st.text('{}[]":, \\store1', max_size=60).map(str.encode))
def test_any_bytes_come_back(body: bytes) -> None:
    """Never an exception."""
    after, dropped = RULES.applied(body)
    assert after is not body or dropped == ()
