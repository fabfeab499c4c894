"""Where a request goes at its provider, with which fields and key: both ways, for each of the catalogue."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from openai_proxy.config.provider import Credential, ModelPaths, Provider, Token, resolved
from openai_proxy.config.secret import Secret
from openai_proxy.providers.addressing import Addressing, UnaddressableModel
from openai_proxy.providers.catalogue import read_catalogue
from openai_proxy.wire.agent import check_uri

Fields = list[tuple[bytes, bytes]]

CATALOGUE = read_catalogue()
THEIRS = b"sk-canary"
OURS = Secret("sk-ours", "env:KEY")
BEARER = (b"Authorization", b"Bearer sk-ours")
CLIENT_BEARER = (b"Authorization", b"Bearer " + THEIRS)
ACCEPT = (b"Accept", b"*/*")
VERSION = (b"anthropic-version", b"2026-10-21")
CHAT = b"/v1/chat/completions"

# For a chat completion with the model `m 1`, and with a key of ours.
CHATS: dict[str, tuple[bytes, Fields]] = {
    "openai": (b"https://api.openai.com/v1/chat/completions", [BEARER]),
    "azure": (b"https://x1.openai.azure.com/openai/v1/chat/completions", [(b"api-key", b"sk-ours")]),
    "azure-deployments": (
        b"https://x1.openai.azure.com/openai/deployments/m%201/chat/completions?api-version=2024-10-21",
        [(b"api-key", b"sk-ours")],
    ),
    "anthropic": (
        b"https://api.anthropic.com/v1/chat/completions",
        [(b"x-api-key", b"sk-ours"), (b"anthropic-version", b"2023-06-01")],
    ),
    "gemini": (b"https://generativelanguage.googleapis.com/v1beta/openai/chat/completions", [BEARER]),
    "vertex": (
        b"https://x1-aiplatform.googleapis.com/v1/projects/x1/locations/x1/endpoints/openapi/chat/completions",
        [BEARER],
    ),
    "bedrock": (b"https://bedrock-runtime.x1.amazonaws.com/openai/v1/chat/completions", [BEARER]),
    "mistral": (b"https://api.mistral.ai/v1/chat/completions", [BEARER]),
    "groq": (b"https://api.groq.com/openai/v1/chat/completions", [BEARER]),
    "deepseek": (b"https://api.deepseek.com/v1/chat/completions", [BEARER]),
    "xai": (b"https://api.x.ai/v1/chat/completions", [BEARER]),
    "openrouter": (b"https://openrouter.ai/api/v1/chat/completions", [BEARER]),
    "together": (b"https://api.together.xyz/v1/chat/completions", [BEARER]),
    "fireworks": (b"https://api.fireworks.ai/inference/v1/chat/completions", [BEARER]),
    "cerebras": (b"https://api.cerebras.ai/v1/chat/completions", [BEARER]),
    "perplexity": (b"https://api.perplexity.ai/chat/completions", [BEARER]),
    "cohere": (b"https://api.cohere.ai/compatibility/v1/chat/completions", [BEARER]),
    "nvidia": (b"https://integrate.api.nvidia.com/v1/chat/completions", [BEARER]),
    "huggingface": (b"https://router.huggingface.co/v1/chat/completions", [BEARER]),
    "ollama": (b"http://localhost:11434/v1/chat/completions", [BEARER]),
    "vllm": (b"http://localhost:8000/v1/chat/completions", [BEARER]),
    "lmstudio": (b"http://localhost:1234/v1/chat/completions", [BEARER]),
    "llamacpp": (b"http://localhost:8080/v1/chat/completions", [BEARER]),
}


def of(name: str, **changes: Any) -> Addressing:
    """One of the catalogue, ready for use, with some of it changed."""
    entry = CATALOGUE[name]
    given = replace(entry, parameters=dict.fromkeys(entry.wanted_parameters, "x1"), **changes)
    return Addressing(resolved(given, entry, name))


def made(base_url: str = "https://h", **said: Any) -> Addressing:
    """Any other provider."""
    return Addressing(resolved(Provider(base_url=base_url, **said), None, "own"))


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_chat_on_the_unified_way(name: str) -> None:
    """The URL that each provider's documents give, with our key in its form and no other key at all."""
    url, credential = CHATS[name]
    sent = [ACCEPT, CLIENT_BEARER, (b"api-key", THEIRS), (b"x-goog-api-key", THEIRS)]
    fields, asked = of(name, api_key=OURS).unified(sent, CHAT, "m 1", OURS)
    assert asked == url
    assert fields == [ACCEPT, *credential]
    check_uri(asked)


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_key_of_the_clients_on_the_unified_way(name: str) -> None:
    """It travels in the provider's form; to servers that want none, none goes."""
    url, credential = CHATS[name]
    fields, asked = of(name).unified([CLIENT_BEARER, ACCEPT], CHAT, "m 1", None)
    assert asked == url
    if name in ("ollama", "lmstudio"):
        assert fields == [ACCEPT]
    else:
        expected = [(field, value.replace(b"sk-ours", THEIRS)) for field, value in credential]
        assert sorted(fields) == sorted([ACCEPT, *expected])


