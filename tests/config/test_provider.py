"""What can be said of a provider, and what comes of it."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from openai_proxy.config.provider import Credential, ModelPaths, Provider, Quirks, Token, by_own_url, resolved
from openai_proxy.config.secret import Secret

KEY = Secret("sk-canary", "env:KEY")
AZURE = Provider(base_url="https://{resource}.example.com", path_prefix="/openai/v1")


@pytest.mark.parametrize(
    ("base_url", "root", "prefix"),
    [
        ("http://host:8000", "http://host:8000", "/v1"),
        ("http://host:8000/", "http://host:8000", "/v1"),
        ("http://host:8000/v1", "http://host:8000", "/v1"),
        ("https://host/inference/v1/", "https://host", "/inference/v1"),
        ("https://host/api", "https://host", "/api"),
    ],
)
def test_a_base_url_alone_is_enough(base_url: str, root: str, prefix: str) -> None:
    """As the SDKs take it: its path is where their paths begin."""
    found = resolved(Provider(base_url=base_url), None, "mine")
    assert (found.base_url, found.path_prefix, found.priced_as) == (root, prefix, "mine")


@pytest.mark.parametrize(
    ("base_url", "root"),
    [
        ("https://eu.example.com", "https://eu.example.com"),
        ("https://eu.example.com/v1", "https://eu.example.com"),
        ("https://gate.example.com/openai", "https://gate.example.com/openai"),
        ("https://gate.example.com/openai/v1/", "https://gate.example.com/openai"),
    ],
)
def test_a_prefix_that_is_known_is_there_once(base_url: str, root: str) -> None:
    """Whether or not the URL has it."""
    found = resolved(Provider(base_url=base_url, path_prefix="/v1"), None, "openai")
    assert (found.base_url, found.path_prefix) == (root, "/v1")


@pytest.mark.parametrize(
    ("base_url", "prefix", "root", "expected"),
    [
        # No path: the catalogue's prefix stays.
        ("http://host", "/openai/v1", "http://host", "/openai/v1"),
        ("http://host/", "/openai/v1", "http://host", "/openai/v1"),
        # The catalogue's prefix is at its end: it is there once.
        ("http://host/openai/v1", "/openai/v1", "http://host", "/openai/v1"),
        ("http://gate/openai/v1/", "/v1", "http://gate/openai", "/v1"),
        ("http://gate/v1/proxy/openai", "/openai", "http://gate/v1/proxy", "/openai"),
        # A version is in it: the SDKs' paths begin there.
        ("http://host/v1", "/openai/v1", "http://host", "/v1"),
        ("http://host/v1beta/openai/", "/v1", "http://host", "/v1beta/openai"),
        ("http://host/api/v2.1", "/v1", "http://host", "/api/v2.1"),
        ("http://host/v1alpha2/x", "/openai/v1", "http://host", "/v1alpha2/x"),
        ("http://host/v1", "", "http://host", "/v1"),
        ("https://eu.example/v1/projects/p/openapi", "/v1/{project}/openapi", "https://eu.example", None),
        # There is none in it: the whole API was put there.
        ("http://host/mock", "/v1", "http://host/mock", "/v1"),
        ("http://gate/groq", "/openai/v1", "http://gate/groq", "/openai/v1"),
        ("http://gate/vllm1", "/v1", "http://gate/vllm1", "/v1"),
        ("http://gate/search", "", "http://gate/search", ""),
    ],
)
def test_an_own_url_over_a_known_prefix(base_url: str, prefix: str, root: str, expected: str | None) -> None:
    """Nobody means http://host/v1/openai/v1."""
    entry = Provider(base_url="https://known.example", path_prefix=prefix)
    given = by_own_url(replace(entry, base_url=base_url))
    found = resolved(given, entry, "known")
    wanted = base_url.removeprefix(root) if expected is None else expected
    assert (found.base_url, found.path_prefix) == (root, wanted)


def test_an_empty_prefix_is_one() -> None:
    """There is nothing in the place of our /v1."""
    found = resolved(Provider(base_url="https://host", path_prefix=""), None, "perplexity")
    assert (found.base_url, found.path_prefix) == ("https://host", "")


