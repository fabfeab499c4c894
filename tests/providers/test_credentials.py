"""Keys: all of a client's are taken off, ours is put where the provider looks for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.config.provider import Credential
from openai_proxy.config.secret import Secret
from openai_proxy.providers.credentials import client_keys, with_key, without_keys

Fields = list[tuple[bytes, bytes]]

CANARY = b"sk-canary"


OURS = Secret("ours+/=", "env:KEY")
BEARER = Credential()
API_KEY = Credential(name="api-key", prefix="")
ANTHROPIC = Credential(name="x-api-key", prefix="")
QUERY = Credential(place="query", name="key", prefix="")
FORMS = (BEARER, API_KEY, ANTHROPIC, QUERY, Credential(name="X-Own", prefix="Token "))
AUTHORIZATION = (b"Authorization", b"Bearer " + CANARY)
OTHERS: Fields = [(b"Host", b"x"), (b"Content-Type", b"application/json")]


@pytest.mark.parametrize(
    ("fields", "target", "kept", "kept_target"),
    [
        ([AUTHORIZATION], b"/v1/x", [], b"/v1/x"),
        ([(b"AUTHORIZATION", b"Basic abc"), (b"Api-Key", CANARY)], b"/", [], b"/"),
        ([(b"X-API-Key", CANARY), *OTHERS, (b"x-goog-api-key", CANARY)], b"/?", OTHERS, b"/?"),
        (OTHERS, b"/a?key=k", OTHERS, b"/a"),
        (OTHERS, b"/a?alt=sse&key=k&include[]=%7e", OTHERS, b"/a?alt=sse&include[]=%7e"),
        (OTHERS, b"/a?api_key=k&b", OTHERS, b"/a?b"),
        (OTHERS, b"/a?%6Bey=k&API%5fKEY=k&api-key=k", OTHERS, b"/a"),
        (OTHERS, b"/a?monkey=1&key2=2&x=key=3&&", OTHERS, b"/a?monkey=1&key2=2&x=key=3&&"),
        (
            [(b"Sec-WebSocket-Protocol", b"realtime, openai-insecure-api-key.sk-canary,v1")],
            b"/",
            [(b"Sec-WebSocket-Protocol", b"realtime, v1")],
            b"/",
        ),
        ([(b"sec-websocket-protocol", b"openai-insecure-api-key.sk-canary")], b"/", [], b"/"),
        (
            [(b"sec-websocket-protocol", b"realtime,v1")],
            b"/",
            [(b"sec-websocket-protocol", b"realtime,v1")],
            b"/",
        ),
    ],
)
def test_taken_off(fields: Fields, target: bytes, kept: Fields, kept_target: bytes) -> None:
    """Every spelling, in any case and with escapes; all else keeps its bytes and its order."""
    assert without_keys(fields, target) == (kept, kept_target)


@pytest.mark.parametrize(
    ("form", "added", "target"),
    [
        (BEARER, [(b"Authorization", b"Bearer ours+/=")], b"/a?x=1"),
        (API_KEY, [(b"api-key", b"ours+/=")], b"/a?x=1"),
        (QUERY, [], b"/a?x=1&key=ours%2B%2F%3D"),
        (Credential(name="X-Own", prefix="Token "), [(b"X-Own", b"Token ours+/=")], b"/a?x=1"),
    ],
)
def test_ours(form: Credential, added: Fields, target: bytes) -> None:
    """The configured key is the only one, in the provider's form."""
    sent = [AUTHORIZATION, *OTHERS, (b"X-Own", b"theirs"), (b"api-key", CANARY)]
    fields, to = with_key(sent, b"/a?x=1&key=theirs", form, OURS)
    assert to == target
    assert fields == [*OTHERS, *([] if form.name == "X-Own" else [(b"X-Own", b"theirs")]), *added]


def test_ours_in_an_empty_query() -> None:
    """The first parameter is begun by a question mark."""
    assert with_key([], b"/a?key=x", QUERY, Secret("k", "env:KEY")) == ([], b"/a?key=k")