@pytest.mark.parametrize("name", CATALOGUE)
def test_plain_is_what_changes_nothing(name: str) -> None:
    """Without a key of ours: all but those with a constant, and those that want no key."""
    addressing = of(name)
    assert addressing.is_plain == (name not in ("azure-deployments", "anthropic", "ollama", "lmstudio"))
    assert addressing.keeps_client_key == (name not in ("ollama", "lmstudio"))
    assert not addressing.uses_own_key
    with_key = of(name, api_key=OURS)
    assert with_key.uses_own_key
    assert not with_key.is_plain
    assert not with_key.keeps_client_key


NATIVE: Fields = [
    CLIENT_BEARER,
    (b"X-API-Key", THEIRS),
    (b"OpenAI-Organization", b"org-theirs"),
    (b"anthropic-beta", b"b"),
    (b"OpenAI-Beta", b"b"),
    (b"X-OpenAI-Proxy-Provider", b"x"),
]


def test_the_transparent_way_of_a_clients_own_key() -> None:
    """Byte for byte, in the same objects: keys in any spelling, fields, query."""
    target = b"/v1/../x%2e?key=sk-canary&provider=a&include[]=%7E&&"
    addressing = of("openai")
    fields, url = addressing.native(NATIVE, target, None)
    assert fields is NATIVE
    assert url == b"https://api.openai.com" + target


def test_the_transparent_way_with_a_key_of_ours() -> None:
    """Every key of the client's is off, and what names its account; the rest stays as it came."""
    sent = [*NATIVE, ACCEPT]
    fields, url = of("openai", api_key=OURS).native(sent, b"/v1/x?api_key=sk-canary&a=%7E", OURS)
    assert fields == [*NATIVE[3:], ACCEPT, BEARER]
    assert url == b"https://api.openai.com/v1/x?a=%7E"
    assert sent == [*NATIVE, ACCEPT]


@pytest.mark.parametrize(
    ("target", "credential"),
    [
        (b"/v1beta/openai/chat/completions", BEARER),
        (b"/v1beta/openai?x", BEARER),
        (b"/v1beta/openai", BEARER),
        (b"/v1beta/openais", (b"x-goog-api-key", b"sk-ours")),
        (b"/v1beta/models/g:streamGenerateContent?alt=sse", (b"x-goog-api-key", b"sk-ours")),
        (b"/", (b"x-goog-api-key", b"sk-ours")),
    ],
)
def test_native_forms_have_their_own_credential(target: bytes, credential: tuple[bytes, bytes]) -> None:
    """Gemini's own API takes the key in another field than its OpenAI form, and never both."""
    sent = [CLIENT_BEARER, (b"x-goog-api-key", THEIRS)]
    assert of("gemini", api_key=OURS).native(sent, target, OURS) == (
        [credential],
        b"https://generativelanguage.googleapis.com" + target,
    )


@pytest.mark.parametrize("way", ["native", "unified"])
def test_a_clients_key_is_not_sent_where_none_is_wanted(way: str) -> None:
    """Nor where ours should have been, and there is none: no other key goes in its place."""
    for addressing in (of("ollama"), of("openai", api_key=OURS)):
        if way == "native":
            fields, url = addressing.native([ACCEPT, CLIENT_BEARER], CHAT + b"?key=sk-canary", None)
        else:
            fields, url = addressing.unified([ACCEPT, CLIENT_BEARER], CHAT + b"?key=sk-canary", "m", None)
        assert fields == [ACCEPT]
        assert url.endswith(b"/v1/chat/completions")


