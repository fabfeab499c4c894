"""What an operator is told that he has changed."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from openai_proxy.config.configuration import Configuration, load
from openai_proxy.config.difference import difference
from openai_proxy.config.secret import SecretReader
from openai_proxy.providers.catalogue import read_catalogue

CATALOGUE = read_catalogue()
CANARY = "canary"
ENVIRONMENT = {name: f"{CANARY}-{name}" for name in ("A", "B", "C")}


def loaded(folder: Path, text: str, environment: Mapping[str, str] = ENVIRONMENT) -> Configuration:
    """Of a file with this text."""
    path = folder / "proxy.yaml"
    path.write_text(text or "{}")
    return load(path, CATALOGUE, SecretReader(environment))


def changes(folder: Path, old: str, new: str) -> list[str]:
    """From one text to another."""
    lines = difference(loaded(folder, old), loaded(folder, new))
    assert CANARY not in "\n".join(lines)
    return lines


OPENAI = "listeners: [{address: 'unix:/s'}]\nproviders: {openai: {%s}}"


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ("limits: {body_bytes: 1}", "limits: {body_bytes: 2}", ["limits.body_bytes: 1 -> 2"]),
        ("drain: {grace_seconds: 1}", "drain: {grace_seconds: 2.5}", ["drain.grace_seconds: 1 -> 2.5"]),
        ("drain: {grace_seconds: 0}", "drain: {timeout_seconds: 600.0}", []),
        ("mock: false", "", ["mock: false -> true"]),
        ("", "access_log: {file: '-'}", ["access_log.file: not given -> -"]),
        ("access_log: {file: ' a\\n'}", "access_log: {file: b}", ["access_log.file: ' a\\\\n' -> b"]),
        ("", "retry: {statuses: ['429']}", ["retry.statuses: 408, 409, 429, 5xx -> 429"]),
        ("workers: 2\nlog: {level: warn}", "", ["log.level: warn -> info", "workers: 2 -> 1"]),
        ("", "admin: {address: '9091'}", ["admin.address: not given -> 9091"]),
        ("admin: {address: '1'}", "admin: {address: '1', token: env:A}", ["admin.token: not given -> env:A"]),
        (
            "admin: {address: '1', token: env:A}",
            "admin: {address: '1', token: env:B}",
            ["admin.token: env:A -> env:B"],
        ),
        (
            "admin: {address: '1', tls: {certificate: a.pem}}",
            "admin: {address: '1'}",
            ["admin.tls: removed (a.pem)"],
        ),
    ],
)
def test_settings(tmp_path: Path, old: str, new: str, lines: list[str]) -> None:
    """From what to what, as it could stand in the file; of defaults that are given, nothing."""
    assert changes(tmp_path, old, new) == lines


def test_listeners_are_known_by_where_they_listen(tmp_path: Path) -> None:
    """One that comes before others changes none of them; numbers are of the file that each is in."""
    old = "listeners: [{address: 'tcp:1'}, {address: '2'}, {address: '3', tls: {certificate: a.pem}}]"
    new = (
        "listeners: [{address: '4'}, {address: 'tcp:2', allow_anonymous: true}, "
        "{address: '3', tls: {certificate: a.pem, key: b.pem}}]"
    )
    assert changes(tmp_path, old, new) == [
        "listeners[0]: removed (tcp:1)",
        "listeners[0]: added (tcp:4)",
        "listeners[1].allow_anonymous: false -> true",
        "listeners[2].tls.key: not given -> b.pem",
    ]


def test_providers_come_and_go(tmp_path: Path) -> None:
    """With their URL; the default one changes with them."""
    assert changes(tmp_path, "providers: {openai: }", "providers: {groq: }") == [
        "providers.openai: removed (https://api.openai.com)",
        "providers.groq: added (https://api.groq.com)",
        "default_provider: openai -> groq",
    ]
    assert changes(tmp_path, "", "providers: {openai: }") == []


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ("", "base_url: http://h/v1", ["base_url: https://api.openai.com -> http://h/v1"]),
        ("", "api_key: env:A", ["api_key: not given -> env:A"]),
        ("api_key: env:A", "", ["api_key: env:A -> not given"]),
        ("api_key: env:A", "token: {file: /t}", ["api_key: env:A -> not given", "token: added (/t)"]),
        (
            "token: {command: [/bin/t, canary]}",
            "token: {command: [/bin/t, other-canary], refresh_seconds: 60}",
            ["token.command: changed", "token.refresh_seconds: 1800 -> 60"],
        ),
        ("token: {command: [/bin/t, canary]}", "", ["token: removed (/bin/t)"]),
        ("headers: {a: canary}", "headers: {a: other-canary}", ["headers.a: changed"]),
        ("headers: {a: canary}", "headers: {b: canary}", ["headers.a: removed", "headers.b: added"]),
        ("query: {a: canary}", "query: {a: canary2, b: canary}", ["query.a: changed", "query.b: added"]),
        (
            "",
            "credential: {in: query, name: k}",
            ["credential.in: header -> query", "credential.name: Authorization -> k"],
        ),
        ("credential: {prefix: canary}", "", ["credential.prefix: changed"]),
        ("", "native_credential: {name: k, prefix: canary}", ["native_credential: added"]),
        (
            "",
            "quirks: {drop: [a, b], rename: {c: d}}",
            ["quirks.rename.c: added (d)", "quirks.drop: none -> a, b"],
        ),
        ("drop_headers: [x]", "drop_headers: []", ["drop_headers: x -> none"]),
    ],
)
def test_a_provider(tmp_path: Path, old: str, new: str, lines: list[str]) -> None:
    """What is changed of it, as the file has it; what may be secret is only said to have changed."""
    assert changes(tmp_path, OPENAI % old, OPENAI % new) == [f"providers.openai.{line}" for line in lines]


def test_parameters_are_told_as_they_are_given(tmp_path: Path) -> None:
    """Not the URLs that come of them."""
    text = "listeners: [{address: 'unix:/s'}]\nproviders: {vertex: {parameters: {location: %s, project: p}}}"
    assert changes(tmp_path, text % "eu", text % "us") == ["providers.vertex.parameters.location: eu -> us"]


def test_what_comes_of_the_same_words_is_told(tmp_path: Path) -> None:
    """A URL that the catalogue has too means something else once it is the operator's own."""
    found = [
        name
        for name, one in CATALOGUE.items()
        if one.base_url and "{" not in one.base_url and one.path_prefix and "/v1" in one.base_url
    ]
    for name in found:
        given = f"providers: {{{name}: {{base_url: '{CATALOGUE[name].base_url}'}}}}"
        old, new = loaded(tmp_path, f"providers: {{{name}: }}"), loaded(tmp_path, given)
        assert bool(difference(old, new)) == (old.providers != new.providers)


