"""docs/providers.md against the catalogue, and its files against the daemon's own reading of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from openai_proxy.config.configuration import Configuration, load
from openai_proxy.config.provider import CREDENTIAL_FIELDS
from openai_proxy.config.secret import SecretReader
from openai_proxy.providers.catalogue import read_catalogue
from openai_proxy.providers.credentials import _KEY_PARAMETERS, _KEY_SUBPROTOCOL
from tests.test_docs import quoted, rows, section
from tools.configuration import _credential

PAGE = Path(__file__).parents[1] / "docs" / "providers.md"
ENTRIES = read_catalogue()
FILES = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)


def loaded(text: str, folder: Path) -> Configuration:
    """A file of the page as it stands there, with something for each key."""
    path = folder / "proxy.yaml"
    path.write_text(text)
    environment = {name: "k" for name in re.findall(r"env:(\w+)", text)}
    return load(path, ENTRIES, SecretReader(environment))


def providers_of(text: str) -> list[str]:
    """The names below `providers:`."""
    return re.findall(r"^  ([a-z-]+):", text.partition("models:")[0], re.MULTILINE)


def test_every_provider_has_its_row() -> None:
    """Address, form of the key and quirks are the catalogue's, in its order."""
    table = rows(section("docs/providers.md", "## The list"))
    assert [quoted(row[0])[0] for row in table] == list(ENTRIES)
    for name, url, credential, serves, quirks in table:
        entry = ENTRIES[quoted(name)[0]]
        assert quoted(url) == [f"{entry.base_url}{entry.path_prefix}"]
        assert credential == _credential(entry)
        set_ = {key for key in entry.quirks.__struct_fields__ if getattr(entry.quirks, key)}
        assert set(quoted(quirks)) == set_
        letters = re.split(r"[,;]", serves)[0].split()
        assert letters == sorted(letters, key="ceairf".index)
        assert letters[0] == "c"


def test_own_forms_are_said_where_they_are() -> None:
    """Each way that a row names begins with the provider's own path."""
    for name, _, _, serves, _ in rows(section("docs/providers.md", "## The list")):
        for way in quoted(serves):
            assert way.startswith(f"/{quoted(name)[0]}/"), way


@pytest.mark.parametrize("text", FILES, ids=lambda text: "-".join(providers_of(text))[:30])
def test_every_file_is_one_that_the_daemon_takes(text: str, tmp_path: Path) -> None:
    """Whoever saves it and starts a daemon with it has these providers."""
    configuration = loaded(text, tmp_path)
    assert list(configuration.providers) == providers_of(text)


def test_the_files_of_a_deployment_are_taken_as_they_are(tmp_path: Path) -> None:
    """Ports included: what others can reach says so."""
    text = section("docs/deployment.md", "## A configuration file, and its keys")
    files = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert len(files) == 2
    (tmp_path / "openai").write_text("k")
    secrets = SecretReader({"OPENAI_API_KEY": "k", "CREDENTIALS_DIRECTORY": str(tmp_path)})
    for number, file in enumerate(files):
        path = tmp_path / f"{number}.yaml"
        path.write_text(file)
        assert load(path, ENTRIES, secrets).providers["openai"].has_key


def test_every_provider_is_set_in_some_file(tmp_path: Path) -> None:
    """By its own name."""
    said = {name for text in FILES for name in loaded(text, tmp_path).providers}
    assert ENTRIES.keys() <= said


def test_every_spelling_of_a_key_is_named() -> None:
    """Of those that are taken off."""
    text = section("docs/providers.md", "## The list")
    named = {name.lower() for name in quoted(text)}
    assert named >= CREDENTIAL_FIELDS
    assert named >= {f"?{name.decode()}=" for name in _KEY_PARAMETERS}
    assert _KEY_SUBPROTOCOL.decode() in named