def test_constants_are_added_unless_the_client_has_them() -> None:
    """In whatever case or escapes it has written their names; else they stand at the end."""
    addressing = made(headers={"X-A": "1", "X-B": "2"}, query={"a": "x y&", "b": "2"})
    assert not addressing.is_plain
    fields, url = addressing.native([(b"x-a", b"mine"), ACCEPT], b"/p?%61=mine", None)
    assert fields == [(b"x-a", b"mine"), ACCEPT, (b"X-B", b"2")]
    assert url == b"https://h/p?%61=mine&b=2"
    fields, url = addressing.unified([], b"/v1/p", "", None)
    assert fields == [(b"X-A", b"1"), (b"X-B", b"2")]
    assert url == b"https://h/v1/p?a=x%20y%26&b=2"
    assert addressing.native([], b"/?", None)[1] == b"https://h/?a=x%20y%26&b=2"
    assert addressing.native([], b"/?a&b", None)[1] == b"https://h/?a&b"


def test_an_operators_constant_stands_for_a_clients_that_is_dropped() -> None:
    """The client's account is not ours: ours is said instead."""
    addressing = of("openai", api_key=OURS, headers={"OpenAI-Organization": "org-ours"})
    fields, _ = addressing.native([(b"openai-organization", b"org-theirs")], b"/v1/models", OURS)
    assert fields == [BEARER, (b"OpenAI-Organization", b"org-ours")]


def test_what_is_dropped_is_dropped_of_the_client_alone() -> None:
    """A key of ours that has the name of a dropped field is sent."""
    addressing = of("vertex", api_key=OURS, credential=Credential(name="api-key", prefix=""))
    fields, _ = addressing.native([(b"Api-Key", THEIRS)], b"/v1/x", OURS)
    assert fields == [(b"api-key", b"sk-ours")]


def test_a_key_in_the_query() -> None:
    """Where the provider wants it there, behind what the client asks."""
    addressing = made(api_key=OURS, credential=Credential(place="query", name="Key", prefix=""))
    assert addressing.unified([CLIENT_BEARER], b"/v1/x?key=1&b", "", OURS) == (
        [],
        b"https://h/v1/x?b&Key=sk-ours",
    )


def test_both_forms_of_a_credential_are_looked_for() -> None:
    """A client's key under the provider's other name is no more ours than the rest."""
    addressing = made(api_key=OURS, native_credential=Credential(name="X-Own", prefix=""))
    sent = [(b"x-own", THEIRS)]
    assert addressing.unified(sent, b"/v1/x", "", OURS)[0] == [BEARER]
    assert addressing.native(sent, b"/v1/x", OURS)[0] == [BEARER]
    assert addressing.native(sent, b"/x", OURS)[0] == [(b"X-Own", b"sk-ours")]


@pytest.mark.parametrize(
    ("target", "url"),
    [
        (b"/v1/models", b"https://h/api/models"),
        (b"/v1", b"https://h/api"),
        (b"/v1?a", b"https://h/api?a"),
        (b"/v1/x?", b"https://h/api/x?"),
        (b"/v1/x?provider=groq", b"https://h/api/x"),
        (b"/v1/x?a=%7E&provider=groq&&b[]=+", b"https://h/api/x?a=%7E&&b[]=+"),
        (b"/v1/x?%70rovider=groq&provider", b"https://h/api/x"),
        (b"/v1/x?providers=1&Provider=2", b"https://h/api/x?providers=1&Provider=2"),
        (b"/v1/files/%2e%2e%2F", b"https://h/api/files/%2e%2e%2F"),
    ],
)
def test_our_prefix_becomes_the_providers(target: bytes, url: bytes) -> None:
    """What names a provider for us is taken out; every other byte stays."""
    addressing = made(path_prefix="/api")
    assert addressing.unified([(b"x-openai-proxy-provider", b"own"), ACCEPT], target, "m", None) == (
        [ACCEPT],
        url,
    )