def test_a_rotated_key_is_told(tmp_path: Path) -> None:
    """The reference is the same, the text behind it is not; nothing of either text is told."""
    key = tmp_path / "key"
    text = f"admin: {{address: '1', token: 'file:{key}'}}\n" + OPENAI % f"api_key: 'file:{key}'"
    key.write_text("canary-1")
    old = loaded(tmp_path, text)
    assert difference(old, loaded(tmp_path, text)) == []
    key.write_text("canary-22")
    assert difference(old, loaded(tmp_path, text)) == [
        "admin.token: changed",
        "providers.openai.api_key: changed",
    ]


ROUTE = (
    "default_provider: a\nproviders: {a: {base_url: 'http://a', client_key: drop}, b: {like: ollama}}\n"
    "models: {fast: {%s}, gpt-4.1: {%s}}"
)
A = "targets: [{provider: a, model: x}]"


def test_routes(tmp_path: Path) -> None:
    """Targets as one text, weights where they count; a name that is no word is quoted."""
    weighted = "choice: weighted, targets: [{provider: a, model: x, weight: 3}, {provider: b}], hedge: true"
    assert changes(tmp_path, ROUTE % (A, A), ROUTE % (A.replace("x", "y"), weighted)) == [
        "models.fast.targets: a/x -> a/y",
        "models['gpt-4.1'].targets: a/x -> a/x (3), b/gpt-4.1 (1)",
        "models['gpt-4.1'].choice: ordered -> weighted",
        "models['gpt-4.1'].hedge: not given -> true",
    ]
    assert changes(tmp_path, ROUTE % (A, A), ROUTE.partition("models")[0]) == [
        "models.fast: removed (a/x)",
        "models['gpt-4.1']: removed (a/x)",
    ]


