"""A configuration file, read and checked: all of it is right, or all that is wrong is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from yaml.nodes import MappingNode, Node, ScalarNode

from openai_proxy.config.address import admin_description, listen_description
from openai_proxy.config.content import content_of
from openai_proxy.config.document import MAX_BYTES, parse
from openai_proxy.config.file import AccessLog, File, ListenerTLS
from openai_proxy.config.file import Admin as FileAdmin
from openai_proxy.config.problems import ConfigError, Place, Problem
from openai_proxy.config.provider import Provider, by_own_url, resolved
from openai_proxy.config.reader import BAD, Reader
from openai_proxy.config.references import check
from openai_proxy.config.secret import SecretReader
from openai_proxy.config.settings import Admin, Listen, Observation, Settings


class Configuration(Struct, frozen=True, kw_only=True):
    """What a file says, ready for use."""

    path: Path
    file: File
    """As it stands in the file."""
    providers: dict[str, Provider]
    """With what the catalogue knows of them: ``base_url`` and ``path_prefix`` are given, and apart."""
    default_provider: str

    def settings(self) -> Settings:
        """What of it is not about providers and routes."""
        file = self.file
        return Settings(
            listen=tuple(self._listen(listen_description(one.address), one.tls) for one in file.listeners),
            admin=self._admin(file.admin),
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
            drain=file.drain,
            log=file.log,
            tracing=file.tracing,
            workers=file.workers,
        )

    def with_upstream(self, url: str) -> Configuration:
        """With another URL of the provider ``openai``, as a command line gives it: read as the file's is."""
        known = self.providers["openai"]
        given = by_own_url(msgspec.structs.replace(known, base_url=url))
        openai = resolved(given, known, "openai")
        return msgspec.structs.replace(self, providers={**self.providers, "openai": openai})

    def _listen(self, description: str, tls: ListenerTLS | None) -> Listen:
        if tls is None:
            return Listen(description)
        return Listen(description, self._beside(tls.certificate), self._beside(tls.key))

    def _admin(self, admin: FileAdmin) -> Admin:
        if admin.address is None:
            return Admin(token=admin.token)
        return Admin(self._listen(admin_description(admin.address), admin.tls), admin.token)

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


def _content_of(path: Path) -> bytes:
    try:
        content = content_of(path, MAX_BYTES)
    except OSError as error:
        raise ConfigError(path, [Problem((), None, error.strerror or "cannot be read")]) from None
    if not content.strip():
        # A full disk and an editor that was interrupted leave such files: it is not taken for the defaults.
        raise ConfigError(path, [Problem((), None, "empty; if all is to be as the defaults say: {}")])
    return content


def _at(file: File, port: str | None, admin: str | None) -> File:
    """The same, where else it listens."""
    change = msgspec.structs.replace
    if port is not None:
        file = change(file, listeners=(change(file.listeners[0], address=port),))
    return file if admin is None else change(file, admin=change(file.admin, address=admin))


def load(
    path: Path,
    catalogue: Mapping[str, Provider],
    secrets: SecretReader,
    port: str | None = None,
    admin: str | None = None,
) -> Configuration:
    """The configuration in a YAML file. Raises ConfigError with every problem in it.

    :param catalogue: what is known of providers by their names.
    :param port: where to listen in place of all ``listeners``, if that is given elsewhere: as the first of
        them otherwise does.
    :param admin: the same for ``admin.address``.
    """
    problems: list[Problem] = []
    root = parse(_content_of(path), problems)
    if root is None:
        raise ConfigError(path, problems)
    reader = _FileReader(problems, secrets.read)
    reader.catalogue = catalogue
    file = reader.read(root, File)
    if file is BAD:
        raise ConfigError(path, problems)
    file = _at(file, port, admin)
    providers, default_provider = check(file, reader, catalogue)
    if problems:
        raise ConfigError(path, problems)
    return Configuration(
        path=path,
        file=file,
        # A file that names none is about the one that there is without a file.
        providers=providers or {"openai": resolved(catalogue["openai"], catalogue["openai"], "openai")},
        default_provider=default_provider,
    )