@pytest.mark.parametrize(
    ("name", "version", "kept"),
    [
        ("openai", [VERSION], [b"openai-beta"]),
        ("openai", [], [b"Anthropic-Beta", b"openai-beta"]),
        ("anthropic", [VERSION], [b"anthropic-version", b"Anthropic-Beta", b"openai-beta"]),
        ("anthropic", [], [b"Anthropic-Beta", b"anthropic-version"]),
    ],
)
def test_fields_of_the_other_dialect(name: str, version: Fields, kept: list[bytes]) -> None:
    """They are taken off where the client speaks another dialect than the provider, and only there."""
    sent = [*version, (b"Anthropic-Beta", b"x"), (b"openai-beta", b"y")]
    fields, _ = of(name).unified(sent, b"/v1/x", "m", None)
    assert [field for field, _ in fields] == kept


def test_a_key_of_a_client_that_speaks_the_providers_dialect_stays_in_its_form() -> None:
    """Anthropic takes a token (OAuth) as a Bearer only; its own clients know which they have."""
    sent = [CLIENT_BEARER, VERSION]
    assert of("anthropic").unified(sent, b"/v1/messages", "m", None)[0] == sent
    assert of("groq").unified([(b"x-api-key", THEIRS), VERSION], b"/v1/x", "m", None)[0] == [CLIENT_BEARER]
    ours, _ = of("anthropic", api_key=OURS).unified(sent, b"/v1/messages", "m", OURS)
    assert ours == [VERSION, (b"x-api-key", b"sk-ours")]


def test_a_signed_token_of_the_clients_stays_a_bearer() -> None:
    """Azure takes keys in `api-key`, and Entra's tokens nowhere but here; ours goes where it is said."""
    token = (b"Authorization", b"Bearer eyJh.eyJz.c2ln")
    assert of("azure").unified([token, ACCEPT], CHAT, "m", None)[0] == [token, ACCEPT]
    assert of("azure", api_key=OURS).unified([token], CHAT, "m", OURS)[0] == [(b"api-key", b"sk-ours")]
    entra = of("azure", token=Token(file="/t"), credential=Credential())
    assert entra.uses_own_key
    assert entra.unified([(b"api-key", THEIRS)], CHAT, "m", OURS)[0] == [BEARER]


@pytest.mark.parametrize(
    ("name", "account"),
    [
        *((name, b"OpenAI-Project") for name in ("openai", "azure", "azure-deployments", "vertex")),
        *((name, b"x-goog-user-project") for name in ("gemini", "vertex")),
    ],
)
def test_a_clients_account_goes_with_its_own_key_alone(name: str, account: bytes) -> None:
    """With ours it would be an error, or the client's bill."""
    sent = [(account, b"theirs")]
    assert of(name, api_key=OURS).unified(sent, b"/v1/x", "m", OURS)[0][:-1] == []
    assert of(name).unified(sent, b"/v1/x", "m", None)[0] == sent
    assert of(name).native(sent, b"/v1/x", None)[0] == sent


@pytest.mark.parametrize(
    ("target", "model", "url"),
    [
        (b"/v1/embeddings?a=1", "e", b"/openai/deployments/e/embeddings?a=1&api-version=2024-10-21"),
        (b"/v1/chat/completions/", "e", b"/openai/deployments/e/chat/completions/?api-version=2024-10-21"),
        (b"/v1/chat/completions", "", b"/openai/chat/completions?api-version=2024-10-21"),
        (b"/v1/chat/completions/id", "e", b"/openai/chat/completions/id?api-version=2024-10-21"),
        (b"/v1/files?api-version=2", "e", b"/openai/files?api-version=2"),
        (b"/v1/images/edits", "a/b?c#d%/é", None),
    ],
)
def test_paths_that_name_the_model(target: bytes, model: str, url: bytes | None) -> None:
    """For the endpoints that have them; the name is one segment, whatever is in it."""
    url = url or b"/openai/deployments/a%2Fb%3Fc%23d%25%2F%C3%A9/images/edits?api-version=2024-10-21"
    assert of("azure-deployments").unified([], target, model, None)[1] == b"https://x1.openai.azure.com" + url