@pytest.mark.parametrize(
    ("sent", "target", "form", "fields", "to"),
    [
        ([AUTHORIZATION], b"/a", ANTHROPIC, [(b"x-api-key", CANARY)], b"/a"),
        ([(b"x-api-key", CANARY)], b"/a", BEARER, [(b"Authorization", b"Bearer sk-canary")], b"/a"),
        ([(b"authorization", b"bearer  sk-canary ")], b"/a", API_KEY, [(b"api-key", CANARY)], b"/a"),
        ([], b"/a?key=sk%2Dcanary&b", BEARER, [(b"Authorization", b"Bearer sk-canary")], b"/a?b"),
        ([AUTHORIZATION], b"/a?b", QUERY, [], b"/a?b&key=sk-canary"),
        ([], b"/a?api-key=sk-canary", API_KEY, [(b"api-key", CANARY)], b"/a"),
        (
            [(b"Sec-WebSocket-Protocol", b"realtime, openai-insecure-api-key.sk-canary")],
            b"/a",
            BEARER,
            [(b"Sec-WebSocket-Protocol", b"realtime"), (b"Authorization", b"Bearer sk-canary")],
            b"/a",
        ),
        (
            [(b"Authorization", b"Bearer other"), (b"x-api-key", CANARY)],
            b"/",
            ANTHROPIC,
            [(b"x-api-key", CANARY)],
            b"/",
        ),
        ([AUTHORIZATION, (b"x-api-key", b"other")], b"/", API_KEY, [(b"api-key", CANARY)], b"/"),
        ([(b"Authorization", b"Bearer eyJhY2s")], b"/", API_KEY, [(b"api-key", b"eyJhY2s")], b"/"),
    ],
)  # fmt: skip
def test_the_clients_own(sent: Fields, target: bytes, form: Credential, fields: Fields, to: bytes) -> None:
    """It goes on in the provider's form, and no other key with it: the one in its place before the first."""
    assert with_key(sent, target, form, None) == (fields, to)


@pytest.mark.parametrize(
    ("sent", "target", "form"),
    [
        ([*OTHERS, (b"authorization", b"bearer sk"), (b"X", b"y")], b"/a?x=%7e", BEARER),
        ([(b"X-Api-Key", b"sk")], b"/a", ANTHROPIC),
        (OTHERS, b"/a?b=1&key=%6b&c", QUERY),
        (OTHERS, b"/a?b=1", BEARER),
        ([(b"Authorization", b"Basic abc")], b"/a", BEARER),
        (OTHERS, b"/a?key=x%0D%0AHost:+y", BEARER),
        (OTHERS, b"/a?key=", BEARER),
        ([(b"Authorization", b"Bearer eyJh.eyJz_-.c2ln"), *OTHERS], b"/a?b", API_KEY),
        ([(b"Authorization", b"AWS4-HMAC-SHA256 Credential=x")], b"/a", BEARER),
    ],
)
def test_left_alone(sent: Fields, target: bytes, form: Credential) -> None:
    """A key that is in its place already, or no key that can be moved: byte for byte as it came."""
    assert with_key(sent, target, form, None) == (sent, target)


KEY_FIELDS = st.sampled_from(
    [
        AUTHORIZATION,
        (b"aPi-KeY", CANARY),
        (b"X-API-KEY", CANARY),
        (b"x-goog-api-key", CANARY),
        (b"authorization", b"Basic sk-canary"),
        (b"Sec-WebSocket-Protocol", b"a, openai-insecure-api-key.sk-canary"),
        (b"Accept", b"*/*"),
        (b"OpenAI-Beta", b"x"),
    ]
)
PARAMETERS = st.sampled_from(
    [
        b"key=sk-canary",
        b"api_key=sk-canary",
        b"%4b%65%79=sk-canary",
        b"Key=sk-canary",
        b"a=b",
        b"",
        b"alt=sse",
    ]
)


@given(st.lists(KEY_FIELDS, max_size=6), st.lists(PARAMETERS, max_size=5), st.sampled_from(FORMS))
def test_no_key_reaches_another(fields: Fields, parameters: list[bytes], form: Credential) -> None:
    """With a key of ours, nothing of a client's is left, and what is no key is all there."""
    target = b"/v1/x" + (b"?" + b"&".join(parameters) if parameters else b"")
    sent, to = with_key(fields, target, form, OURS)
    assert CANARY not in to
    assert all(CANARY not in value for _, value in sent)
    assert len(list(client_keys(sent, to))) == (form.name != "X-Own")
    plain = [field for field in fields if field[0] in (b"Accept", b"OpenAI-Beta")]
    assert [field for field in sent if field[0] in (b"Accept", b"OpenAI-Beta")] == plain
    assert to.count(b"a=b") == parameters.count(b"a=b")


@pytest.mark.parametrize("name", [b"access_token", b"subscription-key"])
def test_googles_token_and_azures_gateway_key_in_the_query(name: bytes) -> None:
    """Both are keys of a client's, and none goes to a provider whose key is ours."""
    _, target = with_key([], b"/v1/models?a=1&%b=%b" % (name, CANARY), BEARER, OURS)
    assert CANARY not in target


@pytest.mark.parametrize("name", [b"Cookie", b"ocp-apim-subscription-key"])
def test_what_lets_a_client_in_beside_its_key_goes_with_it(name: bytes) -> None:
    """It is the client's, as its key is; where that one travels on, so does this."""
    fields = [(name, CANARY), (b"Authorization", b"Bearer " + CANARY)]
    sent, _ = with_key(fields, b"/v1/models", BEARER, OURS)
    assert all(CANARY not in value for _, value in sent)
    assert with_key(fields, b"/v1/models", BEARER, None)[0] == fields
