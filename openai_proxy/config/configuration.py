"""A configuration file, read and checked: all of it is right, or all that is wrong is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from yaml.nodes import MappingNode, Node, ScalarNode

from openai_proxy.config.address import listen_description
from openai_proxy.config.document import parse
from openai_proxy.config.file import AccessLog, File
from openai_proxy.config.problems import ConfigError, Place, Problem
from openai_proxy.config.provider import Provider
from openai_proxy.config.reader import BAD, Reader
from openai_proxy.config.references import check
from openai_proxy.config.secret import SecretReader
from openai_proxy.config.settings import Observation, Settings


class Configuration(Struct, frozen=True, kw_only=True):
    """What a file says, ready for use."""

    path: Path
    file: File
    """As it stands in the file."""
    providers: dict[str, Provider]
    """With what the catalogue knows of them: ``base_url`` and ``path_prefix`` are given, and apart."""
    default_provider: str
    not_supported: tuple[Problem, ...]
    """What is right, but nothing that this version can do: a daemon must not start with any."""

    def settings(self) -> Settings:
        """What of it a daemon of this version can be told."""
        file = self.file
        openai = self.providers.get("openai")
        settings = Settings(
            listen=listen_description(file.listeners[0].address),
            ca_file=self._beside(file.ca_file),
            mock=file.mock,
            timeouts=file.timeouts,
            limits=file.limits,
            pool=file.pool,
            access_log=self._log_file(file.access_log),
            access_log_sample=file.access_log.sample,
            observation=Observation(
                answers=file.observation.answers,
                include_usage=file.observation.include_usage,
                prices_file=self._beside(file.prices.file),
            ),
        )
        if openai is not None and openai.base_url is not None:
            settings = replace(settings, upstream=openai.base_url)
        return settings

    def refusal(self) -> ConfigError | None:
        """Why a daemon of this version cannot be started with it."""
        return ConfigError(self.path, self.not_supported) if self.not_supported else None

    def _beside(self, path: str | None) -> str | None:
        """A path as seen from the file: a daemon's own folder is nobody's choice."""
        return None if path is None else str(self.path.absolute().parent / path)

    def _log_file(self, log: AccessLog) -> str | None:
        return log.file if log.file == "-" else self._beside(log.file)


class _FileReader(Reader):
    """Lays each provider over the catalogue's entry of its name, or of the one that it is ``like``."""

    catalogue: Mapping[str, Provider]

    def base_of(self, place: Place, node: Node) -> Any:
        if len(place) != 2 or place[0] != "providers":
            return None
        like = str(place[1])
        if isinstance(node, MappingNode):
            for key, value in node.value:
                if key.value == "like" and isinstance(value, ScalarNode):
                    like = value.value
        return self.catalogue.get(like)


def load(
    path: Path,
    catalogue: Mapping[str, Provider],
    secrets: SecretReader,
    port: str | None = None,
) -> Configuration:
    """The configuration in a YAML file. Raises ConfigError with every problem in it.

    :param catalogue: what is known of providers by their names.
    :param port: where to listen in place of all ``listeners``, if that is given elsewhere.
    """
    problems: list[Problem] = []
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(path, [Problem((), None, error.strerror or "cannot be read")]) from None
    root = parse(content, problems)
    if root is None:
        raise ConfigError(path, problems)
    reader = _FileReader(problems, secrets.read)
    reader.catalogue = catalogue
    file = reader.read(root, File)
    if file is BAD:
        raise ConfigError(path, problems)
    if port is not None:
        file = msgspec.structs.replace(
            file, listeners=(msgspec.structs.replace(file.listeners[0], address=port),)
        )
    providers, default_provider = check(file, reader, catalogue)
    if problems:
        raise ConfigError(path, problems)
    return Configuration(
        path=path,
        file=file,
        providers=providers,
        default_provider=default_provider,
        not_supported=tuple(_not_supported(file, providers, default_provider, reader)),
    )


def _not_supported(
    file: File, providers: Mapping[str, Provider], default_provider: str, reader: Reader
) -> list[Problem]:
    """What this version does not do, though the file says it."""
    found: list[Place] = [("listeners", number) for number in range(1, len(file.listeners))]
    if default_provider != "openai":
        found.append(("default_provider",))
    for name, provider in providers.items():
        if name != "openai":
            found.append(("providers", name))
            continue
        found += [
            ("providers", name, key) for key in reader.keys_at(("providers", name)) if key != "base_url"
        ]
        if provider.path_prefix != "/v1":
            found.append(("providers", name, "base_url"))
    found += [("models", name) for name in file.models]
    found += [(key,) for key in ("retry", "breaker", "hedge") if (key,) in reader.lines]
    why = "not supported yet (this version has one listener, and one provider: openai, by its base_url)"
    return [reader.problem(place, why) for place in found]