@settings(deadline=None)
@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from("./\\?#%2eE")), min_size=1, max_size=40))
@example("..")
@example("../x")
@example("x/../../y")
@example("..\\x")
@example("%2e%2e")
@example("\ud800")
@example("a\r\nHost: x")
def test_no_model_leaves_its_segment(model: str) -> None:
    """Read once, it is the name again and no more; read by a server that takes escapes for slashes, it
    does not lead up. Names that would are refused, without being repeated.
    """
    addressing = made(model_paths=ModelPaths(prefix="/d/{model}/e", endpoints=("x",)))
    dots = {".", ".."} & set(model.replace("\\", "/").split("/"))
    if dots:
        with pytest.raises(UnaddressableModel) as refused:
            addressing.unified([], b"/v1/x?q", model, None)
        assert str(refused.value) == "a model's name that cannot stand in a path"
        return
    _, url = addressing.unified([], b"/v1/x?q", model, None)
    check_uri(url)
    parts = urlsplit(url.decode("ascii"))
    assert (parts.netloc, parts.query, parts.fragment) == ("h", "q", "")
    before, segment, *after = parts.path.removeprefix("/").split("/")
    assert (before, after) == ("d", ["e", "x"])
    assert unquote(segment) == model.encode("utf-8", "replace").decode()
    assert not {".", ".."} & set(unquote(segment).replace("\\", "/").split("/"))


FIELDS = st.lists(
    st.tuples(
        st.sampled_from(
            [b"Authorization", b"api-key", b"X-Api-Key", b"x-goog-api-key", b"Accept", b"OpenAI-X"]
        ),
        st.sampled_from([b"Bearer sk-canary", b"sk-canary", b"Basic sk-canary"]),
    ),
    max_size=6,
)


@settings(deadline=None)
@given(FIELDS, st.sampled_from(sorted(CATALOGUE)), st.booleans())
def test_no_key_of_a_clients_goes_with_ours(fields: Fields, name: str, is_native: bool) -> None:
    """On either way, to any provider; what is given stays as it was."""
    sent = [(field, b"plain" if field in (b"Accept", b"OpenAI-X") else value) for field, value in fields]
    before = list(sent)
    addressing = of(name, api_key=OURS)
    target = CHAT + b"?key=sk-canary&api%5Fkey=sk-canary"
    if is_native:
        given_on, url = addressing.native(sent, target, OURS)
    else:
        given_on, url = addressing.unified(sent, target, "m", OURS)
    assert THEIRS not in url
    assert all(THEIRS not in value for _, value in given_on)
    assert sum(b"sk-ours" in value for _, value in given_on) == 1
    assert sent == before
    assert "sk-" not in repr(addressing)


_NAMES = st.sampled_from(
    (
        b"Authorization",
        b"authorization",
        b"api-key",
        b"X-Api-Key",
        b"OpenAI-Organization",
        b"X-Other",
        b"anthropic-version",
        b"anthropic-beta",
        b"x-openai-proxy-provider",
        b"Sec-WebSocket-Protocol",
    )
)
_VALUES = st.sampled_from(
    [b"Bearer sk-client", b"sk-client", b"Basic eDp5", b"a", b"openai-insecure-api-key.sk-x"]
)


@given(
    st.lists(st.tuples(_NAMES, _VALUES), max_size=4),
    st.booleans(),
    st.sampled_from([b"/v1/chat/completions", b"/v1/files?provider=x", b"/v1/files?key=sk-y", b"/v1/models"]),
)
def test_the_short_way_says_what_the_long_one_says(fields: Fields, has_key: bool, target: bytes) -> None:
    """Usual requests are looked at once; the result is what looking at everything would make of them."""
    key = Secret("sk-ours", "env:KEY") if has_key else None
    provider = resolved(
        Provider(base_url="https://host", api_key=key, drop_headers=("OpenAI-Organization",)), None, "mine"
    )
    short, long = Addressing(provider), Addressing(provider)
    long._is_usual = False
    made, url = short.unified(fields, target, "m", key)
    assert (made, url) == long.unified(fields, target, "m", key)


@pytest.mark.parametrize("name", [b"OpenAI-Organization", b"openai-project"])
def test_a_clients_account_is_nobodys_with_a_key_of_ours(name: bytes) -> None:
    """Whoever the provider is; with the client's own key it goes on."""
    fields: Fields = [(name, b"org-1"), ACCEPT]
    for key in (OURS, None):
        provider = resolved(Provider(base_url="https://host", api_key=key), None, "mine")
        addressing = Addressing(provider)
        for made, _ in (addressing.native(fields, CHAT, key), addressing.unified(fields, CHAT, "m", key)):
            assert ((name, b"org-1") in made) is (key is None)
