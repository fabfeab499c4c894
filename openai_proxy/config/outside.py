"""What a configuration names outside of itself, and a daemon needs only later: is it there?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from openai_proxy.config.configuration import Configuration
from openai_proxy.config.problems import Place, Problem
from openai_proxy.config.provider import Token
from openai_proxy.config.settings import Listen, Settings


def missing(configuration: Configuration, settings: Settings) -> Iterator[Problem]:
    """A problem for each program, file or folder that this process cannot use now. It runs and makes none.

    :param settings: the configuration's, with what options have put before them.
    """
    for number, one in enumerate(settings.listen):
        yield from _of_tls(("listeners", number), one)
    if settings.admin.listen is not None:
        yield from _of_tls(("admin",), settings.admin.listen)
    for name, provider in configuration.providers.items():
        if provider.token is not None:
            for key, message in _of_token(provider.token):
                yield Problem(("providers", name, "token", key), None, message)
    access_log = settings.access_log
    if access_log not in (None, "-"):
        folder = Path(access_log).parent
        if not folder.is_dir():
            yield Problem(("access_log", "file"), None, f"there is no folder {folder}")


def _of_token(token: Token) -> Iterator[tuple[str, str]]:
    if token.command:
        program = Path(token.command[0])
        if not program.is_file():
            yield "command", f"there is no program {program}"
        elif not os.access(program, os.X_OK):
            yield "command", f"{program} cannot be executed by who checks it"
    elif message := _unreadable(token.file):
        yield "file", message


def _of_tls(place: Place, listen: Listen) -> Iterator[Problem]:
    for key, path in (("certificate", listen.certificate), ("key", listen.key)):
        if message := _unreadable(path):
            yield Problem((*place, "tls", key), None, message)


def _unreadable(path: str | None) -> str | None:
    """What is wrong with a file that has to be read, if one is named."""
    if path is None:
        return None
    if not Path(path).is_file():
        return f"there is no file {path}"
    return None if os.access(path, os.R_OK) else f"{path} cannot be read by who checks it"
