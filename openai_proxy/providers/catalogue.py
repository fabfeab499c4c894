"""The catalogue of providers: data of the package, in the form of an operator's file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from openai_proxy.config.document import parse
from openai_proxy.config.problems import ConfigError, Problem
from openai_proxy.config.provider import Provider, ProviderName
from openai_proxy.config.reader import Reader
from openai_proxy.config.secret import Secret

CATALOGUE: Final = Path(__file__).with_name("catalogue.yaml")


def read_catalogue(path: Path = CATALOGUE) -> dict[str, Provider]:
    """What is known of providers, by name. Raises ConfigError with every problem, OSError."""
    problems: list[Problem] = []
    root = parse(path.read_bytes(), problems)
    entries: dict[str, Provider] = {}
    if root is not None:
        entries = Reader(problems, _no_secret).read(root, dict[ProviderName, Provider])
    problems += [
        Problem((name, "base_url"), None, "is wanted, and `path_prefix` with it")
        for name, entry in entries.items()
        if entry.base_url is None or entry.path_prefix is None
    ]
    if problems:
        raise ConfigError(path, problems)
    return entries


def _no_secret(reference: str) -> Secret:
    raise ValueError("no key belongs into the catalogue")
