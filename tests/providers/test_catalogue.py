"""The catalogue of providers, held against what is known of them."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from msgspec.structs import replace

from openai_proxy.config.problems import ConfigError
from openai_proxy.config.provider import Provider, resolved
from openai_proxy.config.references import RESERVED
from openai_proxy.observe.usage import QUIRKS
from openai_proxy.policy.prices import TABLE
from openai_proxy.providers.catalogue import read_catalogue
from openai_proxy.wire.agent import check_uri

ENTRIES = read_catalogue()
LOCAL = {"ollama", "vllm", "lmstudio", "llamacpp"}
UNPRICED = {*LOCAL, "nvidia"}

# As each SDK's own documentation has it.
SDK_URLS = {
    "openai": "https://api.openai.com/v1",
    "azure": "https://x1.openai.azure.com/openai/v1",
    "azure-deployments": "https://x1.openai.azure.com/openai",
    "anthropic": "https://api.anthropic.com/v1",
    "gemini": "https://generativelanguage.googleapis.com/v1beta/openai",
    "vertex": "https://x1-aiplatform.googleapis.com/v1/projects/x1/locations/x1/endpoints/openapi",
    "bedrock": "https://bedrock-runtime.x1.amazonaws.com/openai/v1",
    "mistral": "https://api.mistral.ai/v1",
    "groq": "https://api.groq.com/openai/v1",
    "deepseek": "https://api.deepseek.com/v1",
    "xai": "https://api.x.ai/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "together": "https://api.together.xyz/v1",
    "fireworks": "https://api.fireworks.ai/inference/v1",
    "cerebras": "https://api.cerebras.ai/v1",
    "perplexity": "https://api.perplexity.ai",
    "cohere": "https://api.cohere.ai/compatibility/v1",
    "nvidia": "https://integrate.api.nvidia.com/v1",
    "huggingface": "https://router.huggingface.co/v1",
    "ollama": "http://localhost:11434/v1",
    "vllm": "http://localhost:8000/v1",
    "lmstudio": "http://localhost:1234/v1",
    "llamacpp": "http://localhost:8080/v1",
}

NAMES = list(SDK_URLS)


def filled(name: str) -> Provider:
    """An entry as it would be used, with something for each parameter."""
    entry = ENTRIES[name]
    return resolved(replace(entry, parameters=dict.fromkeys(entry.wanted_parameters, "x1")), entry, name)


def test_every_provider_is_there_once() -> None:
    """Those that we promise, in the file's order, by names that no route of ours has."""
    assert list(ENTRIES) == NAMES
    assert not set(NAMES) & RESERVED


@pytest.mark.parametrize("name", NAMES)
def test_where_it_is_asked_is_where_the_sdks_ask(name: str) -> None:
    """Root and prefix together are the base URL that its own documentation gives; the client can ask it."""
    entry = filled(name)
    url = f"{entry.base_url}{entry.path_prefix}"
    assert url == SDK_URLS[name]
    check_uri(url.encode("ascii"))
    assert (urlsplit(url).scheme == "http") == (name in LOCAL)


@pytest.mark.parametrize("name", NAMES)
def test_an_operators_own_url_in_the_sdks_form_is_taken(name: str) -> None:
    """With the prefix at its end, as people copy it."""
    entry = ENTRIES[name]
    parameters = dict.fromkeys(entry.wanted_parameters, "x1")
    given = replace(entry, base_url=SDK_URLS[name], parameters=parameters)
    assert resolved(given, entry, name) == filled(name)


@pytest.mark.parametrize("name", NAMES)
def test_it_breaks_no_rule_and_holds_no_key(name: str) -> None:
    """And there is a price list for it, unless nobody is paid."""
    entry = ENTRIES[name]
    assert list(entry.rules()) == list(entry.quirks.rules()) == list(entry.credential.rules()) == []
    assert not entry.has_key
    assert entry.like is None
    priced = json.loads(TABLE.read_bytes())["providers"]
    assert (filled(name).priced_as in priced) == (name not in UNPRICED)


def test_what_is_counted_beside_is_what_the_observer_counts() -> None:
    """One list of such providers, said twice."""
    additive = {name: set(one.quirks.additive_usage) for name, one in ENTRIES.items()}
    for name, quirks in QUIRKS.items():
        assert ("reasoning" in additive[name]) == quirks.reasoning_is_additional
        assert ("citations" in additive[name]) == quirks.citations_are_additional
    assert {name for name, what in additive.items() if what} == set(QUIRKS)


def test_keys_are_put_where_each_wants_them() -> None:
    """A Bearer token, but for these."""
    forms = {
        name: (one.credential.place, one.credential.name, one.credential.prefix)
        for name, one in ENTRIES.items()
    }
    others = {name: form for name, form in forms.items() if form != ("header", "Authorization", "Bearer ")}
    assert others == {
        "azure": ("header", "api-key", ""),
        "azure-deployments": ("header", "api-key", ""),
        "anthropic": ("header", "x-api-key", ""),
    }
    native = {name: one.native_credential.name for name, one in ENTRIES.items() if one.native_credential}
    assert native == {"gemini": "x-goog-api-key"}
    assert [name for name, one in ENTRIES.items() if one.dialect == "anthropic"] == ["anthropic"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: {base_url: http://h}", "a.base_url: is wanted, and `path_prefix` with it"),
        ("a: {path_prefix: /v1}", "a.base_url: is wanted, and `path_prefix` with it"),
        ("a: {base_url: http://h, path_prefix: '', api_key: env:A}", "1: a.api_key: no key belongs into"),
        ("a: {base_ulr: http://h}", "1: a.base_ulr: there is no such key; did you mean 'base_url'?"),
        ("- a", "a mapping of keys to values is wanted"),
    ],
)
def test_a_wrong_entry_is_told(text: str, problem: str, tmp_path: Path) -> None:
    """As in an operator's file."""
    path = tmp_path / "catalogue.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_catalogue(path)
    assert problem in str(refused.value)