def test_parameters_are_put_in() -> None:
    """Into root and prefix."""
    entry = Provider(
        base_url="https://{location}.example.com",
        path_prefix="/projects/{project}/{location}",
        parameters={"location": "eu-1", "project": "p"},
    )
    found = resolved(entry, entry, "vertex")
    assert (found.base_url, found.path_prefix) == ("https://eu-1.example.com", "/projects/p/eu-1")
    assert entry.wanted_parameters == {"location", "project"}


def test_prices_are_those_of_the_catalogue_entry() -> None:
    """Unless something else is said."""
    given = replace(AZURE, like="azure", parameters={"resource": "r"})
    assert resolved(given, AZURE, "azure-eu").priced_as == "azure"
    assert resolved(replace(given, like=None), AZURE, "azure").priced_as == "azure"
    assert resolved(replace(given, priced_as="openai"), AZURE, "azure-eu").priced_as == "openai"


def test_whose_key_travels() -> None:
    """Ours, the client's, or none."""
    assert Provider().keeps_client_key
    assert not Provider(client_key="drop").keeps_client_key
    assert not Provider(api_key=KEY).keeps_client_key
    assert Provider(token=Token(file="/run/token")).has_key


GOOD = [
    Provider(),
    AZURE,
    Credential(place="query", name="key", prefix=""),
    Token(command=("/bin/token", "--now")),
    Token(file="/run/token"),
    Quirks(rename={"a": "b"}, drop=("c",)),
    ModelPaths(prefix="/deployments/{model}", endpoints=("embeddings",)),
    Provider(
        headers={"anthropic-version": "2023-06-01"}, query={"api-version": "1"}, drop_headers=("api-key",)
    ),
]


@pytest.mark.parametrize("section", GOOD)
def test_what_is_right_breaks_no_rule(section: Provider) -> None:
    """What the catalogue and the example say."""
    assert list(section.rules()) == []


@pytest.mark.parametrize(
    ("section", "key"),
    [
        (Credential(name="x key"), "name"),
        (Credential(name="Host"), "name"),
        (Credential(prefix="a\r\nb: "), "prefix"),
        (Token(), ""),
        (Token(command=("/bin/a",), file="/b"), ""),
        (Token(command=("gcloud",)), "command"),
        (Token(file="token"), "file"),
        (Quirks(rename={"a": "b"}, drop=("a",)), "drop"),
        (Quirks(rename={"a": "b"}, drop=("b",)), "drop"),
        (Quirks(rename={"a": "b", "b": "c"}), "rename"),
        (ModelPaths(prefix="/d", endpoints=("a",)), "prefix"),
        (ModelPaths(prefix="/{model}/{model}", endpoints=("a",)), "prefix"),
        (ModelPaths(prefix="/{model}/", endpoints=("a",)), "prefix"),
        (Provider(path_prefix="v1"), "path_prefix"),
        (Provider(path_prefix="/v1/"), "path_prefix"),
        (Provider(path_prefix="/"), "path_prefix"),
        (Provider(path_prefix="/v1?a"), "path_prefix"),
        (Provider(parameters={"a": "evil.example/#"}), "parameters"),
        (Provider(parameters={"a": ""}), "parameters"),
        (Provider(api_key=KEY, token=Token(file="/t")), "token"),
        (Provider(headers={"Authorization": "Bearer canary"}), "headers"),
        (Provider(headers={"X-Api-Key": "canary"}), "headers"),
        (Provider(headers={"x": "canary\r\ny: 1"}), "headers"),
        (Provider(headers={"Content-Length": "0"}), "headers"),
        (Provider(headers={"a b": "c"}), "headers"),
        (Provider(query={"a&b": "c"}), "query"),
        (Provider(drop_headers=("Host",)), "drop_headers"),
    ],
)
def test_a_broken_rule_has_its_key_and_no_value(section: Provider, key: str) -> None:
    """What is said of it may go into a log."""
    broken = list(section.rules())
    assert [place for place, _ in broken] == [key]
    assert "canary" not in str(broken)