# Any two configurations.

_texts = st.integers(1, 3).map(lambda number: f"{CANARY}{number}")
_keys = st.sampled_from(["env:A", "env:B", "env:C"])
_names = st.sampled_from(["x-one", "x-two"])
_providers = st.fixed_dictionaries(
    {},
    optional={
        "base_url": st.sampled_from(["http://a", "http://b/v1", "https://api.groq.com/openai/v1"]),
        "headers": st.dictionaries(_names, _texts),
        "query": st.dictionaries(_names, _texts),
        "credential": st.fixed_dictionaries({}, optional={"prefix": _texts, "name": _names}),
        "quirks": st.fixed_dictionaries({}, optional={"drop": st.lists(_names, unique=True)}),
        "client_key": st.sampled_from(["forward", "drop"]),
    },
)
_credentials: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"api_key": _keys}),
    st.fixed_dictionaries(
        {"token": st.fixed_dictionaries({"command": st.lists(_texts).map(lambda more: ["/bin/t", *more])})}
    ),
)


def with_default(file: dict[str, Any]) -> dict[str, Any]:
    """As it has to be with several providers."""
    return {**file, "default_provider": next(iter(file["providers"]))} if file.get("providers") else file


_listeners = st.lists(
    st.fixed_dictionaries(
        {"address": st.sampled_from(["1", "tcp:2", "unix:/s"]), "allow_anonymous": st.just(True)}
    ),
    min_size=1,
    unique_by=lambda one: one["address"],
)
_files = st.fixed_dictionaries(
    {"listeners": _listeners},
    optional={
        "admin": st.fixed_dictionaries({"address": st.just("9")}, optional={"token": _keys}),
        "providers": st.dictionaries(
            st.sampled_from(["openai", "groq", "anthropic"]),
            st.tuples(_providers, _credentials).map(lambda two: two[0] | two[1]),
        ),
        "mock": st.booleans(),
        "drain": st.fixed_dictionaries({}, optional={"timeout_seconds": st.floats(0.5, 900)}),
    },
).map(with_default)


@given(
    _files, _files, st.sampled_from([ENVIRONMENT, {name: f"{text}!" for name, text in ENVIRONMENT.items()}])
)
def test_no_secret_and_no_silence(old: dict[str, Any], new: dict[str, Any], later: dict[str, str]) -> None:
    """Nothing secret is told; no change is no line, and one that has an effect is at least one."""
    with tempfile.TemporaryDirectory() as folder:
        before = loaded(Path(folder), yaml.safe_dump(old))
        after = loaded(Path(folder), yaml.safe_dump(new), later)
        again = loaded(Path(folder), yaml.safe_dump(old))
    assert difference(before, again) == difference(after, after) == []
    lines = difference(before, after)
    assert CANARY not in "\n".join(lines)
    assert all(line.isprintable() for line in lines)
    if not lines:
        assert before.providers == after.providers
        assert before.default_provider == after.default_provider
        assert sorted(before.settings().listen, key=str) == sorted(after.settings().listen, key=str)
        assert before.settings().admin == after.settings().admin
        assert before.settings().drain == after.settings().drain
